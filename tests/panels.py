"""Panels of firms for tests: in memory, or as the files that a user has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pricer.merton import MEASURES
from pricer.panel import NUMBERS, Panel, Windows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Columns = dict[str, NDArray[Any]]

HORIZONS = (1.0, 2.5)
START = np.datetime64("2001-01-01")


def columns_of(lengths: Sequence[int], seed: int = 0) -> Columns:
    """Return the columns of firms of so many days, some of which have no equity."""
    rng = np.random.default_rng(seed)
    total = sum(lengths)
    moves = rng.normal(0.0, 0.02, total)
    equity = 50.0 * np.exp(np.concatenate([np.cumsum(m) for m in np.split(moves, _cuts(lengths))]))
    equity[rng.integers(0, total, total // 20)] = np.nan
    days = [START + 7 * firm + np.arange(n) for firm, n in enumerate(lengths)]
    return {
        "firm": np.repeat([f"F{firm:02d}" for firm in range(len(lengths))], lengths).astype(object),
        "date": np.concatenate(days),
        "equity": equity,
        "debt": np.full(total, 30.0),
        "rate": 0.03 + 0.001 * rng.random(total),
    }


def panel_of(
    lengths: Sequence[int],
    window: int = 20,
    step: int | None = None,
    measures: tuple[str, ...] = MEASURES,
    seed: int = 0,
) -> Panel:
    """Return a panel of firms of so many days, read from memory."""
    columns = columns_of(lengths, seed)
    step = step or window
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    ends = []
    for firm, n in enumerate(lengths):
        starts = range(0, max(n - window, 0) + 1, step)
        ends += [int(offsets[firm]) + min(start + window, n) - 1 for start in starts]
    data = {name: columns[name].astype("<f8").tobytes() for name in NUMBERS}
    return Panel(
        firms=columns["firm"][offsets[:-1]],
        offsets=offsets,
        dates=columns["date"][ends].astype("M8[D]").astype(np.int32),
        digest=f"of {list(lengths)} and {seed}",
        read=lambda name, first, end: data[name][first:end],
        windows=Windows(HORIZONS, window, step),
        measures=measures,
        name="small",
    )


def write_panel(
    folder: Path,
    columns: Mapping[str, Any],
    form: str = "parquet",
    *,
    contract: str = "window = 20",
    more: str = "",
) -> Path:
    """Write a panel's columns and the TOML that names them; return the latter's path."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    table = pa.table(dict(columns))
    file = folder / f"firms.{form}"
    if form == "parquet":
        pyarrow.parquet.write_table(table, file)
    else:
        pyarrow.csv.write_csv(table, file)
    return write_toml(folder, file.name, contract, more)


def write_toml(
    folder: Path, file: str = "firms.csv", contract: str = "window = 20", more: str = ""
) -> Path:
    path = folder / f"{file}.toml"
    path.write_text(
        f'name = "small"\n[contract]\ntype = "merton"\nhorizon = [1.0, 2.5]\n{contract}\n'
        f'[panel]\nfile = "{file}"\n{more}\n'
    )
    return path


def _cuts(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.cumsum(lengths)[:-1]
