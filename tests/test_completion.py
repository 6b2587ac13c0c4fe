"""What a shell offers: in click's words, and once in a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.shell_completion import ShellComplete, get_completion_class
from click.testing import CliRunner

from panels import panel_of
from pricer import completions
from pricer.cli import cli
from pricer.cli_completion import SHELLS
from pricer.grid import Grid
from pricer.panel import iso_dates
from pricer.plan import Plan
from pricer.run import as_store
from pricer.settings import EVERY_MEASURE
from pricer.stores import PLAN, StoredRun
from pricer.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pricer.panel import Panel

GRID = """
[contract]
type = "vanilla"
exercise = "american"
[axes]
right = ["call", "put"]
spot = [90.0, 100.0]
strike = 100.0
expiry = 1.0
rate = 0.05
vol = 0.2
cash_dividends = [
    { label = "none", times = [], amounts = [] },
    { label = "as announced", times = [0.2], amounts = [2.0] },
]
[method]
measures = ["price", "delta"]
"""


def offered(*words: str) -> list[str]:
    """Return what is offered for the last word."""
    *before, begun = words
    return [
        i.value
        for i in ShellComplete(cli, {}, "pricer", "_PRICER_COMPLETE").get_completions(before, begun)
    ]


@pytest.fixture
def run_id() -> str:
    """Keep the head and the plan of a run, of which nothing is priced, in the default store."""
    plan = Plan.of(Grid.parse(GRID), "none")
    head = StoredRun(plan.run_id, "mine", plan.cells, plan.blocks, 1, "2026-01-01")
    as_store(create=True).create(head, {PLAN: plan.to_json().encode()})
    return plan.run_id


def test_commands_options_and_words_are_offered() -> None:
    assert offered("su") == ["submit"]
    assert "--measures" in offered("query", "latest", "--m")
    assert offered("price", "--type", "dou") == ["double_barrier", "double_touch"]
    assert offered("plan", "x.toml", "--method", "a") == ["auto", "analytic"]
    assert offered("completion", "") == list(SHELLS)


def test_runs_are_offered_by_the_start_of_their_ids(run_id: str) -> None:
    assert offered("status", "") == ["latest", run_id[:12]]
    assert offered("export", run_id[:3]) == [run_id[:12]]
    assert offered("delete", run_id[:20]) == [run_id[:20]]


def test_a_store_that_is_given_is_the_one_that_is_asked(run_id: str, tmp_path: Path) -> None:
    assert offered("status", "--store", f"sqlite:///{tmp_path}/other.db", "") == []
    assert offered("status", "--store", os.environ["PRICER_STORE"], "lat") == ["latest"]
    assert not (tmp_path / "other.db").exists()


def test_measures_are_offered_one_after_another() -> None:
    assert offered("plan", "x.csv", "--measures", "") == list(EVERY_MEASURE)
    assert offered("query", "latest", "--measures", "delta,g") == [
        "delta,gamma",
        "delta,gamma_standard_error",
    ]
    assert "delta,delta" not in offered("query", "latest", "--measures", "delta,d")


def test_axes_are_offered_with_their_values(run_id: str) -> None:
    axes = {text.partition("=")[0] for text in offered("query", "latest", "")}
    assert axes == {
        *("right", "spot", "strike", "expiry", "rate", "vol"),
        *("cash_dividends", "dividend_model"),
    }
    assert offered("query", run_id[:8], "s") == ["spot=90", "spot=100", "strike=100"]
    assert offered("query", "latest", "spot=9") == ["spot=90"]
    # One with a blank would end the word.
    assert offered("query", "latest", "spot=90", "cash_dividends=") == ["cash_dividends=none"]


def test_the_measures_of_a_run_are_offered_where_one_is_named(run_id: str) -> None:
    assert offered("query", run_id, "--measures", "") == ["price", "delta"]
    assert offered("query", run_id, "--measures", "price,") == ["price,delta"]
    assert offered("plot", run_id, "--y", "") == ["price", "delta", "error"]


def test_axes_of_several_values_are_offered_to_draw_along(run_id: str) -> None:
    for option in ("--x", "--hue", "--facet"):
        assert offered("plot", run_id, option, "") == ["right", "spot", "cash_dividends"]
    assert offered("plot", run_id, "strike=") == ["strike=100"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("spot =", ["90", "100"]), ("spot = 1", ["100"]), ("right = p", ["put"]), ("= ", [])],
)
def test_bash_which_splits_at_the_equals_sign_gets_values(
    run_id: str, typed: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["pricer", "query", run_id, *typed.split()]
    monkeypatch.setenv("COMP_WORDS", "\n".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    assert offered(*words[1:]) == expected


def test_a_book_offers_its_columns(tmp_path: Path) -> None:
    book = tmp_path / "book.csv"
    book.write_text("desk,right,spot,strike,expiry,vol,rate\na,call,100,100,1,0.2,0\n")
    assert CliRunner().invoke(cli, ["submit", str(book)]).exit_code == 0
    assert offered("query", "latest", "de") == ["desk="]
    assert offered("query", "latest", "desk=a") == []
    assert offered("plot", "latest", "--x", "s") == ["spot", "strike"]
    assert {"price", "error", "vol", "desk"} <= set(offered("plot", "latest", "--y", ""))


@pytest.fixture
def panel() -> Panel:
    """Keep the plan of a panel in the default store, of which nothing is estimated."""
    spec = panel_of((41, 65), measures=("asset_vol", "days"))
    plan = Plan.of(spec, "none")
    head = StoredRun(plan.run_id, "firms", plan.cells, plan.blocks, 1, "2026-01-01")
    as_store(create=True).create(head, {PLAN: plan.to_json().encode()} | plan.columns())
    return spec


def test_a_panel_offers_firms_dates_and_horizons(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    dates = sorted(set(iso_dates(panel.dates).tolist()))
    assert len(dates) == 5
    assert offered("query", "latest", "") == ["firm=", "date=", "horizon=1", "horizon=2.5"]
    assert offered("query", "latest", "firm=") == ["firm=F00", "firm=F01"]
    assert offered("query", "latest", "firm=F01") == ["firm=F01"]
    assert offered("query", "latest", "date=") == [f"date={date}" for date in dates]
    assert offered("query", "latest", "--measures", "") == ["asset_vol", "days"]
    assert offered("plot", "latest", "--x", "") == []
    monkeypatch.setattr(completions, "MOST_VALUES", 1)
    assert offered("query", "latest", "firm=") == []
    assert offered("query", "latest", "firm=F01") == ["firm=F01"]


def test_the_columns_of_a_book_are_offered_without_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = tmp_path / "book.csv"
    book.write_text("desk,right,spot,strike,expiry,vol,rate\na,call,100,100,1,0.2,0\n")
    assert CliRunner().invoke(cli, ["submit", str(book)]).exit_code == 0
    files = SqliteStore.files
    read: list[str] = []

    def noted(store: SqliteStore, run_id: str, *names: str) -> dict[str, bytes]:
        found = files(store, run_id, *names)
        read.extend(found)
        return found

    monkeypatch.setattr(SqliteStore, "files", noted)
    assert offered("query", "latest", "de") == ["desk="]
    assert read == [PLAN]


@pytest.mark.parametrize(
    "words",
    [
        ("status", ""),
        ("query", "nothing", ""),
        ("query", "latest", "spot="),
        ("status", "--store", "sqlite:///no/such/folder/x.db", ""),
        ("status", "--store", "what", ""),
        ("status", "--on", "aws", ""),
        ("status", "--store", "dynamodb://table", ""),
    ],
)
def test_where_nothing_can_be_known_nothing_is_offered_or_said(
    words: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    assert offered(*words) == []
    assert capfd.readouterr() == ("", "")


def test_a_store_that_is_damaged_offers_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.db").write_text("not SQLite at all, whatever its name says")
    assert offered("status", "--store", f"sqlite:///{tmp_path}/bad.db", "") == []


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_each_shell_is_click_s(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    completer = get_completion_class(shell)
    assert completer is not None
    expected = completer(cli, {}, "pricer", "_PRICER_COMPLETE")
    script = CliRunner().invoke(cli, ["completion", shell]).stdout
    assert script.strip() == (expected.source_template % expected.source_vars()).strip()
    # As the shell calls it where the word is begun; fish gives the word instead of its number.
    asked = {"COMP_WORDS": "pricer comple", "COMP_CWORD": "comple" if shell == "fish" else "1"}
    for name, value in (asked | {"_PRICER_COMPLETE": f"{shell}_complete"}).items():
        monkeypatch.setenv(name, value)
    assert "completion" in CliRunner().invoke(cli, prog_name="pricer").stdout


def test_a_shell_that_is_not_known_is_a_usage_error() -> None:
    assert CliRunner().invoke(cli, ["completion", "tcsh"]).exit_code == 2


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes(run_id: str, tmp_path: Path) -> None:
    (tmp_path / "pricer").symlink_to(Path(sys.executable).with_name("pricer"))
    environment: Mapping[str, str] = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    code = """
    source <(pricer completion bash)
    COMP_WORDS=(pricer query latest spot = 1)
    COMP_CWORD=5
    _pricer_completion pricer 1 =
    echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("100\n", "")


def test_completing_loads_no_compiler(run_id: str) -> None:
    code = (
        "import sys\n"
        "from click.shell_completion import ShellComplete\n"
        "from pricer.cli import cli\n"
        "found = ShellComplete(cli, {}, 'pricer', 'X').get_completions(['query', 'latest'], '')\n"
        "print(len(found) > 5, *{'numba', 'rich', 'pyarrow', 'boto3'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["True"]
