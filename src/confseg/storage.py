"""Calibrated methods as JSON, and files that are written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable
from dataclasses import fields as dataclass_fields
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ._version import __version__
from .case import naming
from .fields import Field, field_from_dict, is_own

if TYPE_CHECKING:
    from .conformal import Calibration, SplitConformal

Path = str | os.PathLike[str]

FORMAT = "confseg calibration"
FORMAT_VERSION = 1


def write(method: SplitConformal, path: Path | None) -> str:
    """The JSON text of a calibrated method, also written to `path` if one is given."""
    data = _to_dict(method)
    text = json.dumps({**data, "sha256": digest(data)}, indent=1, allow_nan=False)
    if path is not None:
        write_whole(FilePath(path), lambda stream: stream.write(text.encode()))
    return text


def read(kind: type, source: Path, functions: dict[str, Any]) -> Any:
    """The calibrated method of class `kind` from a file or a JSON text."""
    label, data = load(source)
    with naming(label):
        _check_header(data, kind.__name__)
        method = kind(**_parameters(data["parameters"], functions))
    method._calibration = _calibration(data)
    return method


def load(source: Path) -> tuple[str, Any]:
    """What a message calls the source, and what JSON it holds."""
    is_text = isinstance(source, str) and source.lstrip().startswith("{")
    label = "the JSON text" if is_text else str(source)
    try:
        return label, json.loads(str(source) if is_text else FilePath(source).read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{label} is damaged: {error}") from error


def _to_dict(method: SplitConformal) -> dict[str, Any]:
    calibration = method._calibrated()
    parameters = {
        item.name: getattr(method, item.name) for item in dataclass_fields(method) if item.init
    }
    rows = zip(calibration.names, calibration.patients, strict=True)
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "confseg_version": __version__,
        "method": type(method).__name__,
        "parameters": {
            name: value.to_dict() if isinstance(value, Field) else value
            for name, value in parameters.items()
        },
        "per": calibration.per,
        "n": len(calibration.names),
        "excluded_without_lesion": calibration.excluded,
        "spacing_given": calibration.spaced,
        "cutoffs": {side: _number_to_json(value) for side, value in calibration.cutoffs.items()},
        **_weights_to_json(calibration),
        "nonconformity_scores": [
            {
                "case": name,
                "patient": patient,
                **{side: _number_to_json(s[i]) for side, s in calibration.scores.items()},
            }
            for i, (name, patient) in enumerate(rows)
        ],
    }


def _calibration(data: dict[str, Any]) -> Calibration:
    from .conformal import Calibration

    rows, cutoffs, weights = data["nonconformity_scores"], data["cutoffs"], data.get("weights")
    return Calibration(
        names=tuple(row["case"] for row in rows),
        patients=tuple(row["patient"] for row in rows),
        scores={side: np.array([float(row[side]) for row in rows]) for side in cutoffs},
        excluded=data["excluded_without_lesion"],
        spaced=data["spacing_given"],
        cutoffs={side: float(value) for side, value in cutoffs.items()},
        per=data.get("per", "case"),  # a file that names no unit counts cases
        weights=None if weights is None else np.array(weights),
        test_weight=float(data.get("test_weight", 1)),
    )


def _weights_to_json(calibration: Calibration) -> dict[str, Any]:
    if calibration.weights is None:
        return {}
    return {
        "test_weight": _number_to_json(calibration.test_weight),
        "weights": calibration.weights.tolist(),
    }


def _parameters(stored: dict[str, Any], functions: dict[str, Any]) -> dict[str, Any]:
    # Anything else that could be replaced would promise what was not calibrated.
    own = [name for name, value in stored.items() if is_own(value)]
    others = sorted(set(functions) - set(own))
    if others:
        raise ValueError(f"only your own fields can be handed over ({own}), found {others}")
    return {
        name: field_from_dict(value) if isinstance(value, dict) else value
        for name, value in {**stored, **functions}.items()
    }


def _check_header(data: Any, method: str) -> None:
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(f"not a {FORMAT}")
    if data.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"format version {data.get('format_version')!r}, expected {FORMAT_VERSION}"
        )
    if data.get("sha256") != digest(data):
        raise ValueError("damaged: the contents do not match their checksum")
    if data["method"] != method:
        raise ValueError(f"calibration of a {data['method']}, expected a {method}")


def digest(data: dict[str, Any]) -> str:
    """SHA-256 of everything but the checksum itself, whatever the layout of the text."""
    content = {key: value for key, value in data.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_whole(path: FilePath, write: Callable[[BinaryIO], object]) -> None:
    """Write a file that is either there and whole, or not there at all.

    It is written under a name nobody else uses, forced to the disk, and then renamed. Of two
    processes that do so at once the last wins, and readers see one whole file or the other.

    Parameters
    ----------
    path : pathlib.Path
        The file; its folder must exist.
    write : callable
        Called with an open binary file.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with unfinished.open("xb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


# JSON knows no infinity.
def _number_to_json(value: float) -> float | str:
    return float(value) if np.isfinite(value) else str(float(value))
