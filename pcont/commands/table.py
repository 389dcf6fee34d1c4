"""The top group: its commands are listed in a table, and imported when they are used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any, NamedTuple

import click

from pcont.commands.common import Group


class Row(NamedTuple):
    """A command in the table: the module of pcont.commands that defines it, and its help line."""

    module: str
    summary: str
    section: str


class Commands(MutableMapping[str, click.Command]):
    """The commands of a table by name. Only looking one up imports its module."""

    def __init__(self, table: Mapping[str, Row]) -> None:
        self.table = table
        self._loaded: dict[str, click.Command] = {}

    def __contains__(self, name: object) -> bool:
        return name in self.table

    def __iter__(self) -> Iterator[str]:
        return iter(self.table)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._loaded:
            self._loaded[name] = _load(self.table[name].module, name)
        return self._loaded[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        raise TypeError(f"{name} needs a row in the table")

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{name} is a row of the table")


def _load(module: str, name: str) -> click.Command:
    """Import one module of this package, and return its command of that name."""
    for one in vars(import_module(f"pcont.commands.{module}")).values():
        if isinstance(one, click.Command) and one.name == name:
            return one
    raise LookupError(f"pcont.commands.{module} defines no command {name}")


class Top(Group):
    """The group of the commands of a table; its help lists their summaries by section."""

    commands: Commands

    def __init__(self, *arguments: Any, table: Mapping[str, Row], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.commands = Commands(table)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table into the help, and import none of its modules."""
        table = self.commands.table
        width = max(map(len, table))
        for section in dict.fromkeys(row.section for row in table.values()):
            rows = [
                (name.ljust(width), row.summary)
                for name, row in table.items()
                if row.section == section
            ]
            with formatter.section(section):
                formatter.write_dl(rows)
