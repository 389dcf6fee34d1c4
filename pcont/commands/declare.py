"""Declare commands: their arguments, options and help, once for click and for `plain`.

The decorators accept the arguments of click's decorators (but `kind` for `type`), and do not import
click. `clicks` makes click's commands of the declarations; `plain` reads the command lines that
need no click.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Function = Callable[..., Any]


class Kind:
    """What a word must be: `click_type` returns click's type for it."""

    def click_type(self) -> Any:
        raise NotImplementedError


class PlainKind(Kind):
    """A kind of word that `plain` can read, too."""

    def parse(self, word: str) -> Any:
        """Return the value of a word. Raises ValueError, with a message for the user."""
        raise NotImplementedError


class Parameter:
    """An argument or an option of a command.

    `names`: as click takes them. `settings`: the other arguments for click. `kind`: what a word
    must be (default: any text). `read`: turns all words of an argument into a value; it raises
    ValueError or OSError with a message for the user. `sets`: the attribute of `App` that gets the
    value; without it, the function gets it.
    """

    __slots__ = ("_name", "is_option", "kind", "names", "read", "sets", "settings")

    def __init__(
        self,
        is_option: bool,
        names: tuple[str, ...],
        settings: dict[str, Any],
        kind: Kind | None,
        read: Callable[[Sequence[str]], Any] | None,
        sets: str,
    ) -> None:
        self.is_option, self.names, self.settings = is_option, names, settings
        self.kind, self.read, self.sets = kind, read, sets
        self._name = ""

    @property
    def name(self) -> str:
        """The name of the function's parameter, as click finds it."""
        if not self._name:
            plain = [one for one in self.names if not one.startswith("-")]
            long = [one for one in self.names if one.startswith("--")]
            self._name = (plain or long or [*self.names])[0].strip("-").replace("-", "_")
        return self._name

    @property
    def is_flag(self) -> bool:
        return bool(self.settings.get("is_flag"))

    @property
    def takes_many(self) -> bool:
        """Whether the value has any number of words."""
        return self.settings.get("nargs") == -1 or bool(self.settings.get("multiple"))

    @property
    def default(self) -> Any:
        """The value if the command line has none."""
        nothing = () if self.takes_many else False if self.is_flag else None
        return self.settings.get("default", nothing)

    @property
    def is_required(self) -> bool:
        """Whether the command line must have it, as an argument of one word without a default."""
        one_word = not (self.is_option or self.takes_many or "default" in self.settings)
        return bool(self.settings.get("required", one_word))

    def store(self, app: Any, value: Any) -> None:
        """For an option with `sets`: assign a value that was given to that attribute of the App."""
        if value is not None and value is not False:
            setattr(app, self.sets, value)

    def __call__(self, function: Function) -> Function:
        """Add the parameter to a function, in front of those that were added before."""
        parameters_of(function).insert(0, self)
        return function


def argument(
    name: str,
    *,
    kind: Kind | None = None,
    read: Callable[[Sequence[str]], Any] | None = None,
    **settings: Any,
) -> Parameter:
    """Declare an argument, as `click.argument` does."""
    return Parameter(False, (name,), settings, kind, read, "")


def option(*names: str, kind: Kind | None = None, sets: str = "", **settings: Any) -> Parameter:
    """Declare an option, as `click.option` does."""
    return Parameter(True, names, settings, kind, None, sets)


def parameters_of(function: Function) -> list[Parameter]:
    """Return the list of a function's parameters. A decorator inserts into this list."""
    found: list[Parameter] = vars(function).setdefault("declared", [])
    return found


class DeclaredCommand:
    """A command: a function that gets the `App`, and the values of the parameters by name.

    `starts`: the words after `--` are another command, which the function finds in `App.command`.
    `changes`: the command changes something, unless `dry_run` is true.
    """

    def __init__(
        self, name: str, function: Function, examples: Sequence[str] = (), *, starts: bool = False
    ) -> None:
        self.name, self.function, self.starts = name, function, starts
        self.parameters = parameters_of(function)
        self.changes = bool(vars(function).get("changes"))
        self.epilog = "\b\nExample:\n" + "\n".join(f"  {line}" for line in examples)

    def run(self, app: Any, values: dict[str, Any]) -> Any:
        """Call the function; what it returns is the exit status."""
        if self.changes:
            app.acts = not values["dry_run"]
        try:
            return self.function(app, **values)
        finally:
            app.close_progress()


class DeclaredGroup:
    """A command that has commands of its own, in the order of their definition. Its name is that of
    the function.
    """

    def __init__(self, function: Function) -> None:
        self.name, self.function = function.__name__, function
        self.parameters = parameters_of(function)
        self.commands: dict[str, DeclaredCommand] = {}

    def run(self, app: Any, values: dict[str, Any]) -> Any:
        """Call the function of the group itself."""
        return self.function(app, **values)


def group(function: Function) -> DeclaredGroup:
    """Make a group of a function; its commands are added to `DeclaredGroup.commands`."""
    return DeclaredGroup(function)
