"""Time implied vols against QuantLib's, one core, and measure how prices come back.

    python tests/benchmarks/implied.py

Writes the table of docs/implied.md. Times are of the processor, so that others on it count less.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import QuantLib as ql

from pricer import ImpliedStatus, Market, Vanilla, implied_volatility, price

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PAGE = Path(__file__).parents[2] / "docs" / "implied.md"
SPOT = 100.0
CHECKED = 500  # American quotes whose vols are priced alone again
THEIRS = {"european": 2_000, "american": 40}
OURS = {"european": 1_000_000, "american": 20_000}


@dataclass(frozen=True)
class Quotes:
    """Options of one exercise at random, their vols and prices; arrays of shape (n,)."""

    exercise: str
    right: NDArray[np.str_]
    strike: Floats
    days: Floats
    rate: Floats
    dividend_yield: Floats
    vol: Floats

    @classmethod
    def at_random(cls, exercise: str, count: int) -> Quotes:
        """Draw options as traded ones are: within 40 % of the spot, up to three years."""
        rng = np.random.default_rng(7)
        return cls(
            exercise,
            right=rng.choice(["call", "put"], count),
            strike=rng.uniform(70.0, 140.0, count),
            days=rng.integers(20, 1_095, count).astype(np.float64),
            rate=rng.uniform(0.001, 0.1, count),
            dividend_yield=rng.uniform(0.001, 0.1, count),
            vol=rng.uniform(0.1, 0.6, count),
        )

    @property
    def contract(self) -> Vanilla:
        """What is owed."""
        return Vanilla(self.right, self.strike, self.days / 365, self.exercise)

    def market(self, vol: Floats | None = None) -> Market:
        """Return the world, with a vol or without."""
        given: dict[str, Any] = {"rate": self.rate, "dividend_yield": self.dividend_yield}
        return Market(SPOT, **given) if vol is None else Market(SPOT, vol, **given)

    def prices(self, vol: Floats) -> Floats:
        """Price them all at once."""
        got = price(self.contract, self.market(vol), measures=("price",)).price
        assert got is not None
        return got

    def alone(self, vol: Floats, index: int) -> float:
        """Price one of them alone."""
        contract = Vanilla(
            str(self.right[index]), self.strike[index], self.days[index] / 365, self.exercise
        )
        market = Market(SPOT, vol[index], self.rate[index], self.dividend_yield[index])
        got = price(contract, market, measures=("price",)).price
        assert got is not None
        return float(got)


def seconds(repeats: int, work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the shortest processor time, and the last result."""
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        spent.append(time.process_time() - start)
    return min(spent), result


def ours(quotes: Quotes, prices: Floats) -> tuple[float, float, int]:
    """Return seconds a quote, the largest difference of prices by strike, and how many have vols.

    An American option's vol is taken to the price of the option alone.
    """
    took, found = seconds(
        5, lambda: implied_volatility(quotes.contract, quotes.market(), prices, workers=1)
    )
    have = np.flatnonzero(found.status == ImpliedStatus.ok)
    if quotes.exercise == "european":
        back = quotes.prices(np.where(np.isfinite(found.vol), found.vol, 0.0))[have]
    else:
        have = have[:CHECKED]
        back = np.array([quotes.alone(found.vol, index) for index in have.tolist()])
    gap = abs(back - prices[have]) / quotes.strike[have]
    return took / len(prices), float(gap.max()), int((found.status == ImpliedStatus.ok).sum())


def theirs(quotes: Quotes, prices: Floats) -> float:
    """Return QuantLib's seconds a quote, what must be built for each included."""
    today = ql.Date(15, 6, 2026)
    ql.Settings.instance().evaluationDate = today
    year = ql.Actual365Fixed()

    def imply() -> None:
        for i in range(len(prices)):
            process = ql.BlackScholesMertonProcess(
                ql.QuoteHandle(ql.SimpleQuote(SPOT)),
                *(
                    ql.YieldTermStructureHandle(ql.FlatForward(today, float(level), year))
                    for level in (quotes.dividend_yield[i], quotes.rate[i])
                ),
                ql.BlackVolTermStructureHandle(
                    ql.BlackConstantVol(today, ql.NullCalendar(), 0.2, year)
                ),
            )
            end = today + int(quotes.days[i])
            european = quotes.exercise == "european"
            exercise = ql.EuropeanExercise(end) if european else ql.AmericanExercise(today, end)
            right = ql.Option.Call if quotes.right[i] == "call" else ql.Option.Put
            option = ql.VanillaOption(ql.PlainVanillaPayoff(right, quotes.strike[i]), exercise)
            option.impliedVolatility(float(prices[i]), process, 1e-8, 200, 1e-4, 4.0)

    return seconds(1, imply)[0] / len(prices)


def with_time_value(quotes: Quotes, prices: Floats, count: int) -> tuple[Quotes, Floats]:
    """Return the first so many quotes that a peer can imply, which wants time value."""
    sign = np.where(quotes.right == "call", 1.0, -1.0)
    now = sign * (SPOT - quotes.strike)
    years = quotes.days / 365
    paid, cash = np.exp(-quotes.dividend_yield * years), np.exp(-quotes.rate * years)
    later = sign * (SPOT * paid - quotes.strike * cash)
    least = np.maximum(later, np.maximum(now, 0.0) if quotes.exercise == "american" else 0.0)
    chosen = np.flatnonzero(prices > least + 0.05)[:count]
    some = {
        name: getattr(quotes, name)[chosen]
        for name in ("right", "strike", "days", "rate", "dividend_yield", "vol")
    }
    return replace(quotes, **some), prices[chosen]


def main() -> None:
    """Measure, print, and write to the page."""
    lines = [
        "| exercise | quotes | with a vol | a second | prices come back to | QuantLib, a second |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for exercise, count in OURS.items():
        quotes = Quotes.at_random(exercise, count)
        prices = quotes.prices(quotes.vol)
        implied_volatility(quotes.contract, quotes.market(), prices)
        took, gap, have = ours(quotes, prices)
        peer = theirs(*with_time_value(quotes, prices, THEIRS[exercise]))
        lines.append(
            f"| {exercise} | {count:,} | {have:,} | {1 / took:,.0f} | {gap:.1e} | {1 / peer:,.0f} |"
        )
    content = "\n".join(lines)
    print(content)
    begin, end = "<!-- speed: begin -->", "<!-- speed: end -->"
    head, rest = PAGE.read_text(encoding="utf-8").split(begin)
    PAGE.write_text(f"{head}{begin}\n{content}\n{end}{rest.split(end)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
