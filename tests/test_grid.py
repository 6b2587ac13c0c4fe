from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricer.contracts import MEASURES
from pricer.errors import PricerError, SpecError
from pricer.grid import Axis, Grid

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def axis_of(spelling: str, name: str = "vol") -> tuple[str | float, ...]:
    grid = Grid.parse(toml(axes={name: spelling}))
    return next(axis.values for axis in grid.axes if axis.name == name)


def test_a_file_says_axes_in_its_own_order_with_every_default() -> None:
    grid = Grid.parse(toml(), "g.toml")
    assert [axis.name for axis in grid.axes] == list(AXES)
    assert grid.fixed == {"exercise": "european", "dividend_yield": 0.0}
    assert (grid.name, grid.method, grid.tolerance, grid.measures) == ("", "auto", 1e-5, MEASURES)
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
    assert (grid.name, grid.method, grid.tolerance) == ("a sweep", "analytic", 1e-3)
    assert grid.measures == ("price", "delta")


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
    assert Grid.of_identity(grid.identity(), grid.name) == grid


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
        (toml({"type": '"vanila"'}), "contract.type: must be 'vanilla', got 'vanila'; did you"),
        (toml({"type": ""}), 'contract.type: is missing; write type = "vanilla"'),
        (toml({"strike": "[90]"}, {"strike": ""}), "contract.strike: must be a number, got [90]"),
        (toml({"strike": "[90]"}, {"strike": ""}), "several values belong in the table [axes]"),
        (toml({"strike": "-1.0"}, {"strike": ""}), "contract.strike: must not be negative"),
        (toml({"strike": "90"}), "strike: is given in [contract] and in [axes]"),
        (toml({"spot": "90"}), "contract.spot: belongs in the table [axes]"),
        (toml({"exercise": '"bermudan"'}), "contract.exercise: must be european or american, got"),
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


def test_an_axis_must_be_an_input() -> None:
    with pytest.raises(SpecError, match=r"axes\.vole: is not an input; did you mean 'vol'"):
        Axis("vole", (1.0,))


@given(st.text(alphabet='[]{}="axesvol\n .,0123456789-#', max_size=60))
def test_no_text_escapes_with_another_exception(text: str) -> None:
    with pytest.raises(PricerError):
        Grid.parse(text)
