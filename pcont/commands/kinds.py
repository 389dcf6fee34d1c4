"""The kinds of words that commands take. `click_type` imports click's type for one."""

from __future__ import annotations

from typing import Any

from pcont.commands.declare import Kind, PlainKind


class Seconds(Kind):
    """A number of seconds. `above_zero`: 0 is refused, too."""

    def __init__(self, *, above_zero: bool = False) -> None:
        self.above_zero = above_zero

    def click_type(self) -> Any:
        from pcont.commands import click_types

        return click_types.SecondsType(self.above_zero)


class Choice(PlainKind):
    """One of several words."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def parse(self, word: str) -> str:
        if word not in self.words:
            raise ValueError(f"{word!r} is not one of {', '.join(self.words)}")
        return word

    def click_type(self) -> Any:
        import click

        return click.Choice(self.words)


class FileName(PlainKind):
    """The name of a file, or - for standard input. The shell completes it."""

    def parse(self, word: str) -> str:
        return word

    def click_type(self) -> Any:
        import click

        return click.Path(allow_dash=True)


class Whole(Kind):
    """A whole number from `least` to `most` (None: any)."""

    def __init__(self, least: int, most: int | None = None) -> None:
        self.least, self.most = least, most

    def click_type(self) -> Any:
        import click

        return click.IntRange(self.least, self.most)


class Number(PlainKind):
    """A number that the kernel gives: the id of a task, or that of an open file."""

    def __init__(self, name: str, label: str) -> None:
        self.name = name
        self.label = label

    def parse(self, word: str) -> int:
        from pcont.ops import task_ids

        return task_ids.number(word, self.label)

    def click_type(self) -> Any:
        from pcont.commands import click_types

        return click_types.ParsedType(self.name, self.parse)


PID = Number("pid", "the id of a task")
FILE = Number("file", "the number of a file")
