"""Every command and snippet of the README runs, as it stands there, from a copy of the examples."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(
    r"^```(\w+)\n(.*?)^```$",
    (ROOT / "README.md").read_text(encoding="utf-8"),
    re.DOTALL | re.MULTILINE,
)


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


def run(arguments: list[str], folder: Path) -> str:
    environment = {
        "PRICER_STORE": f"sqlite:///{folder / 'runs.db'}",
        "HOME": str(Path.home()),
        "PATH": "/usr/bin:/bin",
    } | {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    done = subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout


def test_every_command_of_the_readme_works(folder: Path) -> None:
    commands = [line for block in blocks("bash") for line in block.splitlines() if line]
    assert len(commands) >= 9
    pricer = str(Path(sys.executable).with_name("pricer"))
    for command in commands:
        name, *arguments = shlex.split(command)
        assert name == "pricer"
        assert run([pricer, *arguments], folder) or "--output" in arguments
    assert (folder / "prices.csv").read_text().startswith("row,id,")


@pytest.mark.usefixtures("aws", "cloud")
def test_every_command_on_aws_of_the_readme_works(folder: Path) -> None:
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) >= 5
    pricer = str(Path(sys.executable).with_name("pricer"))
    printed = [run([pricer, *shlex.split(command)[1:]], folder) for command in commands]
    _, verdict = blocks("text")
    # Seconds are those of the machine.
    expected, said = (re.sub(r"\d+ s", "N s", text) for text in (verdict.strip(), printed[0]))
    assert said.splitlines()[-1] == expected


def test_the_option_of_the_readme_prints_what_the_readme_says(folder: Path) -> None:
    said, _ = blocks("text")
    pricer = str(Path(sys.executable).with_name("pricer"))
    printed = run([pricer, *blocks("bash")[0].split()[1:]], folder)
    for line in said.splitlines()[:-1]:
        assert line.rstrip() in [printed_line.rstrip() for printed_line in printed.splitlines()]


def test_the_grid_of_the_readme_is_the_example(folder: Path) -> None:
    (said,) = blocks("toml")
    example = (folder / "examples" / "one_surface.toml").read_text(encoding="utf-8")
    assert tomllib.loads(said) == tomllib.loads(example)


def test_the_python_of_the_readme_runs(folder: Path) -> None:
    (code,) = blocks("python")
    assert "8.565" in run([sys.executable, "-c", code], folder)


def test_the_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [shlex.split(line)[1] for block in blocks("console") for line in block.splitlines()]
    assert targets
    for target in targets:
        assert f"\n{target}:" in makefile
