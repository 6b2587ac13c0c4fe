"""What is deployed is looked after from the command line: the stacks, the log, the schedules.

The CDK CLI is a process that notes its arguments; all else is the AWS on this machine.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import shlex
import shutil
import sys
import time
import uuid
import zipfile
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from click.testing import CliRunner

from cloud.deploy import create_stack
from cloud.faults import inject
from cloud.submitted import call
from panels import write_toml
from pricer import codebuild, deployment, logs, scheduling, views_operations
from pricer.aws import client
from pricer.cli import cli
from pricer.compiled import kernels
from pricer.errors import AwsError, DeployError
from pricer.executors.stepfunctions import Deployment
from pricer.run import list_runs, open_run
from pricer.stores import COMPLETE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

    from pricer.run import Run

ROOT = Path(__file__).parents[1]
DOCS = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
CRON = "0 22 ? * MON-FRI *"
GRID = """
name = "nightly"
[contract]
type = "vanilla"
right = "put"
[axes]
spot = { start = 90.0, stop = 110.0, count = 5 }
strike = 100.0
expiry = 1.0
vol = VOL
rate = 0.05
[method]
measures = ["price"]
"""
BOOK = """\
id,right,spot,strike,expiry_date,vol,rate
a,put,100,100,2027-06-18,VOL,0.05
b,call,100,110,2028-06-16,0.2,0.05
"""
FIRED_S = 25.0


def run(*arguments: object, typed: str | None = None) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments], input=typed)


def output(*arguments: object, typed: str | None = None) -> str:
    result = run(*arguments, typed=typed)
    assert result.exit_code == 0, result.output
    return result.stdout


def document(*arguments: object) -> Any:
    return json.loads(output(*arguments, "--json"))


def error(*arguments: object, typed: str | None = None) -> str:
    """Run a command that must fail, and return its last line."""
    result = run(*arguments, typed=typed)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    line = result.stderr.splitlines()[-1]
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


def assert_documented(command: str, fields: Any) -> None:
    section = DOCS.partition(f"\n## pricer {command}\n")[2].partition("\n## ")[0]
    assert [field for field in fields if f"`{field}`" not in section] == []


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """Compile the kernels first, so that no test sees the line that says so."""
    kernels()


def unique(text: str, request: pytest.FixtureRequest) -> str:
    """Make a file one that no other test has: what is deployed outlives the test."""
    return text.replace("VOL", str(0.2 + zlib.crc32(request.node.name.encode()) / 2**40))


@pytest.fixture
def grid(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "nightly.toml"
    path.write_text(unique(GRID, request), encoding="utf-8")
    return path


@pytest.fixture
def book(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "book.csv"
    path.write_text(unique(BOOK, request), encoding="utf-8")
    return path


# --- schedules ---


@pytest.fixture
def deployed(aws: str, cloud: dict[str, str]) -> Deployment:
    return Deployment.find()


def fire(deployed: Deployment, name: str) -> None:
    """Let what a schedule calls be called now, once, by a schedule beside it."""
    scheduler = client("scheduler")
    found = scheduler.get_schedule(Name=name, GroupName=deployed.schedule_group)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    scheduler.create_schedule(
        Name=f"{name}-now",
        GroupName=deployed.schedule_group,
        ScheduleExpression=f"at({now})",
        FlexibleTimeWindow=found["FlexibleTimeWindow"],
        Target=found["Target"],
        ActionAfterCompletion="DELETE",
    )


def scheduled_run(deployed: Deployment, name: str) -> Run:
    """Wait for the run that a schedule starts; return it once it is complete."""
    deadline = time.monotonic() + FIRED_S
    while time.monotonic() < deadline:
        runs = [r for r in list_runs(deployed.store()) if r.head.as_of and r.head.name == name]
        if runs and runs[0].state == COMPLETE:
            return runs[0]
        time.sleep(0.2)
    raise AssertionError(output("tail", "--since", "5m"))


def files_of(deployed: Deployment, name: str) -> list[str]:
    found = client("s3").list_objects_v2(Bucket=deployed.bucket, Prefix=f"schedules/{name}/")
    return [each["Key"] for each in found.get("Contents", ())]


def test_a_schedule_that_fires_prices_its_file_as_of_its_time(
    deployed: Deployment, grid: Path
) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    made = document("schedule", grid, "--cron", CRON, "--timezone", "Europe/London")
    assert_documented("schedule", made)
    assert made == {
        "schedule": "nightly",
        "file": "nightly.toml",
        "cron": CRON,
        "timezone": "Europe/London",
        "options": {},
        "place": f"s3://{deployed.bucket}/schedules/nightly/nightly.toml",
        "replaced": False,
        "state": "enabled",
    }
    (listed,) = [s for s in document("schedules")["schedules"] if s["schedule"] == "nightly"]
    assert_documented("schedules", ["stack", "schedules", *listed])
    assert (listed["cron"], listed["state"]) == (CRON, "enabled")
    assert f"{CRON}, Europe/London" in output("schedules")

    fire(deployed, "nightly")
    found = scheduled_run(deployed, "nightly")
    as_of = datetime.fromisoformat(found.head.as_of)
    assert before <= as_of <= datetime.now(UTC)
    status = document("status", found.id, "--on", "aws")
    assert (status["state"], status["done"]) == ("complete", 5)
    assert status["as_of"] == found.head.as_of == found.plan.as_of
    assert found.head.as_of[:16].replace("T", " ") in output("status", found.id, "--on", "aws")
    (shown,) = [r for r in document("runs", "--on", "aws")["runs"] if r["run"] == found.id]
    assert shown["as_of"] == found.head.as_of
    assert "as of (UTC)" in output("runs", "--on", "aws")

    # The same file without a time, or as of another, is another run of the same prices.
    again = document("submit", grid, "--on", "aws")
    assert again["run"] != found.id
    query = ("query", "spot=100", "--json", "--on", "aws")
    prices = [output(query[0], name, *query[1:]) for name in (found.id, again["run"])]
    assert prices[0] == prices[1]

    assert document("unschedule", "nightly") == {"schedule": "nightly", "deleted": True}
    assert files_of(deployed, "nightly") == []
    assert "nightly" not in output("schedules")
    assert open_run(found.id, deployed.store()).state == "complete"


def test_a_scheduled_run_that_is_incomplete_is_resumed_by_its_id(
    deployed: Deployment, grid: Path, aws: str
) -> None:
    planned = scheduling.Schedule("halted", grid.name, CRON, "UTC", {})
    scheduling.schedule(deployed, planned, grid)
    inject(aws, fatal_events=[{"first": 0}])
    event = planned.to_json() | {"as_of": "2026-11-23T22:00:00Z"}
    run = open_run(scheduling.fire(deployed, event)["run"], deployed.store())
    run.wait()
    inject(aws)
    said = output("status", run.id, "--on", "aws")
    assert f"finish it by `pricer resume {run.id[:12]} --on aws`" in said
    scheduling.unschedule(deployed, "halted")
    resumed = document("resume", run.id, "--on", "aws")
    assert (resumed["run"], resumed["state"], resumed["done"]) == (run.id, "complete", 5)
    assert document("status", run.id, "--on", "aws")["as_of"] == "2026-11-23T22:00:00+00:00"


def test_the_same_time_twice_is_one_run_and_another_time_another(
    deployed: Deployment, grid: Path
) -> None:
    planned = scheduling.Schedule("twice", grid.name, CRON, "UTC", {})
    scheduling.schedule(deployed, planned, grid)
    event = planned.to_json() | {"as_of": "2026-11-23T22:00:00Z"}
    first = scheduling.fire(deployed, event)
    assert scheduling.fire(deployed, event) == first
    later = scheduling.fire(deployed, event | {"as_of": "2026-11-24T22:00:00Z"})
    assert later["run"] != first["run"]
    scheduling.unschedule(deployed, "twice")


def test_what_is_on_s3_when_it_fires_is_priced(deployed: Deployment, grid: Path) -> None:
    planned = scheduling.Schedule("replaced", grid.name, CRON, "UTC", {})
    scheduling.schedule(deployed, planned, grid)
    text = grid.read_text(encoding="utf-8").replace("count = 5", "count = 3")
    client("s3").put_object(Bucket=deployed.bucket, Key=planned.key, Body=text.encode())
    event = planned.to_json() | {"as_of": "2026-11-23T22:00:00Z"}
    assert scheduling.fire(deployed, event)["cells"] == 3
    client("s3").delete_object(Bucket=deployed.bucket, Key=planned.key)
    with pytest.raises(OSError, match=r"schedules/replaced/nightly.toml is not in bucket"):
        scheduling.fire(deployed, event)
    scheduling.unschedule(deployed, "replaced")


def test_a_schedule_of_the_same_name_takes_the_place_of_the_one_before(
    deployed: Deployment, grid: Path, book: Path
) -> None:
    name = ("--name", "desk", "--cron", CRON)
    assert not document("schedule", grid, *name)["replaced"]
    made = document("schedule", book, *name, "--valuation-date", "as_of", "--tolerance", "1e-4")
    assert made["replaced"]
    assert made["options"] == {"valuation_date": "as_of", "tolerance": 1e-4}
    assert files_of(deployed, "desk") == ["schedules/desk/book.csv"]
    (listed,) = [s for s in document("schedules")["schedules"] if s["schedule"] == "desk"]
    assert listed["file"] == "book.csv"
    assert "in place of what it was" in output("schedule", book, *name, "--valuation-date", "as_of")
    output("unschedule", "desk")


NEVER = "99 22 ? * MON-FRI *"


def listed(name: str) -> dict[str, Any]:
    (found,) = [s for s in document("schedules")["schedules"] if s["schedule"] == name]
    return dict(found)


def test_a_schedule_that_aws_refuses_changes_nothing(
    deployed: Deployment, grid: Path, book: Path
) -> None:
    refused = r"schedule 'judged' of stack 'Pricer': \w+: ValidationException: Invalid Schedule Exp"
    assert re.match(refused, error("schedule", grid, "--name", "judged", "--cron", NEVER))
    assert files_of(deployed, "judged") == []
    assert "judged" not in output("schedules")

    document("schedule", grid, "--name", "judged", "--cron", CRON)
    before = listed("judged")
    changed = grid.with_name("changed") / grid.name
    changed.parent.mkdir()
    changed.write_text(grid.read_text(encoding="utf-8").replace("count = 5", "count = 3"))
    for file in ([changed], [book, "--valuation-date", "as_of"]):
        assert re.match(refused, error("schedule", *file, "--name", "judged", "--cron", NEVER))
    assert listed("judged") == before
    (key,) = files_of(deployed, "judged")
    kept = client("s3").get_object(Bucket=deployed.bucket, Key=key)["Body"].read()
    assert kept == grid.read_bytes()
    output("unschedule", "judged")


def test_a_file_that_was_left_is_deleted_by_another_unschedule(
    deployed: Deployment, grid: Path
) -> None:
    document("schedule", grid, "--name", "left", "--cron", CRON)
    with pytest.raises(AwsError, match="is deleted, but its file is left"):
        scheduling.unschedule(replace(deployed, bucket="nowhere"), "left")
    assert files_of(deployed, "left") == [f"schedules/left/{grid.name}"]
    output("unschedule", "left")
    assert files_of(deployed, "left") == []
    assert error("unschedule", "left").endswith("is not there; see `pricer schedules`")


def test_a_schedule_whose_file_cannot_be_put_is_taken_back(
    deployed: Deployment, grid: Path
) -> None:
    document("schedule", grid, "--name", "kept", "--cron", CRON, "--timezone", "Asia/Tokyo")
    before = listed("kept")
    elsewhere = replace(deployed, bucket="nowhere")
    for name in ("kept", "new"):
        planned = scheduling.Schedule(name, grid.name, "0 6 * * ? *", "UTC", {})
        with pytest.raises(AwsError, match="bucket nowhere: PutObject: NoSuchBucket"):
            scheduling.schedule(elsewhere, planned, grid)
    assert listed("kept") == before
    assert "new" not in {each["schedule"] for each in document("schedules")["schedules"]}
    with pytest.raises(AwsError, match=r"'kept' .*: is deleted, but its file is left: bucket nowh"):
        scheduling.unschedule(elsewhere, "kept")


def stand(deployed: Deployment, name: str, **changed: Any) -> None:
    """Change a schedule by hand, as in the console."""
    scheduler = client("scheduler")
    found = scheduler.get_schedule(Name=name, GroupName=deployed.schedule_group)
    kept = {key: value for key, value in found.items() if key not in scheduling.FOUND}
    scheduler.update_schedule(**kept | changed)


def test_a_schedule_that_was_disabled_stays_so_when_it_is_replaced(
    deployed: Deployment, grid: Path
) -> None:
    name = ("--name", "paused", "--cron", CRON)
    assert document("schedule", grid, *name)["state"] == "enabled"
    stand(deployed, "paused", State="DISABLED")
    assert document("schedule", grid, *name)["state"] == "disabled"
    said = output("schedule", grid, *name)
    assert "disabled, as it was: enable it in the console, or unschedule it and schedule" in said
    assert listed("paused")["state"] == "disabled"
    output("unschedule", "paused")
    assert document("schedule", grid, *name)["state"] == "enabled"
    output("unschedule", "paused")


def test_schedules_that_others_made_are_listed_as_such(deployed: Deployment, grid: Path) -> None:
    document("schedule", grid, "--name", "ours", "--cron", CRON)
    document("schedule", grid, "--name", "moved", "--cron", CRON)
    scheduler = client("scheduler")
    found = scheduler.get_schedule(Name="ours", GroupName=deployed.schedule_group)
    target = found["Target"]
    inputs = {"without": None, "words": "[not", "list": "[1]", "copied": target["Input"]}
    for name, given in inputs.items():
        scheduler.create_schedule(
            Name=name,
            GroupName=deployed.schedule_group,
            ScheduleExpression="rate(1 hour)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={k: v for k, v in (target | {"Input": given}).items() if v is not None},
        )
    # A time zone that this machine does not know, and another time than it was made for.
    stand(
        deployed,
        "moved",
        ScheduleExpression="cron(0 6 * * ? *)",
        ScheduleExpressionTimezone="Mars/Olympus",
    )
    assert (listed("moved")["by_pricer"], listed("moved")["file"]) == (True, grid.name)
    assert (listed("moved")["cron"], listed("moved")["timezone"]) == ("0 6 * * ? *", "Mars/Olympus")
    for name in inputs:
        assert listed(name) == {
            "schedule": name,
            "file": "",
            "cron": "rate(1 hour)",
            "timezone": "UTC",
            "options": {},
            "state": "enabled",
            "by_pricer": False,
        }
    shown = output("schedules")
    assert re.search(r"^copied +not made by pricer +rate\(1 hour\), UTC +enabled$", shown, re.M)
    assert re.search(rf"^moved +{grid.name} +0 6 \* \* \? \*, Mars/Olympus +enabled$", shown, re.M)
    # Nor is one of them replaced.
    before = scheduler.get_schedule(Name="list", GroupName=deployed.schedule_group)
    said = error("schedule", grid, "--name", "list", "--cron", CRON)
    assert said.endswith(
        "was not made by pricer, so it is left alone; take another name, by --name"
    )
    after = scheduler.get_schedule(Name="list", GroupName=deployed.schedule_group)
    assert after["Target"] == before["Target"]
    for name in (*inputs, "ours", "moved"):
        output("unschedule", name)


def test_a_schedule_that_is_deleted_while_all_are_listed_is_not_among_them(
    deployed: Deployment, grid: Path
) -> None:
    for name in ("first", "second"):
        document("schedule", grid, "--name", name, "--cron", CRON)
    other = {"first": "second", "second": "first"}
    seen = []
    for each in scheduling.schedules(deployed):
        if each.schedule in other:
            seen.append(each.schedule)
            scheduling.unschedule(deployed, other[each.schedule])
    assert len(seen) == 1
    output("unschedule", seen[0])


def test_a_cron_may_end_as_lines_do_on_windows_and_names_are_made_of_what_is_allowed(
    deployed: Deployment, grid: Path
) -> None:
    path = grid.with_name("…Zürich 1.toml")
    path.write_bytes(grid.read_bytes().replace(b"\n", b"\r\n"))
    made = document("schedule", path, "--cron", f"{CRON}\r\n")
    assert (made["schedule"], made["cron"]) == ("Z-rich-1", CRON)
    event = scheduling.Schedule("Z-rich-1", path.name, CRON, "UTC", {}).to_json()
    fired = scheduling.fire(deployed, event | {"as_of": "2026-11-23T22:00:00Z"})
    assert fired["cells"] == 5
    output("unschedule", "Z-rich-1")
    only = grid.rename(grid.with_name("表.toml"))
    assert "got ''; give one by --name" in error("schedule", only, "--cron", CRON)


def test_the_dates_of_a_book_count_from_the_day_in_the_time_zone_of_its_schedule(
    deployed: Deployment, book: Path
) -> None:
    days = []
    for zone in ("America/New_York", "Europe/London"):
        planned = scheduling.Schedule("book", book.name, CRON, zone, {"valuation_date": "as_of"})
        spec = planned.read(book, datetime(2026, 11, 24, 3, 0, tzinfo=UTC))
        days.append(spec.identity()["valuation_date"])
    # 22 h on the evening before, there.
    assert days == ["2026-11-23", "2026-11-24"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--cron", "0 22 * * *"), "cron: must be six fields, minutes, hours, .* got '0 22 "),
        (
            ("--cron", CRON, "--timezone", "Europe/Londn"),
            "timezone: must be a name .*'Europe/Londn'; did you mean 'Europe/London'",
        ),
        (("--cron", CRON, "--name", "a b"), "name: must be 1 to 64 letters, .* got 'a b'"),
        (("--cron", CRON, "--name", ".."), r"the first no dot or dash, got '\.\.'; give one by"),
        (("--cron", CRON, "--tolerance", "1"), "a .toml file says its own tolerance"),
    ],
)
def test_a_schedule_that_cannot_be_meant_is_refused_before_anything_is_written(
    deployed: Deployment, grid: Path, arguments: tuple[str, ...], message: str
) -> None:
    before = files_of(deployed, "nightly")
    assert re.search(message, error("schedule", grid, *arguments))
    assert files_of(deployed, "nightly") == before


def test_a_packed_book_is_read_as_the_plain_one(book: Path) -> None:
    packed = book.with_name("book.csv.gz")
    packed.write_bytes(gzip.compress(book.read_bytes()))
    night = datetime(2026, 11, 24, 22, 0, tzinfo=UTC)
    plain, same = (
        scheduling.Schedule("b", path.name, CRON, "UTC", {"valuation_date": "as_of"}).read(
            path, night
        )
        for path in (book, packed)
    )
    assert same.identity() == plain.identity()


def test_a_file_that_workers_cannot_read_is_not_scheduled(
    deployed: Deployment, tmp_path: Path
) -> None:
    path = tmp_path / "book.parquet"
    path.write_bytes(b"PAR1")
    said = error("schedule", path, "--cron", CRON)
    assert said.startswith("book.parquet: a schedule needs a grid (.toml) or a book as .csv")
    bad = tmp_path / "bad.toml"
    bad.write_text("[contract]\ntype = 'vanila'\n[axes]\n", encoding="utf-8")
    assert "bad.toml" in error("schedule", bad, "--cron", CRON)
    assert files_of(deployed, "bad") == []


def test_a_panel_is_not_scheduled_because_it_needs_a_second_file(
    deployed: Deployment, tmp_path: Path
) -> None:
    panel = write_toml(tmp_path)
    assert error("schedule", panel, "--name", "firms", "--cron", CRON) == (
        f"{panel}: a panel cannot be scheduled, since its days are in a second file; submit it"
    )
    assert files_of(deployed, "firms") == []


def test_a_schedule_that_is_not_there_says_so(deployed: Deployment) -> None:
    said = error("unschedule", "none")
    assert said == "schedule 'none' of stack 'Pricer': is not there; see `pricer schedules`"
    assert "no schedules in stack Pricer" in output("schedules") or document("schedules")


# --- the log ---


def test_the_log_of_a_run_is_of_all_functions_in_the_order_of_time(
    deployed: Deployment, grid: Path
) -> None:
    submitted = document("submit", grid, "--on", "aws")
    said = [json.loads(line) for line in output("tail", submitted["run"], "--json").splitlines()]
    assert_documented("tail", said[0])
    assert [line["function"] for line in said if line["message"] == "begins"] == [
        "plan",
        "price",
        "finish",
    ]
    assert [line["at"] for line in said] == sorted(line["at"] for line in said)
    assert {line["run"] for line in said} == {submitted["run"]}
    (priced,) = [line for line in said if line["function"] == "price" and line["message"] == "done"]
    assert (priced["blocks"], priced["values"]["cells"]) == ("block 0", 5)
    assert {"chunk", "kernel_ms", "write_units"} <= set(priced["values"])

    text = output("tail", "latest")
    assert "  price   block 0  done  chunk 0, cells 5" in text
    # Neither what Lambda says of every call, nor what metrics are made of.
    assert "RequestId" not in text
    assert "_aws" not in text
    # Without a run there are those of others, and the run is named.
    everything = output("tail", "--since", "1h")
    assert submitted["run"][:12] in everything


def test_what_a_scheduled_run_used_has_the_call_that_started_it(
    deployed: Deployment, grid: Path
) -> None:
    planned = scheduling.Schedule("billed", grid.name, CRON, "UTC", {})
    scheduling.schedule(deployed, planned, grid)
    event = planned.to_json() | {"as_of": "2026-11-23T22:00:00Z"}
    fired = call(deployed.start_function, event)
    open_run(fired["run"], deployed.store()).wait()
    bill = document("cost", fired["run"], "--on", "aws")
    assert bill["usage"]["invocations"] == 4
    # It is no state of the machine, nor a chunk that was lost.
    submitted = document("submit", grid, "--on", "aws")
    alone = document("cost", submitted["run"], "--on", "aws")
    assert bill["usage"]["transitions"] == alone["usage"]["transitions"]
    assert bill["spare_calls"] == 0
    scheduling.unschedule(deployed, "billed")


def test_an_error_of_a_worker_is_shown_with_its_traceback(deployed: Deployment, grid: Path) -> None:
    planned = scheduling.Schedule("gone", grid.name, CRON, "UTC", {})
    scheduling.schedule(deployed, planned, grid)
    client("s3").delete_object(Bucket=deployed.bucket, Key=planned.key)
    event = planned.to_json() | {"as_of": "2026-11-23T22:00:00Z"}
    assert call(deployed.start_function, event)["errorType"] == "StoreError"
    text = output("tail", "--since", "5m")
    lines = text.splitlines()
    (first,) = [i for i, line in enumerate(lines) if "StoreError: schedule 'gone'" in line][:1]
    assert "  start " in lines[first]
    assert lines[first + 1].strip() == "Traceback (most recent call last):"
    assert any("in fire" in line for line in lines[first:])
    # Lambda says the error again in its own words, which are left out.
    assert sum("StoreError: schedule 'gone'" in line for line in lines) == 2
    output("unschedule", "gone")


def stub(monkeypatch: pytest.MonkeyPatch, *events: tuple[int, str]) -> None:
    """Let the log have these lines, each at a time."""

    class Logs:
        def get_paginator(self, name: str) -> Any:
            assert name == "filter_log_events"
            return self

        def paginate(self, *, filterPattern: str, startTime: int, logGroupName: str) -> Any:
            del logGroupName
            words = [word.strip('"') for word in filterPattern.split('" "')]
            yield {
                "events": [
                    {"logStreamName": "2026/11/23/price[$LATEST]a", "timestamp": at, "message": m}
                    for at, m in events
                    if at >= startTime and all(word in m for word in words)
                ]
            }

    monkeypatch.setattr("pricer.aws.client", lambda *_, **__: Logs())


RUN = "ab" * 32
REQUEST = "0f0f0f0f-0000-4000-8000-0123456789ab"
TIMED_OUT = f"2026-11-23T22:10:00Z {REQUEST} Task timed out after 600.00 seconds"
KILLED = f"RequestId: {REQUEST} Error: Runtime exited with error: signal: killed"
OTHER = KILLED.replace("0f0f", "1e1e")
LOAD = "[ERROR] ImportModuleError: no module 'x'\rTraceback (most recent call last):\r  File"


def named(**outputs: str) -> Deployment:
    known = dict.fromkeys(
        ("TableName", "BucketName", "StateMachineArn", "PlanFunctionName", "FinishFunctionName"),
        "x",
    )
    known["WebFunctionName"] = "web"
    known |= dict.fromkeys(("StartFunctionArn", "ScheduleGroupName", "ScheduleRoleArn"), "y")
    known |= dict.fromkeys(("LogGroupName", "KernelVersion", "Version", "Architecture"), "z")
    known |= {"MemoryMb": "1", "KeepDays": "1", "PriceFunctionName": "price"}
    return Deployment.of("Pricer", "us-east-1", known | outputs)


def test_what_lambda_says_of_a_call_that_died_is_shown_with_its_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begins = json.dumps({"run": RUN, "request": REQUEST, "message": "begins", "service": "price"})
    stub(monkeypatch, (3, KILLED), (2, TIMED_OUT), (1, begins), (4, OTHER), (5, LOAD))
    found = list(logs.lines(named(), 0, RUN))
    assert [(line.at, line.level, line.function) for line in found] == [
        (1, "INFO", "price"),
        (2, "ERROR", "price"),
        (3, "ERROR", "price"),
    ]
    (load,) = logs.lines(named(), 5)
    assert load.message == "ImportModuleError: no module 'x'"
    assert load.traceback.splitlines() == ["Traceback (most recent call last):", "  File"]


def test_following_yields_each_line_once_and_those_that_come_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = int(time.time() * 1_000)
    events = [(now, json.dumps({"message": "first"}))]
    stub(monkeypatch, *events)
    monkeypatch.setattr(logs, "POLL_S", 0.0)
    following = logs.lines(named(), now - 1_000, follow=True)
    assert next(following).message == "first"
    stub(monkeypatch, *events, (now - 500, json.dumps({"message": "late"})))
    followed = logs.lines(named(), now - 1_000, follow=True)
    assert [next(followed).message for _ in range(2)] == ["late", "first"]


def refused(code: str, status: int = 400) -> ClientError:
    answer = {
        "Error": {"Code": code, "Message": "Rate exceeded"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "FilterLogEvents")


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(refused("ThrottlingException"), id="throttled"),
        pytest.param(refused("InternalFailure", 500), id="broken"),
        pytest.param(EndpointConnectionError(endpoint_url="https://logs"), id="unreached"),
    ],
)
def test_following_goes_on_through_what_passes_and_loses_no_line(
    failure: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = int(time.time() * 1_000)
    begins = json.dumps({"run": RUN, "request": REQUEST, "message": "begins"})
    asked = []

    class Failing:
        """Fails half way, at the second question of the first reading, and then does not."""

        def get_paginator(self, _: str) -> Any:
            return self

        def paginate(self, *, filterPattern: str, **_: Any) -> Any:
            asked.append(filterPattern)
            if len(asked) in (2, 4):
                raise failure
            found = begins if RUN in filterPattern else TIMED_OUT
            yield {"events": [{"logStreamName": "price", "timestamp": now, "message": found}]}

    monkeypatch.setattr("pricer.aws.client", lambda *_, **__: Failing())
    monkeypatch.setattr(logs, "POLL_S", 0.0)
    following = logs.lines(named(), now - 1_000, RUN, follow=True)
    assert [next(following).message for _ in range(2)] == ["begins", TIMED_OUT]
    # Said once, however often it is tried.
    (said,) = caplog.records
    assert said.getMessage().endswith("; trying again")
    asked.clear()
    with pytest.raises(AwsError, match=r"^log group z: (FilterLogEvents: |cannot be reached)"):
        list(logs.lines(named(), now - 1_000, RUN))


def test_following_ends_where_the_log_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Denied:
        def get_paginator(self, _: str) -> Any:
            raise refused("AccessDeniedException")

    monkeypatch.setattr("pricer.aws.client", lambda *_, **__: Denied())
    with pytest.raises(AwsError, match="FilterLogEvents is not allowed"):
        next(logs.lines(named(), 0, follow=True))


def test_lines_that_use_words_of_theirs_are_shown_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    odd = {"first": "one", "run": None, "service": 3, "level": None, "message": {"a": 1}}
    stub(monkeypatch, (1, json.dumps(odd)), (2, '{"first": 1}'), (3, "[1, 2]"))
    found = list(logs.lines(named(), 0))
    assert [(line.blocks, line.message) for line in found] == [
        ("", "{'a': 1}"),
        ("", ""),
        ("", "[1, 2]"),
    ]
    shown = [str(views_operations.logged(line, alone=False)) for line in found]
    assert shown[0].startswith("1970-01-01 00:00:00.001  3 ")


def test_a_log_of_nothing_says_since_when(deployed: Deployment) -> None:
    result = run("tail", "--since", "2099-01-01T10:30")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "nothing is logged since 2099-01-01 10:30:00 UTC; see --since\n"


def test_a_time_is_utc_wherever_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert logs.since_ms("2026-11-23T22:00") == 1_795_471_200_000
        assert logs.since_ms("2026-11-24T07:00+09:00") == 1_795_471_200_000
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("10m", 600), ("2 h", 7_200), ("1d", 86_400)]
)
def test_since_is_a_length_of_time_or_a_time(text: str, seconds: int) -> None:
    assert logs.since_ms(text) / 1_000 == pytest.approx(time.time() - seconds, abs=2)
    assert logs.since_ms("2026-11-23T22:00:00+00:00") == 1_795_471_200_000


def test_a_time_that_cannot_be_read_is_refused(deployed: Deployment) -> None:
    for text in ("yesterday", "99999999999d", "0001-01-01", "1969-12-31", "99999d"):
        assert error("tail", "--since", text).startswith("since: must be as 30s, 10m, 2h or 1d")


# --- deploying ---

CDK = """
import json, os, sys
from pathlib import Path
note = {"arguments": sys.argv[1:], "builder": os.environ.get("CDK_DOCKER", "")}
with Path(os.environ["NOTES"]).open("a") as notes:
    notes.write(json.dumps(note) + "\\n")
print(f"cdk does {sys.argv[1]}")
if sys.argv[1] == "diff":
    print("Number of stacks with differences: " + os.environ["DIFFERENCES"])
sys.exit(int(os.environ.get(f"FAIL_{sys.argv[1].upper()}", 0)))
"""
TEMPLATE = {
    "Resources": {
        **{f"Alarm{n}": {"Type": "AWS::CloudWatch::Alarm"} for n in range(5)},
        "Board": {"Type": "AWS::CloudWatch::Dashboard"},
    }
}


class Notes:
    """What the CDK CLI was called with."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def commands(self) -> list[str]:
        return [note["arguments"][0] for note in self.read()]


@pytest.fixture
def cdk(aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Notes:
    """Put a process that notes its arguments in the place of the CDK CLI, in a small checkout."""
    root = tmp_path / "checkout"
    (root / "infra").mkdir(parents=True)
    (root / "infra" / "cdk.py").write_text("")
    (root / "build" / "cdk").mkdir(parents=True)
    for name in ("Desk", "Desk-data"):
        template = TEMPLATE if name == "Desk" else {"Resources": {}}
        path = root / "build" / "cdk" / f"{name}.template.json"
        path.write_text(json.dumps(template), encoding="utf-8")
    program = tmp_path / "cdk.py"
    program.write_text(CDK, encoding="utf-8")
    monkeypatch.setattr(deployment, "ROOT", root)
    monkeypatch.setattr(deployment, "CDK", (sys.executable, str(program)))
    monkeypatch.setattr(deployment, "builder", lambda: "finch")
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("DIFFERENCES", "2")
    monkeypatch.setenv("PRICER_STACK", "Desk")
    client("ssm").put_parameter(
        Name=deployment.BOOTSTRAPPED, Value="30", Type="String", Overwrite=True
    )
    return Notes(tmp_path / "notes")


@pytest.fixture
def stack(aws: str) -> Iterator[None]:
    """Have a stack Desk of which only the outputs are there, and what they name."""
    bucket = f"desk-{uuid.uuid4().hex[:12]}"
    create_stack(
        "Desk",
        {
            "Description": "pricer: a desk",
            "Resources": {
                "Table": {
                    "Type": "AWS::DynamoDB::Table",
                    "DeletionPolicy": "Retain",
                    "Properties": {
                        "BillingMode": "PAY_PER_REQUEST",
                        "DeletionProtectionEnabled": True,
                        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
                        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
                    },
                },
                "Bucket": {
                    "Type": "AWS::S3::Bucket",
                    "DeletionPolicy": "Retain",
                    "Properties": {"BucketName": bucket},
                },
            },
            "Outputs": {
                "TableName": {"Value": {"Ref": "Table"}},
                "BucketName": {"Value": bucket},
                "Choices": {"Value": '{"architecture": "arm64", "keep_days": "30"}'},
            },
        },
    )
    yield
    client("cloudformation").delete_stack(StackName="Desk")


def test_deploying_shows_what_would_change_and_costs_and_asks(cdk: Notes) -> None:
    result = run("deploy", "-c", "keep_days=30", typed="y\n")
    assert result.exit_code == 0, result.output
    shown, made = cdk.read()
    told = ["--context", "name=Desk", "--context", "keep_days=30", "--app", deployment.APP]
    stacks = ["Desk-data", "Desk"]
    assert shown["arguments"] == ["diff", *stacks, "--method", "template", *told]
    assert made["arguments"] == ["deploy", *stacks, "--require-approval", "never", *told]
    assert made["builder"] == "finch"
    asked = result.stderr.index("Deploy this? [y/N]")
    assert "stack Desk in aws://000000000000/us-east-1, built by finch\n" in result.stderr[:asked]
    cost = (
        "While idle it costs $0.52 a month (alarms $0.50, image $0.02; dashboards beyond three"
        " $3.00),\n"
    )
    assert result.stderr.index("cdk does diff") < result.stderr.index(cost) < asked
    assert result.stderr.index("cdk does deploy") > asked
    assert result.stdout == (
        "Desk: deployed in us-east-1\n"
        "see `pricer doctor --on aws --stack Desk`, then submit with --on aws --stack Desk\n"
    )


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("n\n", "nothing is changed, as you say"),
        ("", "nobody answers, so nothing is changed; say --yes"),
    ],
)
def test_what_is_not_agreed_to_is_not_deployed(cdk: Notes, typed: str, message: str) -> None:
    assert error("deploy", typed=typed) == message
    assert cdk.commands() == ["diff"]


def test_what_is_as_it_should_be_is_left_alone(cdk: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFERENCES", "0")
    made = document("deploy")
    assert_documented("deploy", made)
    assert not made["changed"]
    assert made["idle_usd_a_month"] == pytest.approx(0.52)
    assert [row["count"] for row in made["idle"]] == [5, 1, 1]
    assert "nothing to deploy" in output("deploy")
    assert cdk.commands() == ["diff", "diff"]


def test_an_account_that_is_not_bootstrapped_is_if_that_is_agreed_to(
    cdk: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    client("ssm").delete_parameter(Name=deployment.BOOTSTRAPPED)
    assert error("deploy", typed="n\n") == "nothing is changed, as you say"
    assert cdk.commands() == []
    made = document("deploy", "--yes")
    assert made["bootstrapped"]
    assert cdk.commands() == ["bootstrap", "diff", "deploy"]
    assert cdk.read()[0]["arguments"][:2] == ["bootstrap", "aws://000000000000/us-east-1"]


def test_a_deployment_that_fails_says_which_command_did(
    cdk: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL_DEPLOY", "3")
    said = error("deploy", "--yes")
    assert said == "cdk deploy: failed with exit code 3; what is above says why"


def test_an_update_keeps_what_was_chosen_unless_told_otherwise(cdk: Notes, stack: None) -> None:
    made = document("update", "--yes", "-c", "keep_days=60")
    assert made["choices"] == {"architecture": "arm64", "keep_days": "60"}
    told = cdk.read()[-1]["arguments"]
    assert told.count("--context") == 3
    assert {"name=Desk", "architecture=arm64", "keep_days=60"} <= set(told)


def test_an_update_of_what_is_not_deployed_is_refused(cdk: Notes) -> None:
    said = error("update", "--yes")
    assert said == "stack 'Desk': is not deployed; `pricer deploy` does that"
    assert cdk.commands() == []


def test_destroying_says_what_is_kept_and_why_and_asks(cdk: Notes, stack: None) -> None:
    result = run("destroy", typed="y\n")
    assert result.exit_code == 0, result.output
    said = " ".join(result.stderr.split())
    assert "Keeps the table Desk-Table" in said
    assert "they hold every run, and nothing could bring those back." in said
    (made,) = cdk.read()
    assert made["arguments"][:3] == ["destroy", "--all", "--force"]
    found = deployment.outputs("Desk")
    assert found
    described = client("dynamodb").describe_table(TableName=found["TableName"])
    assert described["Table"]["TableStatus"] == "ACTIVE"
    assert f"its runs stay: dynamodb://{found['TableName']}?region=us-east-1" in result.stdout
    assert error("destroy", typed="n\n") == "nothing is changed, as you say"
    assert len(cdk.read()) == 1


def test_a_purge_asks_twice_and_deletes_the_table_and_the_bucket(cdk: Notes, stack: None) -> None:
    found = deployment.outputs("Desk")
    assert found
    client("s3").put_object(Bucket=found["BucketName"], Key="runs/a/plan", Body=b"{}")
    said = error("destroy", "--purge", "--yes", typed="Disk\n")
    assert said == "purge: must be answered by 'Desk', got 'Disk'; nothing is changed"
    assert cdk.commands() == []
    result = run("destroy", "--purge", "--json", typed="y\nDesk\n")
    assert result.exit_code == 0, result.output
    assert_documented("destroy", json.loads(result.stdout))
    assert cdk.commands() == ["destroy"]
    tables = client("dynamodb").list_tables()["TableNames"]
    buckets = [each["Name"] for each in client("s3").list_buckets()["Buckets"]]
    assert found["TableName"] not in tables
    assert found["BucketName"] not in buckets


def test_a_purge_that_fails_half_way_can_be_done_again(
    cdk: Notes, stack: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    purge = ("destroy", "--purge", "--yes")
    found = deployment.outputs("Desk")
    assert found
    bucket, key = found["BucketName"], "runs/a/plan"
    # A bucket that is held by what may not be deleted.
    client("s3").put_object(Bucket=bucket, Key=key, Body=b"{}")
    with monkeypatch.context() as broken:
        broken.setattr(client("s3"), "delete_objects", lambda **_: None)
        assert "BucketNotEmpty" in error(*purge, typed="Desk\n")
    assert found["TableName"] not in client("dynamodb").list_tables()["TableNames"]
    assert cdk.commands() == []
    monkeypatch.setenv("FAIL_DESTROY", "1")
    assert error(*purge, typed="Desk\n").startswith("cdk destroy: failed with exit code 1")
    assert bucket not in [each["Name"] for each in client("s3").list_buckets()["Buckets"]]
    monkeypatch.delenv("FAIL_DESTROY")
    assert run(*purge, typed="Desk\n").exit_code == 0
    assert cdk.commands() == ["destroy", "destroy"]


TOPIC = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}


@pytest.mark.parametrize("name", ["Desk", "Desk-data", "Desk-build"])
def test_a_stack_of_somebody_else_is_neither_changed_nor_destroyed(cdk: Notes, name: str) -> None:
    create_stack(name, TOPIC | {"Description": "the topics of the desk"})
    left = f"stack '{name}': is there and is not one of pricer's, so it is left alone; take"
    try:
        for command in (["deploy", "--build", "remote"], ["destroy"]):
            assert error(*command, "--yes").startswith(left)
    finally:
        client("cloudformation").delete_stack(StackName=name)
    assert cdk.commands() == []


def test_a_stack_that_was_only_about_to_be_made_is_in_nobody_s_way(cdk: Notes) -> None:
    # As where a first deployment was interrupted.
    cloudformation = client("cloudformation")
    cloudformation.create_change_set(
        StackName="Desk",
        ChangeSetName="make",
        ChangeSetType="CREATE",
        TemplateBody=json.dumps(TOPIC | {"Description": "pricer: a desk"}),
    )
    (stack,) = cloudformation.describe_stacks(StackName="Desk")["Stacks"]
    assert stack["StackStatus"] == "REVIEW_IN_PROGRESS"
    try:
        assert deployment.outputs("Desk") == {}
    finally:
        cloudformation.delete_stack(StackName="Desk")


def test_every_stack_is_described_as_one_of_pricer(templates: Path) -> None:
    described = [json.loads(path.read_text()) for path in templates.glob("Pricer*.template.json")]
    assert len(described) == 3
    assert all(each["Description"].startswith(deployment.OURS) for each in described)


def test_what_a_deployment_that_failed_has_left_is_destroyed(cdk: Notes) -> None:
    # As one whose image could not be built.
    create_stack("Desk-build", TOPIC | {"Description": "pricer: what builds"})
    try:
        result = run("destroy", "--json", typed="y\n")
        purged = error("destroy", "--purge", "--yes")
    finally:
        client("cloudformation").delete_stack(StackName="Desk-build")
    assert result.exit_code == 0, result.output
    assert "Destroy Desk-build? [y/N]" in result.stderr
    made = json.loads(result.stdout)
    assert_documented("destroy", made)
    assert (made["stacks"], made["table"]) == (["Desk-build"], None)
    assert cdk.commands() == ["destroy"]
    assert "does not say what its table and bucket are" in purged


def test_a_purge_passes_over_a_table_that_is_being_deleted(
    cdk: Notes, stack: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = deployment.outputs("Desk")
    assert found

    def in_use(**_: object) -> None:
        raise of("UpdateTable", "ResourceInUseException")

    with monkeypatch.context() as slow:
        slow.setattr(client("dynamodb"), "update_table", in_use)
        assert "ResourceInUseException" in error("destroy", "--purge", "--yes", typed="Desk\n")
        deleting = {"Table": {"TableStatus": "DELETING"}}
        slow.setattr(client("dynamodb"), "describe_table", lambda **_: deleting)
        assert run("destroy", "--purge", "--yes", typed="Desk\n").exit_code == 0
    buckets = [each["Name"] for each in client("s3").list_buckets()["Buckets"]]
    assert found["BucketName"] not in buckets
    client("dynamodb").update_table(TableName=found["TableName"], DeletionProtectionEnabled=False)
    client("dynamodb").delete_table(TableName=found["TableName"])


def test_what_is_not_deployed_cannot_be_destroyed(cdk: Notes) -> None:
    said = error("destroy", "--yes")
    assert said == "stack 'Desk': is not deployed, there is nothing to destroy"


def test_an_installed_package_says_that_it_cannot_deploy(
    cdk: Notes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for command in ("deploy", "update", "destroy"):
        monkeypatch.setattr(deployment, "find_spec", lambda _: None)
        said = error(command, "--yes")
        assert said == "deploy needs the CDK: pip install -e '.[infra]' in the checkout"
    monkeypatch.setattr(deployment, "ROOT", tmp_path)
    said = error("deploy", "--yes")
    assert said.startswith("deploy: needs a checkout of pricer, an installed package has no infra/")


# --- building on AWS ---

CONTEXT_BUCKET = "cdk-hnb659fds-assets-000000000000-us-east-1"
REPOSITORY = "cdk-hnb659fds-container-assets-000000000000-us-east-1"


@pytest.fixture
def far(cdk: Notes, templates: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Have what the CDK makes in an account, and the stack that builds; yield its outputs."""
    monkeypatch.setenv("PRICER_STACK", "Pricer")
    for path in templates.glob("Pricer*.template.json"):
        shutil.copy(path, deployment.ROOT / "build" / "cdk")
    assets = json.loads((templates / "Pricer-build.assets.json").read_text())["files"].values()
    (context,) = [asset for asset in assets if asset["displayName"] == "Context"]
    archive = shutil.make_archive(
        str(deployment.ROOT / "context"), "zip", templates / context["source"]["path"]
    )
    (place,) = context["destinations"].values()
    s3, ecr = client("s3"), client("ecr")
    s3.create_bucket(Bucket=CONTEXT_BUCKET)
    s3.upload_file(archive, CONTEXT_BUCKET, place["objectKey"])
    ecr.create_repository(repositoryName=REPOSITORY)
    outputs = create_stack(
        "Pricer-build", json.loads((templates / "Pricer-build.template.json").read_text())
    )
    yield {**outputs, "Key": place["objectKey"]}
    client("cloudformation").delete_stack(StackName="Pricer-build")
    ecr.delete_repository(repositoryName=REPOSITORY, force=True)
    s3.delete_object(Bucket=CONTEXT_BUCKET, Key=place["objectKey"])
    s3.delete_bucket(Bucket=CONTEXT_BUCKET)


def test_without_docker_codebuild_builds_the_image_before_it_is_deployed(
    cdk: Notes, far: dict[str, str]
) -> None:
    remote = ("deploy", "--build", "remote")
    result = run(*remote, typed="y\n")
    assert result.exit_code == 0, result.output
    assert [note["arguments"][:4] for note in cdk.read()] == [
        ["diff", "Pricer-build", "Pricer-data", "Pricer"],
        ["deploy", "Pricer-build", "--require-approval", "never"],
        ["deploy", "Pricer-build", "Pricer-data", "Pricer"],
    ]
    assert {note["builder"] for note in cdk.read()} == {""}
    said = result.stderr
    priced = "CodeBuild builds the image, unless it is there, for about $0.01 a minute."
    assert "us-east-1, built by codebuild\n" in said
    # The log is shown as it comes, between the two deployments.
    *_, end = (
        said.index(line)
        for line in (
            priced,
            "Deploy this? [y/N]",
            'Running command docker build --file infra/Dockerfile --tag "$IMAGE" .',
            f"built 000000000000.dkr.ecr.us-east-1.amazonaws.com/{REPOSITORY}:{far['ImageTag']}",
            'Running command docker push "$IMAGE"',
        )
    )
    assert said.rindex("cdk does deploy") > end
    (image,) = client("ecr").describe_images(
        repositoryName=REPOSITORY, imageIds=[{"imageTag": far["ImageTag"]}]
    )["imageDetails"]
    assert image["imageTags"] == [far["ImageTag"]]
    # What is there is not built again.
    again = run(*remote, "--yes", "--json")
    assert "the image is there already\n" in again.stderr
    assert "Running command" not in again.stderr
    made = json.loads(again.stdout)
    assert_documented("deploy", made)
    assert (made["builder"], made["build_usd_a_minute"]) == ("codebuild", 0.01)


def test_an_image_that_cannot_be_built_is_not_deployed(cdk: Notes, far: dict[str, str]) -> None:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("infra/Dockerfile", "COPY kernels/*.py pricer/kernels/\n")
    client("s3").put_object(Bucket=CONTEXT_BUCKET, Key=far["Key"], Body=body.getvalue())
    result = run("deploy", "--build", "remote", "--yes")
    assert result.exit_code == 1
    *_, last = result.stderr.splitlines()
    assert re.fullmatch(
        r"Error: build Pricer-build-Project.*: failed in phase BUILD; what is above says why", last
    )
    assert "kernels/*.py is not in the context" in result.stderr
    assert cdk.commands() == ["diff", "deploy"]


def test_an_interrupt_stops_the_build(
    cdk: Notes, far: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pricer.codebuild._follow", interrupt)
    result = run("deploy", "--build", "remote", "--yes")
    assert result.exit_code == 130
    assert result.stderr.endswith("Interrupted: the build is stopped, and nothing is deployed.\n")
    service = client("codebuild")
    builds = service.list_builds_for_project(projectName=far["ProjectName"])["ids"]
    (last,) = service.batch_get_builds(ids=builds[:1])["builds"]
    assert last["buildStatus"] == "STOPPED"
    assert cdk.commands() == ["diff", "deploy"]


def test_who_builds_an_image_that_another_build_puts_first_goes_on(
    cdk: Notes, far: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(_: object, build_id: str, __: str) -> dict[str, Any]:
        client("ecr").put_image(
            repositoryName=REPOSITORY, imageTag=far["ImageTag"], imageManifest="{}"
        )
        return {"id": build_id, "buildStatus": "FAILED"}

    monkeypatch.setattr("pricer.codebuild._follow", overtaken)
    result = run("deploy", "--build", "remote", "--yes")
    assert result.exit_code == 0, result.output
    assert "the image is there all the same: another build was first\n" in result.stderr
    assert cdk.commands() == ["diff", "deploy", "deploy"]


class Slow:
    """A build that fails, and its log, whose last line is late, after some failed questions."""

    def __init__(self, *failures: ClientError) -> None:
        self.failures = list(failures)
        self.log = [("the log begins", "f/1"), ("", "f/1"), ("it says why", "f/2"), ("", "f/2")]

    def batch_get_builds(self, **_: object) -> dict[str, Any]:
        if self.failures and self.failures[0].operation_name == "BatchGetBuilds":
            raise self.failures.pop(0)
        status = "IN_PROGRESS" if self.failures else "FAILED"
        logs = {"groupName": "group", "streamName": "stream"}
        return {"builds": [{"id": "p:1", "buildStatus": status, "logs": logs}]}

    def get_log_events(self, **_: object) -> dict[str, Any]:
        if self.failures:
            raise self.failures.pop(0)
        line, token = self.log.pop(0)
        return {"events": [{"message": line}] if line else [], "nextForwardToken": token}


def of(operation: str, code: str, status: int = 400) -> ClientError:
    return ClientError(refused(code, status).response, operation)


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        # CodeBuild names a stream before it is there.
        (of("GetLogEvents", "ResourceNotFoundException"), ""),
        (
            of("GetLogEvents", "AccessDeniedException"),
            "the log of the build: GetLogEvents is not allowed: Rate exceeded; the build goes on\n",
        ),
        (
            of("BatchGetBuilds", "ThrottlingException"),
            "build p:1, which goes on: BatchGetBuilds: ThrottlingException: Rate exceeded; trying"
            " again\n",
        ),
    ],
)
def test_a_build_is_followed_to_its_end_through_what_passes(
    failure: ClientError,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    slow = Slow(failure, failure)
    monkeypatch.setattr("pricer.aws.client", lambda *_, **__: slow)
    monkeypatch.setattr(codebuild, "POLL_S", 0.0)
    assert codebuild._follow(slow, "p:1", "us-east-1")["buildStatus"] == "FAILED"
    assert capsys.readouterr().err == f"{said}the log begins\nit says why\n"


def test_a_build_that_may_not_be_asked_for_is_said_to_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = Slow(of("BatchGetBuilds", "AccessDeniedException"))
    monkeypatch.setattr("pricer.aws.client", lambda *_, **__: slow)
    with pytest.raises(AwsError, match=r"^build p:1, which goes on: BatchGetBuilds is not allowed"):
        codebuild._follow(slow, "p:1", "us-east-1")


@pytest.mark.parametrize("text", ["keep_days", "name=Other", "keep-days=30"])
def test_a_choice_that_cannot_be_meant_is_a_usage_error(cdk: Notes, text: str) -> None:
    assert run("deploy", "-c", text).exit_code == 2
    assert cdk.commands() == []


def test_docker_that_does_not_answer_gives_way_to_finch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeployError, match=r"neither docker nor finch is there; .* --build remote"):
        deployment.builder()
    for name, code in (("docker", 1), ("finch", 0)):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\nexit {code}\n")
        program.chmod(0o755)
        if code:
            with pytest.raises(
                DeployError, match=r"docker is there but does not answer; .* --build"
            ):
                deployment.builder()
    assert deployment.builder() == "finch"


def test_the_cdk_is_asked_for_as_the_makefile_asks() -> None:
    assert list(deployment.CDK) == [sys.executable, "-m", "infra.cdk"]
    assert shlex.split(deployment.APP) == [sys.executable, "-m", "infra.app"]
    assert (deployment.ROOT / "infra" / "cdk.py").is_file()
    deployment.check_checkout()
