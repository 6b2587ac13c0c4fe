"""What commands take, and what becomes of their failures."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any

import click

from . import completions
from .contracts import CURVES, INPUTS, TABLES, WORDS
from .dated import Correlation, Curve, Dates, Dividends, Fixings, Table, Vector, parse_table
from .errors import PricerError, SpecError
from .settings import DEFAULT_PATHS, EVERY_MEASURE, METHODS, SAMPLINGS
from .stacks import STACK, flag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .stores import Store

    Function = Callable[..., Any]

LOCAL, AWS = "local", "aws"
INTERRUPTED, BROKEN_PIPE = 130, 141
INTERRUPT = "pricer.interrupt"
VERBOSITY = "pricer.verbosity"
PATH = click.Path(path_type=Path)


class Commands(click.Group):
    """The commands, and the one place where a failure becomes a line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            answer = super().invoke(ctx)
            sys.stdout.flush()
        except PricerError as error:
            raise click.ClickException(" ".join(str(error).split())) from None
        except KeyboardInterrupt as error:
            said = str(error) or ctx.meta.get(INTERRUPT, "")
            # A terminal has just shown ^C, and stands in the middle of a line.
            start = "\n" * sys.stderr.isatty() + "Interrupted"
            click.echo(f"{start}: {said}" if said else f"{start}.", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            # The reader has left (`| head`).
            _forget_output()
            ctx.exit(BROKEN_PIPE)
        except OSError as error:
            _forget_output()
            what = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{what}{error.strerror or error}") from None
        return answer

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order in which one meets them."""
        del ctx
        return list(self.commands)


def _forget_output() -> None:
    """Let what is still buffered go nowhere: flushing it at exit would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Echo(logging.Handler):
    """Writes log lines to whatever stderr is now, so that a progress bar can step aside."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=True)


def _log(verbose: int) -> None:
    logger = logging.getLogger("pricer")
    logger.setLevel((logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)])
    logger.handlers = [_Echo()]


def _verbosity(ctx: click.Context, param: click.Parameter, verbose: int) -> int:
    del param
    total: int = ctx.meta.get(VERBOSITY, 0) + verbose
    ctx.meta[VERBOSITY] = total
    _log(total)
    return total


def number(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """Read a number as files spell it."""
    del ctx
    if text is None:
        return None
    from .columns import parse_number

    try:
        return parse_number(text)
    except SpecError as error:
        raise SpecError(f"{param.opts[0]}: {error}") from None


def curve(ctx: click.Context, param: click.Parameter, text: str | None) -> float | Table | None:
    """Read a number, or a curve as ``0.5:0.2;1:0.25``."""
    if text is None or ":" not in text:
        return number(ctx, param, text)
    return _read_table(param, Curve, text)


def table(ctx: click.Context, param: click.Parameter, text: str | None) -> Table | None:
    """Read dates or dividends."""
    del ctx
    return None if text is None else _read_table(param, TABLES[str(param.name)], text)


def _read_table(param: click.Parameter, kind: type[Table], text: str) -> Table:
    try:
        return parse_table(kind, text)
    except SpecError as error:
        raise SpecError(f"{param.opts[0]}: {error}") from None


def names(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    """Read a list of names."""
    del ctx, param
    return None if text is None else tuple(name.strip() for name in text.split(","))


def pairs(ctx: click.Context, param: click.Parameter, texts: Iterable[str]) -> dict[str, str]:
    """Read ``name=value`` any number of times, each name once."""
    del ctx
    values: dict[str, str] = {}
    for text in texts:
        name, _, value = (part.strip() for part in text.partition("="))
        if not (name and value):
            example = "vol=vol_from_mid" if param.name == "columns" else "spot=100 or spot=90:110"
            raise click.BadParameter(f"must be written as {example}, got {text!r}")
        if name in values:
            raise click.BadParameter(f"{name} is given twice")
        values[name] = value
    return values


def examples(*lines: str) -> str:
    """Return what the help of a command ends with: lines that can be typed."""
    return "\b\nExamples:\n" + indent("\n".join(lines), "  ")


verbose = click.option(
    "-v",
    "verbose",
    count=True,
    expose_value=False,
    callback=_verbosity,
    help="Say on stderr what is done; -vv: each chunk too.",
)
json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
# Taken everywhere, so that a script can pass it without looking; told only where it matters.
no_store = click.option("--store", hidden=True, expose_value=False)


def _all_of(*options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    def add(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def _input(name: str) -> Callable[[Function], Function]:
    """Make the option of one input of one option."""
    flag = f"--{name.replace('_', '-')}"
    if name in TABLES:
        entries = _ENTRIES[TABLES[name]]
        return click.option(flag, metavar=entries, callback=table, help=_HELP.get(name))
    if name in WORDS:
        return click.option(
            flag,
            metavar="|".join(WORDS[name]),
            shell_complete=completions.among(WORDS[name]),
            help=_HELP.get(name),
        )
    unit = {"expiry": "YEARS"}.get(name, "NUMBER")
    read = curve if name in CURVES else number
    return click.option(flag, metavar=unit, callback=read, help=_HELP.get(name))


_ENTRIES: dict[type[Table], str] = {
    Dates: "TIME;TIME...",
    Fixings: "TIME;TIME...",
    Dividends: "TIME:AMOUNT;...",
    Vector: "NUMBER;NUMBER...",
    Correlation: "NUMBER;...",
}
_HELP = {
    "average": "Default: arithmetic.",
    "strike_type": "Default: fixed.",
    "basket_type": "Default: weighted.",
    "model": "Default: black_scholes.",
    "spots": "Of a basket: one for each asset; so are vols, dividend yields and weights.",
    "correlation": "One number for every pair, or one for each: 1-2, 1-3, ..., 2-3, ...",
    "weights": "Default: equal, of sum 1; of a spread 1;-1.",
    "jump_intensity": "Of Merton's model, jumps a year; jump_mean and jump_vol are of their logs.",
    "initial_variance": "Of Heston's model, as the four that follow.",
    "fixing_dates": "Default: a continuous average.",
    "running_average": "Of past fixings, or of the time elapsed.",
    "past_fixings": "How many. Default: 0.",
    "elapsed": "Years since a continuous average began. Default: 0.",
    "averaging_start": "Years until one begins. Default: 0.",
    "running_extremum": "The highest or lowest spot until now.",
    "lookback_start": "Default: 0.",
    "lookback_end": "Default: the expiry.",
    "participation": "Of a floating lookback, times the extremum. Default: 1.",
    "start": "When a forward start gets its strike.",
    "moneyness": "Its strike by the spot then. Default: 1.",
    "local_floor": "Of each return of a cliquet. Default: 0.",
    "notional": "Default: 1.",
    "greek_asset": "The asset of delta, gamma, vega, dividend rho. Default: 1.",
    "exercise": "Default: european.",
    "vol": "Per square root of a year; as rate and yield also a curve, 0.5:0.2;1:0.25.",
    "rate": "Per year, continuous.",
    "dividend_yield": "Default: 0.",
    "type": "Default: vanilla.",
    "rebate": "Default: 0.",
    "payoff": "Default: vanilla; of digitals and touches cash_or_nothing.",
    "cash": "Default: 1.",
    "payoff_strike": "Of a gap. Default: 0.",
    "touch_type": "Default: one_touch.",
    "payment": "Default: at_hit.",
    "monitoring_dates": "Default: at any time.",
    "cash_dividends": "0.25:1.5;0.75:1.5, in years and cash.",
    "proportional_dividends": "In years and fractions of the spot.",
    "dividend_model": "Default: spot.",
}
_FIRST = ("right", "exercise", "spot", "strike", "expiry", "vol", "rate", "dividend_yield")
inputs = _all_of(*map(_input, (*_FIRST, "type", *(n for n in INPUTS if n not in _FIRST))))


@dataclass(frozen=True, slots=True)
class Where:
    """Where runs are: in the store at `url` (the default one if None), or in what `stack` has."""

    url: str | None
    stack: str | None

    def store(self) -> Store | str | None:
        """Return what opens the store."""
        if self.stack is None:
            return self.url
        from .executors.stepfunctions import Deployment

        return Deployment.find(self.stack).store()

    def how_to_finish(self, document: Mapping[str, Any]) -> str:
        """Say how the run that a document tells of is finished where it is incomplete."""
        from .stores import SHORT_ID

        flags = f" --store {shlex.quote(self.url)}" if self.url else ""
        if self.stack:
            flags = f" --on aws{flag(self.stack)}"
        elif "inversions" in document:
            # A panel's days are in no store on this machine.
            return "submitting its file again"
        return f"`pricer resume {document['run'][:SHORT_ID]}{flags}`"


def _where(*, hide_store: bool = False) -> Callable[[Function], Function]:
    """Add the options that say where runs are, and hand what they mean to `where`."""
    added = _all_of(
        click.option(
            "--on",
            type=click.Choice([LOCAL, AWS]),
            help="Where runs are priced and kept. Default: $PRICER_ON, else local.",
        ),
        click.option(
            "--stack",
            metavar="NAME",
            help=f"What is deployed on AWS. Default: $PRICER_STACK, else {STACK}.",
        ),
        click.option(
            "--store",
            metavar="URL",
            hidden=hide_store,
            help="Where runs live, sqlite:///PATH or dynamodb://TABLE."
            " Default: $PRICER_STORE, or a file of yours.",
        ),
    )

    def add(function: Function) -> Function:
        @wraps(function)
        def resolved(
            *, on: str | None, stack: str | None, store: str | None, **given: Any
        ) -> object:
            return function(where=_resolved(on, stack, store), **given)

        return added(resolved)

    return add


def _resolved(on: str | None, stack: str | None, store: str | None) -> Where:
    if store is not None and on == AWS:
        raise click.UsageError("--on aws and --store exclude each other: the stack has its own")
    if on is None:
        # What is said on the command line counts, whatever the environment says.
        on = LOCAL if store is not None else os.environ.get("PRICER_ON", "").strip() or LOCAL
        if on not in (LOCAL, AWS):
            raise SpecError(f"PRICER_ON: must be {LOCAL} or {AWS}, got {on!r}")
    if on == AWS:
        return Where(None, stack or os.environ.get("PRICER_STACK", "").strip() or STACK)
    if stack is not None:
        raise click.UsageError("--stack is for --on aws")
    return Where(store, None)


def _stack(ctx: click.Context, param: click.Parameter, name: str | None) -> str:
    del ctx, param
    return _resolved(AWS, name, None).stack or ""


where = _where()
# Of commands that are for AWS alone; that they are may be said all the same.
stack = _all_of(
    click.option(
        "--stack",
        metavar="NAME",
        callback=_stack,
        help=f"What is deployed on AWS. Default: $PRICER_STACK, else {STACK}.",
    ),
    click.option("--on", type=click.Choice([AWS]), hidden=True, expose_value=False),
    no_store,
)
where_hiding_store = _where(hide_store=True)
measures = click.option(
    "--measures",
    metavar="A,B",
    callback=names,
    shell_complete=completions.measures,
    help=f"{', '.join(EVERY_MEASURE)}. Default: all that are of use.",
)
columns = click.option(
    "--column",
    "columns",
    metavar="INPUT=NAME",
    multiple=True,
    callback=pairs,
    help="Read an input of a book from a column of another name. Repeatable.",
)
valuation_date = click.option(
    "--valuation-date", metavar="DATE", help="Day from which a book's expiry_date counts (ISO)."
)
tolerance = click.option(
    "--tolerance",
    metavar="NUMBER",
    callback=number,
    help="Largest error per unit of strike. Default: 1e-5.",
)
simulation = _all_of(
    click.option("--seed", type=int, help="Of a simulation's random numbers. Default: 0."),
    click.option(
        "--sampling",
        metavar="|".join(SAMPLINGS),
        shell_complete=completions.among(SAMPLINGS),
        help="Default: sobol.",
    ),
    click.option(
        "--paths", type=int, help=f"The most a simulation takes. Default: {DEFAULT_PATHS}."
    ),
)
book = _all_of(
    columns,
    valuation_date,
    click.option(
        "--method",
        metavar="NAME",
        shell_complete=completions.among(METHODS),
        help=f"{', '.join(METHODS)}. Default: auto.",
    ),
    tolerance,
    measures,
    simulation,
)
output = click.option("--output", type=PATH, help="Where to: a .csv, .json or .parquet file.")
workers = click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(min=1),
    help="Threads. Default: $PRICER_WORKERS, else the cores available.",
)
file = click.argument("file", type=PATH)
run = click.argument("run", shell_complete=completions.run_ids)
