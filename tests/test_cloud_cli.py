"""The command line on AWS: each command against the deployed stacks, and what it refuses."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from cloud.faults import inject
from cloud.submitted import submitted
from pricer.aws import client
from pricer.cli import cli
from pricer.compiled import kernels
from pricer.executors.stepfunctions import Deployment
from pricer.grid import Grid
from pricer.plan import Plan
from pricer.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

ROOT = Path(__file__).parents[1]
PROGRAM = Path(sys.executable).with_name("pricer")
DOCS = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
GRID = """
name = "small"
[contract]
type = "vanilla"
exercise = "american"
[axes]
right = ["call", "put"]
spot = { start = 90.0, stop = 110.0, count = 5 }
strike = [95.0, 100.0]
expiry = [0.5, 1.0]
vol = VOL
rate = [0.01, 0.05]
[method]
tolerance = 1e-4
measures = ["price", "delta"]
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def output(*arguments: object, exit_code: int = 0) -> str:
    result = run(*arguments)
    assert result.exit_code == exit_code, result.output
    return result.stdout


def document(*arguments: object, exit_code: int = 0) -> Any:
    return json.loads(output(*arguments, "--json", exit_code=exit_code))


def error(*arguments: object) -> str:
    """Run a command that must fail with one line on stderr, and return the line."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


def usage_error(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    return result.stderr


def assert_documented(command: str, fields: Any) -> None:
    section = DOCS.partition(f"\n## pricer {command}\n")[2].partition("\n## ")[0]
    assert [field for field in fields if f"`{field}`" not in section] == []


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """Compile the kernels first, so that no test sees the line that says so."""
    kernels()


@pytest.fixture
def grid(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Write a grid that no other test has; what is deployed outlives the test."""
    path = tmp_path / "grid.toml"
    vol = 0.2 + zlib.crc32(request.node.name.encode()) / 2**40
    path.write_text(GRID.replace("VOL", str(vol)), encoding="utf-8")
    return path


@pytest.fixture
def deployed(aws: str, cloud: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Let every command run on the deployed stacks; yield the endpoint."""
    monkeypatch.setenv("PRICER_ON", "aws")
    yield aws
    inject(aws)


def test_the_life_of_a_run(deployed: str, grid: Path, tmp_path: Path) -> None:
    planned = document("plan", grid)
    submitted = document("submit", grid, "--max-cost", 1, "--keep", 7)
    assert submitted["run"] == planned["aws"]["run"]
    assert (submitted["state"], submitted["cells"], submitted["priced"]) == ("complete", 80, 80)
    assert submitted["store"].startswith("dynamodb://")
    name = submitted["run"][:12]
    again = document("submit", grid)
    assert again == submitted | {"priced": 0, "seconds": again["seconds"]}

    (first, *_) = document("runs")["runs"]
    assert (first["run"], first["state"], first["done"]) == (submitted["run"], "complete", 80)
    status = document("status", name)
    assert status["reasons"] == {}
    assert document("watch", name) == status
    assert f"run {name}\n80 cells, all ok\n" in output("watch", name)

    here = tmp_path / "here.csv"
    there = tmp_path / "there.csv"
    document("export", name, there)
    output("submit", grid, "--on", "local")
    document("export", name, here, "--on", "local")
    assert there.read_bytes() == here.read_bytes()
    chosen = ("query", name, "right=put", "spot=100", "--json")
    assert output(*chosen) == output(*chosen, "--on", "local")

    cost = document("cost", name)
    assert cost["name"] == "small"
    assert cost["usage"]["invocations"] == 3
    assert cost["planned"]["keep_days"] == 7
    text = output("cost", name)
    assert re.search(r"^dynamodb writes +<\$0.0001 +<\$0.0001$", text, re.MULTILINE)
    assert "at the prices of us-east-1, " in text

    assert error("cancel", name) == (f"run {name}: is not being priced, there is nothing to cancel")
    assert document("delete", name)["deleted"]
    assert re.search("there is no run in dynamodb://|is not in dynamodb://", error("status", name))
    assert submitted["run"] not in {run["run"] for run in document("runs")["runs"]}
    for command, fields in (("submit", submitted), ("watch", {}), ("cost", cost)):
        assert_documented(command, fields)


def test_a_detached_run_is_watched_cancelled_and_finished(deployed: str, grid: Path) -> None:
    text = output("submit", grid, "--detach")
    name = text.split()[1]
    assert text == (
        f"run {name}\nthe run goes on in AWS; see `pricer watch {name} --on aws`,"
        f" stop it by `pricer cancel {name} --on aws`\n"
    )
    assert document("watch", name)["state"] == "complete"


def test_a_cancelled_run_is_finished_by_submitting_it_again(deployed: str, grid: Path) -> None:
    inject(deployed, slow_batches=1_000, slow_s=3)
    name = document("submit", grid, "--detach")["run"][:12]
    assert document("status", name)["state"] == "running"
    assert "is being priced" in error("delete", name)
    stopped = document("cancel", name)
    assert stopped["execution"].endswith("-1")
    assert_documented("cancel", stopped)
    watched = output("watch", name, exit_code=1)
    assert f"run {name}\nincomplete: 0 of 80 cells priced\n" in watched
    assert f"finish it by `pricer resume {name} --on aws`" in watched
    inject(deployed)
    assert document("submit", grid)["state"] == "complete"


def test_a_run_is_resumed_by_its_id_as_its_file_would_be_submitted(
    deployed: str, grid: Path
) -> None:
    inject(deployed, fatal_events=[{"first": 0}])
    failed = document("submit", grid, exit_code=1)
    name = failed["run"][:12]
    grid.unlink()
    again = document("resume", name, exit_code=1)
    assert again == failed | {"seconds": again["seconds"], "reasons": again["reasons"]}
    text = output("resume", name, exit_code=1)
    assert re.search("^block 0 +Runtime.ExitError: Runtime exited", text, re.MULTILINE)
    assert f"finish it by `pricer resume {name} --on aws`" in text
    inject(deployed)
    resumed = document("resume", name)
    assert (resumed["state"], resumed["priced"], resumed["reasons"]) == ("complete", 80, {})
    assert document("cost", name)["executions"] == 4
    assert output("resume", name) == (
        f"run {name}\n80 cells, all ok, priced already, nothing left to do\n"
    )
    assert document("cost", name)["executions"] == 4


def test_a_run_of_other_kernels_or_of_another_version_s_stack_is_not_resumed(
    deployed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = Deployment.find()
    plan = Plan.of(Grid.parse(GRID.replace("VOL", "0.3")), "0" * 64)
    store = submitted(deployment, plan, chunk_blocks=1)
    name = plan.run_id[:12]
    assert error("resume", name) == (
        f"run {name}: needs kernels 000000000000, stack 'Pricer' has"
        f" {deployment.kernel_version[:12]}; submit its file again, which makes another run"
    )
    monkeypatch.setattr("pricer.__version__", "9.9.9")
    assert "is of pricer 0.1.0, this is 9.9.9; deploy it again" in error("resume", name)
    assert name not in {run[:12] for run in started()}
    Run(store, store.run(plan.run_id)).delete()


def test_what_fails_is_told_with_its_reason_and_finished_by_another_submit(
    deployed: str, grid: Path
) -> None:
    inject(deployed, fatal_events=[{"first": 0}])
    failed = document("submit", grid, exit_code=1)
    assert (failed["state"], failed["done"], failed["priced"]) == ("incomplete", 0, 0)
    assert list(failed["reasons"]) == ["block 0"]
    for command in (("submit", grid), ("watch", "latest")):
        text = output(*command, exit_code=1)
        assert re.search("^block 0 +Runtime.ExitError: Runtime exited", text, re.MULTILINE)
        assert f"finish it by `pricer resume {failed['run'][:12]} --on aws`" in text
    assert "Runtime.ExitError" in output("status", "latest")
    inject(deployed)
    assert document("submit", grid)["priced"] == 80
    assert document("status", "latest")["reasons"] == {}


def started() -> set[str]:
    """Return the ids of all runs for which an execution was started."""
    machine = Deployment.find().state_machine
    listed = client("stepfunctions").list_executions(stateMachineArn=machine)["executions"]
    return {execution["name"].rpartition("-")[0] for execution in listed}


def test_an_interrupt_leaves_the_run_going(deployed: str, grid: Path) -> None:
    name = document("plan", grid)["aws"]["run"]
    inject(deployed, slow_batches=1_000, slow_s=3)
    with subprocess.Popen(
        [PROGRAM, "submit", grid], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as going:
        deadline = time.monotonic() + 60
        while name not in started():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.5)
        going.send_signal(signal.SIGINT)
        stdout, stderr = going.communicate(timeout=60)
    assert (going.returncode, stdout) == (130, "")
    assert stderr.startswith("Interrupted: the run goes on in AWS; see `pricer watch ")
    assert document("status", name)["state"] == "running"
    inject(deployed)
    assert document("watch", name)["state"] == "complete"


# --- plans ---


def test_a_plan_compares_here_and_there(deployed: str, grid: Path) -> None:
    planned = document("plan", grid)
    there = planned["aws"]
    assert there["assumed"] == ""
    assert there["limits"]["concurrency"] == 2
    assert there["limits"]["memory_mb"] == 1769
    assert there["total"] == pytest.approx(sum(there["dollars"].values()))
    assert re.fullmatch(
        r"local: .*, \$0; aws: .*, (under )?\$0\.0\d \(start-up binds\): run it here",
        planned["verdict"],
    )
    text = output("plan", grid)
    assert text.splitlines()[-1].startswith("local: ")
    assert re.search(r"^at once +1 +of 2 workers allowed$", text, re.MULTILINE)
    assert re.search(r"^in all +<?\$0\.\d{4} +at the prices of us-east-1, ", text, re.MULTILINE)
    assert "assumed" not in text
    assert_documented("plan", [*planned, *there, *there["limits"]])


def test_a_plan_without_a_stack_assumes_the_usual(
    aws: str, grid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = document("plan", grid, "--on", "aws", "--stack", "Nope")
    there = planned["aws"]
    assert there["limits"]["concurrency"] == 1_000
    assert there["limits"]["write_units_per_s"] == 4_000
    assert "stack 'Nope' in us-east-1: is not there" in there["assumed"]
    assert there["run"] == planned["run"]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    assert "assumed: 1,000 workers, 4,000 writes/s, since" in output("plan", grid, "--on", "aws")


def test_a_plan_on_this_machine_says_nothing_of_aws(grid: Path) -> None:
    assert not {"aws", "verdict"} & document("plan", grid).keys()


# --- what is refused ---


def test_nothing_is_started_that_costs_more_than_allowed(deployed: str, grid: Path) -> None:
    message = error("submit", grid, "--max-cost", "0.000001")
    assert re.fullmatch(
        r"max cost: what is left to price would cost under \$0\.01, more than the \$1e-06 allowed;"
        " nothing is started",
        message,
    )
    name = document("plan", grid)["aws"]["run"]
    assert name not in {run["run"] for run in document("runs")["runs"]}


def test_a_stack_of_another_version_is_not_submitted_to(
    deployed: str, grid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pricer.__version__", "9.9.9")
    assert "is of pricer 0.1.0, this is 9.9.9; deploy it again" in error("submit", grid)
    assert document("runs")["store"].startswith("dynamodb://")


@pytest.mark.parametrize(
    "command",
    [
        ("submit", "grid.toml"),
        ("resume", "latest"),
        ("watch", "latest"),
        ("runs",),
        ("status", "latest"),
        ("cancel", "latest"),
        ("delete", "latest"),
        ("query", "latest"),
        ("export", "latest", "all.csv"),
        ("cost", "latest"),
    ],
    ids=lambda command: command[0],
)
def test_what_is_missing_is_one_line(
    command: tuple[str, ...],
    aws: str,
    grid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    no_stack = error(*command, "--on", "aws", "--stack", "Nope")
    assert no_stack.startswith("stack 'Nope' in us-east-1: is not there; `pricer deploy` makes it")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert (
        error(*command, "--on", "aws")
        == "AWS: no region; set AWS_REGION, or a region in the profile"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("runs", "--on", "aws", "--store", "memory:"), "--on aws and --store exclude each other"),
        (("runs", "--stack", "Mine"), "--stack is for --on aws"),
        (("runs", "--store", "memory:", "--stack", "Mine"), "--stack is for --on aws"),
        (("runs", "--on", "moon"), "'moon' is not one of 'local', 'aws'"),
        (("submit", "x.toml", "--detach"), "--detach is for --on aws"),
        (("submit", "x.toml", "--keep", "3"), "--keep is for --on aws"),
        (("submit", "x.toml", "--max-cost", "3"), "--max-cost is for --on aws"),
        (("submit", "x.toml", "--on", "aws", "--workers", "3"), "--workers is for --on local"),
        (("resume", "latest", "--on", "aws", "--workers", "3"), "--workers is for --on local"),
        (("cost", "latest"), "say --on aws; what is priced on this machine is not billed"),
    ],
)
def test_options_that_exclude_each_other_are_a_usage_error(
    arguments: tuple[str, ...], message: str
) -> None:
    assert message in usage_error(*arguments)


def test_what_the_command_line_says_goes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PRICER_ON", "aws")
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    assert document("runs", "--store", store)["store"] == store
    assert document("runs", "--on", "local")["store"] == store
    monkeypatch.setenv("PRICER_ON", "moon")
    assert error("runs") == "PRICER_ON: must be local or aws, got 'moon'"


def test_the_stack_may_be_named_by_the_environment(
    aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRICER_STACK", "Theirs")
    assert error("runs", "--on", "aws").startswith("stack 'Theirs' in us-east-1: is not there")
    assert document("runs")["runs"] == []


def test_nothing_on_this_machine_is_cancelled(grid: Path) -> None:
    output("submit", grid)
    assert error("cancel", "latest").endswith("runs.db is on this machine; say --on aws")


def test_no_command_on_this_machine_loads_the_library_of_aws(grid: Path, tmp_path: Path) -> None:
    commands = [
        ["plan", str(grid)],
        ["submit", str(grid)],
        ["resume", "latest"],
        ["watch", "latest"],
        ["runs"],
        ["status", "latest"],
        ["query", "latest", "spot=100"],
        ["export", "latest", str(tmp_path / "all.csv")],
        ["doctor"],
        ["delete", "latest"],
        ["price", "--right=put", "--spot=9", "--strike=9", "--expiry=1", "--vol=0.2", "--rate=0"],
    ]
    code = (
        "import sys; from pricer.cli import cli\n"
        f"for command in {commands!r}:\n"
        "    cli(command, standalone_mode=False)\n"
        "    assert 'boto3' not in sys.modules, command\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
