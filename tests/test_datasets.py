"""A run as a labelled dataset: what it holds, and which blocks reading it takes."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pricer import datasets
from pricer.contracts import Status
from pricer.datasets import dataset
from pricer.errors import MissingDependencyError, StoreError
from pricer.grid import Axis, Grid
from pricer.plan import GridPlan, Plan
from pricer.run import Run
from pricer.settings import Settings
from pricer.stores import StoredRun
from pricer.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

xr = pytest.importorskip("xarray")

# Axes in file order; as stored, vol and right stand outside. Each of their families is 7 blocks.
SPOTS = tuple(np.linspace(50.0, 150.0, 101).tolist())
STRIKES = tuple(np.linspace(80.0, 120.0, 161).tolist())
GRID = Grid(
    axes=(
        Axis("strike", STRIKES),
        Axis("vol", (0.1, 0.2, 0.4)),
        Axis("right", ("put", "call")),
        Axis("spot", SPOTS),
    ),
    fixed={"rate": 0.05, "expiry": 1.0, "exercise": "american"},
    name="small",
    settings=Settings(measures=("price", "delta")),
)


class Counted(MemoryStore):
    """Notes which blocks are read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[int] = []

    def blocks(self, run_id: str, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        asked = list(numbers)
        self.read += asked
        return super().blocks(run_id, asked)


def block(plan: Plan, number: int) -> bytes:
    """Return a block whose prices are the numbers of its cells."""
    cells = np.arange(*plan.block_range(number))
    values = [cells, cells + 0.25, cells + 0.5]
    columns = [np.asarray(v, "<f8").tobytes() for v in values[: len(plan.measures)]]
    columns.append(np.full(len(cells), 1e-6).tobytes())
    return b"".join(columns) + (cells % 2 * Status.tolerance).astype(np.uint8).tobytes()


def priced(grid: Grid = GRID, *, without: tuple[int, ...] = ()) -> tuple[Run, Counted]:
    store, plan = Counted(), Plan.of(grid, "none")
    head = StoredRun(plan.run_id, grid.name, plan.cells, plan.blocks, plan.blocks, "2026-01-01")
    store.create(head, {"plan": plan.to_json().encode()})
    there = [n for n in range(plan.blocks) if n not in without]
    store.put_blocks(plan.run_id, [(n, block(plan, n)) for n in there])
    run = Run(store, head)
    return run, store


def test_opening_reads_no_block_and_a_selection_only_its_own() -> None:
    run, store = priced()
    data = run.to_xarray()
    spot = data.price.sel(spot=100, right="call", vol=0.2)
    assert store.read == []
    values = spot.values
    plan = run.plan
    assert isinstance(plan, GridPlan)
    needed = plan.block_of(plan.numbers({n: np.array(at) for n, at in POSITIONS.items()}))
    assert sorted(store.read) == sorted(set(needed.ravel().tolist()))
    assert len(store.read) < plan.blocks / 5
    table = run.query({"spot": 100, "right": "call", "vol": 0.2})
    np.testing.assert_array_equal(values, table["price"])


POSITIONS: dict[str, Any] = {"strike": range(161), "vol": 1, "right": 1, "spot": 50}


def test_every_variable_of_a_selection_takes_its_blocks_once() -> None:
    run, store = priced()
    part = run.to_xarray().sel(strike=[95.0, 100.0], vol=0.4).load()
    assert len(store.read) == len(set(store.read))
    assert set(part.data_vars) == {"price", "delta", "error", "status"}


@pytest.mark.parametrize("kept", [0, datasets.KEPT_BYTES])
@pytest.mark.parametrize("piece", [1000, datasets.PIECE_CELLS])
def test_whole_variables_are_what_a_query_reads(
    kept: int, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "KEPT_BYTES", kept)
    monkeypatch.setattr(datasets, "PIECE_CELLS", piece)
    run, _ = priced()
    data, table = run.to_xarray(), run.query()
    for name in ("price", "delta", "error", "status"):
        assert data[name].dtype == table[name].dtype
        np.testing.assert_array_equal(data[name].values.ravel(), table[name])


@pytest.mark.parametrize(
    "key",
    [
        {"strike": [7, 3, 3], "spot": slice(None, None, -5)},
        {"vol": -1, "right": [True, False], "spot": slice(10, 90, 7)},
        {"strike": slice(0, 0)},
        {"strike": 5, "vol": 0, "right": 1, "spot": 100},
        {"spot": xr.DataArray([1, 5, 9], dims="at"), "strike": xr.DataArray([0, 2, 4], dims="at")},
    ],
)
def test_any_index_of_xarray_reads_what_it_would_of_an_array(key: dict[str, Any]) -> None:
    run, _ = priced()
    lazy = run.to_xarray()
    loaded = run.to_xarray().load()
    xr.testing.assert_identical(lazy.isel(key).compute(), loaded.isel(key))


def test_a_billion_cells_open_without_being_allocated() -> None:
    grid = Grid(
        axes=(
            Axis("spot", tuple(np.linspace(1.0, 100.0, 2000).tolist())),
            Axis("strike", tuple(np.linspace(1.0, 100.0, 2000).tolist())),
            Axis("expiry", tuple(np.linspace(0.1, 3.0, 1000).tolist())),
            Axis("vol", (0.1, 0.2)),
        ),
        fixed={"right": "call", "rate": 0.0},
    )
    plan = Plan.of(grid, "none")
    assert isinstance(plan, GridPlan)
    asked: list[int] = []

    def read(cells: NDArray[np.int64], columns: Iterable[str]) -> dict[str, NDArray[Any]]:
        asked.append(len(cells))
        return {name: cells.astype(np.uint8 if name == "status" else float) for name in columns}

    data = dataset(plan, read)
    assert data.price.size == 8_000_000_000
    assert "100.0" in repr(data)
    one = data.price.isel(spot=1999, strike=1999, expiry=999, vol=1)
    assert asked == []
    assert one.item() == 7_999_999_999
    assert asked == [1]


def test_what_is_not_priced_is_named_when_it_is_read() -> None:
    run, _ = priced(without=(2, 3))
    data = run.to_xarray()
    assert data.price.sel(vol=0.4, right="call").shape == (161, 101)
    assert data.price.sel(vol=0.4, right="call", spot=100).values.shape == (161,)
    plan = run.plan
    assert isinstance(plan, GridPlan)
    first = plan.positions(np.array([plan.block_range(2)[0]]))
    strike = STRIKES[int(first["strike"][0])]
    message = (
        rf"2 of the \d+ blocks that this needs are not priced yet, the first of them with"
        rf" strike {strike:.15g}, vol 0.1, right put, spot .*; `pricer resume` finishes it"
    )
    with pytest.raises(StoreError, match=message):
        data.price.values  # noqa: B018
    with pytest.raises(StoreError, match="not priced yet"):
        data.load()


def test_units_flags_and_what_cells_have_in_common_are_attributes() -> None:
    run, _ = priced()
    data = run.to_xarray()
    assert data.attrs == {
        "name": "small",
        "run": run.id,
        "type": "vanilla",
        "expiry": 1.0,
        "exercise": "american",
        "rate": 0.05,
        "dividend_yield": 0.0,
        "method": "auto",
        "tolerance": 1e-5,
    }
    assert data.delta.attrs["units"] == "1"
    assert data.vol.attrs["units"] == "per square root of a year"
    assert "units" not in data.right.attrs
    flags = data.status.attrs
    assert flags["flag_values"].tolist() == list(range(len(Status)))
    assert flags["flag_meanings"].split() == [status.name for status in Status]


def test_a_standard_error_has_the_unit_of_its_measure() -> None:
    grid = Grid(
        axes=(Axis("spot", (90.0, 100.0)),),
        fixed={"right": "call", "strike": 100.0, "expiry": 1.0, "vol": 0.2, "rate": 0.0},
        type="asian",
        settings=Settings(measures=("price", "standard_error", "gamma_standard_error")),
    )
    plan = Plan.of(grid, "none")
    assert isinstance(plan, GridPlan)
    data = dataset(plan, lambda cells, columns: dict.fromkeys(columns, np.zeros(len(cells))))
    assert data.standard_error.attrs["units"] == "currency"
    assert data.gamma_standard_error.attrs["units"] == "1 / currency"
    assert data.gamma_standard_error.attrs["long_name"] == "gamma standard error"


def test_tables_and_words_are_texts_on_their_axes() -> None:
    grid = Grid.parse(
        """
        [contract]
        type = "vanilla"
        right = "call"
        exercise = "american"
        [axes]
        cash_dividends = [
            { label = "none", times = [], amounts = [] },
            { label = "halved", times = [0.2], amounts = [1.0] },
        ]
        spot = [90.0, 100.0]
        strike = 100.0
        expiry = 1.0
        vol = [0.2, { times = [0.5, 1.0], values = [0.2, 0.3] }]
        rate = 0.05
        [method]
        measures = ["price"]
        """
    )
    run, _ = priced(grid)
    data = run.to_xarray()
    assert data.cash_dividends.values.tolist() == ["none", "halved"]
    assert data.dividend_model.values.tolist() == ["spot"]
    assert data.vol.values.tolist() == ["0.2", "0.5:0.2;1.0:0.3"]
    one = data.price.sel(cash_dividends="halved", spot=90.0, vol="0.2").item()
    assert one == run.query({"cash_dividends": "halved", "spot": 90, "vol": "0.2"})["price"][0]


def test_a_copy_reads_the_same_store_and_may_be_written_to() -> None:
    run, _ = priced()
    data = run.to_xarray()
    for other in (data.copy(deep=True), copy.deepcopy(data)):
        other.price[0, 0, 0, 0] = -1.0
        assert other.price.values[0, 0, 0, 0] == -1.0
    assert data.price.values[0, 0, 0, 0] == run.query(limit=1)["price"][0]


def test_values_that_are_changed_are_not_those_of_the_next_read() -> None:
    run, _ = priced()
    data = run.to_xarray()
    data.price.isel(spot=0).values[:] = -1.0
    assert data.price.isel(spot=0).values.min() >= 0.0


def test_without_xarray_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = priced()
    monkeypatch.setattr("pricer.run.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install xarray"):
        run.to_xarray()
