"""Measure how well prices and error bars hold against the reference files; write docs/accuracy.md.

Run by `make bench`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "accuracy.md"
sys.path.insert(0, str(TESTS))

from pricer import Status  # noqa: E402
from test_reference import FILES, cases, columns, truths, values_and_errors  # noqa: E402

HEADER = """\
| file | options | tolerance | rms error | largest | counted | covered | median | limit |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""


def row(file: str, tolerance: float) -> str:
    of = cases(file)
    value, error, status = values_and_errors(of, method="finite_difference", tolerance=tolerance)
    truth, uncertainty = truths(file)
    strike = columns(of)["strike"]
    true = abs(value - truth)
    relative = true[strike > 0] / strike[strike > 0]
    told = true > np.maximum(1e-9 * strike, uncertainty)
    ratio = error[told] / true[told]
    covered = f"{np.mean(ratio >= 1):.2%} | {np.median(ratio):.1f}" if told.any() else "- | -"
    late = np.count_nonzero(status == Status.tolerance)
    return (
        f"| {file} | {len(of):,} | {tolerance:.0e} | {np.sqrt(np.mean(relative**2)):.1e} "
        f"| {relative.max():.1e} | {np.count_nonzero(told):,} | {covered} | {late} |"
    )


def main() -> None:
    rows = [row(file, tolerance) for file in FILES for tolerance in (1e-3, 1e-5, 1e-6)]
    table = "\n".join((HEADER, *rows))
    page = PAGE.read_text(encoding="utf-8")
    begin, end = "<!-- accuracy: begin -->", "<!-- accuracy: end -->"
    pattern = re.compile(f"{begin}.*{end}", re.DOTALL)
    PAGE.write_text(pattern.sub(f"{begin}\n{table}\n{end}", page), encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
