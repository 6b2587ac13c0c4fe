"""Values of several numbers: curves, dividends, dates, vectors; each is one value of a cell.

Times are years from now. As text, entries stand between semicolons: ``0.25:1.5;0.75:1.5`` is two
dividends, or a curve that is 1.5 up to 0.75 and stays so; ``0.25;0.5`` is two dates, or a vector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Numbers = Sequence[float] | NDArray[Any]

MOST_TIMES = 10_000
MOST_ASSETS = 100
LEAST_EIGENVALUE = 1e-9  # below 0 by no more than this, a matrix is rounded


@dataclass(frozen=True, slots=True)
class Curve:
    """A piecewise constant rate, yield or vol: values[i] up to times[i], the last ever after."""

    times: Numbers
    values: Numbers
    label: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        _check(self, "values", self.values, least=1)

    @property
    def called(self) -> str:
        """What the curve is called in outputs and queries: the label, or the text."""
        return self.label or table_text(self)

    @property
    def flat(self) -> bool:
        """Whether the curve is one number."""
        return len(set(self.values)) == 1


@dataclass(frozen=True, slots=True)
class Dividends:
    """What is paid at some times: amounts of cash, or fractions of the spot."""

    times: Numbers
    amounts: Numbers
    label: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        _check(self, "amounts", self.amounts)
        for amount in self.amounts:
            if amount < 0:
                raise SpecError(f"dividends: amounts must not be negative, got {amount}")

    @property
    def called(self) -> str:
        """What the dividends are called in outputs and queries: the label, or the text."""
        return self.label or table_text(self)


@dataclass(frozen=True, slots=True)
class Dates:
    """Times at which an option may be exercised, or its barrier is watched."""

    times: Numbers
    label: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        _check(self)

    @property
    def called(self) -> str:
        """What the dates are called in outputs and queries: the label, or the text."""
        return self.label or table_text(self)


@dataclass(frozen=True, slots=True)
class Fixings:
    """Times at which the spot is noted; 0 is now."""

    times: Numbers
    label: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        _check(self, least=1, now=True)

    @property
    def called(self) -> str:
        """What the fixings are called in outputs and queries: the label, or the text."""
        return self.label or table_text(self)


@dataclass(frozen=True, slots=True)
class Vector:
    """One number for each asset of a basket."""

    values: Numbers
    label: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        values = _floats("vector: values", self.values)
        object.__setattr__(self, "values", values)
        if not 1 <= len(values) <= MOST_ASSETS:
            raise SpecError(f"vector: must have 1 to {MOST_ASSETS} values, got {len(values)}")

    @property
    def called(self) -> str:
        """What the vector is called in outputs and queries: the label, or the text."""
        return self.label or table_text(self)


@dataclass(frozen=True, slots=True)
class Correlation:
    """How the assets of a basket move together.

    `values` is one number for every pair, a square matrix, or what of it is above the diagonal,
    row by row; it is kept as one number or as the last of these.
    """

    values: float | Numbers | Sequence[Numbers] | NDArray[Any]
    label: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        values = _floats("correlation: values", _upper_part(self.values))
        object.__setattr__(self, "values", values)
        for value in values:
            if not -1.0 <= value <= 1.0:
                raise SpecError(f"correlation: values must lie between -1 and 1, got {value}")
        if len(values) > 1:
            smallest = float(np.linalg.eigvalsh(self.matrix(self.assets))[0])
            if smallest < -LEAST_EIGENVALUE:
                raise SpecError(
                    "correlation: matrix must be positive semidefinite,"
                    f" got a smallest eigenvalue of {smallest:.3g}"
                )

    @property
    def assets(self) -> int:
        """The number of assets; 0 where one number stands for any."""
        return (1 + math.isqrt(1 + 8 * len(self.values))) // 2 if len(self.values) > 1 else 0  # type: ignore[arg-type]

    def matrix(self, assets: int) -> NDArray[np.float64]:
        """Return the correlation matrix of so many assets."""
        matrix = np.eye(assets)
        above = np.triu_indices(assets, 1)
        matrix[above] = self.values
        matrix.T[above] = self.values
        return matrix

    @property
    def called(self) -> str:
        """What the correlation is called in outputs and queries: the label, or the text."""
        return self.label or table_text(self)


Table = Curve | Dividends | Dates | Fixings | Vector | Correlation
# Tables that are one list of numbers, and what it is called.
LISTS: dict[type[Table], str] = {
    Dates: "times", Fixings: "times", Vector: "values", Correlation: "values",
}  # fmt: skip


def _upper_part(values: Any) -> Any:
    """Return the entries of a matrix above its diagonal; of what is none, a list."""
    if isinstance(values, int | float):
        return (values,)
    rows = list(values)
    if not rows or not all(hasattr(row, "__len__") and not isinstance(row, str) for row in rows):
        pairs = [n * (n - 1) // 2 for n in range(2, MOST_ASSETS + 1)]
        if len(rows) not in pairs:
            raise SpecError(
                f"correlation: must have 1, 3, 6, 10, ... values, one a pair, got {len(rows)}"
            )
        return rows
    for i, row in enumerate(rows):
        if len(row) != len(rows):
            raise SpecError(
                f"correlation: matrix must be square, got a row of {len(row)} among {len(rows)}"
            )
        if row[i] != 1:
            raise SpecError(f"correlation: matrix must have ones on its diagonal, got {row[i]}")
        for j in range(i):
            if row[j] != rows[j][i]:
                raise SpecError(
                    f"correlation: matrix must be symmetric, got {row[j]} and {rows[j][i]}"
                )
    if len(rows) < 2:
        raise SpecError("correlation: matrix must be of two assets at least, got one")
    return [row[j] for i, row in enumerate(rows) for j in range(i + 1, len(rows))]


def table_text(table: Table) -> str:
    """Spell a table as `parse_table` reads it.

    >>> table_text(Dividends((0.25, 0.75), (1.5, 1.5)))
    '0.25:1.5;0.75:1.5'
    """
    if name := LISTS.get(type(table)):
        return ";".join(map(repr, getattr(table, name)))
    assert isinstance(table, Curve | Dividends)
    amounts = table.values if isinstance(table, Curve) else table.amounts
    return ";".join(f"{t!r}:{a!r}" for t, a in zip(table.times, amounts, strict=True))


def parse_table(kind: type[Table], text: str) -> Table:
    """Read a table as text spells it.

    >>> parse_table(Dates, "0.25; 0.5").times
    (0.25, 0.5)
    """
    rows = [entry.split(":") for entry in text.split(";") if entry.strip()]
    width, shape = (1, "0.25;0.5") if kind in LISTS else (2, "0.25:1.5;0.75:1.5")
    if any(len(row) != width for row in rows):
        raise SpecError(f"must be as {shape}, got {text[:60]!r}")
    try:
        columns = [tuple(map(float, column)) for column in zip(*rows, strict=True)]
    except ValueError:
        raise SpecError(f"must be numbers as {shape}, got {text[:60]!r}") from None
    return kind(*(columns or [()] * width))  # type: ignore[arg-type]


def _check(
    table: Any,
    name: str = "",
    others: Numbers | None = None,
    least: int = 0,
    *,
    now: bool = False,
) -> None:
    """Make the fields tuples of floats, and raise `SpecError` where they cannot be meant."""
    what = type(table).__name__.lower()
    times = _floats(f"{what}: times", table.times)
    object.__setattr__(table, "times", times)
    if others is not None:
        values = _floats(f"{what}: {name}", others)
        object.__setattr__(table, name, values)
        if len(values) != len(times):
            raise SpecError(
                f"{what}: times and {name} must be as many, got {len(times)} and {len(values)}"
            )
    if not least <= len(times) <= MOST_TIMES:
        raise SpecError(f"{what}: must have {least} to {MOST_TIMES} times, got {len(times)}")
    if times and now and times[0] < 0:
        raise SpecError(f"{what}: times must not be past, in years from now, got {times[0]}")
    if times and not now and not times[0] > 0:
        raise SpecError(f"{what}: times must be above 0, in years from now, got {times[0]}")
    for a, b in pairwise(times):
        if not a < b:
            raise SpecError(f"{what}: times must increase, got {a} then {b}")


def _floats(place: str, values: Iterable[Any]) -> tuple[float, ...]:
    try:
        numbers = tuple(float(value) + 0.0 for value in values)
    except (TypeError, ValueError):
        raise SpecError(f"{place} must be numbers, got {str(values)[:60]}") from None
    for number in numbers:
        if not math.isfinite(number):
            raise SpecError(f"{place} must be finite, got {number}")
    return numbers
