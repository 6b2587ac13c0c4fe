"""`pricer example merton`: a panel whose true assets are known, the same whoever writes it."""

from __future__ import annotations

import json
import math
import tomllib
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from pricer import firms
from pricer.cli import cli
from pricer.errors import MissingDependencyError, SpecError, StoreError
from pricer.firms import YEAR_DAYS, Economy, write_firms
from pricer.merton import distance_to_default, implied_assets

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

parquet = pytest.importorskip("pyarrow.parquet")

FIRMS, YEARS = 60, 12


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["example", "merton", *map(str, arguments)])


def read(path: Path) -> dict[str, NDArray[Any]]:
    table = parquet.read_table(path)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def firm_by_firm(panel: dict[str, NDArray[Any]]) -> dict[str, dict[str, NDArray[Any]]]:
    names, starts = np.unique(panel["firm"].astype(str), return_index=True)
    cuts = np.append(np.sort(starts), len(panel["firm"]))
    assert len(names) == len(cuts) - 1
    return {
        str(panel["firm"][a]): {name: column[a:b] for name, column in panel.items()}
        for a, b in pairwise(cuts.tolist())
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("firms")
    write_firms(folder, FIRMS, YEARS, seed=5)
    return folder


@pytest.fixture(scope="module")
def panel(folder: Path) -> dict[str, NDArray[Any]]:
    return read(folder / "firms.parquet")


def test_rows_of_a_firm_lie_together_and_its_dates_are_weekdays_that_increase(
    panel: dict[str, NDArray[Any]],
) -> None:
    dates = panel["date"].astype("datetime64[D]")
    assert np.is_busday(dates).all()
    for name, firm in firm_by_firm(panel).items():
        assert firm["date"][0] == np.datetime64("1990-01-01"), name
        assert (np.diff(np.busday_count("1990-01-01", firm["date"].astype("M8[D]"))) == 1).all()


def test_firms_are_numbered_and_years_have_252_days(panel: dict[str, NDArray[Any]]) -> None:
    found = firm_by_firm(panel)
    assert list(found) == [f"F{number:05d}" for number in range(1, FIRMS + 1)]
    assert max(len(firm["date"]) for firm in found.values()) == YEARS * YEAR_DAYS


def test_equity_is_the_call_on_the_assets_struck_at_the_debt(
    panel: dict[str, NDArray[Any]],
) -> None:
    def normal(x: float) -> float:
        return 0.5 * math.erfc(-x / math.sqrt(2.0))

    names = ("asset_value", "debt", "rate", "asset_vol", "equity")
    step = len(panel["equity"]) // 2_000
    for value, debt, rate, vol, equity in zip(
        *(panel[name][::step].tolist() for name in names), strict=True
    ):
        above = (math.log(value / debt) + rate + 0.5 * vol * vol) / vol
        call = value * normal(above) - debt * math.exp(-rate) * normal(above - vol)
        assert equity == pytest.approx(call, abs=1e-13 * value)


def test_assets_move_as_their_drift_and_vol_say(panel: dict[str, NDArray[Any]]) -> None:
    standard, count = [], 0
    for name, firm in firm_by_firm(panel).items():
        vol, drift = float(firm["asset_vol"][0]), float(firm["drift"][0])
        assert (firm["asset_vol"] == vol).all()
        assert (firm["drift"] == drift).all()
        returns = np.diff(np.log(firm["asset_value"]))
        normals = (returns - (drift - 0.5 * vol * vol) / 252) / (vol / math.sqrt(252))
        n = len(normals)
        assert abs(normals.mean()) < 4.0 / math.sqrt(n), name
        assert abs(normals.var() - 1.0) < 4.0 * math.sqrt(2.0 / n), name
        standard.append(normals)
        count += n
    # Each day's with the next day's, and the next firm's.
    for lag in (1, YEARS * YEAR_DAYS - 1):
        everything = np.concatenate(standard)
        assert abs(np.mean(everything[lag:] * everything[:-lag])) < 4.0 / math.sqrt(count)


def test_firms_differ_as_much_as_they_are_meant_to(panel: dict[str, NDArray[Any]]) -> None:
    found = firm_by_firm(panel).values()
    vols = np.array([firm["asset_vol"][0] for firm in found])
    assert vols.min() > firms.VOL[0]
    assert vols.max() < firms.VOL[1]
    assert vols.max() / vols.min() > 8.0
    leverage = np.array([firm["debt"][0] / firm["asset_value"][0] for firm in found])
    assert leverage.min() > firms.LEVERAGE[0]
    assert leverage.max() < firms.LEVERAGE[1]


def test_the_rate_is_one_path_for_all_and_moves_between_0_and_8_percent(
    panel: dict[str, NDArray[Any]],
) -> None:
    found = list(firm_by_firm(panel).values())
    longest = max((firm["rate"] for firm in found), key=len)
    assert all((firm["rate"] == longest[: len(firm["rate"])]).all() for firm in found)
    assert longest.min() > 0.0
    assert longest.max() < 0.08
    assert np.ptp(longest) > 0.01


def test_debt_is_constant_within_a_quarter_and_follows_the_assets() -> None:
    economy = Economy(years=30, seed=1)
    firm = economy.firm(2)
    quarters = firm.debt.reshape(-1, 63)
    assert (quarters == quarters[:, :1]).all()
    moved = np.diff(np.log(quarters[:, 0]))
    leverage = np.log(firm.assets[63::63] * firm.debt[0] / firm.assets[0] / quarters[:-1, 0])
    np.testing.assert_allclose(moved, 0.1 * leverage, rtol=1e-9, atol=1e-12)


def test_a_firm_is_delisted_before_its_equity_is_next_to_nothing() -> None:
    economy = Economy(years=30, seed=0)
    found = [economy.firm(number) for number in range(1, 201)]
    ended = [firm for firm in found if len(firm) < economy.days]
    assert 1 <= len(ended) <= 20
    for firm in found:
        assert (firm.equity >= 0.01 * firm.debt).all()
    for firm in ended:
        # About to be: as large a step as a firm of the greatest vol takes.
        assert firm.equity[-1] < 0.5 * firm.debt[-1]


def test_the_model_gives_back_the_assets_at_the_true_vol(panel: dict[str, NDArray[Any]]) -> None:
    equity, debt, rate, vol, assets = (
        np.ascontiguousarray(panel[name])
        for name in ("equity", "debt", "rate", "asset_vol", "asset_value")
    )
    found = implied_assets(equity, debt, rate, firms.MATURITY, vol)
    assert not found.status.any()
    np.testing.assert_allclose(found.asset_value, assets, rtol=1e-13)


def test_the_model_gives_back_the_vols_within_their_sampling_error(
    panel: dict[str, NDArray[Any]],
) -> None:
    whole = [each for each in firm_by_firm(panel).values() if len(each["date"]) == YEARS * 252]
    equity, debt, rate, vol = (
        np.array([each[name] for each in whole]) for name in ("equity", "debt", "rate", "asset_vol")
    )
    found = distance_to_default(equity, debt, rate, firms.MATURITY)
    assert found.asset_vol.shape == (len(whole), YEARS)
    assert not found.status.any()
    ratios = found.asset_vol / vol[:, ::252] - 1.0
    # A window has 251 returns.
    sampling = 1.0 / math.sqrt(2 * 251)
    assert abs(ratios.mean()) < 4.0 * sampling / math.sqrt(ratios.size)
    assert ratios.std() == pytest.approx(sampling, rel=0.1)


def test_the_same_seed_writes_the_same_bytes_whatever_the_threads(
    tmp_path: Path, folder: Path
) -> None:
    write_firms(tmp_path, FIRMS, YEARS, seed=5, workers=1)
    for name in ("firms.parquet", "firms.toml"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_a_firm_has_the_same_rows_however_many_firms_and_years_there_are(
    tmp_path: Path, panel: dict[str, NDArray[Any]]
) -> None:
    write_firms(tmp_path, 7, 5, seed=5)
    few, many = firm_by_firm(read(tmp_path / "firms.parquet")), firm_by_firm(panel)
    for name, firm in few.items():
        for column, values in firm.items():
            assert (values == many[name][column][: len(values)]).all(), (name, column)


def test_another_seed_is_other_firms() -> None:
    one, other = Economy(1, 0).firm(1), Economy(1, 2**32).firm(1)
    assert one.vol != other.vol
    assert one.assets[0] != other.assets[0]


def test_rows_are_written_in_groups_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firms, "GROUP_ROWS", 1_000)
    told: list[int] = []
    written = write_firms(tmp_path, 10, 1, workers=2, on_progress=told.append)
    file = parquet.ParquetFile(tmp_path / "firms.parquet").metadata
    sizes = [file.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert sizes == [756, 756, 756, 252]
    assert sum(sizes) == written.rows
    assert told == [756, 1512, 2268, 2520]


def test_the_command_writes_a_panel_and_what_submits_it(tmp_path: Path) -> None:
    done = run("--firms", 3, "--years", 2, "--output", tmp_path, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    panel, spec = tmp_path / "firms.parquet", tmp_path / "firms.toml"
    assert said.pop("seconds") > 0.0
    assert said == {
        "file": str(spec),
        "panel": str(panel),
        "firms": 3,
        "delisted": 0,
        "years": 2,
        "seed": 0,
        "rows": 3 * 2 * 252,
        "bytes": panel.stat().st_size,
    }
    columns = ["firm", "date", "equity", "debt", "rate", "asset_value", "asset_vol", "drift"]
    assert parquet.read_schema(panel).names == columns
    assert tomllib.loads(spec.read_text(encoding="utf-8")) == {
        "name": "3 synthetic firms",
        "contract": {"type": "merton", "horizon": [1.0, 2.0, 3.0, 4.0, 5.0]},
        "panel": {"file": "firms.parquet"},
    }


def test_the_command_says_what_to_do_next(tmp_path: Path) -> None:
    folder = tmp_path / "my firms"
    folder.mkdir()
    lines = run("--firms", 1, "--years", 1, "--output", folder).stdout.splitlines()
    assert lines[0].startswith(f"{folder}/firms.parquet: 252 rows, ")
    assert lines[1] == "1 firm over 1 year, 0 delisted before the end"
    assert lines[2] == f"go on with: pricer submit '{folder}/firms.toml'"


@pytest.mark.parametrize("name", ["firms.parquet", "firms.toml"])
def test_what_is_there_is_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine", encoding="utf-8")
    done = run("--firms", 1, "--years", 1, "--output", tmp_path)
    assert done.exit_code == 1
    assert f"Error: {tmp_path / name}: is there already" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text(encoding="utf-8") == "mine"


def test_a_failure_midway_leaves_nothing(tmp_path: Path) -> None:
    def fail(done: int) -> None:
        raise StoreError("no more")

    with pytest.raises(StoreError, match=r"^no more$"):
        write_firms(tmp_path, 2, 1, on_progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="seed: must lie between 0 and"):
        write_firms(tmp_path, 1, 1, seed=-1)
    with pytest.raises(StoreError, match=r"firms.parquet: cannot be written: no folder"):
        write_firms(tmp_path / "no", 1, 1)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"pip install pyarrow"):
        write_firms(tmp_path, 1, 1)
    assert list(tmp_path.iterdir()) == []
