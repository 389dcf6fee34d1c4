"""lines, line_groups: how a line is split and parsed, and which lines are one command together."""

from __future__ import annotations

import pytest

from pcont.cli import COMMANDS
from pcont.commands.line_groups import LARGEST_GROUP, groups_of, merged
from pcont.commands.lines import Parser, split_line


def groups(*lines: str, apart: bool = False) -> list[list[int]]:
    """The numbers of the lines in each group."""
    parsed = Parser(COMMANDS).parse("\n".join(lines), "lines")
    return [[line.number for line in group] for group in groups_of(parsed, apart=apart)]


@pytest.mark.parametrize(
    "lines",
    [
        ("create j:/a", "create j:/b j:/c", "create j:/a/d"),
        ("create -p j:/a -s k=1", "create -s k=1 -p j:/b"),
        ("rm j:/a", "rm j:/b", "rm j:/c/d"),
        ("rm -r j:/a/b", "rm -r j:/a"),
        ("attach j:/a 1", "attach j:/a 2 3"),
        ("attach --thread j:/a 1", "attach --thread j:/a 2"),
        ("set j:/a k=1", "set j:/b l=2 m=3"),
    ],
)
def test_lines_of_one_command_with_the_same_options_are_a_group(lines: tuple[str, ...]) -> None:
    assert groups(*lines) == [list(range(1, len(lines) + 1))]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("create j:/a", "rm j:/a"),
        ("create j:/a", "create -p j:/b"),
        ("create j:/a -s k=1", "create j:/b -s k=2"),
        ("rm j:/a", "rm j:/a"),  # after the first one, there is no such container
        ("rm -r j:/a", "rm -r j:/a/b"),
        ("rm j:/a", "rm i:/b"),  # i and j may be one hierarchy
        ("rm j:/a", "rm /sys/fs/cgroup/j/b"),
        ("rm j:/a", "rm j://b"),
        ("rm --kill j:/a", "rm --kill j:/b"),  # the first one could not be undone
        ("rm --evict j:/a/b", "rm --evict j:/a"),
        ("rm --force j:/a", "rm --force j:/b"),
        ("attach j:/a 1", "attach j:/b 1"),
        ("attach -v j:/a 1", "attach -v j:/a 2"),  # a summary for each
        ("attach j:/a 1", "attach j:/a 2-9"),  # a note for each range
        ("attach --tree j:/a 1", "attach --tree j:/a 2"),
        ("get j:/a k", "get j:/b k"),
        ("move j:/a j:/b", "move j:/c j:/b"),
    ],
)
def test_lines_that_could_have_another_result_together_are_apart(one: str, other: str) -> None:
    assert groups(one, other) == [[1], [2]]


def test_where_results_are_shown_only_those_that_have_a_part_for_each_line_are_a_group() -> None:
    assert groups("create j:/a", "create j:/b", apart=True) == [[1, 2]]
    assert groups("set j:/a k=1", "set j:/b k=1", apart=True) == [[1, 2]]
    assert groups("rm j:/a", "rm j:/b", apart=True) == [[1], [2]]
    assert groups("attach j:/a 1", "attach j:/a 2", apart=True) == [[1], [2]]


def test_a_group_has_a_largest_size() -> None:
    found = groups(*[f"create j:/{number}" for number in range(LARGEST_GROUP + 5)])
    assert [len(group) for group in found] == [LARGEST_GROUP, 5]


def test_the_values_of_a_group_are_those_of_all_lines_in_their_order() -> None:
    lines = Parser(COMMANDS).parse("create -p j:/b j:/a\ncreate -p j:/a", "lines")
    assert merged(lines)["places"] == ("j:/b", "j:/a", "j:/a")
    assert merged(lines)["parents"]
    lines = Parser(COMMANDS).parse("attach j:/b 7 5\nattach j:/b 6", "lines")
    assert merged(lines)["pids"].given == (7, 5, 6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  # all of it", []),
        ("create j:/a # it's a comment", ["create", "j:/a"]),
        ("create j:/a#b", ["create", "j:/a#b"]),
        ("create 'j:/a # b' j:/c\\ d", ["create", "j:/a # b", "j:/c d"]),
        ('set j:/a "devices.allow=c 1:3 rwm"', ["set", "j:/a", "devices.allow=c 1:3 rwm"]),
        ("create j:/a'#'b #c", ["create", "j:/a#b"]),
        ("create j:/a\r", ["create", "j:/a"]),
        ("create $HOME *", ["create", "$HOME", "*"]),
    ],
)
def test_a_line_is_split_as_by_a_shell_without_expansions(text: str, words: list[str]) -> None:
    assert split_line(text) == words


@pytest.mark.parametrize("text", ["create 'j:/a", 'create "j:/a', "create j:/a\\"])
def test_a_quote_that_is_not_closed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="No "):
        split_line(text)
