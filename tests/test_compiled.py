"""Kernels that are ready: nothing is compiled where PRICER_KERNELS says so, and nothing written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pricer.compiled import TARGETS, kernel_version, target

PRICE_VARIED_THINGS = """
import errno, itertools, tempfile

import numpy as np

def refuse(*args, **named):
    raise OSError(errno.EROFS, "Read-only file system")

tempfile.TemporaryFile = refuse

from pricer import (
    Barrier, Curve, Dates, Digital, Dividends, DoubleBarrier, DoubleTouch, Grid, Market, Touch,
    Vanilla, implied_volatility, price,
)
from pricer.compiled import MODULES, kernels
from pricer.kernelcache import _kernels
from pricer.plan import Plan
from pricer.pricing import price_chunk

for each in kernels(*MODULES):
    each.warm_up()
warm = {name: set(kernel.signatures) for name, kernel in _kernels()}

spots = np.linspace(50.0, 150.0, 8)
kinds = itertools.product(("call", "put"), ("european", "american"))
asked = (("price",), ("price", "vega"), ("delta", "gamma", "theta"), ("rho",))
shapes = (100.0, spots, spots[:, None], spots[::2], spots.astype(np.float32))
worlds = ((0.2, 0.0), (0.2, 0.04), (0.0, 0.02), (1e-4, 0.0))
for kind, measures, spot, world in itertools.product(kinds, asked, shapes, worlds):
    vol, dividend_yield = world
    contract = Vanilla(kind[0], 100.0, [0.1, 0.7], kind[1])
    market = Market(np.reshape(spot, (-1, 1)), vol, 0.03, dividend_yield)
    price(contract, market, measures=measures, workers=1)
for exercise in ("european", "american"):
    for method in ("auto", "finite_difference"):
        for tolerance in (1e-3, 1e-5):
            grid = Grid.parse(f'''
                [method]
                name = "{method}"
                tolerance = {tolerance}
                [contract]
                type = "vanilla"
                exercise = "{exercise}"
                [axes]
                right = ["call", "put"]
                spot = [0.0, 90.0, 100.0]
                strike = [95.0, 105.0]
                expiry = [0.0, 0.25, 1.0]
                vol = [0.0, 0.2]
                rate = [-0.01, 0.05]
            ''')
            plan = Plan.of(grid, "kernel")
            for _ in price_chunk(plan, 0, plan.blocks):
                pass
dates = Dates([0.2, 0.5])
claims = (
    Vanilla("put", 100.0, [0.1, 0.7], "bermudan", dates),
    Vanilla("put", 100.0, [0.1, 0.7], "american"),
    Digital("call", spots, 0.5),
    Barrier("call", 100.0, [0.0, 0.7], 90.0, "down_out", 2.0),
    Barrier("call", 100.0, 0.7, 90.0, "down_in", exercise="american"),
    Barrier("call", 100.0, 0.7, [90.0, 95.0], "down_out", monitoring_dates=dates),
    DoubleBarrier("call", 100.0, 0.7, 80.0, spots + 60.0, "knock_in", payment="at_expiry"),
    Touch("up", [0.3, 0.7], 120.0),
    DoubleTouch(0.7, 80.0, [120.0, 130.0], "lower_first"),
)
worlds = (
    {"vol": 0.2, "rate": -0.01, "dividend_yield": -0.04},
    {"vol": Curve([0.3, 1.0], [0.2, 0.3]), "rate": 0.03},
    {"vol": 0.2, "rate": 0.03, "cash_dividends": Dividends([0.1, 0.4], [1.0, 2.0])},
    {"vol": 0.2, "rate": 0.03, "proportional_dividends": Dividends([0.1], [0.02])},
)
for claim, world, method in itertools.product(claims, worlds, ("auto", "finite_difference")):
    for measures in asked[:2]:
        price(claim, Market(100.0, **world), method=method, measures=measures, workers=1)
for exercise in ("european", "american"):
    claim = Vanilla("put", 100.0, [0.1, 0.7], exercise)
    implied_volatility(claim, Market(100.0, np.nan, 0.03), [4.0, 9.0])
cold = {name: set(kernel.signatures) for name, kernel in _kernels()}
assert cold == warm, {name: cold[name] - warm[name] for name in cold if cold[name] != warm[name]}
print("priced")
"""

PRICE_ONE = """
from pricer import Market, Vanilla, price
from pricer.errors import KernelError
try:
    price(Vanilla("put", 100.0, 1.0, "american"), Market(100.0, 0.2, 0.05))
except KernelError as error:
    print(error)
"""

COMPILE_ONE = """
import os, sys
from pathlib import Path
from pricer.compiled import _fixed, _set_numba
folder = Path(sys.argv[1])
_set_numba(_fixed(folder))
from pricer.kernelcache import missing
from pricer.kernels import elementary
elementary.power_of_two(3)
assert "pricer.kernels.elementary.power_of_two" not in missing()
assert "pricer.kernels.marching.march" in missing()
[data] = folder.glob("*/elementary.power_of_two-*.nbc")
data.unlink()
assert "pricer.kernels.elementary.power_of_two" in missing()
print("missed")
"""

BUILD_NOTHING = """
import sys
from pathlib import Path
from importlib import import_module
from pricer import compiled
for name in compiled.MODULES:
    import_module(f"pricer.kernels.{name}").warm_up = lambda: None
compiled.build(Path(sys.argv[1]))
"""


def python(
    code: str, *arguments: str, ready: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {name: v for name, v in os.environ.items() if not name.startswith("NUMBA_")}
    if ready:
        environment["PRICER_KERNELS"] = str(ready)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def ready() -> Path:
    """Return this machine's folder of compiled kernels; compile them if they are not."""
    done = python(
        "import os; from pricer.compiled import MODULES, kernels; kernels(*MODULES);"
        " print(os.environ['NUMBA_CACHE_DIR'])"
    )
    return Path(done.stdout.strip())


def files_in(folder: Path) -> set[tuple[str, int]]:
    return {(str(path), path.stat().st_mtime_ns) for path in folder.rglob("*")}


def test_warming_up_reaches_all_that_prices_on_a_file_system_that_cannot_be_written(
    ready: Path,
) -> None:
    before = files_in(ready)
    done = python(PRICE_VARIED_THINGS, ready=ready)
    assert (done.stdout, done.stderr) == ("priced\n", "")
    assert files_in(ready) == before


def test_a_kernel_that_is_not_ready_is_an_error_at_once(tmp_path: Path) -> None:
    done = python(PRICE_ONE, ready=tmp_path)
    assert done.stdout.startswith("kernel cache miss: pricer.kernels.")
    assert done.stdout.endswith("is not among those compiled; build and deploy again\n")
    assert not files_in(tmp_path)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    done = python(PRICE_ONE, ready=tmp_path / "none")
    assert "PRICER_KERNELS: must be a folder of compiled kernels, got '" in done.stdout


def test_a_build_misses_what_is_not_compiled_and_what_is_not_kept(tmp_path: Path) -> None:
    done = python(COMPILE_ONE, str(tmp_path))
    assert (done.stdout, done.stderr) == ("missed\n", "")


def test_a_build_fails_if_a_kernel_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several would be processes that compile everything.
    monkeypatch.setenv("PRICER_WORKERS", "1")
    done = python(BUILD_NOTHING, str(tmp_path / "kernels"))
    assert done.returncode != 0
    assert "lacks pricer.kernels.averages.averages, " in done.stderr


def test_every_target_has_a_version_of_its_own() -> None:
    versions = {name: kernel_version(name) for name in TARGETS.values()}
    assert len(set(versions.values())) == len(versions)
    assert versions[target()] == kernel_version()
