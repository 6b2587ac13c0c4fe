"""Imply vols from chains of American quotes, with dividends of three kinds; draw the gap.

    python tests/benchmarks/market.py CHAIN.csv [CHAIN.csv ...] --dividends FILE.csv

A put and a call of one strike and expiry have one vol in the model; how far apart they are implied
says how wrong its dividends are. Writes the tables of docs/implied.md, and docs/implied.svg.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import date
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pricer import Dividends, ImpliedStatus, Market, Vanilla, implied_volatility

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pricer import ImpliedVolatilities

    Booleans = NDArray[np.bool_]
    Floats = NDArray[np.float64]

DOCS = Path(__file__).parents[2] / "docs"
PAGE, DRAWING = DOCS / "implied.md", DOCS / "implied.svg"
LABEL_WIDTH = 40.0
NEAR = 0.1  # of the spot: strikes whose puts and calls are compared
# What is assumed of dividends, and how it is drawn.
COLOURS = {"no dividends": "#999999", "fitted yield": "#a63d40", "cash dividends": "#0b6e99"}


@dataclass(frozen=True)
class Payments:
    """Dividends in cash and splits, each with the day from which the spot has it."""

    cash: tuple[tuple[date, float], ...]
    splits: tuple[tuple[date, float], ...]

    @classmethod
    def read(cls, path: Path) -> Payments:
        """Read a file of `ex_date`, `kind`, `cash_amount` and `split_ratio`."""
        with path.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        columns = {"dividend": "cash_amount", "split": "split_ratio"}
        found = {
            kind: tuple(
                (date.fromisoformat(row["ex_date"]), float(row[column]))
                for row in rows
                if row["kind"] == kind
            )
            for kind, column in columns.items()
        }
        return cls(found["dividend"], found["split"])

    def between(self, first: date, last: date) -> Dividends | None:
        """Return what a share of the first day is paid after it, up to the last."""
        paid = {
            (day - first).days / 365: amount * self._shares(first, day)
            for day, amount in self.cash
            if first < day <= last
        }
        return Dividends(tuple(paid), tuple(paid.values())) if paid else None

    def _shares(self, first: date, last: date) -> float:
        """Return into how many shares one is split meanwhile."""
        return float(np.prod([ratio for day, ratio in self.splits if first < day <= last]))


@dataclass(frozen=True)
class Chain:
    """The quotes of one day; every column has shape (n,)."""

    day: date
    rights: list[str]
    expiry_dates: list[str]
    numbers: dict[str, Floats]

    @classmethod
    def read(cls, path: Path) -> Chain:
        """Read a file of quotes."""
        with path.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        names = ("spot", "strike", "expiry", "rate", "dividend_yield", "bid", "ask")
        return cls(
            date.fromisoformat(rows[0]["quote_date"]),
            [row["right"] for row in rows],
            [row["expiry_date"] for row in rows],
            {name: np.array([float(row[name]) for row in rows]) for name in names},
        )

    def implied(self, assumed: str, payments: Payments) -> ImpliedVolatilities:
        """Imply vols from mids: without dividends, with the yields of the file, or with cash."""
        of = self.numbers
        market = Market(of["spot"], rate=of["rate"])
        match assumed:
            case "fitted yield":
                market = replace(market, dividend_yield=of["dividend_yield"])
            case "cash dividends":
                ends = {day: date.fromisoformat(day) for day in set(self.expiry_dates)}
                tables = {day: payments.between(self.day, end) for day, end in ends.items()}
                paid = [tables[day] for day in self.expiry_dates]
                market = replace(market, cash_dividends=paid)
        contract = Vanilla(self.rights, of["strike"], of["expiry"], "american")
        return implied_volatility(contract, market, 0.5 * (of["bid"] + of["ask"]))

    def gaps(self, vols: Floats, compared: Booleans) -> dict[str, tuple[float, int]]:
        """Return each expiry's median of put less call vol, in points, and how many pairs it has.

        Compared are strikes near the spot of which both are bid for.
        """
        of = self.numbers
        near = (abs(of["strike"] / of["spot"] - 1.0) <= NEAR) & (of["bid"] > 0) & compared
        found: dict[tuple[str, float], dict[str, float]] = {}
        for i in np.flatnonzero(near).tolist():
            pair = found.setdefault((self.expiry_dates[i], float(of["strike"][i])), {})
            pair[self.rights[i]] = 100.0 * float(vols[i])
        gaps: dict[str, list[float]] = {}
        for (expiry, _), pair in sorted(found.items()):
            if len(pair) == 2:
                gaps.setdefault(expiry, []).append(pair["put"] - pair["call"])
        return {day: (float(np.median(each)), len(each)) for day, each in gaps.items()}


def counts(found: ImpliedVolatilities, seconds: float) -> str:
    """Say how the quotes ended and how long it took."""
    names = Counter(ImpliedStatus(code).name for code in found.status.tolist())
    words = [f"{names[status.name]:,} {status.name}" for status in ImpliedStatus]
    told = ", ".join(word for word in words if not word.startswith("0 "))
    return f"{told} ({seconds:.1f} s)"


def table(chain: Chain, gaps: dict[str, dict[str, tuple[float, int]]]) -> list[str]:
    """Return the rows of a chain: each expiry's gap, whatever is assumed."""
    lines = [f"| expiry | pairs | {' | '.join(gaps)} |", f"|---|---:|{'---:|' * len(gaps)}"]
    pairs = {day: count for day, (_, count) in next(iter(gaps.values())).items()}
    for day, count in pairs.items():
        cells = [f"{each[day][0]:+.2f}" for each in gaps.values()]
        lines.append(f"| {day} | {count} | {' | '.join(cells)} |")
    total = sum(pairs.values())
    wide = [
        f"{sum(abs(each[day][0]) * count for day, count in pairs.items()) / total:.2f}"
        for each in gaps.values()
    ]
    lines.append(f"| mean size | {total} | {' | '.join(wide)} |")
    return [f"Quotes of {chain.day}, spot {chain.numbers['spot'][0]:g}:", "", *lines, ""]


def panel(chain: Chain, gaps: dict[str, dict[str, tuple[float, int]]], top: int) -> list[str]:
    """Draw a chain's gaps over the time to expiry, on a scale of square roots."""
    days = {day: (date.fromisoformat(day) - chain.day).days for day in next(iter(gaps.values()))}
    most = max(abs(gap) for each in gaps.values() for gap, _ in each.values())
    most = float(np.ceil(most))
    longest = np.sqrt(max(days.values()))

    def x(day: str) -> float:
        return 70.0 + 720.0 * float(np.sqrt(days[day]) / longest)

    def y(gap: float) -> float:
        return top + 110.0 - 100.0 * gap / most

    parts = [text(70, top - 4, f"{chain.day}: put less call vol, in points", "start")]
    for level in (-most, 0.0, most):
        parts.append(line([(70.0, y(level)), (790.0, y(level))], "#ccc", 1))
        parts.append(text(62, y(level) + 4, f"{level:+g}" if level else "0", "end"))
    labelled = 0.0
    for day, count in days.items():
        if x(day) > labelled + LABEL_WIDTH:
            labelled = x(day)
            parts.append(text(labelled, top + 232, f"{count} d", "middle"))
    for name, each in gaps.items():
        points = [(x(day), y(gap)) for day, (gap, _) in each.items()]
        parts.append(line(points, COLOURS[name], 2))
        parts += [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{COLOURS[name]}"/>' for a, b in points
        ]
    return parts


def text(x: float, y: float, words: str, anchor: str) -> str:
    """Return words at a place of the drawing."""
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(words)}</text>'


def line(points: Sequence[tuple[float, float]], colour: str, width: float) -> str:
    """Return a line through some points."""
    through = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{through}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def write(section: str, content: str) -> None:
    """Put `content` between the page's markers of `section`, and on the screen."""
    print(content)
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    head, rest = PAGE.read_text(encoding="utf-8").split(begin)
    tail = rest.split(end)[1]
    PAGE.write_text(f"{head}{begin}\n{content}\n{end}{tail}", encoding="utf-8")


def main() -> None:
    """Imply, write and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("chains", nargs="+", type=Path)
    parser.add_argument("--dividends", type=Path, required=True)
    given = parser.parse_args()
    payments = Payments.read(given.dividends)
    lines: list[str] = []
    parts: list[str] = []
    for number, path in enumerate(given.chains):
        chain = Chain.read(path)
        vols, ended = {}, []
        for assumed in COLOURS:
            started = time.perf_counter()
            found = chain.implied(assumed, payments)
            ended.append(f"- {assumed}: {counts(found, time.perf_counter() - started)}")
            vols[assumed] = found.vol
        everywhere = np.isfinite(sum(vols.values()))
        gaps = {assumed: chain.gaps(each, everywhere) for assumed, each in vols.items()}
        lines += [*table(chain, gaps), *ended, ""]
        parts += panel(chain, gaps, 60 + 270 * number)
    for number, (name, colour) in enumerate(COLOURS.items()):
        left = 70 + 200 * number
        parts.append(line([(left, 22.0), (left + 24.0, 22.0)], colour, 3))
        parts.append(text(left + 32, 26, name, "start"))
    height = 60 + 270 * len(given.chains)
    drawing = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 {height}" font-size="13"'
        ' font-family="sans-serif" role="img">',
        "<title>How far apart puts and calls are implied</title>",
        f'<rect width="820" height="{height}" fill="white"/>',
        *parts,
        "</svg>\n",
    ]
    write("market", "\n".join(lines).strip())
    DRAWING.write_text("\n".join(drawing), encoding="utf-8")


if __name__ == "__main__":
    main()
