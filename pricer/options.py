"""What commands take, and what becomes of their failures."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .contracts import MEASURES, METHODS
from .errors import PricerError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Function = Callable[..., Any]

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
        except KeyboardInterrupt:
            # A terminal has just shown ^C, and stands in the middle of a line.
            click.echo(
                "\n" * sys.stderr.isatty() + ctx.meta.get(INTERRUPT, "Interrupted."), err=True
            )
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


verbose = click.option(
    "-v",
    "verbose",
    count=True,
    expose_value=False,
    callback=_verbosity,
    help="Say on stderr what is done; -vv: each chunk too.",
)
json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
store = click.option(
    "--store",
    metavar="URL",
    help="Where runs live, sqlite:///PATH. Default: $PRICER_STORE, or a file of yours.",
)
# Taken everywhere, so that a script can pass it without looking; told only where it matters.
no_store = click.option("--store", hidden=True, expose_value=False)


def _all_of(*options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    def add(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return add


measures = click.option(
    "--measures", metavar="A,B", callback=names, help=f"{', '.join(MEASURES)}. Default: all."
)
book = _all_of(
    click.option(
        "--column",
        "columns",
        metavar="INPUT=NAME",
        multiple=True,
        callback=pairs,
        help="Read an input of a book from a column of another name. Repeatable.",
    ),
    click.option(
        "--valuation-date", metavar="DATE", help="Day from which a book's expiry_date counts (ISO)."
    ),
    click.option("--method", metavar="NAME", help=f"{', '.join(METHODS)}. Default: auto."),
    click.option(
        "--tolerance",
        metavar="NUMBER",
        callback=number,
        help="Largest error per unit of strike. Default: 1e-5.",
    ),
    measures,
)
output = click.option("--output", type=PATH, help="Where to: a .csv, .json or .parquet file.")
workers = click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(min=1),
    help="Threads. Default: $PRICER_WORKERS, else the cores available.",
)
file = click.argument("file", type=PATH)
run = click.argument("run")
