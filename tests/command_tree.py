"""Every command of a click group, also those of the groups below it."""

from __future__ import annotations

import click


def commands_of(group: click.Group, before: str = "") -> dict[str, click.Command]:
    """Return the commands by the words that call them; `before`: the words of the group."""
    context = click.Context(group)
    found: dict[str, click.Command] = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command
        if isinstance(command, click.Group):
            found |= commands_of(command, f"{before}{name} ")
        else:
            found[before + name] = command
    return found
