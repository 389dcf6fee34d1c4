"""Make click's commands of the declared ones: parsing, help, completion and errors are click's."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import click

from pcont.commands import declare
from pcont.commands.common import OF_THE_MODEL, App
from pcont.commands.table import Row, load_command
from pcont.output.version import __version__
from pcont.signals import Interrupted


class UnknownCommand(click.UsageError):
    """The command line names a command that the group does not have."""

    def __init__(self, name: str, ctx: click.Context) -> None:
        super().__init__(f"no such command {name!r}", ctx)
        self.name = name


class Group(click.Group):
    """A group that lists its commands in the order of their definition."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command of the first word; raises UnknownCommand if there is none."""
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise UnknownCommand(args[0], ctx)
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. With --json, click must not see a ^C: it would print an empty line."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            if ctx.ensure_object(App).json:
                raise Interrupted(signal.SIGINT) from None
            raise


class Starting(click.Command):
    """A command that starts another one: all words after `--` belong to that one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own, words = args, []
        if "--" in args:
            end = args.index("--")
            own, words = args[:end], args[end + 1 :]
        app = ctx.ensure_object(App)
        app.passes_status = bool(words) or self.name == "run"
        app.command = tuple(words)
        return super().parse_args(ctx, own)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        command = "-- COMMAND..." if self.name == "run" else "[-- COMMAND...]"
        return [*super().collect_usage_pieces(ctx), command]


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
            self._loaded[name] = click_command(load_command(self.table[name].module, name))
        return self._loaded[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        raise TypeError(f"{name} needs a row in the table")

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{name} is a row of the table")


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


def top_group(top: declare.DeclaredGroup, table: Mapping[str, Row]) -> Top:
    """Return the group `pcont` itself, with the commands of the table."""
    version = click.version_option(__version__, message="%(prog)s %(version)s")
    group = Top(
        top.name,
        callback=_checked(_callback(top)),
        help=top.function.__doc__,
        params=_parameters(top),
        context_settings={"help_option_names": ["-h", "--help"]},
        table=table,
    )
    version(group)
    group.params.insert(0, group.params.pop())
    return group


def _checked(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Return a callback that refuses options of the model for another backend."""

    def run(**values: Any) -> Any:
        for name in filter(values.__contains__, OF_THE_MODEL):
            source = click.get_current_context().get_parameter_source(name)
            if values["backend"] != "model" and source is click.core.ParameterSource.COMMANDLINE:
                raise click.UsageError(f"--{name} needs --backend model")
        return callback(**values)

    return run


def click_command(declared: declare.DeclaredCommand | declare.DeclaredGroup) -> click.Command:
    """Return click's command for a declared one."""
    common: dict[str, Any] = {
        "callback": _callback(declared),
        "help": declared.function.__doc__,
        "params": _parameters(declared),
    }
    if isinstance(declared, declare.DeclaredGroup):
        group = Group(declared.name, **common)
        for one in declared.commands.values():
            group.add_command(click_command(one))
        return group
    kind = Starting if declared.starts else click.Command
    return kind(declared.name, epilog=declared.epilog, **common)


def _callback(declared: declare.DeclaredCommand | declare.DeclaredGroup) -> Callable[..., Any]:
    def run(**values: Any) -> Any:
        app = click.get_current_context().ensure_object(App)
        if isinstance(declared, declare.DeclaredGroup):
            return declared.run(app, values)
        return app.carry_out(declared, values)

    return run


def _parameters(declared: declare.DeclaredCommand | declare.DeclaredGroup) -> list[click.Parameter]:
    return [_parameter(one) for one in declared.parameters]


def _parameter(one: declare.Parameter) -> click.Parameter:
    settings = dict(one.settings)
    if one.kind:
        settings["type"] = one.kind.click_type()
    if one.sets:
        settings.update(expose_value=False, callback=_setter(one))
    if one.read:
        settings["callback"] = _reader(one.read)
    return (click.Option if one.is_option else click.Argument)(one.names, **settings)


def _setter(one: declare.Parameter) -> Callable[..., None]:
    """Return a callback that sets an attribute of the App, if the option was given."""

    def set_it(context: click.Context, param: click.Parameter, value: Any) -> None:
        one.store(context.ensure_object(App), value)

    return set_it


def _reader(read: Callable[[Any], Any]) -> Callable[..., Any]:
    """Return a callback that reads the words of an argument."""

    def read_them(context: click.Context, param: click.Parameter, words: Any) -> Any:
        try:
            return read(words)
        except (ValueError, OSError) as err:
            raise click.BadParameter(str(err), context, param) from err

    return read_them
