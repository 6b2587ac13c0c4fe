"""The command that teaches a shell to complete the others."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from . import options

SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog=options.examples(
        "pricer completion bash > ~/.local/share/bash-completion/completions/pricer",
        "pricer completion zsh > ~/.zfunc/_pricer",
        "pricer completion fish > ~/.config/fish/completions/pricer.fish",
    )
)
@click.argument("shell", type=click.Choice(SHELLS))
@options.json
@options.no_store
@options.verbose
def completion(*, shell: str, as_json: bool) -> None:
    """Print what makes SHELL complete commands, options, runs, measures and axes.

    Put it where SHELL looks for completions, or evaluate it in the file that SHELL starts with.
    """
    from .documents import json_of

    script = _script(shell)
    click.echo(json_of({"shell": shell, "script": script}) if as_json else script)


def _script(shell: str) -> str:
    """Return click's script for a shell."""
    completer = get_completion_class(shell)
    assert completer is not None
    root = click.get_current_context().find_root().command
    # Not `source`, which runs bash to warn of one that is too old.
    made = completer(root, {}, "pricer", "_PRICER_COMPLETE")
    return (made.source_template % made.source_vars()).strip()
