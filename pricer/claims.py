"""What a cell is owed, as kernels know it: one description for every type of contract.

This is the one place where words become symbols. A claim pays ``alpha s + beta`` at expiry where
``theta (s - kink) > 0``, may be knocked out or in by barriers, and then owes rebates.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from .cells import NO_TABLE
from .contracts import CURVES, SIMULATED, TABLES, TYPES, WORDS
from .dated import Vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .cells import Cells

    Codes = NDArray[np.int8]
    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

OUT, IN = 1, 2
CASH_AT_HIT, CASH_AT_EXPIRY, ASSET_AT_HIT, ASSET_AT_EXPIRY = range(4)
_BERMUDAN = WORDS["exercise"]["bermudan"]
_PAYOFF, _TOUCH, _BARRIER = WORDS["payoff"], WORDS["touch_type"], WORDS["barrier_type"]


@dataclass(frozen=True, slots=True)
class Claims:
    """What n cells are owed; every field has shape (n,).

    Attributes
    ----------
    theta, alpha, beta, kink
        The payoff: ``alpha s + beta`` where ``theta (s - kink) > 0``, else nothing.
    knock, lower, upper
        0 where there is no barrier, 1 out, 2 in; the barriers, 0 and infinity where there is none.
    lower_rebate, upper_rebate, timing
        What a knock-out through either barrier pays: cash at hit or expiry, or that many shares at
        hit or expiry (0 to 3). A knock-in that never came in pays the rebate at expiry.
    american, continuous, escrowed
        Whether it may be exercised at any time; whether barriers are watched at any time; whether
        the spot less the present value of dividends is lognormal, rather than the spot between.
    unit, scale
        What spots are measured in (the strike, or a barrier) and what values are.
    """

    theta: Codes
    alpha: Floats
    beta: Floats
    kink: Floats
    knock: Codes
    lower: Floats
    upper: Floats
    lower_rebate: Floats
    upper_rebate: Floats
    timing: Codes
    american: Codes
    continuous: Codes
    escrowed: Codes
    unit: Floats
    scale: Floats

    def relative(self) -> Claims:
        """Return the claims per unit of spot and of value: those of a family are equal."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        of_value = np.where(self.timing >= ASSET_AT_HIT, self.scale / self.unit, self.scale)
        for name in ("kink", "lower", "upper"):
            given[name] = _ratio(given[name], self.unit)
        given["alpha"] = _ratio(given["alpha"], self.scale / self.unit)
        given["beta"] = _ratio(given["beta"], self.scale)
        for name in ("lower_rebate", "upper_rebate"):
            given[name] = _ratio(given[name], of_value)
        return Claims(**given)


def _ratio(a: Floats, b: Floats) -> Floats:
    """Return a / b to 46 bits, so that ratios which are equal but for rounding are equal."""
    # Cells that are invalid are among them.
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        mantissa, exponent = np.frexp(a / b)
    ratio: Floats = np.ldexp(np.rint(mantissa * 2.0**46), exponent - 46)
    return ratio


def claims_of(cells: Cells) -> Claims:
    """Translate the contracts of n valid cells."""
    n = len(cells)
    claim: dict[str, NDArray[Any]] = {
        "theta": np.ones(n, np.int8),
        **{name: np.zeros(n) for name in ("alpha", "beta", "kink", "lower")},
        **{name: np.zeros(n) for name in ("lower_rebate", "upper_rebate")},
        "upper": np.full(n, np.inf),
        **{name: np.zeros(n, np.int8) for name in ("knock", "timing")},
        "american": np.array(cells.exercise == WORDS["exercise"]["american"], np.int8),
        "continuous": np.array(cells.monitoring_dates == NO_TABLE, np.int8),
        "escrowed": np.where(paid_cash(cells), cells.dividend_model, 0).astype(np.int8),
        "unit": np.ones(n),
        "scale": np.ones(n),
    }
    for kind, here in cells.kinds():
        some = slice(None) if here.all() else here
        part = cells if here.all() else cells[here]
        for name, values in _TRANSLATIONS[kind](part).items():
            claim[name][some] = values
    claim["unit"][~(claim["unit"] > 0.0)] = 1.0
    claim["scale"][~(claim["scale"] > 0.0)] = 1.0
    return Claims(**claim)


def _payoff(cells: Cells) -> dict[str, Any]:
    """Translate right, strike and what is paid where it ends in the money."""
    theta, strike, payoff = cells.right.astype(np.float64), cells.strike, cells.payoff
    cash, asset = payoff == _PAYOFF["cash_or_nothing"], payoff == _PAYOFF["asset_or_nothing"]
    against = np.where(payoff == _PAYOFF["gap"], cells.payoff_strike, strike)
    return {
        "theta": cells.right,
        "alpha": np.where(cash, 0.0, np.where(asset, 1.0, theta)),
        "beta": np.where(cash, cells.cash, np.where(asset, 0.0, -theta * against)),
        "kink": strike,
        "unit": strike,
        "scale": np.where(cash, cells.cash, strike),
    }


def _vanilla(cells: Cells) -> dict[str, Any]:
    theta = cells.right.astype(np.float64)
    strike = cells.strike
    return {
        "theta": cells.right, "alpha": theta, "beta": -theta * strike, "kink": strike,
        "unit": strike, "scale": strike,
    }  # fmt: skip


def _barrier(cells: Cells) -> dict[str, Any]:
    kind, level = cells.barrier_type, cells.barrier
    up = (kind == _BARRIER["up_out"]) | (kind == _BARRIER["up_in"])
    knocks_in = (kind == _BARRIER["down_in"]) | (kind == _BARRIER["up_in"])
    return _payoff(cells) | {
        "knock": np.where(knocks_in, IN, OUT),
        "lower": np.where(up, 0.0, level),
        "upper": np.where(up, level, np.inf),
        "lower_rebate": cells.rebate,
        "upper_rebate": cells.rebate,
        "timing": cells.payment,
    }


def _double_barrier(cells: Cells) -> dict[str, Any]:
    return _payoff(cells) | {
        "knock": np.where(cells.barrier_type == _BARRIER["knock_in"], IN, OUT),
        "lower": cells.lower_barrier,
        "upper": cells.upper_barrier,
        "lower_rebate": cells.rebate,
        "upper_rebate": cells.rebate,
        "timing": cells.payment,
    }


def _touch_of(cells: Cells, lower: Floats, upper: Floats) -> dict[str, Any]:
    """Translate a touch: a claim to nothing that is knocked out into its rebates, or a no-touch."""
    asset = cells.payoff == _PAYOFF["asset_or_nothing"]
    none = cells.touch_type == _TOUCH["no_touch"]
    amount = np.where(asset, 1.0, cells.cash)
    on_lower = ~none & (cells.touch_type != _TOUCH["upper_first"])
    on_upper = ~none & (cells.touch_type != _TOUCH["lower_first"])
    unit = np.where(lower > 0.0, lower, upper)
    return {
        "alpha": np.where(none & asset, 1.0, 0.0),
        "beta": np.where(none & ~asset, cells.cash, 0.0),
        "knock": np.full(len(cells), OUT),
        "lower": lower,
        "upper": upper,
        "lower_rebate": np.where(on_lower, amount, 0.0),
        "upper_rebate": np.where(on_upper, amount, 0.0),
        "timing": cells.payment + np.where(asset, ASSET_AT_HIT, CASH_AT_HIT),
        "unit": unit,
        "scale": np.where(asset, unit, cells.cash),
    }


def _touch(cells: Cells) -> dict[str, Any]:
    up = cells.direction == WORDS["direction"]["up"]
    level = cells.barrier
    return _touch_of(cells, np.where(up, 0.0, level), np.where(up, level, np.inf))


def _double_touch(cells: Cells) -> dict[str, Any]:
    return _touch_of(cells, cells.lower_barrier, cells.upper_barrier)


def _on_path(cells: Cells) -> dict[str, Any]:
    """Say what an option on the path of the spot is measured in: its strike, or the spot."""
    floating = cells.strike_type == WORDS["strike_type"]["floating"]
    unit = np.where(floating, cells.spot, cells.strike)
    return {"unit": unit, "scale": unit}


def _on_returns(cells: Cells) -> dict[str, Any]:
    return {"unit": cells.spot, "scale": cells.spot}


def _on_notional(cells: Cells) -> dict[str, Any]:
    return {"unit": cells.notional, "scale": cells.notional}


def _on_assets(cells: Cells) -> dict[str, Any]:
    """Say what a basket is measured in: its strike, or the largest spot where that is more."""
    largest = cells.of_tables("spots", lambda t: max(t.values) if isinstance(t, Vector) else 0.0)
    unit = np.maximum(cells.strike, largest)
    return {"unit": unit, "scale": unit}


_TRANSLATIONS = {
    "vanilla": _vanilla,
    "digital": _payoff,
    "barrier": _barrier,
    "double_barrier": _double_barrier,
    "touch": _touch,
    "double_touch": _double_touch,
    "asian": _on_path,
    "lookback": _on_path,
    "forward_start": _on_returns,
    "cliquet": _on_notional,
    "basket": _on_assets,
}
ON_PATHS = tuple(TYPES[kind] for kind in SIMULATED)


def beyond(cells: Cells) -> Booleans:
    """Tell which cells no equation in the spot alone prices: types and models, shape (n,)."""
    where: Booleans = np.isin(cells.type, ON_PATHS) | (cells.model != 0)
    return where


def bermudan(cells: Cells) -> Booleans:
    """Tell which cells may be exercised on their exercise dates, shape (n,)."""
    where: Booleans = cells.exercise == _BERMUDAN
    return where


def curved(cells: Cells) -> Booleans:
    """Tell which cells have a curve for their vol, rate or dividend yield, shape (n,)."""
    where = np.zeros(len(cells), dtype=bool)
    for name in CURVES:
        where |= getattr(cells, f"{name}_curve") != NO_TABLE
    return where


def dated(cells: Cells) -> Booleans:
    """Tell which cells depend on calendar times, so that each expiry needs its own solve."""
    where = curved(cells) | bermudan(cells) | beyond(cells)
    for name in TABLES:
        if name != "exercise_dates" and TABLES[name] is not Vector:
            where |= getattr(cells, name) != NO_TABLE
    return where


def paid_cash(cells: Cells) -> Booleans:
    """Tell which cells have cash dividends, so that each strike needs its own solve."""
    where: Booleans = cells.cash_dividends != NO_TABLE
    return where
