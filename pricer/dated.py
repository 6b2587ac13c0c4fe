"""Values with times: curves, dividends and dates; each is one value of a cell.

Times are years from now. As text, entries stand between semicolons: ``0.25:1.5;0.75:1.5`` is two
dividends, or a curve that is 1.5 up to 0.75 and stays so; ``0.25;0.5`` is two dates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Numbers = Sequence[float] | NDArray[Any]

MOST_TIMES = 10_000


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


Table = Curve | Dividends | Dates


def table_text(table: Table) -> str:
    """Spell a table as `parse_table` reads it.

    >>> table_text(Dividends((0.25, 0.75), (1.5, 1.5)))
    '0.25:1.5;0.75:1.5'
    """
    if isinstance(table, Dates):
        return ";".join(map(repr, table.times))
    amounts = table.values if isinstance(table, Curve) else table.amounts
    return ";".join(f"{t!r}:{a!r}" for t, a in zip(table.times, amounts, strict=True))


def parse_table(kind: type[Table], text: str) -> Table:
    """Read a table as text spells it.

    >>> parse_table(Dates, "0.25; 0.5").times
    (0.25, 0.5)
    """
    rows = [entry.split(":") for entry in text.split(";") if entry.strip()]
    width, shape = (1, "0.25;0.5") if kind is Dates else (2, "0.25:1.5;0.75:1.5")
    if any(len(row) != width for row in rows):
        raise SpecError(f"must be as {shape}, got {text[:60]!r}")
    try:
        columns = [tuple(map(float, column)) for column in zip(*rows, strict=True)]
    except ValueError:
        raise SpecError(f"must be numbers as {shape}, got {text[:60]!r}") from None
    return kind(*(columns or [()] * width))  # type: ignore[arg-type]


def _check(table: Any, name: str = "", others: Numbers | None = None, least: int = 0) -> None:
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
    if times and not times[0] > 0:
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
