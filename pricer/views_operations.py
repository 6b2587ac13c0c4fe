"""What the commands show that look after a deployment: its cost, its log, its schedules."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from .screen import counted, plain_table
from .stacks import flag
from .stores import SHORT_ID

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import RenderableType

    from .logs import Line

    Document = Mapping[str, Any]
    View = Iterator[RenderableType]

LEVELS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}
# What a worker says of its clock, which is for the timeline of a run.
TIMES = ("queued_at", "started_at", "freed_at", "done_at")
FUNCTIONS = {
    "plan": "cyan", "price": "blue", "finish": "magenta", "start": "green", "web": "bright_yellow",
}  # fmt: skip


def costs(document: Document) -> Iterator[str]:
    """Say what a deployment costs a month that does nothing, and what building its image does."""
    parts = [f"{row['what']} ${row['usd']:.2f}" for row in document["idle"]]
    total = f"${document['idle_usd_a_month']:.2f}"
    yield f"While idle it costs {total} a month ({', '.join(parts[:-1])}; {parts[-1]}),"
    yield "and what is stored comes on top; docs/aws.md has all of it."
    if minute := document["build_usd_a_minute"]:
        yield f"CodeBuild builds the image, unless it is there, for about ${minute:.2f} a minute."


def deployed(document: Document) -> View:
    """Say what became of a deployment, and what to do next."""
    stack = document["stack"]
    where = flag(stack)
    if not document["changed"]:
        yield Text(f"{stack}: is as it should be, nothing to deploy", "green")
        return
    yield Text(f"{stack}: deployed in {document['region']}", "green")
    yield Text(f"see `pricer doctor --on aws{where}`, then submit with --on aws{where}")


def kept(document: Document) -> Iterator[str]:
    """Say what a destruction removes, what it leaves, and why."""
    stack = document["stack"]
    yield (
        f"Destroys the functions, the state machine, the schedules, alarms, dashboard and logs of"
        f" {stack}."
    )
    stays = "table and bucket, where they were made"
    if document["table"]:
        stays = f"table {document['table']} and bucket {document['bucket']}"
    if document["purged"]:
        yield f"Deletes the {stays}, with every run."
        yield "DynamoDB keeps a backup of the table for 35 days."
    else:
        yield f"Keeps the {stays}: they hold every run, and nothing could bring those back."
    yield "Keeps CDKToolkit and its images, which other stacks may use: `cdk gc` clears those."


def destroyed(document: Document) -> View:
    """Say what is left of a deployment."""
    yield Text(f"{document['stack']}: destroyed in {document['region']}")
    if document["purged"]:
        yield Text("its table and its bucket are deleted, with every run")
        return
    table, bucket = document["table"], document["bucket"]
    if not table:
        return
    yield Text(f"its runs stay: dynamodb://{table}?region={document['region']}&bucket={bucket}")


def logged(line: Line, *, alone: bool) -> RenderableType:
    """Show a line of the log, and a traceback under it; `alone` if all are of one run."""
    style = LEVELS.get(line.level, "")
    shown = Text()
    day = "" if line.time.date() == datetime.now(UTC).date() else f"{line.time:%Y-%m-%d} "
    shown.append(f"{day}{line.time:%H:%M:%S}.{line.at % 1_000:03d}", "dim")
    shown.append(f"  {line.function:6}", FUNCTIONS.get(line.function, "dim"))
    if not alone:
        shown.append(f"  {line.run[:SHORT_ID]:{SHORT_ID}}", "dim")
    if line.blocks:
        shown.append(f"  {line.blocks}")
    shown.append(f"  {line.message}", style)
    said = {name: value for name, value in line.values.items() if name not in TIMES}
    values = ", ".join(f"{name} {value}" for name, value in said.items())
    if values:
        shown.append(f"  {values}", "dim")
    if not line.traceback:
        return shown
    *frames, last = line.traceback.splitlines()
    traceback = Text("\n".join(f"    {frame}" for frame in frames), "dim")
    return Group(shown, traceback, Text(f"    {last}", style))


def scheduled(document: Document, stack: str) -> View:
    """Say what will be priced, when, and how to see to it."""
    name, where = document["schedule"], flag(stack)
    again = ", in place of what it was" if document["replaced"] else ""
    yield Text(f"{name}: {document['file']} at {_when(document)}{again}", "green")
    if document["state"] == "disabled":
        fix = "enable it in the console, or unschedule it and schedule it again"
        yield Text(f"disabled, as it was: {fix}", "yellow")
    yield Text(f"read from {document['place']} each time", "dim")
    yield Text(f"see `pricer runs --on aws{where}`, stop it by `pricer unschedule {name}{where}`")


def schedules(document: Document) -> View:
    """Show what is priced by the clock."""
    if not document["schedules"]:
        yield Text(f"no schedules in stack {document['stack']}", "dim")
        return
    table = plain_table("schedule", "file", "when", "state")
    for each in document["schedules"]:
        style = "green" if each["state"] == "enabled" else "yellow"
        file = Text(each["file"]) if each["by_pricer"] else Text("not made by pricer", "dim")
        table.add_row(Text(each["schedule"]), file, Text(_when(each)), Text(each["state"], style))
    yield table
    yield ""
    yield Text(counted(len(document["schedules"]), "schedule"), "dim")


def unscheduled(document: Document) -> View:
    """Say what is no more."""
    yield Text(f"{document['schedule']}: its schedule and its file are deleted")


def _when(document: Document) -> str:
    return f"{document['cron']}, {document['timezone']}"
