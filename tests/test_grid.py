from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricer.contracts import CONTRACTS, inputs_of
from pricer.dated import Curve, Dates, Dividends
from pricer.errors import PricerError, SpecError
from pricer.grid import Axis, Grid
from pricer.settings import MEASURES, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pricer.gridvalues import Value

CONTRACT = {"type": '"vanilla"'}
AXES = {
    "right": '["call", "put"]',
    "spot": "100.0",
    "strike": "[90, 100.0]",
    "expiry": "1.0",
    "vol": "[0.1, 0.2]",
    "rate": "0.03",
}


def toml(
    contract: Mapping[str, str] | None = None,
    axes: Mapping[str, str] | None = None,
    method: Mapping[str, str] | None = None,
    top: str = "",
) -> str:
    """Write a grid file; a key set to nothing is left out."""
    tables = {
        "contract": CONTRACT | dict(contract or {}),
        "axes": AXES | dict(axes or {}),
        "method": dict(method or {}),
    }
    lines = [top]
    for table, keys in tables.items():
        lines += [f"[{table}]", *(f"{key} = {value}" for key, value in keys.items() if value)]
    return "\n".join(lines)


def error_of(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        Grid.parse(text, "g.toml")
    message = str(caught.value)
    assert message.startswith("g.toml: ")
    assert "\n" not in message
    return message.removeprefix("g.toml: ")


def axis_of(spelling: str, name: str = "vol") -> tuple[Value, ...]:
    grid = Grid.parse(toml(axes={name: spelling}))
    return next(axis.values for axis in grid.axes if axis.name == name)


def test_a_file_says_axes_in_its_own_order_with_every_default() -> None:
    grid = Grid.parse(toml(), "g.toml")
    assert [axis.name for axis in grid.axes] == list(AXES)
    assert grid.fixed == {"exercise": "european", "dividend_yield": 0.0}
    assert (grid.name, grid.settings) == ("", Settings(measures=MEASURES))
    assert grid.cells == 8


def test_contract_fields_and_method_are_taken_from_their_tables() -> None:
    grid = Grid.parse(
        toml(
            contract={"exercise": '"American"', "strike": "100"},
            axes={"strike": ""},
            method={"name": '"analytic"', "tolerance": "1e-3", "measures": '["delta", "price"]'},
            top='name = "a sweep"',
        ).replace('"American"', '"European"')
    )
    assert grid.fixed == {"exercise": "european", "strike": 100.0, "dividend_yield": 0.0}
    assert (grid.name, grid.settings) == ("a sweep", Settings("analytic", 1e-3, ("price", "delta")))


def test_words_are_spelt_out_whatever_their_case() -> None:
    assert axis_of('["P", "c"]', "right") == ("put", "call")


def test_a_byte_order_mark_and_windows_line_ends_are_read() -> None:
    assert Grid.parse("\ufeff" + toml().replace("\n", "\r\n")) == Grid.parse(toml())


def test_a_range_gives_the_floats_one_would_write_by_hand() -> None:
    by_hand = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
    assert axis_of("{ start = 0.1, stop = 0.6, count = 11 }") == by_hand
    assert axis_of("{ start = 0.1, stop = 0.6, step = 0.05 }") == by_hand


@given(
    start=st.floats(0, 1e6),
    width=st.floats(1e-3, 1e6),
    count=st.integers(2, 50),
)
def test_a_range_includes_both_ends_in_equal_steps(start: float, width: float, count: int) -> None:
    stop = start + width
    values = axis_of(f"{{ start = {start!r}, stop = {stop!r}, count = {count} }}")
    assert (values[0], values[-1], len(values)) == (start, stop, count)
    expected = np.linspace(start, stop, count)
    np.testing.assert_allclose(np.array(values), expected, rtol=1e-14, atol=0)


def test_negative_zero_is_zero() -> None:
    assert str(axis_of("-0.0", "rate")) == "(0.0,)"


def test_a_grid_is_rebuilt_from_its_identity() -> None:
    grid = Grid.parse(toml(contract={"expiry": "0.1"}, axes={"expiry": ""}))
    assert Grid.of_identity(grid.identity(), grid.name, grid.labels()) == grid


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"vol": "-0.1"}, "axes.vol: must not be negative, got -0.1"),
        ({"vol": "[0.1, -0.2]"}, "axes.vol: must not be negative, got -0.2"),
        ({"spot": "-1"}, "axes.spot: must not be negative, got -1.0"),
        ({"strike": "-1"}, "axes.strike: must not be negative, got -1.0"),
        ({"expiry": "-1"}, "axes.expiry: must not be negative, got -1.0"),
        ({"vol": "nan"}, "axes.vol: must be a number, got nan"),
        ({"rate": "[0.1, inf]"}, "axes.rate: must be finite, got inf"),
        ({"rate": "1" + "0" * 400}, "axes.rate: must be finite, got 1" + "0" * 56 + "..."),
        ({"vol": "[]"}, "axes.vol: must have at least one value, got none"),
        ({"vol": "[0.1, 0.1]"}, "axes.vol: values must differ, got 0.1 twice"),
        ({"vol": "[0.2, 0.1]"}, "axes.vol: values must increase, got 0.2 then 0.1"),
        ({"right": '["put", "P"]'}, "axes.right: values must differ, got 'put' twice"),
        ({"right": '"cal"'}, "axes.right: must be call or put, got 'cal'; did you mean 'call'?"),
        ({"right": "1"}, "axes.right: must be call or put, got 1"),
        ({"right": "{ start = 1 }"}, "axes.right: must be a word or a list of words, got"),
        ({"vol": '"25%"'}, "axes.vol: must be a number, got '25%'; write 0.25"),
        (
            {"expiry": "{ start = 1, stop = 2, count = 50001 }"},
            "axes.expiry: must have at most 50,000 values, got 50001",
        ),
        ({"vol": '"0.2"'}, "axes.vol: must be a number, got '0.2'; write it without quotes"),
        ({"vol": '"high"'}, "axes.vol: must be a number, got 'high'"),
        ({"vol": "true"}, "axes.vol: must be a number, got true"),
        ({"vol": "[[0.1]]"}, "axes.vol: must be a number, got [0.1]"),
        ({"vol": "2014-06-06"}, "axes.vol: must be a number, got 2014-06-06"),
        ({"volatility": "1"}, "axes.volatility: is not known here; must be of right,"),
        ({"voll": "1"}, "did you mean 'vol'?"),
        ({"tolerance": "1"}, "axes.tolerance: belongs in the table [method]"),
        ({"vol": ""}, "axes.vol: is missing; give it in [axes]"),
        ({"right": ""}, "axes.right: is missing; give it in [contract] or [axes]"),
        ({"spot": "{ start = 1, end = 2, count = 3 }"}, "axes.spot.end: a range has start, stop"),
        ({"spot": "{ start = 1, end = 2, count = 3 }"}, "did you mean 'stop'?"),
        ({"spot": "{ start = 1, stop = 2, cuont = 3 }"}, "did you mean 'count'?"),
        ({"spot": "{ stop = 2, count = 3 }"}, "axes.spot.start: is missing"),
        ({"spot": "{ start = 2, count = 3 }"}, "axes.spot.stop: is missing"),
        ({"spot": "{ start = 1, stop = 2 }"}, "either count or step, got neither"),
        ({"spot": "{ start = 1, stop = 2, count = 2, step = 1 }"}, "count or step, got both"),
        ({"spot": "{ start = 2, stop = 2, count = 2 }"}, "start must be below stop, got 2.0 and"),
        ({"spot": "{ start = 1, stop = 2, count = 1 }"}, "axes.spot.count: must be at least 2"),
        ({"spot": "{ start = 1, stop = 2, count = 2.0 }"}, "count: must be a whole number, got"),
        ({"spot": "{ start = 1, stop = 2, count = true }"}, "a whole number, got true"),
        ({"spot": "{ start = -1, stop = 2, count = 2 }"}, "axes.spot.start: must not be negative"),
        ({"spot": "{ start = 1, stop = inf, count = 2 }"}, "axes.spot.stop: must be finite"),
        ({"spot": "{ start = 1, stop = 2, step = 0.3 }"}, "axes.spot.step: stop must lie a whole"),
        ({"spot": "{ start = 1, stop = 2, step = 0.0 }"}, "axes.spot.step: must be positive"),
        ({"spot": "{ start = 1, stop = 2, step = nan }"}, "axes.spot.step: must be positive"),
        (
            {"spot": "{ start = 1, stop = 2, count = 1000001 }"},
            "axes.spot: must have at most 1,000,000 values, got 1000001",
        ),
        ({"spot": f"{{ start = 1, stop = 2, count = 0x{'f' * 5000} }}"}, "thousands of digits"),
        (
            {"spot": "{ start = 1, stop = 1.0000000000000002, count = 3 }"},
            "axes.spot: values must differ",
        ),
    ],
)
def test_an_impossible_axis_is_refused_by_name(axes: dict[str, str], message: str) -> None:
    assert message in error_of(toml(axes=axes))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (toml({"type": '"vanila"'}), "contract.type: must be vanilla or digital or"),
        (toml({"type": ""}), 'contract.type: is missing; write type = "vanilla"'),
        (toml({"strike": "[90]"}, {"strike": ""}), "contract.strike: must be a number, got [90]"),
        (toml({"strike": "[90]"}, {"strike": ""}), "several values belong in the table [axes]"),
        (toml({"strike": "-1.0"}, {"strike": ""}), "contract.strike: must not be negative"),
        (toml({"strike": "90"}), "strike: is given in [contract] and in [axes]"),
        (toml({"spot": "90"}), "contract.spot: belongs in the table [axes]"),
        (toml({"type": '"vanila"'}), "got 'vanila'; did you mean 'vanilla'?"),
        (toml({"exercise": '"bermuda"'}), "contract.exercise: must be european or american or"),
        (toml({"exerciseX": '"american"'}), "did you mean 'exercise'?"),
        (
            toml(method={"name": '"analytics"'}),
            "method.name: must be one of auto, analytic, finite",
        ),
        (toml(method={"name": '"analytics"'}), "did you mean 'analytic'?"),
        (toml(method={"tolerance": '"1e-5"'}), "method.tolerance: must be a number, got '1e-5'"),
        (toml(method={"tolerance": "2"}), "method.tolerance: must lie between 1e-12 and 1"),
        (toml(method={"measures": '["vga"]'}), "method.measures: must be of price, delta"),
        (toml(method={"measures": '["vga"]'}), "got 'vga'; did you mean 'vega'?"),
        (toml(method={"measures": "[]"}), "method.measures: must name at least one"),
        (toml(method={"measures": '"price"'}), "method.measures: must be a list of names, got"),
        (toml(method={"measures": "3"}), "method.measures: must be a list of names, got 3"),
        (toml(method={"tolerances": "1"}), "method.tolerances: is not known here"),
        (toml(top="names = 'x'"), "names: is not a key of a grid file; did you mean 'name'?"),
        (toml(top="name = 3"), "name: must be text, got 3"),
        (toml(top="vol = 0.1"), "vol: belongs in the table [axes]"),
        (toml(top="tolerance = 0.1"), "tolerance: belongs in the table [method]"),
        (toml(top="axes = 1").replace("[axes]", "[x]"), "axes: must be a table, got 1; write"),
        (toml().replace("[axes]", "[axis]"), "axis: is not a key of a grid file; did you mean"),
        ('[contract]\ntype = "vanilla"', "axes: is missing; give the inputs to sweep"),
        ("", 'contract.type: is missing; write type = "vanilla"'),
        ("[contract]\ntype = vanilla", "line 2, column 8: invalid value"),
        ("[contract]\ntype", "line 2: expected '=' after a key in a key/value pair at the end"),
        ("a = 1\na = 2\n", "line 2, column 6: cannot overwrite a value"),
        ("a = " + "9" * 5000, "is not TOML: Exceeds the limit"),
        ("a = " + "[" * 10_000, "is nested too deeply"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_by_key(text: str, message: str) -> None:
    assert message in error_of(text)


def test_a_closed_form_is_refused_for_american_options_before_anything_is_priced() -> None:
    method = {"name": '"analytic"'}
    expected = "method: must be auto or finite_difference for american options, got 'analytic'"
    assert error_of(toml({"exercise": '"american"'}, method=method)) == expected
    axes = {"exercise": '["european", "american"]'}
    assert error_of(toml(axes=axes, method=method)) == expected


def test_more_cells_than_a_number_can_count_are_refused() -> None:
    wide = "{ start = 0.0, stop = 1.0, count = 100000 }"
    sweep = dict.fromkeys(("spot", "strike", "rate", "vol"), wide)
    message = "axes: must make fewer than 2^63 cells, got 2.000e+20"
    assert error_of(toml(axes=sweep)) == message


@pytest.mark.parametrize(
    ("axes", "fixed", "message"),
    [
        ((Axis("vol", (0.1,)), Axis("vol", (0.2,))), {}, "axes.vol: must be given once"),
        ((Axis("vol", (0.1,)),), {"vole": 1.0}, "axes.right: is missing"),
        (
            (),
            {
                "right": "call",
                "spot": 1.0,
                "strike": 1.0,
                "expiry": 1.0,
                "vol": 1.0,
                "rate": 0.0,
                "carry": 0.0,
            },
            "contract.carry: is not an input",
        ),
    ],
)
def test_a_grid_of_python_values_is_checked_alike(
    axes: tuple[Axis, ...], fixed: dict[str, float], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        Grid(axes, fixed)


# --- types of contracts ---

ONE_OF_EACH = {
    "vanilla": {"right": '"put"', "strike": "100"},
    "digital": {"right": '"put"', "strike": "100", "payoff": '"gap"', "payoff_strike": "98"},
    "barrier": {
        "right": '"call"',
        "strike": "100",
        "barrier": "[90, 95]",
        "barrier_type": '["down_out", "down_in"]',
        "rebate": "3",
    },
    "double_barrier": {
        "right": '"call"',
        "strike": "100",
        "lower_barrier": "[80, 90]",
        "upper_barrier": "120",
        "barrier_type": '"knock_in"',
    },
    "touch": {"direction": '"up"', "barrier": "[110, 120]", "payment": '"at_expiry"'},
    "double_touch": {"lower_barrier": "90", "upper_barrier": "110", "touch_type": '"no_touch"'},
    "asian": {"right": '"call"', "strike": "[90, 100]", "fixing_dates": "[0, 0.5, 1.0]"},
    "lookback": {"right": '"put"', "strike_type": '"floating"', "running_extremum": "110"},
    "forward_start": {"right": '"call"', "start": "[0.25, 0.5]", "moneyness": "1.1"},
    "cliquet": {"right": '"call"', "reset_dates": "[[0, 0.25], [0, 0.5]]", "local_cap": "0.1"},
    "basket": {
        "right": '"call"',
        "strike": "100",
        "spots": "[[100, 90], [100, 95]]",
        "vols": "[0.2, 0.3]",
        "correlation": "[-0.5, 0.5]",
        "weights": '["0.5;0.5", "1;-1"]',
    },
}
MARKET = {"spot": "[95.0, 100.0]", "expiry": "1.0", "vol": "0.2", "rate": "0.03"}


def market_of(kind: str) -> dict[str, str]:
    return {name: value for name, value in MARKET.items() if name in inputs_of(kind)}


def typed(kind: str, **axes: str) -> str:
    """Write a grid file of a type; an axis set to nothing is left out."""
    lines = ["[contract]", f'type = "{kind}"', "[axes]"]
    keys = ONE_OF_EACH[kind] | market_of(kind) | axes
    return "\n".join([*lines, *(f"{name} = {value}" for name, value in keys.items() if value)])


@pytest.mark.parametrize("kind", CONTRACTS)
def test_every_type_of_contract_is_read_and_rebuilt(kind: str) -> None:
    grid = Grid.parse(typed(kind))
    assert grid.type == kind
    assert [axis.name for axis in grid.axes] == [*ONE_OF_EACH[kind], *market_of(kind)]
    assert Grid.of_identity(grid.identity(), grid.name, grid.labels()) == grid
    assert Grid.parse(typed(kind).replace(f'"{kind}"', f'"{kind.title()}"')).type == kind


def test_what_is_given_as_its_default_is_the_same_grid() -> None:
    spelt_out = typed("barrier", rebate="").replace("[axes]", 'rebate = 0\npayoff = "v"\n[axes]')
    spelt_out = spelt_out.replace('"v"', '"vanilla"')
    assert Grid.parse(spelt_out) == Grid.parse(typed("barrier", rebate=""))
    assert Grid.parse(spelt_out).values("rebate") == (0.0,)
    assert Grid.parse(spelt_out).values("payoff_strike") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            typed("barrier", barrier_type='"knock_out"'),
            "axes.barrier_type: must be down_out or down_in or up_out or up_in, got 'knock_out'",
        ),
        (
            typed("digital", payoff="").replace("[axes]", 'payoff = "vanilla"\n[axes]'),
            "contract.payoff: must be cash_or_nothing or asset_or_nothing or gap, got 'vanilla'",
        ),
        (
            typed("vanilla", barrier="90"),
            "axes.barrier: is not an input of a vanilla; barrier, touch have it",
        ),
        (
            typed("touch", strike="90"),
            "axes.strike: is not an input of a touch; vanilla, digital, barrier, double barrier"
            ", asian, lookback, basket have it",
        ),
        (
            typed("barrier", barrrier="90"),
            "axes.barrrier: is not known here; must be of right, exercise, spot, strike, expiry,",
        ),
        (typed("barrier", barrrier="90"), "did you mean 'barrier'?"),
        (typed("barrier", barrier=""), "axes.barrier: is missing; give it in [contract] or [axes]"),
        (typed("barrier", barrier="0"), "axes.barrier: must be above 0, got 0.0"),
        (typed("barrier", barrier="[0, 90]"), "axes.barrier: must be above 0, got 0.0"),
        (typed("barrier", rebate="-1"), "axes.rebate: must not be negative, got -1.0"),
        (
            typed("double_touch", upper_barrier="85"),
            "upper_barrier: must be above the lower barrier, got 85.0 and 90.0",
        ),
        (
            typed("vanilla", exercise='"bermudan"'),
            "axes.exercise_dates: is missing; exercise = bermudan needs it",
        ),
        (
            typed("vanilla", exercise='["european", "american"]', exercise_dates="[0.5]"),
            'exercise_dates: counts only with exercise = "bermudan", got european and american',
        ),
        (
            typed("vanilla", exercise='"bermudan"', exercise_dates="[0.5]")
            + '\n[method]\nname = "analytic"',
            "method: must be auto or finite_difference for bermudan options, got 'analytic'",
        ),
    ],
)
def test_what_a_type_cannot_have_is_refused(text: str, message: str) -> None:
    assert message in error_of(text)


def test_a_grid_of_python_values_knows_its_type() -> None:
    with pytest.raises(SpecError, match=r"type: must be vanilla or digital or .*'barier'; did you"):
        Grid((), {}, type="barier")


# --- tables ---


def table_axis(name: str, spelling: str) -> Axis:
    bermudan = {"exercise": '"bermudan"', "exercise_dates": "[1.0]"}
    grid = Grid.parse(typed("vanilla", **bermudan | {name: spelling}))
    return next(axis for axis in grid.axes if axis.name == name)


TWICE = Dividends((0.25, 0.75), (1.5, 1.5))


@pytest.mark.parametrize(
    ("name", "spelling", "values"),
    [
        ("cash_dividends", "{ times = [0.25, 0.75], amounts = [1.5, 1.5] }", [TWICE]),
        ("cash_dividends", "[[0.25, 1.5], [0.75, 1.5]]", [TWICE]),
        ("cash_dividends", '"0.25:1.5; 0.75:1.5"', [TWICE]),
        ("cash_dividends", "[]", [Dividends((), ())]),
        ("cash_dividends", "[[], [[0.25, 1.5], [0.75, 1.5]]]", [Dividends((), ()), TWICE]),
        ("cash_dividends", '["0.25:1.5;0.75:1.5", ""]', [TWICE, Dividends((), ())]),
        ("proportional_dividends", "[[0.5, 0.01]]", [Dividends((0.5,), (0.01,))]),
        ("exercise_dates", "[0.25, 0.5]", [Dates((0.25, 0.5))]),
        ("exercise_dates", "[[0.5], [0.25, 0.5]]", [Dates((0.5,)), Dates((0.25, 0.5))]),
        ("exercise_dates", '["0.5", { times = [1] }]', [Dates((0.5,)), Dates((1.0,))]),
        ("rate", "{ times = [1, 2], values = [0.03, 0.04] }", [Curve((1.0, 2.0), (0.03, 0.04))]),
        ("vol", '"1:0.2;2:0.3"', [Curve((1.0, 2.0), (0.2, 0.3))]),
        ("rate", '[0.03, "1:0.03;2:0.04", 0.02]', [0.03, Curve((1.0, 2.0), (0.03, 0.04)), 0.02]),
        ("rate", "{ times = [1, 2], values = [0.03, 0.03] }", [0.03]),
        ("rate", "[{ times = [1], values = [0.03] }, 0.04]", [0.03, 0.04]),
    ],
)
def test_tables_are_read_as_files_spell_them(
    name: str, spelling: str, values: list[object]
) -> None:
    assert table_axis(name, spelling).values == tuple(values)


def test_tables_may_stand_in_the_contract() -> None:
    text = typed("vanilla").replace("[axes]", "cash_dividends = [[0.25, 1.5]]\n[axes]")
    grid = Grid.parse(text)
    assert grid.fixed["cash_dividends"] == Dividends((0.25,), (1.5,))


def test_results_name_the_model_of_cash_dividends() -> None:
    text = typed("vanilla", cash_dividends="[[0.25, 1.5]]")
    assert Grid.parse(text).axes[-1] == Axis("dividend_model", ("spot",))
    escrowed = Grid.parse(text.replace("[axes]", 'dividend_model = "escrowed"\n[axes]'))
    assert escrowed.axes[-1] == Axis("dividend_model", ("escrowed",))
    assert Grid.of_identity(escrowed.identity(), "", {}) == escrowed
    assert all(axis.name != "dividend_model" for axis in Grid.parse(typed("vanilla")).axes)


LABELLED = """[
    { label = "none", times = [], amounts = [] },
    { label = "as announced", times = [0.25], amounts = [1.5] },
    { times = [0.25], amounts = [2.0] },
]"""


def test_tables_are_called_by_their_labels_else_by_their_text() -> None:
    axis = table_axis("cash_dividends", LABELLED)
    assert axis.shown == ("none", "as announced", "0.25:2.0")


def test_labels_are_kept_beside_the_identity_and_are_no_part_of_it() -> None:
    labelled = Grid.parse(typed("vanilla", cash_dividends=LABELLED))
    renamed = Grid.parse(typed("vanilla", cash_dividends=LABELLED.replace("none", "nothing")))
    assert renamed.identity() == labelled.identity()
    again = Grid.of_identity(labelled.identity(), "", labelled.labels())
    assert again.axes[-2].shown == labelled.axes[-2].shown
    assert Grid.parse(typed("vanilla")).labels() == {}


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"cash_dividends": "1.5"}, "axes.cash_dividends: must be as { times = [0.25], amounts ="),
        ({"cash_dividends": "[1.5]"}, "axes.cash_dividends: must be as { times = [0.25], amounts"),
        ({"cash_dividends": "[[0.25]]"}, "axes.cash_dividends: must be as { times ="),
        ({"cash_dividends": '"0.25"'}, "axes.cash_dividends: must be as 0.25:1.5;0.75:1.5, got"),
        ({"cash_dividends": "[[0.25, -1.5]]"}, "axes.cash_dividends: amounts must not be negative"),
        ({"cash_dividends": "[[0.5, 1], [0.25, 1]]"}, "axes.cash_dividends: times must increase"),
        ({"cash_dividends": "[[0, 1]]"}, "axes.cash_dividends: times must be above 0"),
        ({"cash_dividends": "{ times = [1] }"}, "axes.cash_dividends: amounts is missing; write"),
        (
            {"cash_dividends": "{ times = [1], amonts = [1] }"},
            "has times and amounts, perhaps a label, got 'amonts'; did you mean 'amounts'?",
        ),
        (
            {"cash_dividends": "{ times = [1], amounts = [1], label = 1 }"},
            "axes.cash_dividends: label must be text, got 1",
        ),
        (
            {"cash_dividends": "{ times = [1], amounts = [1, 2] }"},
            "axes.cash_dividends: times and amounts must be as many, got 1 and 2",
        ),
        (
            {"cash_dividends": '["1:2", [[1, 2]]]'},
            "axes.cash_dividends: values must differ, got '1.0:2.0' twice",
        ),
        (
            {"cash_dividends": LABELLED.replace("as announced", "none")},
            "axes.cash_dividends: labels must differ, got 'none' twice",
        ),
        (
            {"proportional_dividends": "[[0.5, 1.0]]"},
            "axes.proportional_dividends: must be below 1, fractions of the spot, got 1.0",
        ),
        ({"vol": '"1:0.2;2:-0.3"'}, "axes.vol: must not be negative, got -0.3"),
        ({"rate": "{ times = [1] }"}, "axes.rate: values is missing; write { times = [1.0, 2.0]"),
        ({"rate": "{ times = [], values = [] }"}, "axes.rate: must have 1 to 10000 times, got 0"),
        ({"rate": "[{ start = 0, stop = 1, count = 2 }]"}, "axes.rate: must be a number, got {"),
        ({"rate": '[0.03, "1:0.03", "1:1;2:2"]'}, "axes.rate: values must differ, got 0.03 twice"),
        ({"spot": '"1:100"'}, "axes.spot: must be a number, got '1:100'"),
        ({"exercise_dates": "0.5"}, "axes.exercise_dates: must be as { times = [0.25, 0.5] }, "),
        ({"exercise_dates": "[true, inf]"}, "axes.exercise_dates: times must be finite, got inf"),
        ({"monitoring_dates": "[1]"}, "is not an input of a vanilla; barrier, double barrier,"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(axes: dict[str, str], message: str) -> None:
    assert message in error_of(typed("vanilla", **axes))


def test_several_tables_in_the_contract_belong_on_an_axis() -> None:
    text = typed("vanilla").replace("[axes]", "cash_dividends = [[], []]\n[axes]")
    message = "contract.cash_dividends: must be one table, got 2; several values belong in the"
    assert message in error_of(text)


def test_the_documented_grid_is_one() -> None:
    docs = Path(__file__).parents[1] / "docs" / "cli.md"
    text = re.findall(r"```toml\n(.*?)```", docs.read_text(encoding="utf-8"), re.DOTALL)[0]
    assert Grid.parse(text).cells == 2 * 401 * 3 * 2


def test_an_axis_must_be_an_input() -> None:
    with pytest.raises(SpecError, match=r"axes\.vole: is not an input; did you mean 'vol'"):
        Axis("vole", (1.0,))


@given(st.text(alphabet='[]{}="axesvol\n .,0123456789-#', max_size=60))
def test_no_text_escapes_with_another_exception(text: str) -> None:
    with pytest.raises(PricerError):
        Grid.parse(text)
