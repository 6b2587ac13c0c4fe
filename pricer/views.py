"""One view a command: the document that ``--json`` prints, laid out for a person."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from rich.table import Table as RichTable
from rich.text import Text

from .contracts import INPUTS, defaults_of
from .screen import (
    ABSENT,
    count,
    counted,
    data,
    dollars,
    duration,
    error_bar,
    facts,
    number,
    numbers,
    plain_table,
    rate,
    size,
    status_style,
)
from .settings import BOUNDS, MEASURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from .tables import Table

    Document = Mapping[str, Any]
    View = Iterator[RenderableType]

SHORT_ID = 12
ROWS_ON_SCREEN = 20
MOST_NAMED = 8
# What names one option, in the order in which it is said.
NAMING = (
    "exercise", "direction", "touch_type", "barrier_type", "payoff", "right", "type",
)  # fmt: skip
REQUEST = re.compile(r"RequestId: [0-9a-f-]{36} (Error: )?")


def price(document: Document) -> View:
    """Show one option: its inputs, its measures and the error of its price."""
    yield Text(called(document).capitalize(), "bold")
    yield Text(_inputs(document, NAMING), "dim")
    yield ""
    names = [name for name in MEASURES if document[name] is not None]
    texts = numbers([document[name] for name in names], decimals=6)
    bars = {"price": f"± {error_bar(document['error'])}"}
    for name in names[1:]:
        if document.get(f"{name}_standard_error"):
            bars[name] = f"± {error_bar(document[f'{name}_standard_error'])} standard error"
    yield facts((_label(n), text, bars.get(n, "")) for n, text in zip(names, texts, strict=True))
    bounds = [document[name] for name in BOUNDS if document.get(name) is not None]
    if bounds and document["method"] == "monte_carlo":
        yield facts([("between", " and ".join(numbers(bounds, decimals=6)), "")])
    yield ""
    status, reason = document["status"], document["reason"]
    by = {"analytic": ", by the closed form", "finite_difference": ", by finite differences"}
    if document["method"] == "monte_carlo":
        control = f", control variate {_label(document['control'])}" if document["control"] else ""
        by["monte_carlo"] = f", by {count(document['paths'])} simulated paths{control}"
    ended = f"{status} {reason}".strip() + by.get(document["method"], "")
    yield Text(ended, status_style(status))


def called(document: Document) -> str:
    """Name one option by its words: american put; european down out call barrier."""
    said = [document[name] for name in NAMING if name in document]
    if document.get("payoff") == "vanilla":
        said.remove("vanilla")
    return _label(" ".join(said))


def book(document: Document, table: Table, width: int) -> View:
    """Show the first rows of a priced book and what became of all of it."""
    if table:
        yield from rows(table, width, limit=ROWS_ON_SCREEN, total=document["rows"])
        yield ""
    priced, rows_ = document["priced"], document["rows"]
    lines = [("rows", count(rows_), document["book"])]
    lines += [("priced", count(priced), f"in {duration(document['seconds'])}")]
    lines += [
        (f"  {failure['status']}", count(failure["count"]), _failure(failure, "row"))
        for failure in document["failures"]
    ]
    if document["quoted"] is not None:
        quoted, inside = document["quoted"], document["inside_bid_ask"]
        note = f"{_percent(inside, quoted)} of the {count(quoted)} priced with a bid and an ask"
        lines += [("inside bid-ask", count(inside), note if quoted else "")]
    if document["output"]:
        lines += [("written", "", document["output"])]
    yield facts(lines)


def implied(document: Document, table: Table, width: int) -> View:
    """Show the first rows of a book of quotes and how many of them have a vol."""
    if table:
        yield from rows(table, width, limit=ROWS_ON_SCREEN, total=document["rows"])
        yield ""
    lines = [("rows", count(document["rows"]), document["book"])]
    lines += [("with a vol", count(document["implied"]), f"in {duration(document['seconds'])}")]
    lines += [
        (f"  {failure['status']}", count(failure["count"]), _failure(failure, "row"))
        for failure in document["failures"]
    ]
    if document["output"]:
        lines += [("written", "", document["output"])]
    yield facts(lines)


def plan(document: Document) -> View:
    """Show what a submit would do."""
    yield Text(document["name"] or document["file"], "bold")
    yield ""
    cores = f"on {counted(document['workers'], 'core')}"
    solves = [("solves", count(document["solves"]), _again(document))]
    yield facts(
        [
            ("cells", count(document["cells"]), _swept(document)),
            ("families", count(document["families"]), _why(document)),
            *(solves if document["kind"] != "panel" else []),
            ("chunks", count(document["chunks"]), _each(document["chunk_blocks"], "block")),
            ("blocks", count(document["blocks"]), _each(document["block_cells"], "cell")),
            ("stored", size(document["stored_bytes"]), ", ".join(document["measures"])),
            ("estimated", duration(document["estimated_seconds"]), cores),
        ]
    )
    yield ""
    if "aws" in document:
        yield from _plan_on_aws(document["aws"])
        yield ""
    yield _run(document.get("aws", document), "dim")
    if "verdict" in document:
        yield ""
        yield Text(document["verdict"], "green")


def _swept(document: Document) -> str:
    if document["kind"] == "panel":
        horizons = counted(len(document["horizons"]), "horizon")
        windows = counted(document["windows"], "window")
        return f"{windows} of {counted(document['firms'], 'firm')} x {horizons}"
    axes = (axis for axis in document["axes"] if axis["count"] > 1)
    return " x ".join(f"{count(axis['count'])} {axis['name']}" for axis in axes)


def _plan_on_aws(document: Document) -> View:
    yield Text("on AWS", "bold")
    yield ""
    limits = document["limits"]
    allowed = f"of {counted(limits['concurrency'], 'worker')} allowed"
    each = f"{_each(document['chunk_blocks'], 'block')}, {duration(document['chunk_seconds'])}"
    yield facts(
        [
            ("chunks", count(document["chunks"]), each),
            ("at once", count(document["concurrency"]), allowed),
            ("estimated", duration(document["seconds"]), ""),
            *_bill(document),
        ]
    )
    if document["assumed"]:
        yield ""
        writes = f"{count(limits['write_units_per_s'])} writes/s"
        assumed = f"assumed: {counted(limits['concurrency'], 'worker')}, {writes}"
        yield Text(f"{assumed}, since {document['assumed']}", "yellow")


def _bill(document: Document) -> Iterator[tuple[str, str, str]]:
    services = {name: amount for name, amount in document["dollars"].items() if amount}
    *each, in_all = dollars([*services.values(), document["total"]])
    yield from ((_label(name), amount, "") for name, amount in zip(services, each, strict=True))
    yield "in all", in_all, f"at the prices of {_prices(document)}"


def _prices(document: Document) -> str:
    return f"{document['prices_region']}, {document['prices_as_of']}"


def submitted(document: Document, finish: str, going_on: str = "") -> View:
    """Show in two lines what a submit did, and what is to be done.

    `finish` says how a run that is incomplete is finished, `going_on` what of one that goes on.
    """
    if document["state"] == "running":
        yield _run(document)
        yield Text(going_on)
        return
    if document["state"] == "incomplete":
        yield from ended(document, finish)
        return
    yield _run(document)
    cells = document["cells"]
    if document["priced"]:
        speed = rate(document["priced"], document["seconds"])
        spent = f"in {duration(document['seconds'])} ({speed})"
        if document["priced"] < cells:
            spent = f"{count(document['priced'])} of them now, {spent}"
    else:
        spent = "priced already, nothing left to do"
    style = "yellow" if document["failed"] else "green"
    yield Text(f"{counted(cells, 'cell')}, {_outcome(document)}, {spent}", style)
    if "inversions" in document:
        yield Text(counted(document["inversions"], "Black-Scholes inversion"))


def ended(document: Document, finish: str) -> View:
    """Show in two lines what became of a run; where it is not complete, why, and what helps."""
    yield _run(document)
    cells, done = document["cells"], document["done"]
    if document["state"] == "complete":
        style = "yellow" if document["failed"] else "green"
        yield Text(f"{counted(cells, 'cell')}, {_outcome(document)}", style)
        return
    yield Text(f"{document['state']}: {count(done)} of {counted(cells, 'cell')} priced", "yellow")
    yield from _unfinished(document, finish)


def _outcome(document: Document) -> str:
    ok, failed = document["ok"], document["failed"]
    return f"{count(ok)} ok, {count(failed)} failed" if failed else "all ok"


def _unfinished(document: Document, finish: str) -> View:
    """Show why chunks failed, like reasons together, and what to do."""
    if document["reasons"]:
        yield ""
        table = plain_table("not priced", "why")
        for why, what in _by_reason(document["reasons"]).items():
            more = f" and {counted(len(what) - 1, 'more chunk')}" if len(what) > 1 else ""
            table.add_row(Text(what[0] + more, "yellow"), Text(why))
        yield table
    if document["state"] == "incomplete":
        yield ""
        yield Text(f"finish it by {finish}", "yellow")


def _by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for what, why in reasons.items():
        # Two calls that failed alike differ in this alone.
        found.setdefault(REQUEST.sub("", why), []).append(what)
    return found


def cancelled(document: Document, finish: str) -> View:
    """Say what was stopped and what there is of it."""
    yield _run(document)
    kept = f"{count(document['done'])} of {counted(document['cells'], 'cell')} are priced and kept"
    yield Text(f"stopped: {kept}; finish it by {finish}")


def cost(document: Document) -> View:
    """Show what a run has used of AWS beside what was expected."""
    yield Text(document["name"] or document["run"][:SHORT_ID], "bold")
    yield ""
    usage, planned = document["usage"], document["planned"]
    starts, spare = document["starts"], document["spare_calls"]
    started = f"{counted(starts, 'start')} of {duration(document['start_seconds'])} in all"
    lost = f"{counted(spare, 'call')} of {duration(document['spare_seconds'])} stored nothing"
    calls = count(usage["invocations"])
    yield facts(
        [
            ("calls", calls, f"in {counted(document['executions'], 'execution')}"),
            (
                "billed",
                duration(usage["billed_s"]),
                ", ".join([started] * bool(starts) + [lost] * bool(spare)),
            ),
            ("transitions", count(usage["transitions"]), ""),
            ("write units", count(usage["write_units"]), ""),
        ]
    )
    yield ""
    amounts = document["dollars"] | {"in all": document["total"]}
    expected = planned and planned["dollars"] | {"in all": document["planned_total"]}
    table = plain_table("", "used", "planned", right=("used", "planned"))
    used = dollars(list(amounts.values()))
    before = dollars([expected[name] for name in amounts]) if expected else [ABSENT] * len(used)
    for name, *pair in zip(amounts, used, before, strict=True):
        table.add_row(Text(_label(name)), *pair)
    yield table
    yield ""
    at = f"at the prices of {_prices(document)}"
    yield Text(f"{at}; what a run stores is billed by the day", "dim")
    if document["note"]:
        by = "" if document["source"] == "logs" else "an estimate, by the clocks of the workers: "
        yield Text(f"{by}{document['note']}", "yellow")


def plotted(document: Document) -> View:
    """Say what was drawn, and at which inputs of which nothing was said."""
    drawn = f"{counted(document['points'], 'point')}, {size(document['bytes'])}"
    yield Text(f"{document['output']}: {drawn}")
    if document["middle"]:
        middle = ", ".join(f"{_label(n)} {_value(document['at'][n])}" for n in document["middle"])
        yield Text(f"at the middle of what is not selected: {middle}", "dim")
    if document["not_ok"]:
        yield Text(f"{counted(document['not_ok'], 'point')} not ok; see `pricer query`", "yellow")


def timeline(document: Document) -> View:
    """Show what the chunks of a run took, and which took long."""
    yield Text(document["name"] or document["run"][:SHORT_ID], "bold")
    yield ""
    chunks = document["chunks"]
    longest = max(chunks, key=_kept_worker)
    at_once = f"{count(document['at_once'])} at once by {counted(document['workers'], 'worker')}"
    kernels = sum(c["kernel_s"] for c in chunks)
    kept = sum(map(_kept_worker, chunks)) or 1.0
    starts = [c["init_s"] for c in chunks if c["cold"]]
    stragglers = [c["chunk"] for c in chunks if c["straggler"]]
    named = ", ".join(map(str, stragglers[:MOST_NAMED]))
    more = f" and {len(stragglers) - MOST_NAMED} more" if len(stragglers) > MOST_NAMED else ""
    yield facts(
        [
            ("chunks", count(len(chunks)), at_once),
            ("in all", duration(document["seconds"]), f"from {_time(document['started_at'])} UTC"),
            (
                "a chunk",
                duration(document["median_s"]),
                f"the longest {duration(_kept_worker(longest))}, chunk {longest['chunk']}",
            ),
            ("kernel", duration(kernels), f"{100 * kernels / kept:.3g} % of the workers' time"),
            (
                "cold starts",
                count(len(starts)),
                f"of {duration(max(starts))} at most" if starts else "",
            ),
            ("stragglers", count(len(stragglers)), f"chunks {named}{more}" if stragglers else ""),
        ]
    )
    missing = {"not done": document["not_done"], "without times": document["without_times"]}
    left_out = [f"{counted(n, 'chunk')} {what}" for what, n in missing.items() if n]
    if left_out or document["output"]:
        yield ""
    if left_out:
        yield Text(f"not in it: {', '.join(left_out)}", "yellow")
    if document["output"]:
        yield Text(f"drawn in {document['output']}")


def _kept_worker(chunk: Document) -> float:
    seconds: float = chunk["freed"] - chunk["started"]
    return seconds


def doctor(document: Document) -> View:
    """Show what was looked at, a line each, and the verdict."""
    table = RichTable.grid(padding=(0, 2))
    for check in document["checks"]:
        state, fix = check["state"], f"; {check['fix']}" if check["fix"] else ""
        style = "red" if state == "fail" else status_style(state)
        table.add_row(Text(state, style), Text(check["name"], "bold"), Text(check["found"] + fix))
    yield table
    yield ""
    failed = sum(check["state"] == "fail" for check in document["checks"])
    verdict = f"{counted(failed, 'check')} failed" if failed else "ready"
    yield Text(verdict, "red" if failed else "green")


def runs(document: Document) -> View:
    """Show the runs of a store, the last submitted first."""
    if not document["runs"]:
        yield Text(f"no runs in {document['store']}; `pricer submit FILE` makes one", "dim")
        return
    scheduled = any(run["as_of"] for run in document["runs"])
    headers = ("run", "name", "submitted (UTC)", *("as of (UTC)",) * scheduled, "cells", "state")
    table = plain_table(*headers, right=("cells",))
    for column in table.columns:
        # A name or a time may take two lines, an id must not.
        column.no_wrap = column.header in ("run", "cells", "state")
    for run in document["runs"]:
        state = run["state"]
        if run["done"] < run["cells"]:
            state += f", {_percent(run['done'], run['cells'])}"
        table.add_row(
            run["run"][:SHORT_ID],
            Text(run["name"]),
            _time(run["submitted_at"]),
            *(_time(run["as_of"]),) * scheduled,
            count(run["cells"]),
            Text(state, status_style(run["state"])),
        )
    yield table
    yield ""
    yield Text(document["store"], "dim")


def status(document: Document, finish: str) -> View:
    """Show how far a run is, what failed and what its values span."""
    yield Text(document["name"] or document["run"][:SHORT_ID], "bold")
    yield ""
    cells, done, failed = document["cells"], document["done"], document["failed"]
    lines = [
        ("state", document["state"], f"run {document['run'][:SHORT_ID]}"),
        ("cells", count(cells), f"{_percent(done, cells)} done"),
        ("ok", count(document["ok"]), _percent(document["ok"], done) if done else ""),
    ]
    if failed:
        lines += [("failed", count(failed), _percent(failed, done))]
    if "inversions" in document:
        lines += [("inversions", count(document["inversions"]), "of Black-Scholes")]
    if document["as_of"]:
        lines += [("as of", _time(document["as_of"]), "UTC, the time it was scheduled for")]
    yield facts(lines)
    yield from _unfinished(document, finish)
    if document["failures"]:
        yield ""
        table = plain_table("failed", "cells", "why", "for example", right=("cells",))
        for failure in document["failures"]:
            table.add_row(
                Text(failure["status"], "yellow"),
                count(failure["count"]),
                Text(failure["reason"]),
                Text(_example(failure)),
            )
        yield table
    if document["measures"]:
        yield ""
        table = plain_table("measure", "min", "mean", "max", right=("min", "mean", "max"))
        for name, spread in document["measures"].items():
            ends = [spread["min"], spread["mean"], spread["max"]]
            texts = map(error_bar, ends) if name == "error" else numbers(ends)
            table.add_row(_label(name), *texts)
        yield table


def serving(document: Document) -> View:
    """Say where the runs of a store are to be seen, until when."""
    yield Text(f"{document['url']} until ^C", "bold")
    yield Text(document["store"], "dim")


def deleted(document: Document) -> View:
    """Say what was deleted."""
    yield Text(f"deleted run {document['run'][:SHORT_ID]}")


def written(document: Document) -> View:
    """Say what was written."""
    spent = f"in {duration(document['seconds'])}"
    rows_ = counted(document["rows"], "row")
    yield Text(f"{document['file']}: {rows_}, {size(document['bytes'])}, {spent}")


def example(document: Document) -> View:
    """Say what an example has, and what to do with it."""
    rows_, spent = counted(document["rows"], "row"), duration(document["seconds"])
    yield Text(f"{document['panel']}: {rows_}, {size(document['bytes'])}, in {spent}")
    firms, years = counted(document["firms"], "firm"), counted(document["years"], "year")
    yield Text(f"{firms} over {years}, {count(document['delisted'])} delisted before the end")
    yield Text(f"go on with: pricer submit {shlex.quote(document['file'])}", "dim")


def validated(document: Document) -> View:
    """Show the cases of a validation and the verdict."""
    numeric = ("values", "largest error", "bound")
    table = plain_table("case", *numeric, "verdict", right=numeric)
    for case in document["cases"]:
        verdict = "pass" if case["passed"] else "FAIL"
        table.add_row(
            Text(case["name"]),
            count(case["values"]),
            error_bar(case["largest_error"]),
            error_bar(case["bound"]),
            Text(verdict, status_style(verdict)),
        )
    yield table
    yield ""
    failed = sum(not case["passed"] for case in document["cases"])
    verdict = f"{counted(failed, 'case')} failed" if failed else "every case passes"
    for case in document["cases"]:
        if case["note"]:
            yield Text(f"{case['name']}: {case['note']}", "dim")
    yield Text("errors are per unit of strike; --json names the sources", "dim")
    if "plot" in document:
        yield ""
        yield from _converged(document["convergence"])
        yield Text(f"drawn in {document['plot']}")
    yield Text(f"{verdict}, in {duration(document['seconds'])}", "red" if failed else "green")


def _converged(document: Document) -> View:
    """Show errors against cost and against the mesh."""
    yield _costs(document["costs"])
    yield ""
    orders = document["orders"]
    names = [f"{order['values']}, order {order['order']:.2f}" for order in orders]
    errors = [dict(zip(o["intervals"], o["rms_errors"], strict=True)) for o in orders]
    table = plain_table("mesh intervals", *names, right=("mesh intervals", *names))
    for intervals in errors[0]:
        found = (by_mesh.get(intervals) for by_mesh in errors)
        table.add_row(count(intervals), *("" if e is None else error_bar(e) for e in found))
    yield table
    yield ""
    what = f"{document['options']} American puts and calls, each by a solve of its own"
    yield Text(f"{what}; errors per 100 of strike, by mesh for those at the money", "dim")
    yield ""
    yield _costs(document["watched_costs"])
    yield ""
    yield Text(f"{document['watched']} knock-outs watched on dates, one after the other", "dim")


def _costs(costs: Sequence[Document]) -> RenderableType:
    numeric = ("µs an option", "rms error", "largest error")
    table = plain_table("engine, one core", "setting", *numeric, right=numeric)
    for cost in costs:
        table.add_row(
            Text(cost["engine"]),
            Text(cost["setting"]),
            f"{1e6 * cost['seconds']:,.1f}",
            error_bar(cost["rms_error"]),
            error_bar(cost["largest_error"]),
        )
    return table


def cells(document: Document, table: Table, width: int) -> View:
    """Show what a query found, as far as it is asked for."""
    limit = document["limit"]
    found = len(next(iter(table.values())))
    if not found:
        yield Text("no rows", "dim")
        return
    yield from rows({name: column[:limit] for name, column in table.items()}, width)
    if limit and found > limit:
        yield Text("there are more: --limit N, or --output FILE for all of them", "dim")


def rows(table: Table, width: int, *, limit: int | None = None, total: int | None = None) -> View:
    """Show a table of cells or rows, with what was left out of it."""
    laid, notes = data(table, width, rows=limit, total=total)
    yield laid
    if notes:
        yield ""
    for note in notes:
        yield Text(note, "dim")


def _label(name: str) -> str:
    return name.replace("_", " ")


def _inputs(document: Document, without: Iterable[str] = ()) -> str:
    named = (n for n in INPUTS if n in document and n not in without)
    return ", ".join(f"{_label(n)} {_value(document[n])}" for n in named)


def _value(value: object) -> str:
    if isinstance(value, int | float):
        return number(value)
    return ABSENT if value is None else str(value)


def _percent(part: int, whole: int) -> str:
    # 99.99 % must not read as all of them.
    return "100 %" if part == whole else f"{min(100 * part / whole, 99.9):.3g} %"


def _each(size_: int, noun: str) -> str:
    return f"of {counted(size_, noun)} at most"


def _time(iso: str) -> str:
    return iso.replace("T", " ")[:16]


def _run(document: Document, style: str = "") -> Text:
    return Text(f"run {document['run'][:SHORT_ID]}", style)


def _why(document: Document) -> str:
    if document["kind"] == "book" and document["families"] == document["cells"]:
        return "no two rows share a solve"
    why: str = document["why"]
    return why


def _again(document: Document) -> str:
    solves, families = document["solves"], document["families"]
    if solves == families:
        return ""
    if families == 1:
        return f"the one family, once in each of the {count(solves)} chunks"
    return f"{count(solves - families)} of them again, where a chunk cuts a family"


def _failure(failure: Document, noun: str) -> str:
    return f"{failure['reason']} (e.g. {noun} {failure[noun]})"


def _example(failure: Document) -> str:
    given = failure["example"]
    usual = {"type": "vanilla"} | defaults_of(given.get("type", "vanilla"))
    return ", ".join(
        f"{n} {_value(v)}" for n, v in given.items() if n not in usual or v != usual[n]
    )
