"""Which method prices each family."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from .cells import NO_TABLE
from .claims import Claims, bermudan, beyond, claims_of, curved, dated
from .contracts import CURVES, TABLES, TYPES
from .families import taken
from .lifetimes import Events, Segments, events_of, segments_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .cells import Cells
    from .families import Families

    Booleans = NDArray[np.bool_]
    Codes = NDArray[np.uint8]
    Indices = NDArray[np.int64]

# How a family is priced; the first four are places in METHODS. A plain one by the closed form of
# European options, by the march that every expiry shares, or by a closed form for strong drift; any
# other by the closed form of claims with barriers, or by a march through its schedule.
# What no equation in the spot alone prices, or is to be simulated, is decided cell by cell.
INVALID, ANALYTIC, FINITE_DIFFERENCE, MONTE_CARLO, UNSUPPORTED, SWEPT, CLOSED, SCHEDULED, BEYOND = (
    range(9)
)
LEAST_VOL = 1e-9  # below it an American option's price and its limit at vol 0 do not differ
SWEPT_RATIO = 150.0  # of drift to diffusion, |r - q| sqrt(T) / vol, that no mesh resolves


@dataclass(frozen=True, slots=True)
class Special:
    """What the F families that are not plain vanillas owe, per unit, and what happens to them."""

    claims: Claims
    segments: Segments
    events: Events

    def take(self, chosen: Indices) -> Special:
        """Return what these families owe, at places that increase."""
        claims = {f.name: getattr(self.claims, f.name)[chosen] for f in fields(Claims)}
        offsets, kept = taken(self.segments.offsets, chosen)
        segments = Segments(offsets, *(row[kept] for row in self.segments[1:]))
        offsets, kept = taken(self.events.offsets, chosen)
        events = Events(offsets, *(row[kept] for row in self.events[1:]))  # type: ignore[arg-type]
        return Special(Claims(**claims), segments, events)


@dataclass(frozen=True, slots=True)
class Choice:
    """How each of F families is priced: `codes`, shape (F,).

    `places` are those that are not plain and have an expiry to come, `special` what they owe.
    """

    codes: Codes
    places: Indices
    special: Special | None


def plain_cells(cells: Cells) -> Booleans:
    """Tell which cells are European or American vanillas on which nothing depends on a date."""
    where: Booleans = (cells.type == 0) & (cells.model == 0)
    if set(cells.columns) & {"exercise_dates", *TABLES, *(f"{name}_curve" for name in CURVES)}:
        where = where & ~dated(cells)
    elif "exercise" in cells.columns:
        where = where & ~bermudan(cells)
    return where


def exact_alone(cells: Cells, method: str) -> Booleans:
    """Tell which cells a closed form prices whatever family they are in: plain European ones."""
    if method in ("finite_difference", "monte_carlo"):
        return np.zeros(len(cells), dtype=bool)
    where: Booleans = plain_cells(cells) & (cells.exercise == 0)
    return where


def special_of(families: Families) -> Special:
    """Describe families with at least one positive expiry each."""
    claims = claims_of(families.cells)
    return Special(claims.relative(), segments_of(families), events_of(families, claims))


def methods_of(families: Families, method: str) -> Codes:
    """Return how each family is priced, shape (F,)."""
    return choose(families, method).codes


def choose(families: Families, method: str) -> Choice:
    """Choose how each family is priced."""
    codes = _plain_methods(families, method)
    not_plain = ~plain_cells(families.cells) | (codes == UNSUPPORTED)
    codes[not_plain] = CLOSED
    codes[beyond(families.cells) | (method == "monte_carlo")] = BEYOND
    codes[~families.priced] = INVALID
    live = not_plain & (codes != BEYOND) & (np.diff(families.expiry_offsets) > 0) & families.priced
    places = np.flatnonzero(live)
    if not len(places):
        return Choice(codes, places, None)
    special = special_of(families.take(places))
    codes[places] = _special_methods(special, method)
    return Choice(codes, places, special)


def _plain_methods(families: Families, method: str) -> Codes:
    """Choose for vanillas of constant rate, yield and vol.

    A put is never exercised early if r <= 0 and r <= q, a call if q <= 0 and q <= r: the European
    price is exact then. Between, with q < r <= 0 for a put and r < q <= 0 for a call, there are
    two exercise boundaries (Battauz, De Donno and Sbuelz 2015), which this march does not have:
    unsupported here. Where the drift sweeps diffusion aside the mesh would have to be finer than
    it may be.
    """
    cells = families.cells
    put = cells.right < 0
    cost = np.where(put, cells.rate, cells.dividend_yield)
    gain = np.where(put, cells.dividend_yield, cells.rate)
    american = cells.exercise > 0
    still = cells.vol < LEAST_VOL
    exact = ~american | ((cost <= 0) & (cost <= gain))
    if method == "finite_difference":
        exact[:] = False
    codes = np.where(exact | still, ANALYTIC, FINITE_DIFFERENCE)
    longest = np.zeros(len(families))
    some = np.diff(families.expiry_offsets) > 0
    longest[some] = families.expiries[families.expiry_offsets[1:][some] - 1]
    with np.errstate(invalid="ignore", over="ignore"):
        drift = np.abs(cells.rate - cells.dividend_yield) * np.sqrt(longest)
        swept = drift > SWEPT_RATIO * cells.vol
    codes[american & ~exact & ~still & swept] = SWEPT
    codes[american & (cost < 0) & (cost > gain) & ~still] = UNSUPPORTED
    return codes.astype(np.uint8)


def _special_methods(special: Special, method: str) -> Codes:
    """Choose for everything else: the closed form where it is exact."""
    claims, segments, events = special.claims, special.segments, special.events
    flat = np.diff(segments.offsets) == 1
    exercised = _any(events.exercise, events.offsets) | (claims.american > 0)
    cash, proportional = (_any(p, events.offsets) for p in (events.cash, events.proportional))
    watched = claims.knock > 0
    undisturbed = flat & ~cash & ~proportional & (claims.continuous > 0)
    closed = ~exercised & np.where(watched, undisturbed, ~cash | (claims.escrowed > 0))
    still = np.minimum.reduceat(segments.vol, segments.offsets[:-1]) < LEAST_VOL
    impossible = (claims.escrowed > 0) & (watched | proportional)
    impossible |= exercised & ~_is_vanilla(claims)
    codes = np.where(closed & ((method != "finite_difference") | still), CLOSED, SCHEDULED)
    open_ = codes == SCHEDULED
    codes[open_ & (impossible | still | (method == "analytic"))] = UNSUPPORTED
    return codes.astype(np.uint8)


def _any(values: NDArray[np.generic], offsets: NDArray[np.int64]) -> Booleans:
    """Tell which families have a value that is not 0 among theirs, shape (F,)."""
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return np.bincount(owner[values != 0], minlength=len(offsets) - 1) > 0


def _is_vanilla(claims: Claims) -> Booleans:
    """Tell which claims pay what the spot is beyond the kink, with which exercise has a value."""
    where: Booleans = np.abs(claims.alpha) * claims.kink == np.abs(claims.beta)
    return where


UNSUPPORTED_REASONS = (
    "has no closed form, and no mesh that finite differences may take resolves it",
    "has no vol, and dates or barriers that need one",
    "can be exercised early only with a vanilla payoff",
    "has escrowed dividends, which go neither with barriers nor with proportional ones",
    "is priced by no method that is allowed here; docs/simulation.md says what is simulated",
)


def why_unsupported(cells: Cells) -> NDArray[np.int64]:
    """Return the place in `UNSUPPORTED_REASONS` of why no method prices each cell, shape (n,)."""
    claims = claims_of(cells)
    escrowed = (claims.escrowed > 0) & (
        (claims.knock > 0) | (cells.proportional_dividends != NO_TABLE)
    )
    odd = (cells.exercise > 0) & ~_is_vanilla(claims)
    still = ~curved(cells) & (cells.vol < LEAST_VOL)
    odd &= cells.type != TYPES["basket"]
    return np.select([escrowed, odd, beyond(cells), still], [3, 2, 4, 1], 0)
