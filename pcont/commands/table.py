"""The table of commands: a row for each, and the import of its module when it is used."""

from __future__ import annotations

from importlib import import_module

from pcont.bases import NamedTuple
from pcont.commands.declare import DeclaredCommand, DeclaredGroup


class Row(NamedTuple):
    """A command in the table: the module of pcont.commands that declares it, and its help line.

    `hot`: scripts call it in loops. pcont runs its plain command lines without click.
    """

    module: str
    summary: str
    section: str
    hot: bool = False


def load_command(module: str, name: str) -> DeclaredCommand | DeclaredGroup:
    """Import one module of this package, and return its command of that name."""
    for one in vars(import_module(f"pcont.commands.{module}")).values():
        if isinstance(one, DeclaredCommand | DeclaredGroup) and one.name == name:
            return one
    raise LookupError(f"pcont.commands.{module} defines no command {name}")
