"""Measure how well prices and error bars hold against the reference files; write docs/accuracy.md.

Run by `make bench`.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "accuracy.md"
sys.path.insert(0, str(TESTS))

import products  # noqa: E402
import test_products  # noqa: E402
import test_reference  # noqa: E402
from pricer import Status  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TOLERANCES = (1e-3, 1e-5, 1e-6)
HEADER = """\
| file | options | tolerance | rms error | largest | counted | covered | median | limit |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""


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


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for section, files, measure in (
        ("vanillas", test_reference.FILES, vanillas),
        ("products", products.FILES, others),
    ):
        rows = [row(f, t, measure(f, t)) for f in files for t in TOLERANCES]
        table = "\n".join((HEADER, *rows))
        begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
        pattern = re.compile(f"{begin}.*{end}", re.DOTALL)
        page = pattern.sub(f"{begin}\n{table}\n{end}", page)
        print(table)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
