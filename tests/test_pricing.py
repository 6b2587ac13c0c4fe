"""`pricer.price`: shapes, methods, what is refused, what is invalid, and what comes back."""

from __future__ import annotations

import math
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import pricer
from pricer import (
    MEASURES,
    Barrier,
    Curve,
    Dates,
    Dividends,
    DoubleTouch,
    Grid,
    Market,
    MissingDependencyError,
    SpecError,
    Status,
    Touch,
    Vanilla,
)
from pricer.plan import Plan
from pricer.pricing import price_chunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

PUT = Vanilla("put", 100.0, 1.0, "american")
MARKET = Market(spot=100.0, vol=0.25, rate=0.05, dividend_yield=0.02)


def test_scalars_give_arrays_of_no_dimension() -> None:
    got = pricer.price(PUT, MARKET)
    for name in (*MEASURES, "error", "status", "method"):
        assert getattr(got, name).shape == (), name
    assert got.price == pytest.approx(8.6, abs=0.1)
    assert got.status == Status.ok
    assert got.status.dtype == got.method.dtype == np.uint8


def test_fields_broadcast_by_the_rules_of_numpy() -> None:
    got = pricer.price(
        Vanilla(
            right=np.array([["call"], ["put"]]),
            exercise=["european", "american", "american"],
            strike=np.array([90.0, 100.0, 110.0]),
            expiry=1.0,
        ),
        Market(spot=np.full((4, 1, 1), 100.0), vol=0.25, rate=0.05, dividend_yield=0.02),
    )
    assert got.error.shape == (4, 2, 3)
    for i, right in enumerate(("call", "put")):
        for j, exercise in enumerate(("european", "american", "american")):
            one = pricer.price(
                Vanilla(right, 90.0 + 10 * j, 1.0, exercise), Market(100.0, 0.25, 0.05, 0.02)
            )
            assert got.price is not None
            assert one.price is not None
            gap = abs(got.price[:, i, j] - one.price)
            assert (gap <= got.error[:, i, j] + one.error).all()


@pytest.mark.parametrize("shape", [(0,), (3, 0)])
def test_nothing_in_nothing_out(shape: tuple[int, ...]) -> None:
    got = pricer.price(PUT, Market(np.ones(shape), 0.2, 0.05))
    assert got.error.shape == shape


def test_what_is_not_asked_is_not_computed() -> None:
    got = pricer.price(PUT, MARKET, measures=("delta", "price"))
    assert got.price is not None
    assert got.delta is not None
    assert all(getattr(got, name) is None for name in MEASURES[2:])
    everything = pricer.price(PUT, MARKET)
    assert got.price == everything.price
    assert got.delta == everything.delta
    assert got.error == everything.error


def test_auto_takes_the_closed_form_where_it_is_exact() -> None:
    exercises = np.array(["european", "american", "american", "american"])
    rights = np.array(["put", "put", "call", "put"])
    got = pricer.price(
        Vanilla(rights, 100.0, [1.0, 1.0, 1.0, 0.0], exercises), Market(100.0, 0.2, 0.05)
    )
    # A call without dividends is never exercised early.
    assert got.method.tolist() == [1, 2, 1, 1]
    assert (got.error[[0, 2, 3]] <= 1e-11).all()
    forced = pricer.price(
        Vanilla(rights, 100.0, [1.0, 1.0, 1.0, 0.0], exercises),
        Market(100.0, 0.2, 0.05),
        method="finite_difference",
    )
    assert forced.method.tolist() == [2, 2, 2, 1]


def test_a_table_has_a_row_a_cell_and_words_for_codes() -> None:
    got = pricer.price(
        Vanilla("put", [[90.0, np.nan], [110.0, 120.0]], 1.0), MARKET, measures=("price", "vega")
    )
    columns = got.columns()
    assert list(columns) == ["price", "vega", "error", "status", "method"]
    assert columns["status"].tolist() == ["ok", "invalid", "ok", "ok"]
    assert columns["method"].tolist() == ["analytic", "", "analytic", "analytic"]
    arrow = pytest.importorskip("pyarrow")
    table = got.to_arrow()
    assert isinstance(table, arrow.Table)
    assert table.column("status").to_pylist() == columns["status"].tolist()
    assert table.num_rows == 4


def test_a_frame_has_a_row_a_cell() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pricer.price(Vanilla("put", [90.0, 100.0], 1.0), MARKET).to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.columns.tolist() == [*MEASURES, "error", "status", "method"]


@pytest.mark.parametrize(("module", "call"), [("pyarrow", "to_arrow"), ("pandas", "to_pandas")])
def test_what_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, module: str, call: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=f"{call}: needs {module}: pip install"):
        getattr(pricer.price(PUT, MARKET), call)()


BAD_CELLS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "spot": ({}, {"spot": [100.0, -1.0, np.nan, np.inf]}),
    "strike": ({"strike": [100.0, -1.0, np.nan, -np.inf]}, {}),
    "expiry": ({"expiry": [1.0, -1.0, np.nan, np.inf]}, {}),
    "vol": ({}, {"vol": [0.25, -0.1, np.nan, np.inf]}),
    "rate": ({}, {"rate": [0.05, -np.inf, np.nan, np.inf]}),
    "dividend_yield": ({}, {"dividend_yield": [0.02, -np.inf, np.nan, np.inf]}),
}


@pytest.mark.parametrize("exercise", ["european", "american"])
@pytest.mark.parametrize("name", BAD_CELLS)
def test_a_bad_cell_is_invalid_and_its_neighbours_are_unharmed(name: str, exercise: str) -> None:
    contract, market = BAD_CELLS[name]
    given: dict[str, Any] = {"right": "put", "strike": 100.0, "expiry": 1.0} | contract
    world = {"spot": 100.0, "vol": 0.25, "rate": 0.05, "dividend_yield": 0.02} | market
    got = pricer.price(Vanilla(exercise=exercise, **given), Market(**world))
    alone = pricer.price(Vanilla("put", 100.0, 1.0, exercise), MARKET)
    assert got.status.tolist() == [Status.ok, *[Status.invalid] * 3]
    assert got.method[1:].tolist() == [0, 0, 0]
    for measure in (*MEASURES, "error"):
        values = getattr(got, measure)
        assert values[0] == getattr(alone, measure), measure
        assert np.isnan(values[1:]).all(), measure


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spot": -1.0}, "spot: must not be negative, got -1.0"),
        ({"vol": math.nan}, "vol: is missing"),
        ({"rate": math.inf}, "rate: must be finite, got inf"),
        ({"spot": "100"}, "spot: must be a number or an array of numbers, got '100'"),
        ({"spot": True}, "spot: must be a number or an array of numbers, got True"),
        ({"vol": [0.1, [0.2]]}, "vol: must be a number or an array of numbers"),
        ({"vol": 1j}, "vol: must be a number or an array of numbers"),
    ],
)
def test_a_market_that_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    world = {"spot": 100.0, "vol": 0.25, "rate": 0.05} | change
    with pytest.raises(SpecError) as caught:
        pricer.price(PUT, Market(**world))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"right": "pot"}, "right: must be call or put, got 'pot'; did you mean 'put'?"),
        ({"right": ["put", "x"]}, "right: must be call or put, got 'x'"),
        (
            {"exercise": "americn"},
            "exercise: must be european or american or bermudan, got 'americn'; did you",
        ),
        ({"strike": -5}, "strike: must not be negative, got -5.0"),
        ({"expiry": -0.5}, "expiry: must not be negative, got -0.5"),
        (
            {"exercise_dates": Dates([0.5])},
            'exercise_dates: counts only with exercise = "bermudan", got european',
        ),
    ],
)
def test_a_contract_that_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    contract: dict[str, Any] = {"right": "put", "strike": 100.0, "expiry": 1.0} | change
    with pytest.raises(SpecError) as caught:
        pricer.price(Vanilla(**contract), MARKET)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"method": "finite_diference"},
            "method: must be one of auto, analytic, finite_difference",
        ),
        ({"method": None}, "method: must be one of"),
        ({"tolerance": 0}, "tolerance: must lie between 1e-12 and 1, got 0"),
        ({"tolerance": "1e-5"}, "tolerance: must be a number, got '1e-5'"),
        ({"tolerance": math.nan}, "tolerance: must lie between 1e-12 and 1, got nan"),
        ({"measures": ("price", "vga")}, "measures: must be of price, delta"),
        ({"measures": "price"}, "measures: must be a list of names, got 'price'"),
        ({"measures": ()}, "measures: must name at least one"),
        ({"workers": 0}, "workers: must be a whole number from 1 to 256, got 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        pricer.price(PUT, MARKET, **settings)
    assert str(caught.value).startswith(message)


def test_shapes_that_do_not_broadcast_are_named() -> None:
    with pytest.raises(SpecError, match=r"shapes must broadcast, got spot \(2,\), strike \(3,\)"):
        pricer.price(Vanilla("put", [90.0, 100.0, 110.0], 1.0), Market([1.0, 2.0], 0.2, 0.05))


def test_there_is_no_closed_form_of_an_american_option() -> None:
    with pytest.raises(SpecError, match="must be auto or finite_difference for american options"):
        pricer.price(PUT, MARKET, method="analytic")


def test_two_exercise_boundaries_are_priced() -> None:
    # Battauz, De Donno, Sbuelz (2015): q < r < 0 for a put.
    market = Market(np.array([80.0, 100.0]), 0.2, -0.01, -0.03)
    got = pricer.price(Vanilla("put", 100.0, 1.0, "american"), market)
    dates = Dates(np.arange(1, 257) / 256)
    bermudan = pricer.price(Vanilla("put", 100.0, 1.0, "bermudan", dates), market)
    european = pricer.price(Vanilla("put", 100.0, 1.0), market)
    assert not got.status.any()
    assert got.price is not None
    assert bermudan.price is not None
    assert european.price is not None
    assert (got.price >= bermudan.price - got.error - bermudan.error).all()
    assert (got.price <= bermudan.price + 2e-3).all()
    assert (got.price > european.price + 0.1).all()


@pytest.mark.parametrize("text", ["0", "two", "-1"])
def test_workers_of_the_environment_must_be_a_number(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("PRICER_WORKERS", text)
    with pytest.raises(SpecError, match="PRICER_WORKERS: must be a whole number from 1 to 256"):
        pricer.price(PUT, MARKET)


def test_the_first_call_of_a_process_may_use_many_threads() -> None:
    script = (
        "import numpy as np, pricer\n"
        "vol = np.linspace(0.1, 0.5, 2000)\n"
        "got = pricer.price(pricer.Vanilla('put', 100.0, 1.0, 'american'),\n"
        "                   pricer.Market(100.0, vol, 0.05), workers=4)\n"
        "assert (got.status == 0).all()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_importing_loads_no_compiler() -> None:
    script = (
        "import sys, pricer\n"
        "slow = {'numba', 'llvmlite', 'rich', 'pyarrow', 'pandas', 'click'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


GRID = """
[contract]
type = "vanilla"
exercise = "american"
[axes]
right = ["call", "put"]
spot = { start = 80.0, stop = 120.0, count = 41 }
strike = [90.0, 100.0]
expiry = [0.5, 1.0]
vol = [0.2, 0.3, 0.4]
rate = 0.05
dividend_yield = 0.03
[method]
measures = ["price", "gamma"]
"""


def test_a_chunk_has_the_blocks_asked_for_in_their_order() -> None:
    plan = Plan.of(Grid.parse(GRID), "some version")
    found = dict(price_chunk(plan, 0, plan.blocks))
    assert list(found) == list(range(plan.blocks))
    got = np.concatenate([prices.price for prices in found.values() if prices.price is not None])
    cells, _ = plan.cells_at(0, plan.cells)
    names = np.array(["put", "", "call"])
    single = pricer.price(
        Vanilla(names[cells.right + 1], cells.strike, cells.expiry, "american"),
        Market(cells.spot, cells.vol, cells.rate, cells.dividend_yield),
        measures=("price", "gamma"),
    )
    # One call has the same families as the plan, so the same bits.
    assert np.array_equal(np.asarray(single.price), got)
    assert found[0].delta is None


def test_a_value_no_mesh_reaches_neither_crashes_nor_spoils_its_neighbours() -> None:
    alone = pricer.price(Vanilla("put", 100.0, 1.0, "american"), Market(100.0, 0.2, 0.05))
    vols = np.array([0.2, 1e160, 1e300, 1.7976931348623157e308, 100.0])
    result = pricer.price(Vanilla("put", 100.0, 1.0, "american"), Market(100.0, vols, 0.05))
    assert result.price is not None
    assert result.price[0] == alone.price
    assert np.all(np.isfinite(result.price))
    assert result.status.tolist() == [0, 2, 2, 2, 0]
    far = pricer.price(
        Vanilla("put", [1e-300, 5e-324, 100.0], [1e-12, 1.0, 5e-324], "american"),
        Market([1e300, 100.0, 100.0], 0.2, 0.05, 1.0),
        method="finite_difference",
    )
    assert far.status[2] == Status.ok


def test_a_far_spot_beside_it_moves_no_price_beyond_the_error() -> None:
    contract = Vanilla("call", 90.0, 1e-6, "american")
    alone = pricer.price(contract, Market(90.0, 0.2, 0.0, 0.05))
    beside = pricer.price(contract, Market([90.0, 110.0], 0.2, 0.0, 0.05))
    assert alone.price is not None
    assert beside.price is not None
    assert abs(beside.price[0] - alone.price) <= beside.error[0] + alone.error


WORLDS: dict[str, dict[str, Any]] = {
    "cash": {"cash_dividends": Dividends([0.25], [8.0])},
    "proportional": {"proportional_dividends": Dividends([0.25], [0.08])},
    "curve": {"rate": Curve([0.5, 1.0], [0.04, 0.06])},
}


@pytest.mark.parametrize("world", WORLDS)
def test_what_is_knocked_out_stays_so_whatever_is_paid_later(world: str) -> None:
    given: dict[str, Any] = {"spot": [100.0, 101.0], "vol": 0.25, "rate": 0.05}
    market = Market(**given | WORLDS[world])
    up: dict[str, Any] = {"barrier": 100.0, "barrier_type": "up_out", "rebate": 3.0}
    first = WORLDS[world].get("rate", Curve([1.0], [0.05])).values[0]
    later = 3.0 * math.exp(-0.05)
    for exercise in ("european", "american"):
        at_hit = pricer.price(Barrier("put", 90.0, 1.0, exercise=exercise, **up), market)
        for name in MEASURES:
            worth = 3.0 if name == "price" else 0.0
            assert getattr(at_hit, name).tolist() == [worth, worth], name
    got = pricer.price(Barrier("put", 90.0, 1.0, payment="at_expiry", **up), market)
    assert got.price == pytest.approx([later, later], rel=1e-12)
    assert got.theta == pytest.approx([first * later, first * later], rel=1e-12)
    asset = pricer.price(Touch("up", 1.0, 100.0, payoff="asset_or_nothing"), market)
    assert asset.price is not None
    assert asset.price.tolist() == [100.0, 101.0]
    assert pricer.price(Touch("up", 1.0, 100.0, "no_touch"), market).price == pytest.approx([0, 0])


@pytest.mark.parametrize("world", ["cash", "proportional"])
def test_shares_due_at_expiry_miss_the_dividends_until_then(world: str) -> None:
    market = Market(spot=100.0, vol=0.25, rate=0.05, **WORLDS[world])
    share = Touch("up", 1.0, 100.0, payoff="asset_or_nothing", payment="at_expiry")
    # A call with a strike of next to nothing is the share that is delivered.
    call = pricer.price(Vanilla("call", 1e-9, 1.0), market)
    assert pricer.price(share, market).price == pytest.approx(call.price, abs=1e-6)


def test_the_barrier_that_is_behind_was_first_however_strong_the_drift() -> None:
    kinds = np.array([["upper_first"], ["lower_first"]])
    market = Market(spot=[125.0, 70.0], vol=0.2, rate=[0.0, 0.5], dividend_yield=[0.5, 0.0])
    first = pricer.price(DoubleTouch(1.0, 80.0, 120.0, kinds), market)
    assert first.price is not None
    assert first.price.tolist() == [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize("exercise", ["european", "american"])
def test_escrowed_dividends_worth_more_than_the_spot_are_invalid(exercise: str) -> None:
    paid = Dividends([0.5], [50.0])
    market = Market([40.0, 100.0], 0.2, 0.05, cash_dividends=paid, dividend_model="escrowed")
    got = pricer.price(Vanilla("call", 100.0, 1.0, exercise), market)
    assert got.status.tolist() == [Status.invalid, Status.ok]


@pytest.mark.parametrize("exercise", ["european", "american"])
def test_a_barrier_at_nothing_is_invalid_and_warns_of_nothing(exercise: str) -> None:
    barrier = Barrier("call", 0.0, 1.0, 0.0, ["down_out", "up_in"], exercise=exercise)
    assert pricer.price(barrier, MARKET).status.tolist() == [Status.invalid] * 2
    assert pricer.price(Touch(["up", "down"], 1.0, 0.0), MARKET).status.tolist() == [1, 1]


def test_a_masked_element_is_missing() -> None:
    strikes = np.ma.array([90.0, 100.0], mask=[False, True])
    result = pricer.price(Vanilla("put", strikes, 1.0), Market(100.0, 0.2, 0.05))
    assert result.status.tolist() == [Status.ok, Status.invalid]


def test_contract_and_market_swapped_are_told_apart() -> None:
    with pytest.raises(pricer.SpecError, match=r"takes a Vanilla or .* here, got Market"):
        pricer.price(Market(100.0, 0.2, 0.05), Vanilla("put", 100.0, 1.0))  # type: ignore[arg-type]


@pytest.mark.parametrize("measures", [("price",), ("price", "vega")])
def test_measures_that_are_not_asked_for_are_not_computed_with(
    measures: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_of_the_largest(shape: Any, *arguments: Any) -> NDArray[Any]:
        array = np.zeros(shape, *arguments)
        if array.dtype.kind == "f":
            array[...] = np.finfo(float).max
        return array

    # What memory held before, at its worst: a warning is an error.
    numpy = SimpleNamespace(**vars(np) | {"empty": full_of_the_largest})
    monkeypatch.setattr("pricer.engines.np", numpy)
    market = Market(100.0, 0.2, 0.03, cash_dividends=Dividends([0.1, 0.4], [1.0, 2.0]))
    found = pricer.price(Touch("up", 0.7, 120.0, cash=5_000.0), market, measures=measures)
    assert found.status == Status.ok
