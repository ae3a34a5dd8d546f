"""Whether the command line understands what is shown of it."""

from __future__ import annotations

import click

from semisup.cli.main import cli


def is_understood(words: list[str]) -> bool:
    """Whether click takes this command line: every name and option in it exists."""
    # With the settings of the real one: click remembers a command's help option from its first use.
    command, context = cli, click.Context(cli, info_name="semisup", **cli.context_settings)
    while isinstance(command, click.Group):
        name, inner, words = command.resolve_command(context, words)
        assert inner is not None
        command, context = inner, click.Context(inner, info_name=name, parent=context)
    command.make_context(command.name, list(words), parent=context.parent)
    return True
