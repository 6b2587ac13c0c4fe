"""What a person gets from `pip install dist/*.whl`, far from a checkout."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GRID = """
[contract]
type = "vanilla"
exercise = "american"
[axes]
right = ["call", "put"]
spot = { start = 90.0, stop = 110.0, count = 3 }
strike = 100.0
expiry = [0.5, 1.0]
vol = 0.25
rate = 0.05
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (source,) = folder.glob("*.tar.gz")
    # By way of the source archive: both must hold the kernels.
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-index", "--no-deps", "--no-build-isolation", source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elsewhere")
    locked = (ROOT / "requirements" / "run.txt").read_text()
    # The locked versions, but resolved from what the wheel itself asks for.
    (folder / "constraints.txt").write_text(
        "\n".join(re.findall(r"^[a-z].*?(?= \\$)", locked, re.MULTILINE))
    )
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    pip = (folder / "venv/bin/python", "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "-c", "constraints.txt", wheel, cwd=folder)
    (folder / "grid.toml").write_text(GRID)
    return folder


def test_a_wheel_holds_the_kernels_under_our_own_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {info.filename for info in archive.infolist() if not info.is_dir()}
    held = {name for name in names if name.startswith("pricer/kernels/")}
    assert held == {f"pricer/kernels/{f.name}" for f in (ROOT / "kernels").glob("*.py")}
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"pricer"}


def test_an_installed_wheel_prices_stores_and_queries(elsewhere: Path) -> None:
    pricer = elsewhere / "venv/bin/pricer"
    assert re.fullmatch(r"pricer.* \d+\.\d+\.\d+\S*\n", run(pricer, "--version", cwd=elsewhere))

    # Haug, The Complete Guide to Option Pricing Formulas, 2nd ed., p. 4: four decimals.
    option = "--right put --spot 100 --strike 95 --expiry 0.5 --vol 0.2 --rate 0.1"
    haug = run(
        pricer, "price", *option.split(), "--dividend-yield", "0.05", "--json", cwd=elsewhere
    )
    assert json.loads(haug)["price"] == pytest.approx(2.4648, abs=5e-5)

    submitted = json.loads(run(pricer, "submit", "grid.toml", "--json", cwd=elsewhere))
    assert (submitted["cells"], submitted["ok"], submitted["failed"]) == (12, 12, 0)
    puts = run(pricer, "query", "latest", "right=put", "spot=100", "--json", cwd=elsewhere)
    assert [cell["expiry"] for cell in json.loads(puts)] == [0.5, 1.0]
