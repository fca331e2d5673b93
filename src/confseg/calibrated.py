"""What every method has once it is calibrated: an outcome that JSON keeps to the last bit."""

from __future__ import annotations

from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from . import storage
from ._version import __version__
from .case import naming
from .fields import Field, field_from_dict, is_own
from .units import UNITS, Per, Unit

FORMAT = "confseg calibration"


class NotCalibratedError(ValueError, AttributeError):
    """Raised when a method is asked for something that only calibration gives.

    It is an AttributeError so that ``hasattr(method, "cutoff_")`` is False before calibration.
    """


@dataclass(frozen=True)
class Calibration:
    """The outcome of calibration, everything that prediction and JSON need."""

    names: tuple[str, ...]
    patients: tuple[str, ...]
    scores: dict[str, NDArray[np.float64]]
    excluded: int
    spaced: bool
    cutoffs: dict[str, float]
    per: Per = "case"
    weights: NDArray[np.float64] | None = None
    test_weight: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """The outcome in JSON types."""
        weights = (
            {}
            if self.weights is None
            else {"test_weight": _number(self.test_weight), "weights": self.weights.tolist()}
        )
        rows = zip(self.names, self.patients, strict=True)
        return {
            "per": self.per,
            "n": len(self.names),
            "excluded_without_lesion": self.excluded,
            "spacing_given": self.spaced,
            "cutoffs": {side: _number(value) for side, value in self.cutoffs.items()},
            **weights,
            "nonconformity_scores": [
                {
                    "case": name,
                    "patient": patient,
                    **{side: _number(scores[i]) for side, scores in self.scores.items()},
                }
                for i, (name, patient) in enumerate(rows)
            ],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Calibration:
        """The outcome that `to_dict` wrote."""
        rows, cutoffs, weights = data["nonconformity_scores"], data["cutoffs"], data.get("weights")
        return cls(
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


@dataclass(kw_only=True, eq=False)
class Calibrated:
    """Base of the methods that are calibrated with cases: dataclasses of their parameters."""

    _calibration: Calibration | None = field(default=None, init=False, repr=False)

    @property
    def n_(self) -> int:
        """Number of cases, or of patients, that the calibration used."""
        return len(self._calibrated().names)

    @property
    def patients_(self) -> tuple[str, ...]:
        """Patient of each of them, in the order of calibration."""
        return self._calibrated().patients

    def to_json(self, path: storage.Path | None = None) -> str:
        """The calibrated method as JSON, also written to `path` if one is given.

        Parameters
        ----------
        path : path-like, optional
            File to write; it appears only when it is complete.

        Returns
        -------
        str
            The JSON text.

        Raises
        ------
        ValueError
            If the loss is a function of your own, which JSON cannot hold. Of fields of your own
            it holds the name.
        """
        data = {
            "format": FORMAT,
            "format_version": storage.FORMAT_VERSION,
            "confseg_version": __version__,
            "method": type(self).__name__,
            "parameters": {
                item.name: _parameter(item.name, getattr(self, item.name))
                for item in dataclass_fields(self)
                if item.init
            },
            **self._calibrated().to_dict(),
        }
        return storage.seal(data, path)

    @classmethod
    def from_json(cls, source: storage.Path, **functions: Any) -> Self:
        """A calibrated method from JSON.

        Parameters
        ----------
        source : path-like or str
            A file, or the text that `to_json` returned.
        **functions : callable
            Your own fields by parameter name (``inner=``, ``outer=``), which JSON cannot hold.

        Returns
        -------
        The calibrated method.

        Raises
        ------
        ValueError
            If the text is damaged, of another version or of another method.
        """
        label, data = storage.load(source)
        with naming(label):
            storage.check_seal(data, FORMAT)
            if data["method"] != cls.__name__:
                raise ValueError(f"calibration of a {data['method']}, expected a {cls.__name__}")
            method = cls(**_parameters(data["parameters"], functions))
        method._calibration = Calibration.from_dict(data)
        return method

    def _calibrated(self) -> Calibration:
        if self._calibration is None:
            raise NotCalibratedError(f"{self!r} has not been calibrated: call calibrate first")
        return self._calibration

    @property
    def _unit(self) -> Unit:
        """What the promise counts."""
        return UNITS[self._calibrated().per]

    def _counted(self) -> str:
        """What calibrated, as the beginning of a sentence."""
        excluded = self._calibrated().excluded
        left_out = (
            f" ({excluded} without lesion were left out, so that the promise is for "
            f"{self._unit.bearer} with a lesion)"
            if excluded
            else ""
        )
        return f"Calibrated on {self.n_} {self._unit.name}s{self._unit.counted}{left_out}"


def _parameter(name: str, value: Any) -> Any:
    if isinstance(value, Field):
        return value.to_dict()
    if callable(value):
        raise ValueError(f"JSON cannot hold a {name} of your own")
    return value


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


# JSON knows no infinity.
def _number(value: float) -> float | str:
    return float(value) if np.isfinite(value) else str(float(value))
