"""A synthetic panel of firms whose assets are known: what Merton's model is to find again.

A firm's assets follow a geometric Brownian motion of constant drift and vol. Its debt is set anew
every `QUARTER` days, a tenth of the way to the firm's own share of its assets, in logarithms, as
leverage reverts in Collin-Dufresne and Goldstein (2001). Its equity is the call on the assets,
struck at the debt, a year from expiry. The rate is one path for all firms. A firm whose equity is
less than a hundredth of its debt is delisted: its rows end the day before.

Every random number is a function of the seed, the firm and the day, so that neither the number of
firms nor of years changes a row that is there.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .compiled import check_workers, kernels
from .errors import StoreError
from .settings import check_seed
from .tables import check_writable, require_pyarrow, whole
from .worlds import exponentials, logarithms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PANEL, SPEC = "firms.parquet", "firms.toml"
YEAR_DAYS = 252
QUARTER = 63  # days
MONDAY = np.datetime64("1990-01-01")  # the first day
MATURITY = 1.0  # years of the call that the equity is
TOWARDS_TARGET = 0.1  # a quarter
LEAST_EQUITY = 0.01  # of the debt
GROUP_ROWS = 2**19
COLUMNS = ("firm", "date", "equity", "debt", "rate", "asset_value", "asset_vol", "drift")
VARIED = ("equity", "asset_value")  # whose values hardly ever come again
REPEATED = tuple(name for name in COLUMNS if name not in VARIED)
# What is drawn of a firm: the bounds of its vol, its debt by its assets and its assets at first
# (these three uniform in logarithms), and of its drift beyond a premium for its vol.
VOL, LEVERAGE, ASSETS, DRIFT = (0.05, 0.8), (0.05, 0.5), (1e7, 1e11), (0.0, 0.06)
PREMIUM = 0.3
# The rate lies between 0 and twice its mean, and comes back to it in some five years.
MEAN_RATE, REVERSION = 0.04, 0.2
SPEC_TEXT = """\
name = "{firms} synthetic firms"

[contract]
type = "merton"
horizon = [1.0, 2.0, 3.0, 4.0, 5.0]

[panel]
file = "{panel}"
"""


@dataclass(frozen=True, slots=True)
class Firm:
    """The days of a firm: shape (days,) each but its vol and drift, which are constant."""

    assets: Floats
    debt: Floats
    equity: Floats
    vol: float
    drift: float

    def __len__(self) -> int:
        return len(self.equity)


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: the rows, and how many firms have fewer than they would have had."""

    panel: Path
    spec: Path
    rows: int
    delisted: int


class Economy:
    """The world of a seed: its rate, day by day, and its firms, numbered from 1.

    Random numbers are Philox's: those of a firm by its number, those of the rate by 0.
    """

    def __init__(self, years: int, seed: int) -> None:
        self._closed, self._numbers = kernels("black_scholes", "draws")
        self._draws = self._numbers.draws(seed, False, 0)
        self._together = self._numbers.WIDTH  # random numbers that are drawn at once
        self.days = years * YEAR_DAYS
        number = np.arange(self.days)
        self.dates = MONDAY + (number // 5 * 7 + number % 5)
        self._bounds = logarithms(np.array([VOL, LEVERAGE, ASSETS]).T)
        step = REVERSION / YEAR_DAYS
        level, levels = 0.0, np.empty(self.days)
        for day, normal in enumerate((self._normals(0) * np.sqrt(2.0 * step)).tolist()):
            levels[day] = level
            level += normal - step * level
        self.rates: Floats = MEAN_RATE * (1.0 + levels / np.sqrt(1.0 + levels * levels))

    def firm(self, number: int) -> Firm:
        """Return one firm up to its last day."""
        chances = np.empty((4, self._together))
        self._numbers.uniforms(self._draws, number, 0, 2, 4, chances)
        low, high = self._bounds
        vol, leverage, first = exponentials(low + (high - low) * chances[:3, 0]).tolist()
        drift = DRIFT[0] + (DRIFT[1] - DRIFT[0]) * float(chances[3, 0]) + PREMIUM * vol
        steps = self._normals(number) * (vol * np.sqrt(1.0 / YEAR_DAYS))
        steps += (drift - 0.5 * vol * vol) / YEAR_DAYS
        steps[0] = 0.0
        logs = np.cumsum(steps)
        assets = first * exponentials(logs)
        debt = first * self._debts(leverage, logs)
        equity = self._calls(assets, debt, vol)
        alive = equity >= LEAST_EQUITY * debt
        days = self.days if alive.all() else int(np.argmin(alive))
        return Firm(assets[:days], debt[:days], equity[:days], vol, drift)

    def _debts(self, leverage: float, logs: Floats) -> Floats:
        """Return the debt of every day by the assets at first; `logs` are those of the assets."""
        target = logarithms(np.array([leverage]))[0]
        wanted = (target + logs[::QUARTER]).tolist()
        debts = np.empty(len(wanted))
        level = wanted[0]
        for quarter, log in enumerate(wanted):
            level += TOWARDS_TARGET * (log - level)
            debts[quarter] = level
        return np.repeat(exponentials(debts), QUARTER)[: self.days]

    def _calls(self, assets: Floats, debt: Floats, vol: float) -> Floats:
        days = self.days
        out = np.empty((len(self._closed.ROWS), days))
        right, european = np.ones(days, np.int8), np.zeros(days, np.int8)
        years, no_yield, vols = np.full(days, MATURITY), np.zeros(days), np.full(days, vol)
        self._closed.closed_form(
            right, european, assets, debt, years, self.rates, no_yield, vols, out
        )
        calls: Floats = out[0].copy()
        return calls

    def _normals(self, number: int) -> Floats:
        row = np.empty((1, -(-self.days // self._together) * self._together))
        self._numbers.normals(self._draws, number, 0, 0, 1, row)
        return row[0, : self.days]


def write_firms(
    folder: Path,
    firms: int,
    years: int,
    seed: int = 0,
    *,
    workers: int | None = None,
    on_progress: Callable[[int], None] = lambda days: None,
) -> Written:
    """Write a panel of `firms` firms over `years` of 252 days, and the file that submits it.

    Both appear whole or not at all. A Parquet file has the columns of a panel and the truth:
    `asset_value` a day, `asset_vol` and `drift` a firm. `on_progress` is told how many days of
    firms are done. Memory is bounded, whatever the panel.

    Raises
    ------
    StoreError
        Where one of the files is there already, or cannot be written.
    MissingDependencyError
        Where pyarrow is missing.
    """
    require_pyarrow()
    panel, spec = folder / PANEL, folder / SPEC
    for path in (panel, spec):
        check_writable(path, "parquet")
        if path.exists():
            raise StoreError(f"{path}: is there already; remove it, or give another folder")
    threads = check_workers(workers)
    economy = Economy(years, check_seed(seed))
    try:
        with whole(spec) as spec_part, whole(panel) as panel_part:
            rows, delisted = _write(panel_part, economy, firms, threads, on_progress)
            spec_part.write_text(SPEC_TEXT.format(firms=firms, panel=PANEL), encoding="utf-8")
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {error.strerror or error}") from None
    return Written(panel, spec, rows, delisted)


def _write(
    path: Path, economy: Economy, firms: int, threads: int, on_progress: Callable[[int], None]
) -> tuple[int, int]:
    """Write the panel; return its rows and how many firms were delisted."""
    import pyarrow.parquet as pq

    each = max(GROUP_ROWS // economy.days, 1)
    groups = [range(first, min(first + each, firms + 1)) for first in range(1, firms + 1, each)]
    rows = delisted = 0
    with pq.ParquetWriter(
        path,
        _schema(),
        compression="zstd",
        use_dictionary=list(REPEATED),
        use_byte_stream_split=list(VARIED),
    ) as writer:
        tables = _in_order(partial(_group, economy), groups, threads)
        for numbers, (table, ended) in zip(groups, tables, strict=True):
            writer.write_table(table, row_group_size=GROUP_ROWS)
            rows += len(table)
            delisted += ended
            on_progress((numbers.stop - 1) * economy.days)
    return rows, delisted


def _in_order(
    work: Callable[[range], tuple[Any, int]], groups: Iterable[range], threads: int
) -> Iterator[tuple[Any, int]]:
    """Yield what `work` makes of each group, in order; no more are made than are soon wanted."""
    pool = ThreadPoolExecutor(threads)
    pending: deque[Future[tuple[Any, int]]] = deque()
    try:
        for group in groups:
            pending.append(pool.submit(work, group))
            if len(pending) > threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _schema() -> Any:
    pa = require_pyarrow()
    kinds = {"firm": pa.dictionary(pa.int32(), pa.string()), "date": pa.date32()}
    return pa.schema([(name, kinds.get(name, pa.float64())) for name in COLUMNS])


def _group(economy: Economy, numbers: range) -> tuple[Any, int]:
    """Return the rows of firms as an Arrow table, and how many of them were delisted."""
    pa = require_pyarrow()
    firms = [economy.firm(number) for number in numbers]
    days = [len(firm) for firm in firms]
    names = pa.array([f"F{number:05d}" for number in numbers])
    places = np.repeat(np.arange(len(firms), dtype=np.int32), days)
    columns = {
        "firm": pa.DictionaryArray.from_arrays(pa.array(places), names),
        "date": np.concatenate([economy.dates[:count] for count in days]),
        "equity": np.concatenate([firm.equity for firm in firms]),
        "debt": np.concatenate([firm.debt for firm in firms]),
        "rate": np.concatenate([economy.rates[:count] for count in days]),
        "asset_value": np.concatenate([firm.assets for firm in firms]),
        "asset_vol": np.repeat([firm.vol for firm in firms], days),
        "drift": np.repeat([firm.drift for firm in firms], days),
    }
    delisted = sum(count < economy.days for count in days)
    return pa.table(columns, schema=_schema()), delisted
