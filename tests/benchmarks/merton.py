"""Time Merton's model: inversions at given vols beside others' ways, then all of it from a file.

    python tests/benchmarks/merton.py [--all]

Writes the tables of docs/merton.md. By default a twentieth of the published experiment, scaled up
where that is said; all of it with --all, which writes 2.6 GB to the temporary folder meanwhile.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from bench import ROOT, answer_of, best_of, machine, table, write

# What is large is imported where it is used: the memory of this process at the moment it starts a
# child counts towards the child's peak.

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Given = tuple[Floats, Floats, Floats, Floats, Floats]

PAGE = ROOT / "docs" / "merton.md"
PUBLISHED = 305_000_000
FIRMS, YEARS = 24_000, 30
PART = 20
BLOCK = 2**20
CORES = 2
SAMPLE = 300  # inversions by the original method
RETURNS = 251  # of a window


def drawn(count: int) -> Iterator[Given]:
    """Draw blocks of equity, debt, rate, horizon and asset vol, every array of shape (n,)."""
    rng = np.random.default_rng(6)
    for start in range(0, count, BLOCK):
        n = min(BLOCK, count - start)
        debt = np.exp(rng.uniform(np.log(1e6), np.log(1e12), n))
        yield (
            debt * np.exp(rng.uniform(np.log(0.05), np.log(20.0), n)),
            debt,
            rng.uniform(0.0, 0.08, n),
            rng.uniform(1.0, 5.0, n),
            rng.uniform(0.05, 0.8, n),
        )


def ours(count: int, workers: int, repeats: int) -> float:
    """Return the seconds that so many different inversions take, without drawing them.

    Of each block the shortest time counts, where it is taken more than once.
    """
    from pricer.merton import implied_assets

    seconds = 0.0
    for given in drawn(count):
        spent, found = best_of(repeats, partial(implied_assets, *given, workers=workers))
        seconds += spent
        assert not found.status.any()
    return seconds


def original(given: Given) -> Floats:
    """Invert day by day with a root finder for any function, as the experiment did."""
    from scipy.optimize import root
    from scipy.stats import norm

    def missing(
        value: Any, equity: float, debt: float, rate: float, horizon: float, vol: float
    ) -> Any:
        spread = vol * np.sqrt(horizon)
        above = (np.log(value / debt) + (rate + 0.5 * vol**2) * horizon) / spread
        owed = debt * np.exp(-rate * horizon) * norm.cdf(above - spread)
        return value * norm.cdf(above) - owed - equity

    rows = zip(*(column.tolist() for column in given), strict=True)
    found = [root(missing, row[0] + row[1], args=row) for row in rows]
    return np.array([each.x[0] if each.success else np.nan for each in found])


def scalar_newton() -> Callable[..., Floats]:
    """Return Newton's method on math.erfc, compiled: one firm at a time."""
    from numba import njit

    @njit(nogil=True)
    def invert(equity: Floats, debt: Floats, rate: Floats, horizon: Floats, vol: Floats) -> Floats:
        out = np.empty(len(equity))
        for i in range(len(equity)):
            spread = vol[i] * math.sqrt(horizon[i])
            owed = debt[i] * math.exp(-rate[i] * horizon[i])
            value = equity[i] + owed
            for _ in range(50):
                above = math.log(value / owed) / spread + 0.5 * spread
                inside = 0.5 * math.erfc(-above / math.sqrt(2.0))
                other = 0.5 * math.erfc((spread - above) / math.sqrt(2.0))
                step = (value * inside - owed * other - equity[i]) / inside
                value -= step
                if abs(step) < 1e-13 * value:
                    break
            out[i] = value
        return out

    return invert


def write_inversions(part: int) -> None:
    """Time inversions at given vols, ours on all and on one core, others' on one."""
    from pricer.merton import implied_assets

    count = PUBLISHED // part
    repeats = 3 if part > 1 else 1
    ours(BLOCK, CORES, 1)
    both, one = (ours(count, workers, repeats) / count for workers in (CORES, 1))
    block = next(drawn(BLOCK))
    exact = implied_assets(*block).asset_value
    newton = scalar_newton()
    newton(*(column[:8] for column in block))
    peer, values = best_of(3, partial(newton, *block))
    first: Any = tuple(column[:SAMPLE] for column in block)
    original(tuple(column[:2] for column in block))  # type: ignore[arg-type]
    theirs, roots = best_of(1, partial(original, first))
    solved = np.isfinite(roots)
    alone = [
        ("Newton with `math.erfc`, numba", peer / BLOCK, off(values, exact)),
        ("`scipy.optimize.root`", theirs / SAMPLE, off(roots[solved], exact[:SAMPLE][solved])),
    ]
    rows = [
        (f"pricer, {CORES} cores", *times(both), "10", "", ""),
        ("pricer, one core", *times(one), "", "", ""),
        *(
            (f"{name}, one core", *times(each), "", f"{each / one:,.1f}", difference)
            for name, each, difference in alone
        ),
    ]
    head = (
        *("", "ns an inversion", "305 million, s", "target, s"),
        *("times pricer's one core", "largest relative difference"),
    )
    scaled = ", the shortest of three times, scaled" if part > 1 else ""
    failed = int((~solved).sum())
    write(
        "inversions",
        f"pricer: {count:,} different inversions{scaled}; Newton: {BLOCK:,}; "
        f"`scipy.optimize.root`: {SAMPLE}, of which {failed} found no root.\n\n{table(head, rows)}",
        PAGE,
    )


def times(each: float) -> tuple[str, str]:
    """Return nanoseconds an inversion, and seconds of all."""
    return f"{each * 1e9:,.1f}", f"{each * PUBLISHED:,.1f}"


def off(values: Floats, exact: Floats) -> str:
    """Return the largest relative difference."""
    return f"{np.abs(values / exact - 1.0).max():.1e}"


def write_model(part: int) -> None:
    """Time the whole model, from the panel on disk to the store, and compare it with the truth."""
    firms = FIRMS // part
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = f"sqlite:///{folder / 'runs.db'}"
        # Compiles, where that has not been done, outside the clock.
        (folder / "first").mkdir()
        warm = str(folder / "first")
        answer_of("example", "merton", "--firms", "1", "--years", "2", "--output", warm)
        answer_of("submit", f"{warm}/firms.toml", "--store", store)
        written, writing, writer = answer_of(
            *("example", "merton", "--firms", str(firms), "--years", str(YEARS)),
            *("--output", name),
        )
        run, seconds, peak = answer_of("submit", written["file"], "--store", store)
        exported = folder / "all.parquet"
        answer_of("export", run["run"], str(exported), "--store", store)
        lines = against_the_truth(Path(written["panel"]), exported)
    cells, inversions = run["cells"], run["inversions"]
    rows = [
        ("rows of the panel", f"{written['rows']:,}", ""),
        ("writing it", f"{writing:.1f} s", ""),
        ("peak memory of writing", f"{writer:,.0f} MB", ""),
        ("firms x windows x horizons", f"{cells:,}", ""),
        ("not ok", f"{run['failed']:,}", ""),
        ("inversions", f"{inversions:,}", ""),
        ("reading, estimating, storing", f"{seconds:.1f} s", "" if part > 1 else "300 s"),
        ("the same for 24,000 firms", f"{seconds * part:.0f} s", "300 s"),
        ("cells a second", f"{cells / seconds:,.0f}", ""),
        ("inversions a second", f"{inversions / seconds:,.0f}", ""),
        ("peak memory", f"{peak:,.0f} MB", "bounded"),
        *lines,
    ]
    if part == 1:
        rows = [row for row in rows if row[0] != "the same for 24,000 firms"]
    head = (f"{firms:,} firms, {YEARS} years, {CORES} cores", "", "target, or expected")
    write("model", table(head, rows), PAGE)


def against_the_truth(panel: Path, exported: Path) -> list[tuple[str, str, str]]:
    """Compare asset vols at the panel's own horizon with the true ones.

    Beside them what a sample deviation of so many normals would come to.
    """
    import pyarrow.parquet as pq

    true: dict[str, float] = {}
    for batch in pq.ParquetFile(panel).iter_batches(columns=["firm", "asset_vol"]):
        first = batch.to_pandas().drop_duplicates("firm")
        true.update(zip(first["firm"], first["asset_vol"], strict=True))
    cells = pq.read_table(
        exported,
        columns=["firm", "asset_vol", "status"],
        filters=[("horizon", "==", 1.0), ("status", "==", "ok")],
    ).to_pandas()
    ratios = cells["asset_vol"].to_numpy() / cells["firm"].map(true).to_numpy(np.float64) - 1.0
    sampling = 1.0 / math.sqrt(2 * RETURNS)
    bias, spread = -1.0 / (4 * (RETURNS - 1)), sampling / math.sqrt(len(ratios))
    return [
        (
            "asset vol by the true one less 1, horizon 1: mean",
            f"{ratios.mean():+.2%}",
            f"{bias:+.2%} ± {2 * spread:.2%}",
        ),
        ("and standard deviation", f"{ratios.std():.2%}", f"{sampling:.2%}"),
    ]


def main() -> None:
    """Measure, print, and write to the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", action="store_true", help="all of the published experiment")
    part = 1 if parser.parse_args().all else PART
    write_model(part)
    write_inversions(part)
    write("machine", machine("numba", "numpy", "scipy"), PAGE)


if __name__ == "__main__":
    main()
