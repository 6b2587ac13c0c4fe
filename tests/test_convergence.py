"""What `pricer validate --plot` measures and draws."""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

from pricer import convergence, validation
from pricer.cli import cli
from pricer.contracts import Market, Vanilla
from pricer.convergence import Convergence, Cost, Order, converge
from pricer.errors import MissingDependencyError, SpecError, StoreError
from pricer.pictures import check_drawable
from pricer.pictures.convergence import draw_convergence
from pricer.pricing import price
from pricer.validation import known

if TYPE_CHECKING:
    from pathlib import Path

FOUND = Convergence(
    "a book",
    40,
    (
        Cost("pricer, tolerance", "1e-3", 1e-5, 1e-4, 2e-4),
        Cost("pricer, tolerance", "1e-4", 1.1e-5, 1e-4, 2e-4),
        Cost("QuantLib FD, steps x nodes", "50 x 100", 5e-4, 2e-2, 1e-1),
    ),
    (
        Order("plain", (50, 100, 200), (4e-3, 1e-3, 2.5e-4), 2.0),
        Order("extrapolated", (100, 200), (1e-4, 1e-5), 3.3),
    ),
    "a table",
    12,
    (
        Cost("finite differences, tolerance", "1e-3", 1e-3, 2e-3, 4e-3),
        Cost("sobol, paths", "2,048", 7e-4, 8e-3, 2e-2),
        Cost("pseudo, paths", "2,048", 7e-4, 3e-1, 5e-1),
    ),
)


@pytest.fixture(scope="module")
def markets() -> list[Market]:
    """Return the markets that `alone` prices in."""
    return []


@pytest.fixture(scope="module")
def alone(markets: list[Market]) -> Convergence:
    """Measure as where QuantLib is not installed."""

    def spy(contract: Vanilla, market: Market, **settings: object) -> object:
        markets.append(market)
        return price(contract, market, **settings)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "QuantLib", None)
        patch.setattr(convergence, "price", spy)
        return converge()


def test_a_tighter_tolerance_costs_more_and_errs_less(alone: Convergence) -> None:
    loosest, *_, tightest = alone.costs
    assert [cost.engine for cost in alone.costs] == ["pricer, tolerance"] * 5
    assert tightest.seconds > loosest.seconds
    assert tightest.rms_error < loosest.rms_error / 3
    for cost in alone.costs:
        assert cost.rms_error <= cost.largest_error <= 100 * float(cost.setting)


def test_sobol_points_converge_faster_than_pseudo_random_numbers(alone: Convergence) -> None:
    by_engine: dict[str, list[Cost]] = {}
    for cost in alone.watched_costs:
        by_engine.setdefault(cost.engine, []).append(cost)
    meshed, sobol, pseudo = by_engine.values()
    fall = [costs[0].rms_error / costs[-1].rms_error for costs in (sobol, pseudo)]
    # Paths grow 256 times: errors fall 16 times, and more with Sobol's points.
    assert fall[1] == pytest.approx(16, rel=0.5)
    assert fall[0] > 1.5 * fall[1]
    assert sobol[-1].rms_error < pseudo[-1].rms_error / 4
    assert meshed[-1].rms_error < 1e-4
    assert pseudo[-1].seconds > 4 * pseudo[0].seconds


def test_the_mesh_converges_to_second_order_and_extrapolation_raises_it(alone: Convergence) -> None:
    plain, extrapolated = alone.orders
    assert plain.order == pytest.approx(2.0, abs=0.3)
    assert extrapolated.order > plain.order + 0.3
    assert plain.intervals[1:] == extrapolated.intervals
    ratios = np.array(extrapolated.rms_errors) / plain.rms_errors[1:]
    assert ratios.max() < 1
    assert ratios[-1] < 0.2


@pytest.mark.usefixtures("alone")
def test_no_two_options_of_the_sample_share_a_solve(markets: list[Market]) -> None:
    vols = np.asarray(markets[0].vol)
    assert len(np.unique(vols)) == len(vols)
    _, options = known("convergence")
    assert vols == pytest.approx(np.tile(options["vol"], len(vols) // 40), rel=1e-9)


def test_the_sample_has_as_many_puts_as_calls_and_a_source() -> None:
    source, options = known("convergence")
    assert len(source) > 30
    assert np.count_nonzero(options["right"] == "put") == 20
    assert len(options["value"]) == 40
    text = files("pricer").joinpath("validation.json").read_text(encoding="utf-8")
    document = json.loads(text)
    assert all(len(row) == len(document["columns"]) for row in document["convergence"]["rows"])


def test_the_peer_prices_the_same_options(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = pytest.importorskip("QuantLib")
    before = peer.Settings.instance().evaluationDate
    monkeypatch.setattr(convergence, "MESHES", ((50, 100),))
    _, options = known("convergence")
    costs = convergence._peer_costs(options)
    assert [cost.setting for cost in costs] == ["fast", "accurate", "50 x 100"]
    assert costs[1].largest_error < 1e-4
    assert costs[2].largest_error < 1.0
    assert peer.Settings.instance().evaluationDate == before


@pytest.mark.parametrize(
    ("name", "begins"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")]
)
def test_a_picture_is_what_its_name_says(tmp_path: Path, name: str, begins: bytes) -> None:
    pytest.importorskip("matplotlib")
    check_drawable(tmp_path / name)
    draw_convergence(FOUND, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_settings_that_come_to_the_same_values_share_a_label(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw_convergence(FOUND, tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    for words in ("1e-3, 1e-4", "50 x 100", "pricer, tolerance", "extrapolated, order 3.30"):
        assert f"<!-- {words} -->" in text


def test_what_cannot_be_drawn_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SpecError, match=r"must end in \.png, \.svg or \.pdf"):
        check_drawable(tmp_path / "a.jpeg")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"pip install matplotlib"):
        check_drawable(tmp_path / "a.png")
    monkeypatch.undo()
    pytest.importorskip("matplotlib")
    with pytest.raises(StoreError, match="no folder"):
        check_drawable(tmp_path / "nowhere" / "a.png")
    (tmp_path / "b.png").mkdir()
    with pytest.raises(StoreError, match="is a folder"):
        check_drawable(tmp_path / "b.png")


def test_validate_draws_and_shows_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(convergence, "converge", lambda: FOUND)
    monkeypatch.setattr(validation, "validate", lambda: ())
    target = tmp_path / "a.png"
    shown = CliRunner().invoke(cli, ["validate", "--plot", str(target)])
    assert shown.exit_code == 0
    for words in ("50 x 100", "plain, order 2.00", "10.0", "500.0", "sobol, paths", "a.png"):
        assert words in shown.stdout
    assert target.exists()
    found = json.loads(
        CliRunner().invoke(cli, ["validate", "--plot", str(target), "--json"]).stdout
    )
    assert list(found) == ["passed", "cases", "plot", "convergence", "seconds"]
    assert found["convergence"]["costs"][0] == {
        "engine": "pricer, tolerance",
        "setting": "1e-3",
        "seconds": 1e-5,
        "rms_error": 1e-4,
        "largest_error": 2e-4,
    }
    assert found["convergence"]["orders"][1]["intervals"] == [100, 200]
