"""The self-check of the exercises: says whether an answer is right without revealing it."""

import hashlib
import itertools
import math
import re
from decimal import Decimal
from fractions import Fraction
from types import EllipsisType
from typing import Any, Final

import numpy as np

__all__ = ["check", "digest"]

_LONGEST: Final = 8  # numbers in one answer: each doubles the roundings to try


def digest(answer: Any, decimals: int = 3) -> str:
    """Make the digest of a right answer, for the author of an exercise.

    Parameters
    ----------
    answer : number, bool, str, or sequence of at most 8 of these
        The answer. NumPy scalars and one-dimensional arrays do as well; strings are compared
        without regard to case and white space.
    decimals : int
        Decimals of a number that count.

    Returns
    -------
    str
        Twelve hexadecimal digits.

    Raises
    ------
    TypeError
        If the answer is of another kind.
    ValueError
        If it is NaN, or a sequence of more than 8.

    Examples
    --------
    >>> digest(0.9)
    '9b3a4415e8bc'
    >>> digest(0.90004) == digest(0.9)
    True
    """
    return _hash([_rounded(part, decimals) for part in _parts(answer)], _is_sequence(answer))


def check(answer: Any, digest: str, decimals: int = 3) -> None:
    """Print whether an answer is right, without revealing the right one.

    A number is right if it rounds to the truth in the last decimal, up or down, so that an
    answer within half a unit of that decimal is never turned away at a rounding boundary.

    Parameters
    ----------
    answer : number, bool, str, sequence of at most 8 of these, None or Ellipsis
        The reader's answer; ``None`` and ``...`` stand for none yet.
    digest : str
        What :func:`confseg.exercises.digest` made of the right answer.
    decimals : int
        Decimals of a number that count, as given to :func:`confseg.exercises.digest`.

    Raises
    ------
    TypeError
        If the answer is of another kind.
    ValueError
        If it is NaN or too long, or the digest is not one.

    Examples
    --------
    >>> check(9 / 10, "9b3a4415e8bc")
    Right.
    >>> check(0.8, "9b3a4415e8bc")
    Not yet: this is not the answer (decimals compared: 3). Try again.
    >>> check(..., "9b3a4415e8bc")
    Not answered yet: put your answer in place of the dots.
    """
    if not re.fullmatch("[0-9a-f]{12}", digest):
        raise ValueError(f"expected a digest of 12 hexadecimal digits; got {digest!r}")
    if answer is None or isinstance(answer, EllipsisType):
        print("Not answered yet: put your answer in place of the dots.")
        return
    parts = _parts(answer)
    choices = itertools.product(*(_neighbors(part, decimals) for part in parts))
    if any(_hash(list(choice), _is_sequence(answer)) == digest for choice in choices):
        print("Right.")
    elif any(isinstance(part, Fraction) and part.denominator != 1 for part in parts):
        print(f"Not yet: this is not the answer (decimals compared: {decimals}). Try again.")
    else:
        print("Not yet: this is not the answer. Try again.")


def _is_sequence(answer: Any) -> bool:
    return isinstance(answer, list | tuple) or np.ndim(answer) > 0


def _parts(answer: Any) -> list[Any]:
    """The scalars of an answer: fractions, infinities, bools, and tidied strings."""
    if not _is_sequence(answer):
        return [_scalar(answer)]
    if len(answer) > _LONGEST:
        raise ValueError(f"an answer has at most {_LONGEST} parts; got {len(answer)}")
    return [_scalar(part) for part in answer]


def _scalar(value: Any) -> Any:
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return " ".join(value.casefold().split())
    if not isinstance(value, int | float | Fraction | Decimal):
        raise TypeError(
            "an answer is a number, a bool, a string, or a short sequence of these; "
            f"got {type(value).__name__}"
        )
    if math.isnan(value):
        raise ValueError("NaN is not a number, so it cannot be checked")
    return float(value) if math.isinf(value) else Fraction(value)


def _rounded(part: Any, decimals: int) -> Any:
    return round(part * Fraction(10) ** decimals) if isinstance(part, Fraction) else part


def _neighbors(part: Any, decimals: int) -> set[Any]:
    """The roundings of a number down and up; anything else is itself."""
    if not isinstance(part, Fraction):
        return {part}
    # Binary noise is taken off first: 0.9 is a little more than 900 thousandths, but not 901.
    scaled = round(part * Fraction(10) ** decimals, 6)
    return {math.floor(scaled), math.ceil(scaled)}


def _hash(parts: list[Any], sequence: bool) -> str:
    words = ["confseg", "sequence" if sequence else "scalar"]
    words += [f"{type(part).__name__}:{part}" for part in parts]
    return hashlib.sha256("\x1f".join(words).encode()).hexdigest()[:12]
