"""What is owed (`Vanilla`), the state of the world (`Market`), and the flat cells they become.

Times are years, rates and yields continuously compounded per year, vol per square root of a year.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from difflib import get_close_matches
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Words = str | Iterable[str] | NDArray[np.str_]

MEASURES = ("price", "delta", "gamma", "vega", "theta", "rho", "dividend_rho")
METHODS = ("auto", "analytic", "finite_difference")
DEFAULT_TOLERANCE = 1e-5

RIGHTS = {"call": 1, "put": -1}
EXERCISES = {"european": 0, "american": 1}
WORDS = {"right": RIGHTS, "exercise": EXERCISES}
NUMBERS = ("spot", "strike", "expiry", "vol", "rate", "dividend_yield")
INPUTS = (*WORDS, *NUMBERS)
DEFAULTS: dict[str, str | float] = {"exercise": "european", "dividend_yield": 0.0}
NOT_NEGATIVE = ("spot", "strike", "expiry", "vol")


class Status(IntEnum):
    """How a cell ended. Appended to, never renumbered."""

    ok = 0
    invalid = 1
    tolerance = 2
    unsupported = 3


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for a near miss of a known word, or nothing."""
    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def code_of(field: str, word: object) -> int:
    """Turn one word of `field` into its code; `right` also takes c and p, in any case."""
    codes = WORDS[field]
    if isinstance(word, str):
        lower = word.strip().lower()
        if field == "right":
            lower = {"c": "call", "p": "put"}.get(lower, lower)
        if lower in codes:
            return codes[lower]
    hint = suggest(word, codes) if isinstance(word, str) else ""
    raise SpecError(f"{field}: must be {' or '.join(codes)}, got {word!r}{hint}")


def check_measures(measures: Iterable[str]) -> tuple[str, ...]:
    """Return `measures` in the order of `MEASURES`, without repeats."""
    if isinstance(measures, str):
        raise SpecError(f"measures: must be a list of names, got {measures!r}")
    asked = list(measures)
    for measure in asked:
        if measure not in MEASURES:
            hint = suggest(str(measure), MEASURES)
            raise SpecError(f"measures: must be of {', '.join(MEASURES)}; got {measure!r}{hint}")
    if not asked:
        raise SpecError("measures: must name at least one")
    return tuple(m for m in MEASURES if m in asked)


def check_method(method: object) -> str:
    """Return `method` if there is one of that name."""
    if method not in METHODS:
        raise SpecError(
            f"method: must be one of {', '.join(METHODS)}; got {method!r}"
            + suggest(str(method), METHODS)
        )
    return str(method)


def check_tolerance(tolerance: object) -> float:
    """Return `tolerance` (largest error per unit of strike) as a float in [1e-12, 1]."""
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float):
        raise SpecError(f"tolerance: must be a number, got {tolerance!r}")
    if not 1e-12 <= tolerance <= 1:
        raise SpecError(f"tolerance: must lie between 1e-12 and 1, got {tolerance!r}")
    return float(tolerance)


def _codes(field: str, words: Words) -> NDArray[np.int8]:
    array = np.asarray(words)
    if array.dtype.kind not in "UT" and not all(isinstance(word, str) for word in array.flat):
        got = " ".join(repr(words).split())
        raise SpecError(f"{field}: must be a word or an array of words, got {got[:80]}")
    unique, inverse = np.unique(array.astype(np.str_), return_inverse=True)
    codes = np.array([code_of(field, word) for word in unique.tolist()], dtype=np.int8)
    return codes[inverse].reshape(array.shape)


def _numbers(field: str, values: ArrayLike) -> Floats:
    try:
        array: Any = np.ma.asanyarray(values)
    except ValueError:  # a ragged list
        array = np.ma.asanyarray("")
    if array.dtype.kind not in "iuf":
        got = " ".join(repr(values).split())
        raise SpecError(f"{field}: must be a number or an array of numbers, got {got[:80]}")
    numbers: Floats = np.asarray(array.astype(np.float64).filled(np.nan))
    if numbers.ndim == 0:
        check_number(field, float(numbers))
    return numbers


def check_number(field: str, value: float) -> None:
    """Raise `SpecError` if no cell can have this value."""
    if reason := number_reason(field, value):
        raise SpecError(f"{field}: {reason}")


def number_reason(field: str, value: float) -> str:
    """Say why `value` cannot be a `field`; empty if it can."""
    if np.isnan(value):
        return "is missing"
    if np.isinf(value):
        return f"must be finite, got {value}"
    if field in NOT_NEGATIVE and value < 0:
        return f"must not be negative, got {value}"
    return ""


@dataclass(frozen=True, slots=True, eq=False)
class Vanilla:
    """A call or a put, European or American. Fields are scalars or arrays that broadcast.

    A scalar that no option can have raises `SpecError`; in an array it marks its own cells
    invalid and leaves the others alone.
    """

    right: Words
    strike: ArrayLike
    expiry: ArrayLike
    exercise: Words = "european"


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """The state of a Black-Scholes world. Fields are scalars or arrays that broadcast."""

    spot: ArrayLike
    vol: ArrayLike
    rate: ArrayLike
    dividend_yield: ArrayLike = 0.0


@dataclass(frozen=True, slots=True)
class Cells:
    """Flat inputs of n cells, every field of shape (n,). A missing number is NaN."""

    right: NDArray[np.int8]
    exercise: NDArray[np.int8]
    spot: Floats
    strike: Floats
    expiry: Floats
    vol: Floats
    rate: Floats
    dividend_yield: Floats

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.spot)

    def __getitem__(self, index: Any) -> Cells:
        """Return the cells that a NumPy index of the first dimension selects."""
        return Cells(*(np.atleast_1d(getattr(self, f.name)[index]) for f in fields(self)))

    def valid(self) -> NDArray[np.bool_]:
        """Tell which cells can be priced, shape (n,)."""
        good = np.ones(len(self), dtype=bool)
        for name in NUMBERS:
            values = getattr(self, name)
            good &= np.isfinite(values)
            if name in NOT_NEGATIVE:
                good &= values >= 0
        return good

    def reason(self, index: int) -> str:
        """Say why the cell at `index` cannot be priced; empty if its inputs can be."""
        reasons = ((n, number_reason(n, float(getattr(self, n)[index]))) for n in NUMBERS)
        return "; ".join(f"{name} {reason}" for name, reason in reasons if reason)


def broadcast(contract: Vanilla, market: Market) -> tuple[Cells, tuple[int, ...]]:
    """Broadcast every field by NumPy's rules; return the flat cells and their common shape."""
    given = {f.name: getattr(part, f.name) for part in (contract, market) for f in fields(part)}
    arrays: dict[str, Any] = {
        name: _codes(name, given[name]) if name in WORDS else _numbers(name, given[name])
        for name in INPUTS
    }
    try:
        shape = np.broadcast_shapes(*(a.shape for a in arrays.values()))
    except ValueError:
        shapes = ", ".join(f"{n} {a.shape}" for n, a in arrays.items() if a.ndim)
        raise SpecError(f"fields: shapes must broadcast, got {shapes}") from None
    flat = {n: np.broadcast_to(a, shape).reshape(-1) for n, a in arrays.items()}
    return Cells(**flat), shape


@dataclass(frozen=True, slots=True)
class Families:
    """What one solve must know of each of F families, as the whole file defines it.

    A family is the set of cells with equal right, exercise, vol, rate and dividend yield.
    `expiries` holds each family's positive expiries, increasing, family after family;
    family f owns ``expiries[expiry_offsets[f]:expiry_offsets[f + 1]]``. `moneyness_low` and
    `moneyness_high` bound spot / strike over its valid cells with positive spot, strike and
    expiry (both 1 where there is none); a quotient, since NumPy's log has other bits on other
    machines. A family that cannot be priced has a NaN among its keys.
    """

    right: NDArray[np.int8]
    exercise: NDArray[np.int8]
    vol: Floats
    rate: Floats
    dividend_yield: Floats
    moneyness_low: Floats
    moneyness_high: Floats
    expiry_offsets: NDArray[np.int64]
    expiries: Floats

    def __len__(self) -> int:
        """Return the number of families."""
        return len(self.vol)

    def __getitem__(self, index: slice) -> Families:
        """Return a contiguous range of families."""
        start, stop, _ = index.indices(len(self))
        offsets = self.expiry_offsets[start : stop + 1]
        return Families(
            self.right[start:stop],
            self.exercise[start:stop],
            self.vol[start:stop],
            self.rate[start:stop],
            self.dividend_yield[start:stop],
            self.moneyness_low[start:stop],
            self.moneyness_high[start:stop],
            offsets - offsets[0],
            self.expiries[offsets[0] : offsets[-1]],
        )


def sort_by_family(cells: Cells) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Order cells by family, then expiry.

    Returns the permutation, shape (n,), and the offsets, shape (F + 1,), of the families in it.
    Cells that cannot be priced come last and form one family of their own.
    """
    valid = cells.valid()
    keys = (cells.dividend_yield, cells.rate, cells.vol, cells.exercise, cells.right)
    order = np.lexsort((cells.expiry, *keys, ~valid))
    if not len(order):
        return order, np.zeros(1, dtype=np.int64)
    sorted_valid = valid[order]
    change = sorted_valid[1:] != sorted_valid[:-1]
    for key in keys:
        column = key[order]
        change |= (column[1:] != column[:-1]) & sorted_valid[1:]
    offsets = np.concatenate(([0], np.flatnonzero(change) + 1, [len(order)]))
    return order, offsets.astype(np.int64)


def families_of(cells: Cells, offsets: NDArray[np.int64]) -> Families:
    """Describe the families of `cells`, which `sort_by_family` ordered and `offsets` delimit."""
    first = offsets[:-1]
    count = len(first)
    family = np.repeat(np.arange(count), np.diff(offsets))
    valid = cells.valid()
    live = valid & (cells.spot > 0) & (cells.strike > 0) & (cells.expiry > 0)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    with np.errstate(over="ignore", under="ignore"):
        moneyness = cells.spot[live] / cells.strike[live]
    np.minimum.at(low, family[live], moneyness)
    np.maximum.at(high, family[live], moneyness)
    low[low == np.inf] = 1.0
    high[high == -np.inf] = 1.0
    owner, expiry = family[live], cells.expiry[live]
    new = np.ones(len(expiry), dtype=bool)
    new[1:] = (expiry[1:] != expiry[:-1]) | (owner[1:] != owner[:-1])
    owner, expiry = owner[new], expiry[new]
    expiry_offsets = np.searchsorted(owner, np.arange(count + 1))
    priced = np.where(valid[first], 1.0, np.nan)
    return Families(
        right=cells.right[first],
        exercise=cells.exercise[first],
        vol=cells.vol[first] * priced,
        rate=cells.rate[first],
        dividend_yield=cells.dividend_yield[first],
        moneyness_low=low,
        moneyness_high=high,
        expiry_offsets=expiry_offsets.astype(np.int64),
        expiries=expiry,
    )
