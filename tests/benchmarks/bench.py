"""Time pricer against QuantLib on the same options in the same run; write docs/performance.md.

Run by `make bench`. One core prices everything but the submit, which says how many it had.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

# QuantLib and pricer are imported where they are used: the memory of this process at the moment
# it starts a child counts towards the child's peak.

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "performance.md"
PORTFOLIO = ROOT / "tests" / "reference" / "american_alo_portfolio_6000.json"
MILLION = ROOT / "examples" / "american_million.toml"
TOLERANCES = (1e-3, 1e-4, 1e-5, 1e-6)


@dataclass(frozen=True)
class Puts:
    """American puts, every array of shape (n,). Expiries are whole days of a 365-day year."""

    spot: Floats
    rate: Floats
    dividend_yield: Floats
    vol: Floats
    expiry: Floats
    strike: float

    def __len__(self) -> int:
        return len(self.spot)

    def rows(self, step: int = 1) -> Iterator[tuple[float, ...]]:
        columns = (self.spot, self.rate, self.dividend_yield, self.vol, self.expiry)
        yield from zip(*(c[::step].tolist() for c in columns), strict=True)


@dataclass(frozen=True)
class Timing:
    """Seconds per option with and without what must be built before a price can be asked for."""

    name: str
    values: Floats
    whole: float
    bare: float | None = None


def portfolio() -> Puts:
    document = json.loads(PORTFOLIO.read_text())
    columns = dict(zip(document["columns"], np.array(document["rows"]).T, strict=True))
    count = len(columns["vol"])
    # Equal vols would let one solve price many rows; no pair of these is equal.
    jitter = 1 + 1e-5 * np.arange(1, count + 1) / count
    return Puts(
        spot=columns["spot"],
        rate=columns["rate"],
        dividend_yield=columns["dividend"],
        vol=columns["vol"] * jitter,
        expiry=columns["expiry_years"],
        strike=document["strike"],
    )


def best_of(repeats: int, work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the shortest time in seconds, and the last result."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def quantlib_option(puts: Puts, row: tuple[float, ...], engine: Callable[[Any], Any]) -> Any:
    import QuantLib as ql

    spot, rate, dividend_yield, vol, expiry = row
    today = ql.Settings.instance().evaluationDate
    year = ql.Actual365Fixed()
    flat = [
        ql.YieldTermStructureHandle(ql.FlatForward(today, level, year))
        for level in (dividend_yield, rate)
    ]
    smile = ql.BlackConstantVol(today, ql.NullCalendar(), vol, year)
    process = ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(spot)), *flat, ql.BlackVolTermStructureHandle(smile)
    )
    exercise = ql.AmericanExercise(today, today + round(365 * expiry))
    option = ql.VanillaOption(ql.PlainVanillaPayoff(ql.Option.Put, puts.strike), exercise)
    option.setPricingEngine(engine(process))
    return option


def time_quantlib(
    name: str, puts: Puts, engine: Callable[[Any], Any], *, repeats: int, bare_step: int
) -> Timing:
    """Time every option whole, and every `bare_step`-th one with its objects built beforehand."""
    seconds, values = best_of(
        repeats, lambda: [quantlib_option(puts, row, engine).NPV() for row in puts.rows()]
    )
    bare = []
    for _ in range(repeats):
        options = [quantlib_option(puts, row, engine) for row in puts.rows(bare_step)]
        start = time.perf_counter()
        for option in options:
            option.NPV()
        bare.append((time.perf_counter() - start) / len(options))
    return Timing(name, np.array(values), seconds / len(puts), min(bare))


def quantlib_timings(puts: Puts) -> tuple[Floats, Floats, list[Timing]]:
    """Return reference values, European values and timings of every engine."""
    import QuantLib as ql

    ql.Settings.instance().evaluationDate = ql.Date(2, ql.January, 2025)
    american = ql.QdFpAmericanEngine
    finest = american.highPrecisionScheme()
    reference = [quantlib_option(puts, r, lambda p: american(p, finest)).NPV() for r in puts.rows()]
    forward = puts.spot * np.exp((puts.rate - puts.dividend_yield) * puts.expiry)
    deviation, discount = puts.vol * np.sqrt(puts.expiry), np.exp(-puts.rate * puts.expiry)
    european = [
        ql.blackFormula(ql.Option.Put, puts.strike, f, s, d)
        for f, s, d in zip(forward.tolist(), deviation.tolist(), discount.tolist(), strict=True)
    ]
    timings = [
        time_quantlib(
            f"QuantLib QdFpAmericanEngine, {word}",
            puts,
            lambda p, scheme=scheme: american(p, scheme),  # type: ignore[misc]
            repeats=3,
            bare_step=1,
        )
        for word, scheme in (
            ("fast", american.fastScheme()),
            ("accurate", american.accurateScheme()),
        )
    ]
    timings += [
        time_quantlib(
            f"QuantLib FdBlackScholesVanillaEngine, {steps} x {nodes}",
            puts,
            lambda p, mesh=(steps, nodes): ql.FdBlackScholesVanillaEngine(p, *mesh),  # type: ignore[misc]
            repeats=1,
            bare_step=4,
        )
        for steps, nodes in ((100, 200), (400, 400), (400, 800))
    ]
    return np.array(reference), np.array(european), timings


def pricer_timings(puts: Puts) -> tuple[list[Timing], dict[float, int]]:
    """Return timings, and for each tolerance the rows whose status is not ok."""
    import pricer

    contract = pricer.Vanilla("put", puts.strike, puts.expiry, "american")
    market = pricer.Market(puts.spot, puts.vol, puts.rate, puts.dividend_yield)
    every = tuple(pricer.MEASURES)
    timings, missed = [], {}
    for measures, name in ((("price",), "price alone"), (every, "all measures")):
        for tolerance in TOLERANCES:
            work = partial(
                pricer.price, contract, market, tolerance=tolerance, measures=measures, workers=1
            )
            work()  # the first call of a process loads the kernels
            seconds, prices = best_of(3, work)
            label = f"pricer, tolerance {tolerance:.0e}, {name}".replace("e-0", "e-")
            timings.append(Timing(label, prices.price, seconds / len(puts)))
            missed[tolerance] = int(np.count_nonzero(prices.status))
    return timings, missed


def one_at_a_time(puts: Puts) -> float:
    """Return the median seconds of a call that prices one option."""
    import pricer

    seconds = []
    for spot, rate, dividend_yield, vol, expiry in puts.rows(20):
        contract = pricer.Vanilla("put", puts.strike, expiry, "american")
        market = pricer.Market(spot, vol, rate, dividend_yield)
        work = partial(pricer.price, contract, market, measures=("price",), workers=1)
        seconds.append(best_of(1, work)[0])
    return statistics.median(seconds)


def answer_of(*arguments: str) -> tuple[Any, float, float]:
    """Run pricer in a process of its own; return its JSON, wall seconds and peak MB."""
    command = (str(Path(sys.executable).with_name("pricer")), *arguments, "--json")
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(process.returncode)
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return json.loads(output), seconds, usage.ru_maxrss * unit / 1e6


def solver_options(puts: Puts) -> Any:
    """Return the portfolio as the solver takes it: a family an option."""
    from pricer.compiled import kernels

    kernels()
    from pricer.kernels.mesh import Options, spans

    moneyness = puts.spot / puts.strike
    return spans(
        Options(
            np.full(len(puts), -1, np.int8), np.ones(len(puts), np.int8), puts.vol, puts.rate,
            puts.dividend_yield, moneyness, moneyness, np.arange(len(puts) + 1), puts.expiry,
        )
    )  # fmt: skip


def write_march() -> None:
    """Time the march alone, every level of it, on the portfolio."""
    puts = portfolio()
    options = solver_options(puts)
    from pricer.kernels.marching import march, work_size
    from pricer.kernels.mesh import BASE_NODES, Problems, prepare

    problems = Problems(*prepare(options, 2e-8))
    order = np.argsort(problems.left_nodes, kind="stable")[: 2 * 1024 : 2]
    steps = np.diff(problems.node_offsets)[order].mean() - 1
    rows = []
    for level in range(6):
        size = (BASE_NODES << level) + 1
        node_steps = 2 * size * steps * (1 << level) * len(order)
        figures = [f"{size} x {steps * (1 << level):.0f}"]
        for greeks in (False, True):
            out = np.empty((len(order), size, 3 if greeks else 1))
            work = partial(
                march, level, greeks, order, options.american, problems, options.expiry_offsets,
                np.arange(len(order)), np.empty(work_size(level)), out,
            )  # fmt: skip
            seconds = best_of(max(9 - level, 4), work)[0]
            figures += [f"{seconds / len(order) * 1e6:.2f}", f"{seconds / node_steps * 1e9:.2f}"]
        rows.append(figures)
    head = ("mesh", "µs", "ns a node-step", "µs, greeks", "ns a node-step, greeks")
    write("march", table(head, rows))


def write_grid() -> None:
    """Time solving and evaluating a grid of 2,000 cells a family, in the kernels alone."""
    from pricer.compiled import kernels

    _, finite_difference = kernels()
    spots, strikes = np.linspace(76.0, 124.0, 20), np.linspace(70.0, 130.0, 20)
    expiries = np.array([0.1, 0.25, 0.5, 1.0, 2.0])
    axes = (np.array([-1.0, 1.0]), np.linspace(0.1, 0.45, 16), np.linspace(0.01, 0.06, 4),
            np.linspace(0.005, 0.05, 4))  # fmt: skip
    right, vol, rate, dividend = (a.reshape(-1).copy() for a in np.meshgrid(*axes, indexing="ij"))
    spot, strike, expiry = (
        np.tile(a.reshape(-1), len(vol))
        for a in np.meshgrid(spots, strikes, expiries, indexing="ij")
    )
    each = np.arange(len(vol) + 1)
    options = finite_difference.Options(
        right.astype(np.int8), np.ones(len(vol), np.int8), vol, rate, dividend,
        np.full(len(vol), spots[0] / strikes[-1]), np.full(len(vol), spots[-1] / strikes[0]),
        each * len(expiries), np.tile(expiries, len(vol)),
    )  # fmt: skip
    cells = len(spot) // len(vol)

    def priced(tolerance: float, greeks: bool) -> tuple[float, float, Floats]:
        out = np.empty((8, len(spot)))
        solve = partial(finite_difference.solve, options, tolerance, greeks)
        solving, surfaces = best_of(3, solve)
        read = partial(
            finite_difference.evaluate, options, surfaces, each * cells, spot, strike, expiry, out
        )
        return solving, best_of(3, read)[0], out[0] / strike

    truth = priced(1e-8, greeks=False)[2]
    rows = []
    for tolerance in (1e-4, 1e-5, 1e-6):
        solving, reading, values = priced(tolerance, greeks=True)
        off = 100 * abs(values - truth)
        rows.append(
            (
                f"{tolerance:.0e}".replace("e-0", "e-"),
                microseconds(solving / len(vol)),
                f"{reading / len(spot) * 1e9:.0f}",
                f"{len(spot) / (solving + reading):,.0f}",
                f"{np.sqrt(np.mean(off**2)):.1e}",
                f"{off.max():.1e}",
            )
        )
    head = ("tolerance", "µs a family", "ns a cell", "cells/s", "rms", "max")
    write("grid", f"{len(spot):,} cells in {len(vol)} families.\n\n" + table(head, rows))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def microseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e6:,.1f}"


def errors(timing: Timing, reference: Floats, rows: NDArray[np.bool_]) -> tuple[str, str]:
    off = np.abs(timing.values - reference)[rows]
    return f"{np.sqrt(np.mean(off**2)):.1e}", f"{off.max():.1e}"


def processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists() and (found := re.search(r"model name\s*: (.*)", info.read_text())):
        return found[1]
    return platform.processor() or platform.machine()


def write(section: str, text: str, page: Path = PAGE) -> None:
    """Put `text` between the page's markers of `section`, and on the screen."""
    print(text)
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    head, rest = page.read_text().split(begin)
    tail = rest.split(end)[1]
    page.write_text(f"{head}{begin}\n{text}{end}{tail}")


def machine(*names: str) -> str:
    """Say when and on what this runs, with the versions of these packages."""
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    today = datetime.now(UTC).date().isoformat()
    return (
        f"{today}; {processor()}, {os.cpu_count()} cores; {platform.system()}, "
        f"Python {platform.python_version()}, {versions}.\n"
    )


def write_submits() -> None:
    # Compiles, where that has not been done, outside the clock.
    option = "--right put --exercise american --spot 100 --strike 100 --expiry 1 --vol 0.2 --rate 0"
    answer_of("price", *option.split())
    rows = []
    for workers in sorted({1, os.cpu_count() or 1}):
        with tempfile.TemporaryDirectory() as folder:
            store = f"sqlite:///{folder}/runs.db"
            answer, seconds, peak = answer_of(
                "submit", str(MILLION), "--workers", str(workers), "--store", store
            )
        cells, failed = answer["cells"], answer["failed"]
        figures = (f"{cells:,}", f"{failed:,}", f"{seconds:.1f}", f"{cells / seconds:,.0f}")
        rows.append((str(workers), *figures, f"{peak:,.0f}"))
    head = ("workers", "cells", "not ok", "seconds", "cells/s", "peak MB")
    write("submit", table(head, rows))


def write_portfolio() -> None:
    puts = portfolio()
    reference, european, timings = quantlib_timings(puts)
    ours, missed = pricer_timings(puts)
    intrinsic = np.maximum(puts.strike - puts.spot, 0)
    exercised = reference <= intrinsic + 1e-9
    trivial = exercised | (reference < 1e-3) | (reference - european < 1e-4)
    rows = [
        (
            timing.name,
            microseconds(timing.whole),
            microseconds(timing.bare),
            *errors(timing, reference, ~trivial),
            *errors(timing, reference, trivial),
        )
        for timing in (*ours, *timings)
    ]
    head = (
        "engine, one core",
        "µs",
        "µs without set-up",
        "rms",
        "max",
        "rms, trivial",
        "max, trivial",
    )
    times = {timing.name: timing.whole for timing in (*ours, *timings)}
    ratios = [
        (
            tolerance,
            f"{times['QuantLib FdBlackScholesVanillaEngine, 400 x 400'] / alone:,.0f}",
            f"{times['QuantLib QdFpAmericanEngine, fast'] / alone:.1f}",
            f"{times[f'pricer, tolerance {tolerance}, all measures'] / alone:.2f}",
        )
        for tolerance in ("1e-3", "1e-4", "1e-5", "1e-6")
        for alone in [times[f"pricer, tolerance {tolerance}, price alone"]]
    ]
    ratio_head = (
        "tolerance",
        "QuantLib 400 x 400 over ours",
        "QuantLib fast over ours",
        "all measures over price alone",
    )
    counts = ", ".join(f"{count} at {t:.0e}".replace("e-0", "e-") for t, count in missed.items())
    write(
        "portfolio",
        f"{len(puts):,} puts, {np.count_nonzero(trivial):,} of them trivial.\n\n"
        + table(head, rows)
        + "\nTimes over times, with set-up:\n\n"
        + table(ratio_head, ratios)
        + f"\nRows whose tolerance was not reached: {counts}. One option a call, tolerance 1e-5, "
        f"price alone: {one_at_a_time(puts) * 1e6:,.0f} µs.\n",
    )


if __name__ == "__main__":
    write_submits()
    write_march()
    write_grid()
    write_portfolio()
    write("machine", machine("numba", "numpy", "QuantLib"))
