"""One calibration per group: the promise holds in every group, not only on average."""

from __future__ import annotations

import copy
import inspect
import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import storage
from .calibrated import NotCalibratedError
from .case import Case, Spacing, as_score, as_spacing, naming
from .conformal import CaseNumbers, SplitConformal
from .each_case import per_case, without_empty
from .exact import fewest_cases

GroupFunction = Callable[[NDArray, Spacing | None], str]
M = TypeVar("M", bound=SplitConformal)

FORMAT = "confseg calibration by group"


class Grouped(NamedTuple):
    """The numbers of a case and its group."""

    numbers: CaseNumbers
    group: str

    @property
    def name(self) -> str:
        """Name of the case."""
        return self.numbers.name

    @property
    def empty(self) -> bool:
        """Whether the case has no lesion where one is needed."""
        return self.numbers.empty


@dataclass(eq=False)
class Mondrian(Generic[M]):
    """Calibration by group: scanners, centers, classes of predicted size.

    Every group gets cut-offs of its own. For a new case of any group the promise of the method
    then holds with probability at least ``1 - alpha`` among the cases of that group.

    Parameters
    ----------
    method : CLS, ConfidenceSets or Margin
        What is calibrated, with its parameters. It is copied and stays as it is.
    group : callable, optional
        ``group(score, spacing)`` gives the name of the group of a case. By default it is
        ``case.group``. The truth is not handed over, since a new case has none: groups by true
        size, say, could not be found again.

    Notes
    -----
    The more groups, the fewer cases in each. Choose the groups before looking at the scores of
    the calibration cases.

    References
    ----------
    Vovk, Gammerman and Shafer (2005): Mondrian conformal predictors.

    Examples
    --------
    >>> from confseg import CLS, phantoms
    >>> def size(score, spacing):
    ...     return "large" if (score >= 0.5).sum() > 250 else "small"
    >>> by_size = Mondrian(CLS(eps=0.1, alpha=0.1), size).calibrate(phantoms.cases(100, seed=1))
    >>> by_size.sizes_
    {'large': 67, 'small': 33}
    >>> new = next(phantoms.cases(1, seed=2))
    >>> by_size.predict(new.score).shape, by_size.complies(new)
    ((48, 48), True)
    """

    method: M
    group: GroupFunction | None = None
    _methods: dict[str, M] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.method, SplitConformal):
            raise TypeError(
                f"expected CLS, ConfidenceSets or Margin, found a {type(self.method).__name__}"
            )
        if self.group is not None and not callable(self.group):
            raise TypeError(f"group must be a function, found {self.group!r}")

    def calibrate(
        self, cases: Iterable[Case], n_jobs: int | None = 1, progress: bool = False
    ) -> Self:
        """Choose the cut-offs of every group.

        The cases are read once, one at a time, and only a few numbers of each are kept.

        Parameters
        ----------
        cases : iterable of Case
            Any iterable, a generator included; one case per patient. Never cases that the
            segmenter was trained on.
        n_jobs : int or None, default 1
            Number of parallel jobs (joblib).
        progress : bool, default False
            Whether to show a progress bar.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there is no usable case, one is unsound, or has no group.

        Warns
        -----
        UserWarning
            If groups are too small for `alpha`, which makes their predictions trivial, or if
            cases without lesion were left out.
        """
        self._methods = None
        return self._calibrate_rows(list(per_case(self._row, cases, n_jobs, progress)))

    def _calibrate_rows(self, rows: list[Grouped]) -> Self:
        """`calibrate` for cases whose numbers and groups are known."""
        kept = without_empty(rows, getattr(self.method, "empty", "zero"), stacklevel=4)
        self.method._check_one_spacing_rule([row.numbers for row in kept])
        methods = {}
        for name in sorted({row.group for row in kept}):
            methods[name] = copy.copy(self.method)
            members = [row.numbers for row in kept if row.group == name]
            excluded = sum(row.group == name for row in rows) - len(members)
            methods[name]._calibrate_on(members, excluded)
        self._methods = methods
        self._warn_of_small_groups()
        return self

    @property
    def methods_(self) -> dict[str, M]:
        """The calibrated method of each group, by name."""
        if self._methods is None:
            raise NotCalibratedError(f"{self!r} has not been calibrated: call calibrate first")
        return self._methods

    @property
    def sizes_(self) -> dict[str, int]:
        """Number of cases that calibrated each group, by name."""
        return {name: method.n_ for name, method in self.methods_.items()}

    def predict(
        self, score: ArrayLike, spacing: Sequence[float] | None = None, group: str | None = None
    ) -> Any:
        """What the method of the case's group predicts.

        Parameters
        ----------
        score : array_like
            Score image.
        spacing : sequence of float, optional
            Voxel spacing in mm.
        group : str, optional
            Name of the group; needed where there is no function that finds it, and refused
            where there is one.

        Returns
        -------
        ndarray of bool, or Sets
            What the method returns.

        Raises
        ------
        ValueError
            If the group is missing or was not among the calibration cases, or the score or the
            spacing is unsound.
        """
        image = as_score(score)
        steps = as_spacing(spacing, image.ndim)
        if (group is None) == (self.group is None):
            wanted = "give the group of the case" if group is None else "the function finds it"
            raise ValueError(f"group={group!r}: {wanted}")
        method = self._of(group if self.group is None else self.group(image, steps))
        if "spacing" in inspect.signature(method.predict).parameters:  # type: ignore[attr-defined]
            return method.predict(image, steps)  # type: ignore[attr-defined]
        return method.predict(image)  # type: ignore[attr-defined]

    def complies(self, case: Case) -> bool:
        """Whether the prediction for `case` keeps every promise; counted in voxels.

        Parameters
        ----------
        case : Case
            A case with its truth.

        Returns
        -------
        bool
            As the method of its group says.

        Raises
        ------
        ValueError
            If its group was not among the calibration cases.
        """
        with naming(f"case {case.name!r}"):
            method = self._of(self._name(case))
        return method.complies(case)

    def statement(self) -> str:
        """The guarantee in words, group by group.

        Returns
        -------
        str
            One paragraph per group.
        """
        opening = (
            "Calibrated by group: each paragraph holds among the cases of its group, and says "
            "nothing of a part of it."
        )
        return "\n\n".join(
            [opening, *(f"Group {name!r}. {m.statement()}" for name, m in self.methods_.items())]
        )

    def to_json(self, path: storage.Path | None = None) -> str:
        """The calibrated groups as JSON, also written to `path` if one is given.

        Parameters
        ----------
        path : path-like, optional
            File to write; it appears only when it is complete.

        Returns
        -------
        str
            The JSON text. A function that finds the group is not part of it.
        """
        data = {
            "format": FORMAT,
            "function": self.group is not None,
            "groups": {name: json.loads(m.to_json()) for name, m in self.methods_.items()},
        }
        return storage.seal(data, path)

    @classmethod
    def from_json(
        cls,
        source: storage.Path,
        method: type[M],
        group: GroupFunction | None = None,
        **functions: Any,
    ) -> Self:
        """Calibrated groups from JSON.

        Parameters
        ----------
        source : path-like or str
            A file, or the text that `to_json` returned.
        method : type
            `CLS`, `ConfidenceSets` or `Margin`, as it was.
        group : callable, optional
            The function that finds the group, where there was one.
        **functions : callable
            Your own fields by parameter name, which JSON cannot hold.

        Returns
        -------
        The calibrated groups.

        Raises
        ------
        ValueError
            If the text is damaged or of another method, or a function is missing or too many.
        """
        label, data = storage.load(source)
        with naming(label):
            storage.check_seal(data, FORMAT)
            if data["function"] != (group is not None):
                wanted = "the function that finds the group" if data["function"] else "no function"
                raise ValueError(f"expected {wanted}, found group={group!r}")
            methods = {
                name: method.from_json(json.dumps(stored), **functions)
                for name, stored in data["groups"].items()
            }
        uncalibrated = copy.copy(next(iter(methods.values())))
        uncalibrated._calibration = None
        result = cls(uncalibrated, group)
        result._methods = methods
        return result

    def _row(self, case: Case) -> Grouped:
        return Grouped(self.method._case_numbers(case), self._name(case))

    def _name(self, case: Case) -> str:
        name = case.group if self.group is None else self.group(case.score, case.spacing)
        if not isinstance(name, str) or not name:
            raise ValueError(f"expected the name of a group, found {name!r}")
        return name

    def _of(self, name: str | None) -> M:
        if name not in self.methods_:
            raise ValueError(f"no calibration case was of group {name!r}, only {self.sizes_}")
        return self.methods_[str(name)]

    def _warn_of_small_groups(self) -> None:
        needed = max(fewest_cases(promise.alpha) for promise in self.method._promises)
        small = {name: n for name, n in self.sizes_.items() if n < needed}
        if small:
            warnings.warn(
                f"too few calibration cases in the groups {small}, at least {needed} are needed in "
                "each: predictions there are trivial. Join groups, or find more cases",
                stacklevel=4,
            )


def predicted_volume(
    score: ArrayLike, spacing: Sequence[float] | None = None, threshold: float = 0.5
) -> float:
    """Volume of the predicted mask ``{score >= threshold}``: a size that needs no truth.

    Parameters
    ----------
    score : array_like
        Score image or predicted mask.
    spacing : sequence of float, optional
        Voxel spacing in mm.
    threshold : float, default 0.5
        Where a score is given, where to cut it.

    Returns
    -------
    float
        In cubic mm (square mm in two dimensions), or voxels without spacing.

    Examples
    --------
    >>> predicted_volume([[0.2, 0.6], [0.9, 0.4]], spacing=(3.0, 0.5))
    3.0
    """
    image = as_score(score)
    steps = as_spacing(spacing, image.ndim)
    mask = image if image.dtype == np.bool_ else image >= threshold
    return float(np.count_nonzero(mask) * np.prod(steps or 1.0))
