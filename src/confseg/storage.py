"""Calibrated methods as JSON: written whole or not at all, and checked when read."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import fields as dataclass_fields
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import numpy as np

from ._version import __version__
from .fields import Field, field_from_dict

if TYPE_CHECKING:
    from .conformal import Calibration, SplitConformal

Path = str | os.PathLike[str]

FORMAT = "confseg calibration"
FORMAT_VERSION = 1


def write(method: SplitConformal, path: Path | None) -> str:
    """The JSON text of a calibrated method, also written to `path` if one is given."""
    text = json.dumps(_to_dict(method), indent=1, ensure_ascii=False, allow_nan=False)
    if path is not None:
        _write_whole(FilePath(path), text)
    return text


def read(kind: type, source: Path, functions: dict[str, Any]) -> Any:
    """The calibrated method of class `kind` from a file or a JSON text."""
    label, text = _text_of(source)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{label} is damaged: {error}") from error
    _check_header(label, data, kind.__name__)
    try:
        method = kind(**_parameters(data["parameters"], functions))
        calibration = _calibration(data)
        computed = method._cutoffs(calibration.scores)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{label} is damaged: {error!r}") from error
    except ValueError as error:
        raise ValueError(f"{label}: {error}") from error
    if computed != calibration.cutoffs:
        raise ValueError(
            f"{label} is damaged: its cases give the cut-offs {computed}, "
            f"but it states {calibration.cutoffs}"
        )
    method._calibration = calibration
    return method


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
        "n": len(calibration.names),
        "excluded_without_lesion": calibration.excluded,
        "spacing_given": calibration.spaced,
        "cutoffs": {side: _number_to_json(value) for side, value in calibration.cutoffs.items()},
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

    rows, cutoffs = data["nonconformity_scores"], data["cutoffs"]
    if len(rows) != data["n"]:
        raise ValueError(f"damaged: {data['n']} cases announced, {len(rows)} found")
    return Calibration(
        names=tuple(row["case"] for row in rows),
        patients=tuple(row["patient"] for row in rows),
        scores={side: np.array([_number_from_json(row[side]) for row in rows]) for side in cutoffs},
        excluded=data["excluded_without_lesion"],
        spaced=data["spacing_given"],
        cutoffs={side: _number_from_json(value) for side, value in cutoffs.items()},
    )


def _parameters(stored: dict[str, Any], functions: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(functions) - set(stored))
    if unknown:
        raise ValueError(f"no such parameters: {unknown}")
    parameters = {**stored, **functions}
    return {
        name: field_from_dict(value) if isinstance(value, dict) else value
        for name, value in parameters.items()
    }


def _check_header(label: str, data: Any, method: str) -> None:
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(f"{label} is not a {FORMAT}")
    if data.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{label} has format version {data.get('format_version')!r}, expected {FORMAT_VERSION}"
        )
    if data.get("method") != method:
        raise ValueError(f"{label} holds a {data.get('method')!r}, expected a {method!r}")


def _text_of(source: Path) -> tuple[str, str]:
    if isinstance(source, str) and source.lstrip().startswith("{"):
        return "the JSON text", source
    return str(source), FilePath(source).read_text(encoding="utf-8")


def _write_whole(path: FilePath, text: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


# JSON knows no infinity.
def _number_to_json(value: float) -> float | str:
    return float(value) if np.isfinite(value) else str(float(value))


def _number_from_json(value: float | str) -> float:
    number = float(value)
    if np.isnan(number):
        raise ValueError("damaged: a number is NaN")
    return number
