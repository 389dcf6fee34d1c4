"""Lines of a batch that pcont carries out as one command, because that has the same result.

A group is lines that follow each other, with the same command and the same options: one command
with all their places does what they do one after another. Lines of `set` are a group with any
options: each is a command of its own, but they are one operation with one journal. If a group
fails, pcont undoes it, and carries out its lines one by one; then the error is that of the line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pcont.commands.lines import Line
from pcont.ops.task_ids import TaskIds

SET = "set"
LARGEST_GROUP = 1000  # lines of a group: no more than these are done again line by line

# The argument in which the lines of a group may differ, by command.
VARIES = {"create": "places", "rm": "places", "attach": "pids"}


def groups_of(lines: Iterable[Line], *, apart: bool) -> Iterator[list[Line]]:
    """Yield all lines in their order, those that can be one command together.

    `apart`: pcont shows a result for each line. It then groups only commands that return a result
    for each of their places.
    """
    group: list[Line] = []
    seen: set[str] = set()
    for line in lines:
        if group and not (len(group) < LARGEST_GROUP and _go_together(group[0], line, apart, seen)):
            yield group
            group, seen = [], set()
        if not group and line.verb == "rm":
            _is_new(line, seen)
        group.append(line)
    if group:
        yield group


def merged(group: Sequence[Line]) -> dict[str, Any]:
    """Return the values of the one command that does what the lines of a group do."""
    first = group[0].values
    if len(group) == 1:
        return first
    name = VARIES[group[0].verb]
    found = [line.values[name] for line in group]
    if name == "pids":
        return {**first, name: TaskIds(tuple(pid for ids in found for pid in ids.given))}
    return {**first, name: tuple(place for places in found for place in places)}


def shares_of(group: Sequence[Line], result: Any) -> Iterator[tuple[Line, Any]]:
    """Yield each line with its part of the result of a group."""
    if len(group) == 1:
        yield group[0], result
        return
    begin = 0
    for line in group:
        end = begin + len(line.values["places"])
        yield line, result[begin:end]
        begin = end


def _go_together(first: Line, line: Line, apart: bool, seen: set[str]) -> bool:
    """Return whether a line can be in a group. `seen`: the places that the group removes."""
    if line.verb == first.verb == SET:
        return True
    name = VARIES.get(line.verb)
    if (
        line.verb != first.verb
        or name is None
        or not _same_options(first.values, line.values, name)
    ):
        return False
    if line.verb == "create":
        return True
    if apart:
        return False  # one result for all
    if line.verb == "attach":
        return _attaches_single(first) and _attaches_single(line)
    kept = ("kill", "evict", "force")
    return not any(first.values[one] for one in kept) and bool(seen) and _is_new(line, seen)


def _same_options(one: Mapping[str, Any], other: Mapping[str, Any], name: str) -> bool:
    return all(value == other[key] for key, value in one.items() if key != name)


def _attaches_single(line: Line) -> bool:
    """Return whether the line names its tasks one by one, and reports nothing about them."""
    ids, values = line.values["pids"], line.values
    return not (ids.listed or ids.ranges or line.verbose or values["tree"] or values["movable"])


def _is_new(line: Line, seen: set[str]) -> bool:
    """Add the places of an `rm` to those that the group removes.

    Returns False if one of them, or one above it, is among these already: after that line, there is
    no such container. It also does so if two texts might name one container, and empties `seen`.
    """
    for place in line.values["places"]:
        selector, colon, path = place.partition(":/")
        words = path.split("/")
        known = f"{selector}:" in seen or not seen
        if not (colon and all(words) and known):
            seen.clear()
            return False
        seen.add(f"{selector}:")
        above = [f"{selector}:/" + "/".join(words[:end]) for end in range(1, len(words) + 1)]
        if any(one in seen for one in above):
            return False
        seen.add(above[-1])
    return True
