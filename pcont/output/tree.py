"""Containers as a tree on a terminal, and one line for each container in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pcont.output import terminal
from pcont.output.text import listed, one_line

if TYPE_CHECKING:
    from rich.tree import Tree

    from pcont import records

GUIDE, LABEL = 4, 24  # columns: for each level of the tree, and for a name


def containers(nodes: Sequence[records.ContainerNode]) -> None:
    """Print containers as a tree, or in a pipe one line for each, by its path."""
    if not sys.stdout.isatty():
        for node in nodes:
            _lines(node)
        return
    console = terminal.console()
    for node in nodes:
        if GUIDE * _depth(node) + LABEL > console.width:  # too narrow: print paths, as in a pipe
            _lines(node, " " * terminal.GAP)
        else:
            terminal.draw(console, _branch(node))


def _depth(top: records.ContainerNode) -> int:
    """Return the number of levels below a container."""
    deepest, waiting = 0, [(top, 0)]
    while waiting:
        node, level = waiting.pop()
        deepest = max(deepest, level)
        waiting += [(child, level + 1) for child in node.children]
    return deepest


def _lines(node: records.ContainerNode, gap: str = "\t") -> None:
    for name, one in _flat(node, ""):
        fields = [
            f"tasks={one.tasks}",
            *(f"{key}={_onone_line(text)}" for key, text in one.settings.items()),
        ]
        fields += [f"missing={listed(one.missing)}"] if one.missing else []
        print(gap.join(map(one_line, [name, *fields])))


def _flat(node: records.ContainerNode, above: str) -> Iterator[tuple[str, records.ContainerNode]]:
    name = f"{above.removesuffix('/')}/{node.name}" if above else node.name
    yield name, node
    for child in node.children:
        yield from _flat(child, name)


def _branch(node: records.ContainerNode) -> Tree:
    from rich.text import Text
    from rich.tree import Tree

    label = Text(one_line(node.name), "bold")
    label.append(
        f"  {node.tasks} task{'' if node.tasks == 1 else 's'}", "green" if node.tasks else "dim"
    )
    for key, text in node.settings.items():
        label.append(f"  {_short(key)} ", "dim").append(_setting(key, text))
    if node.missing:
        label.append(f"  partial: not in {listed(node.missing)}", "red")
    drawn = Tree(label, guide_style="dim")
    for child in node.children:
        drawn.children.append(_branch(child))
    return drawn


def _setting(key: str, value: records.Scalar) -> str:
    """Shorten a value: bytes and nanoseconds in larger units, several lines on one."""
    if key == "cpuacct.usage":
        return _seconds(value)
    if key.endswith("limit_in_bytes") and isinstance(value, int):
        from pcont.values import size

        return size(value)
    return _onone_line(value) or "none"


def _onone_line(value: records.Scalar) -> str:
    return "; ".join(str(value).splitlines())


def _short(key: str) -> str:
    """Return the key without its subsystem, but keep KEY.max as it is."""
    return key if key.endswith(".max") else key.partition(".")[2] or key


def _seconds(nanoseconds: records.Scalar) -> str:
    number = isinstance(nanoseconds, int | float)
    return f"{nanoseconds / 1e9:.1f} s" if number else str(nanoseconds)  # type: ignore[operator]
