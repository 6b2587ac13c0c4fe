"""Measure how well prices and error bars hold against the reference files; write docs/accuracy.md.

Run by `make bench`.
"""

from __future__ import annotations

import re
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "accuracy.md"
sys.path.insert(0, str(TESTS))

import products  # noqa: E402
import test_products  # noqa: E402
import test_reference  # noqa: E402
from pricer import Market, Status, Vanilla, price  # noqa: E402
from pricer.compiled import kernels  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TOLERANCES = (1e-3, 1e-5, 1e-6)
REPEATS = 3
HEADER = """\
| file | options | tolerance | rms error | largest | counted | covered | median | limit |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""

COST_HEADER = """\
| file | tolerance | solves | µs a solve | meshes | solve |
| --- | ---: | ---: | ---: | ---: | ---: |"""


@dataclass(frozen=True)
class Measured:
    """Values of a file at one tolerance and what is known of them, every array of shape (n,)."""

    value: Floats
    error: Floats
    status: NDArray[np.uint8]
    truth: Floats
    uncertainty: Floats
    unit: Floats


def vanillas(file: str, tolerance: float) -> Measured:
    of = test_reference.cases(file)
    found = test_reference.values_and_errors(of, method="finite_difference", tolerance=tolerance)
    strike = test_reference.columns(of)["strike"]
    return Measured(*found, *test_reference.truths(file), strike)


def others(file: str, tolerance: float) -> Measured:
    unit = np.array([case.unit for case in products.cases(file)])
    found = test_products.values_and_errors(file, "finite_difference", tolerance)
    return Measured(*found, *products.truths(file), unit)


def row(file: str, tolerance: float, of: Measured) -> str:
    true = abs(of.value - of.truth)
    relative = true[of.unit > 0] / of.unit[of.unit > 0]
    told = true > np.maximum(1e-9 * of.unit, of.uncertainty)
    ratio = of.error[told] / true[told]
    covered = f"{np.mean(ratio >= 1):.2%} | {np.median(ratio):.1f}" if told.any() else "- | -"
    late = np.count_nonzero(of.status == Status.tolerance)
    return (
        f"| {file} | {len(true):,} | {tolerance:.0e} | {np.sqrt(np.mean(relative**2)):.1e} "
        f"| {relative.max():.1e} | {np.count_nonzero(told):,} | {covered} | {late} |"
    )


@dataclass(frozen=True)
class March:
    """One mesh of one level for some families: which, of which solve, and its seconds."""

    solve: int
    level: int
    families: tuple[int, ...]
    seconds: float


@contextmanager
def watched(kernel: Any) -> Iterator[tuple[list[float], list[March]]]:
    """Yield lists of the seconds of every solve of `kernel` and of its meshes while it is open."""
    march, solve = kernel.march, kernel.solve
    solves: list[float] = []
    found: list[March] = []

    def counted(*given: Any) -> Any:
        start = time.perf_counter()
        result = solve(*given)
        solves.append(time.perf_counter() - start)
        return result

    def timed(level: int, *given: Any) -> None:
        start = time.perf_counter()
        march(level, *given)
        seconds = time.perf_counter() - start
        families = next(g for g in given if isinstance(g, np.ndarray))
        found.append(March(len(solves), level, tuple(families.tolist()), seconds))

    kernel.march, kernel.solve = timed, counted
    try:
        yield solves, found
    finally:
        kernel.march, kernel.solve = march, solve


def vanilla_work(tolerance: float) -> None:
    c = test_reference.columns(test_reference.cases(test_reference.PORTFOLIO))
    # Equal vols would share one solve; no pair of these is equal.
    vol = c["vol"] * (1 + 1e-13 * np.arange(c["vol"].size))
    price(
        Vanilla(c["right"], c["strike"], c["expiry"], c["exercise"]),
        Market(c["spot"], vol, c["rate"], c["dividend_yield"]),
        tolerance=tolerance, measures=("price",), method="finite_difference", workers=1,
    )  # fmt: skip


def product_work(file: str, tolerance: float) -> None:
    for case in products.cases(file):
        price(
            case.contract, case.market, tolerance=tolerance, measures=("price",),
            method="finite_difference", workers=1,
        )  # fmt: skip


def cost_row(name: str, kernel: str, tolerance: float, work: Callable[[], None]) -> str:
    """Compare what was spent with what the two last meshes of every family took."""
    (module,) = kernels(kernel)
    work()
    runs = []
    for _ in range(REPEATS):
        with watched(module) as run:
            work()
        runs.append(run)
    # The shortest of each, for on a shared machine the others were interrupted.
    whole = sum(min(same) for same in zip(*(solves for solves, _ in runs), strict=True))
    marches = [
        replace(same[0], seconds=min(march.seconds for march in same))
        for same in zip(*(found for _, found in runs), strict=True)
    ]
    last: dict[tuple[int, int], int] = {}
    for march in marches:
        for family in march.families:
            key = march.solve, family
            last[key] = max(march.level, last.get(key, 0))
    spent = needed = 0.0
    for march in marches:
        fixed = sum(march.level >= last[march.solve, f] - 1 for f in march.families)
        spent += march.seconds
        needed += march.seconds * fixed / len(march.families)
    return (
        f"| {name} | {tolerance:.0e} | {len(last):,} | {1e6 * whole / len(last):,.0f} "
        f"| {spent / needed:.2f} | {whole / (whole - spent + needed):.2f} |"
    )


def put(page: str, section: str, table: str) -> str:
    """Return `page` with `table` between the marks of `section`."""
    print(table)
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    pattern = re.compile(f"{begin}.*{end}", re.DOTALL)
    return pattern.sub(lambda _: f"{begin}\n{table}\n{end}", page)


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for section, files, measure in (
        ("vanillas", test_reference.FILES, vanillas),
        ("products", products.FILES, others),
    ):
        rows = [row(f, t, measure(f, t)) for f in files for t in TOLERANCES]
        page = put(page, section, "\n".join((HEADER, *rows)))
    rows = [
        cost_row("american_alo_portfolio_6000", "finite_difference", t, lambda t=t: vanilla_work(t))  # type: ignore[misc]
        for t in TOLERANCES
    ]
    rows += [
        cost_row(file, "scheduled", t, lambda f=file, t=t: product_work(f, t))  # type: ignore[misc]
        for file in products.FILES
        for t in TOLERANCES
    ]
    page = put(page, "cost", "\n".join((COST_HEADER, *rows)))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
