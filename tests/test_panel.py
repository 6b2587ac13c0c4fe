"""What a panel's file says, and how its firms' days are cut into windows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from panels import HORIZONS, panel_of
from pricer.errors import SpecError
from pricer.grid import parse_toml
from pricer.merton import MEASURES
from pricer.panel import PanelFile, Windows, says_panel

FILE = """
name = "firms"
[contract]
type = "merton"
horizon = [1.0, 2.0]
window = 100
step = 50
[panel]
file = "firms.parquet"
columns = { equity = "market_cap" }
[method]
measures = ["asset_vol", "asset_value"]
"""


def test_a_file_says_what_is_estimated_of_which_days() -> None:
    said = PanelFile.parse(FILE)
    assert said.windows == Windows((1.0, 2.0), 100, 50)
    assert (said.name, said.file, said.columns) == (
        "firms", "firms.parquet", {"equity": "market_cap"}
    )  # fmt: skip
    assert said.measures == ("asset_value", "asset_vol")


def test_the_documented_panel_is_one() -> None:
    docs = Path(__file__).parents[1] / "docs" / "cli.md"
    text = re.findall(r"```toml\n(.*?)```", docs.read_text(encoding="utf-8"), re.DOTALL)[1]
    said = PanelFile.parse(text)
    assert said.windows == Windows((1.0, 2.0, 3.0, 4.0, 5.0), 252, 252)
    assert said.measures == ("asset_value", "asset_vol")


def test_windows_are_252_days_that_follow_each_other_unless_a_file_says_otherwise() -> None:
    text = '[contract]\ntype = "Merton"\nhorizon = 1\n[panel]\nfile = "a.csv"'
    said = PanelFile.parse(text)
    assert said.windows == Windows((1.0,), 252, 252)
    assert said.measures == MEASURES
    assert PanelFile.parse(text.replace("horizon", "window = 60\nhorizon")).windows.step == 60


def test_horizons_may_be_a_range() -> None:
    text = FILE.replace("[1.0, 2.0]", "{ start = 1, stop = 5, count = 5 }")
    assert PanelFile.parse(text).windows.horizons == (1.0, 2.0, 3.0, 4.0, 5.0)


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ("horizon = [1.0, 2.0]", "", "contract.horizon: is missing; write horizon = [1.0, 2.0]"),
        (
            'type = "merton"',
            "",
            'contract.type: is missing; write type = "merton" below [contract]',
        ),
        ('"merton"', '"mertn"', "contract.type: must be 'merton' beside [panel], got 'mertn'"),
        ("[1.0, 2.0]", "[]", "contract.horizon: must have at least one value, got none"),
        ("[1.0, 2.0]", "[2.0, 1.0]", "contract.horizon: values must increase, got 2.0 then 1.0"),
        ("[1.0, 2.0]", "0", "contract.horizon: must be positive and finite, got 0.0"),
        ("[1.0, 2.0]", "[1.0, inf]", "contract.horizon: must be positive and finite, got inf"),
        ("[1.0, 2.0]", '"1"', "contract.horizon: must be a number, got '1'; write it without"),
        ("window = 100", "window = 2", "contract.window: must be at least 3, got 2"),
        ("window = 100", "window = 1e2", "contract.window: must be a whole number of days, got"),
        ("step = 50", "step = 0", "contract.step: must be at least 1, got 0"),
        ("step = 50", "step = true", "contract.step: must be a whole number of days, got True"),
        ("step = 50", "step = 3000000000", "contract.step: must be at most 2147483647, got"),
        ("step = 50", "stepp = 50", "contract.stepp: is not known here; must be of type, horizon"),
        ("step = 50", "stepp = 50", "did you mean 'step'?"),
        ("step = 50", 'file = "b"', "contract.file: belongs in the table [panel]"),
        ('file = "firms.parquet"', "", "panel.file: is missing; write file"),
        ('"firms.parquet"', "5", "panel.file: must be text, got 5"),
        ("{ equity", "{ equty", "panel.columns.equty: must set one of firm, date, equity, debt"),
        ("{ equity", "{ equty", "did you mean 'equity'?"),
        ('{ equity = "market_cap" }', '"cap"', "panel.columns: must be a table, got 'cap'; write"),
        ('"market_cap"', '"a", debt = "a"', "each column can be one input only, got 'a' twice"),
        ('"market_cap"', "1", "panel.columns.equity: must be text, got 1"),
        ('["asset_vol", "asset_value"]', '["vol"]', "method.measures: must be of asset_value"),
        ('["asset_vol", "asset_value"]', '"drift"', "method.measures: must be a list of names"),
        ('["asset_vol", "asset_value"]', "[]", "method.measures: must name at least one"),
        ("[method]", "[methods]", "methods: is not a key of a panel's file; did you mean 'method'"),
        ("[contract]", "window = 3\n[contract]", "window: belongs in the table [contract]"),
        ('name = "firms"', "name = 1", "name: must be text, got 1"),
        ('name = "firms"', "method = 1", "method: must be a table, got 1; write [method]"),
        ("[panel]", "[panel", "line 8, column 7: "),
    ],
)
def test_a_message_names_the_key_the_rule_and_the_value(
    written: str, instead: str, message: str
) -> None:
    assert written in FILE
    text = FILE.replace(written, instead, 1)
    if instead == "method = 1":
        text = text.partition("[method]")[0]
    with pytest.raises(SpecError, match=re.escape(message)) as raised:
        PanelFile.parse(text, "firms.toml")
    assert str(raised.value).startswith("firms.toml: ")


def test_a_panel_is_told_from_a_grid_by_its_type_or_table() -> None:
    assert says_panel(parse_toml(FILE))
    assert says_panel(parse_toml(FILE.replace('"merton"', '"vanilla"')))
    assert says_panel(parse_toml(FILE.replace("[panel]", "[panell]")))
    assert not says_panel(parse_toml('[contract]\ntype = "vanilla"'))
    assert not says_panel(parse_toml("contract = 1"))


@pytest.mark.parametrize(("window", "step"), [(20, 20), (20, 7), (20, 45), (3, 1)])
def test_windows_are_of_a_firms_own_days(window: int, step: int) -> None:
    lengths = [1, 19, 20, 21, 100, 47, 2]
    panel = panel_of(lengths, window, step)
    expected = []
    for firm, n in enumerate(lengths):
        start = int(panel.offsets[firm])
        whole = [(start + a, start + a + window) for a in range(0, n - window + 1, step)]
        expected += [(firm, *rows) for rows in whole or [(start, start + n)]]
    windows = np.arange(len(expected))
    found = zip(panel.firm_of(windows), *panel.rows_of(windows), strict=True)
    assert [tuple(map(int, row)) for row in found] == expected
    assert panel.window_offsets[-1] == len(expected)
    assert panel.cells == len(expected) * len(HORIZONS)


def test_a_cell_is_called_by_its_firm_the_last_day_of_its_window_and_its_horizon() -> None:
    panel = panel_of([50, 10])
    assert panel.called(0) == {"firm": "F00", "date": "2001-01-20", "horizon": 1.0}
    assert panel.called(3) == {"firm": "F00", "date": "2001-02-09", "horizon": 2.5}
    assert panel.called(4) == {"firm": "F01", "date": "2001-01-17", "horizon": 1.0}


def test_what_a_panel_is_depends_on_its_content_and_windows_alone() -> None:
    panel = panel_of([30, 40])
    others = [
        panel_of([30, 40], seed=1),
        panel_of([30, 40], 21),
        panel_of([30, 40], step=5),
        panel_of([30, 40], measures=("drift",)),
    ]
    object.__setattr__(panel, "name", "another")
    assert panel.identity() == panel_of([30, 40]).identity()
    assert all(panel.identity() != other.identity() for other in others)
