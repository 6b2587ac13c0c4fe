"""Runs by the clock: EventBridge Scheduler calls a function that reads a file and starts its run.

The file lies in the stack's bucket and is read each time: who replaces it there replaces what the
next run prices. All else that a schedule says is in the schedule itself.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from . import aws
from .cloud import submit_to
from .contracts import suggest
from .errors import AwsError, SpecError, StoreError
from .reading import read_alone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .book import Book
    from .executors.stepfunctions import Deployment
    from .grid import Grid

NAME = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.-]{0,63}")
CRON = re.compile(r"cron\((.*)\)")
CRON_FIELDS = ("minutes", "hours", "day of month", "month", "day of week", "year")
# What a worker can read: the image has no Parquet.
SUFFIXES = (".toml", ".csv", ".csv.gz")
# The valuation date that is the day for which a run is scheduled.
AS_OF = "as_of"
# EventBridge Scheduler fills it in when it fires.
SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"
ENABLED, MISSING = "ENABLED", "ResourceNotFoundException"
# What a schedule is found with and not made of.
FOUND = ("Arn", "CreationDate", "LastModificationDate", "ResponseMetadata")


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a file is priced: `cron` has six fields, read in `timezone`.

    `options` are those of `read_alone`; a valuation date `AS_OF` is the day, there, of each run.
    """

    name: str
    file: str
    cron: str
    timezone: str
    options: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise SpecError(
                "name: must be 1 to 64 letters, digits, dots, dashes and underscores, the first no"
                f" dot or dash, got {self.name!r}; give one by --name"
            )
        if not self.file.lower().endswith(SUFFIXES):
            raise SpecError(
                f"{self.file}: a schedule needs a grid (.toml) or a book as .csv or .csv.gz, which"
                " is what workers read"
            )
        fields = self.cron.split()
        if len(fields) != len(CRON_FIELDS):
            raise SpecError(
                f"cron: must be six fields, {', '.join(CRON_FIELDS)}, as '0 22 ? * MON-FRI *', got"
                f" {self.cron!r}"
            )
        try:
            ZoneInfo(self.timezone)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            near = suggest(self.timezone, sorted(available_timezones()))
            raise SpecError(
                f"timezone: must be a name as Europe/London, got {self.timezone!r}{near}"
            ) from None

    @property
    def key(self) -> str:
        """Where in the bucket its file lies."""
        return f"{_folder(self.name)}{self.file}"

    def read(self, path: Path, as_of: datetime) -> Grid | Book:
        """Read its file for the run of a time."""
        options = dict(self.options)
        if options.get("valuation_date") == AS_OF:
            options["valuation_date"] = as_of.astimezone(ZoneInfo(self.timezone)).date()
        return read_alone(path, **options)

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "schedule": self.name,
            "file": self.file,
            "cron": self.cron,
            "timezone": self.timezone,
            "options": dict(self.options),
        }

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Schedule:
        """Return the schedule whose `to_json` an event has."""
        names = ("schedule", "file", "cron", "timezone", "options")
        return cls(*(event[name] for name in names))


@dataclass(frozen=True, slots=True)
class Listed:
    """A schedule as it stands in the group of a stack, where people may make some by hand.

    `file` and `options` are empty where this package has not made it (`by_pricer`). `cron` has the
    fields alone, or all of another expression, such as ``rate(1 hour)``.
    """

    schedule: str
    file: str
    cron: str
    timezone: str
    options: Mapping[str, Any]
    state: str
    by_pricer: bool

    @classmethod
    def of(cls, found: Mapping[str, Any], start_function: str) -> Listed:
        """Read what EventBridge Scheduler says of one; pricer's call `start_function`."""
        name, target = found["Name"], found["Target"]
        try:
            given = json.loads(target.get("Input", ""))
            file, options = str(given["file"]), dict(given["options"])
            by_pricer = target["Arn"] == start_function and given["schedule"] == name
        except (LookupError, TypeError, ValueError):
            by_pricer = False
        if not by_pricer:
            file, options = "", {}
        expression = found["ScheduleExpression"]
        cron = CRON.fullmatch(expression)
        return cls(
            schedule=name,
            file=file,
            cron=cron[1] if cron else expression,
            timezone=found.get("ScheduleExpressionTimezone", "UTC"),
            options=options,
            state=found["State"].lower(),
            by_pricer=by_pricer,
        )


def schedule(deployment: Deployment, planned: Schedule, path: Path) -> Listed | None:
    """Have the file at `path` priced by the clock; return the schedule of that name before it.

    It is read here first, as it will be there: what cannot be priced is not scheduled. AWS judges
    the schedule before the file takes its place, so that what is refused changes nothing. One that
    was disabled stays so; one that was made by hand raises.
    """
    deployment.check_version()
    planned.read(path, datetime.now(UTC))
    data = path.read_bytes()
    where = _where(deployment, planned.name)
    client = aws.client("scheduler", region=deployment.region)
    before = _found(deployment, planned.name)
    replaced = Listed.of(before, deployment.start_function) if before else None
    if replaced and not replaced.by_pricer:
        raise StoreError(
            f"{where}: was not made by pricer, so it is left alone; take another name, by --name"
        )
    given = planned.to_json() | {"as_of": SCHEDULED_TIME}
    request = {
        "Name": planned.name,
        "GroupName": deployment.schedule_group,
        "ScheduleExpression": f"cron({planned.cron})",
        "ScheduleExpressionTimezone": planned.timezone,
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {
            "Arn": deployment.start_function,
            "RoleArn": deployment.schedule_role,
            "Input": json.dumps(given),
        },
        "State": before["State"] if before else ENABLED,
    }
    with aws.explained(where):
        if before:
            client.update_schedule(**request)
        else:
            client.create_schedule(**request)
    try:
        s3 = aws.client("s3", region=deployment.region)
        with aws.explained(f"bucket {deployment.bucket}"):
            s3.put_object(Bucket=deployment.bucket, Key=planned.key, Body=data)
    except BaseException:
        with aws.explained(f"{where}: its file is not there, and it cannot be taken back"):
            if before:
                kept = {name: value for name, value in before.items() if name not in FOUND}
                client.update_schedule(**kept)
            else:
                client.delete_schedule(Name=planned.name, GroupName=deployment.schedule_group)
        raise
    _remove(deployment, planned.name, "is made, but files before it are left", kept=planned.key)
    return replaced


def schedules(deployment: Deployment) -> Iterator[Listed]:
    """Yield every schedule of a stack."""
    client = aws.client("scheduler", region=deployment.region)
    group = deployment.schedule_group
    with aws.explained(f"schedules of stack {deployment.stack!r}"):
        pages = client.get_paginator("list_schedules").paginate(GroupName=group)
        for page in pages:
            for each in page["Schedules"]:
                # Unless it was deleted meanwhile.
                if found := _found(deployment, each["Name"]):
                    yield Listed.of(found, deployment.start_function)


def unschedule(deployment: Deployment, name: str) -> None:
    """Delete a schedule, then its file; runs that it has started go on."""
    client = aws.client("scheduler", region=deployment.region)
    where = _where(deployment, name)
    there = True
    try:
        with aws.explained(where):
            client.delete_schedule(Name=name, GroupName=deployment.schedule_group)
    except AwsError as error:
        if aws.error_code(error) != MISSING:
            raise
        there = False
    # Where it went before and its file could not.
    removed = _remove(deployment, name, "is deleted, but its file is left")
    if not (there or removed):
        raise StoreError(f"{where}: is not there; see `pricer schedules`")


def fire(deployment: Deployment, event: Mapping[str, Any]) -> dict[str, Any]:
    """Start the run of a schedule as of the time that the event says, which may come twice."""
    planned = Schedule.of(event)
    as_of = datetime.fromisoformat(event["as_of"]).astimezone(UTC)
    s3 = aws.client("s3", region=deployment.region)
    try:
        with aws.explained(f"bucket {deployment.bucket}"):
            found = s3.get_object(Bucket=deployment.bucket, Key=planned.key)
            data = found["Body"].read()
    except AwsError as error:
        if aws.error_code(error) != "NoSuchKey":
            raise
        raise StoreError(
            f"{_where(deployment, planned.name)}: its file {planned.key} is not in bucket"
            f" {deployment.bucket}; schedule it again"
        ) from None
    with TemporaryDirectory() as folder:
        path = Path(folder) / planned.file
        path.write_bytes(data)
        spec = planned.read(path, as_of)
    run = submit_to(deployment, spec, as_of=as_of.isoformat(), detach=True)
    return {"run": run.id, "cells": run.head.cells, "chunks": run.head.chunks}


def _folder(name: str) -> str:
    return f"schedules/{name}/"


def _where(deployment: Deployment, name: str) -> str:
    return f"schedule {name!r} of stack {deployment.stack!r}"


def _found(deployment: Deployment, name: str) -> dict[str, Any] | None:
    """Return what there is of a name."""
    client = aws.client("scheduler", region=deployment.region)
    try:
        with aws.explained(_where(deployment, name)):
            found: dict[str, Any] = client.get_schedule(
                Name=name, GroupName=deployment.schedule_group
            )
    except AwsError as error:
        if aws.error_code(error) != MISSING:
            raise
        return None
    return found


def _remove(deployment: Deployment, name: str, done: str, *, kept: str = "") -> int:
    """Remove the files of a schedule but for that of the key `kept`; return how many there were.

    `done` is what has been done by then.
    """
    s3 = aws.client("s3", region=deployment.region)
    with aws.explained(f"{_where(deployment, name)}: {done}: bucket {deployment.bucket}"):
        found = s3.list_objects_v2(Bucket=deployment.bucket, Prefix=_folder(name))
        keys = [each["Key"] for each in found.get("Contents", ()) if each["Key"] != kept]
        for key in keys:
            s3.delete_object(Bucket=deployment.bucket, Key=key)
    return len(keys)
