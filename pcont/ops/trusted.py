"""Find attributes that pcont must not trust, and files that other users can change.

`doctor` reports both, and `gc` removes the attributes. docs/security.md has the whole list.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from shlex import quote
from typing import TYPE_CHECKING

from pcont.errors import Denied
from pcont.hierarchy.container import TIE, Tie
from pcont.hierarchy.registry import Registry
from pcont.kernel.refusals import within_reach
from pcont.kernel.types import Place, Tree
from pcont.records import Collected, Finding
from pcont.session import Session
from pcont.transaction.step import Step
from pcont.transaction.undo_log import UndoLog
from pcont.trust import ownership
from pcont.trust.xattrs import COPY, OLD
from pcont.virtual import auto_delete

if TYPE_CHECKING:
    from pcont.kernel.interfaces import CgroupState, ContainerReader, Driver, Host

_PLACES_SHOWN = 5
SUBSYSTEM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class MendXattrs(Step):
    """Remove the stray attributes of a container. pcont trusts none of them: undo restores none."""

    def __init__(
        self,
        place: Place,
        action: str = "remove attributes that are not pcont's",
        names: dict[str, str] | None = None,
    ) -> None:
        self.place, self.action = place, action
        self.names: dict[str, str] = {} if names is None else names

    def dry_run_lines(self, backend: ContainerReader) -> list[str]:
        # Another user chose name and text: repr() escapes what a terminal would obey.
        where = _quoted(backend.show(self.place))
        lines = self.names.items()
        return [f"setfattr -x {_quoted(name)} {where}  # {text!r}" for name, text in lines]

    def removed(self, backend: ContainerReader) -> list[str]:
        """Return what is removed, for a table: it keeps the text of a tie of an older pcont."""
        where = _printable(backend.show(self.place))
        return [
            f"{_printable(name)} of {where}, which was {text!r}"
            for name, text in self.names.items()
        ]

    def do(self, backend: Driver, undo_log: UndoLog) -> None:
        with contextlib.suppress(FileNotFoundError):
            backend.mend(self.place)


def mend_steps(session: Session, trees: Iterable[Tree]) -> list[Collected]:
    """Remove stray attributes in these trees; returns which. Others than root get a warning."""
    found = []
    steps = [MendXattrs(place, names=names) for place, names in _strays(session.backend, trees)]
    for step in steps:
        lines = step.removed(session.backend)
        try:
            session.carry_out([step])
        except Denied as err:
            session.warn(str(err))
            break
        if not session.dry_run:
            found += [Collected("removed", line) for line in lines]
    return found


def trust_findings(session: Session, registry: Registry) -> Iterator[Finding]:
    """Report what other users have forged or can change, and what an older pcont has left."""
    yield from _stray_findings(session.backend, registry)
    yield from _weak_files(session.backend)
    for tree in registry.trees:
        yield from _weak_agent(session.backend, tree)


def _strays(backend: Driver, trees: Iterable[Tree]) -> Iterator[tuple[Place, dict[str, str]]]:
    """Yield every container with untrusted attributes, parents first."""
    waiting = [Place.at(tree) for tree in trees if tree.mounted]
    while waiting:
        place = waiting.pop()
        # A container may be removed during the walk, or be out of this user's reach.
        with contextlib.suppress(FileNotFoundError, PermissionError), within_reach():
            if names := backend.stray(place):
                yield place, names
            waiting += [place.child(name) for name in reversed(backend.children(place))]


def _stray_findings(backend: Driver, registry: Registry) -> Iterator[Finding]:
    old: dict[str, list[str]] = {}
    copies = []
    for place, names in _strays(backend, registry.trees):
        for name, text in names.items():
            if not name.startswith(OLD):
                copies.append(backend.show(place))
                continue
            old.setdefault(name, []).append(backend.show(place))
            if name == OLD + TIE and place.is_root:
                yield from _old_tie(backend, registry.by_id[place.tree], text)
    for name, places in old.items():
        yield Finding(
            "problem",
            _printable(name),
            f"not believed: a user may have forged it, or an older pcont wrote it, on "
            f"{_some(places)}",
            "sudo pcont gc removes it",
        )
    if copies:
        yield Finding(
            "note",
            f"{COPY}*",
            f"the copies for users differ from the attributes of pcont on {_some(copies)}",
            "sudo pcont gc corrects it",
        )


def _old_tie(backend: ContainerReader, tree: Tree, text: str) -> Iterator[Finding]:
    """Yield a finding with the commands that restore a tie, if a text is that of a tie.

    An older pcont recorded ties in attributes that any user can write, so `text` may be forged.
    """
    tie = Tie.load(text)
    if tie is None or not tree.name or TIE in backend.attributes(Place.at(tree)):
        return
    # Another user may have chosen the words of the hint: each is a word and no option.
    if not all(SUBSYSTEM.fullmatch(word) for word in tie.subsystems):
        return
    subsystems, name = ",".join(tie.subsystems), quote(tree.name)
    trees = _printable(", ".join(tie.trees))
    how = f"pcont bind {name} {subsystems}"
    if tie.at != "/":
        how = f"remove its containers, pcont umount {name}, then pcont mount --tie --name {name} "
        how += f"-o {subsystems} --at {quote(tie.at)}"
    if not how.isprintable():
        return
    yield Finding(
        "problem",
        tree.name,
        f"an older pcont may have tied it to {trees}: now it is a plain hierarchy",
        f"if you tied it: {how}",
    )


def _printable(text: str) -> str:
    """Return a name without the characters that could control a terminal, because another user
    chose it.
    """
    return text if text.isprintable() else repr(text)


def _quoted(text: str) -> str:
    """Return a shell word for a text; if it cannot be printed, the text as a Python literal."""
    return quote(text) if text.isprintable() else repr(text)


def _some(places: list[str]) -> str:
    more = len(places[_PLACES_SHOWN:])
    return ", ".join(map(_printable, places[:_PLACES_SHOWN])) + (
        f" and {more} more" if more else ""
    )


def _weak_files(backend: Host) -> Iterator[Finding]:
    """Yield findings on files that root relies on and other users can change, one for each weak
    directory.
    """
    named = set(backend.workplace().refused)
    for path, label in backend.relied_on().items():
        weak = ownership.weak_point(path, sticky=True) if os.path.lexists(path) else None
        if weak and weak.sentence not in named:
            named.add(weak.sentence)
            advice = f"chown root:root {weak.path}; chmod go-w {weak.path}"
            yield Finding("problem", label, f"root relies on {path}, but {weak.sentence}", advice)


def _weak_agent(backend: CgroupState, tree: Tree) -> Iterator[Finding]:
    """Report a release agent that the kernel runs and other users can change, except pcont's."""
    if not tree.mounted or not backend.relied_on():
        return
    with contextlib.suppress(OSError):
        program = auto_delete.agent(backend, tree.id)
        weak = ownership.weak_point(program) if program.startswith("/") else None
        if weak:
            text = f"the release agent of {tree.id} runs as root, and {weak.sentence}"
            yield Finding("problem", "release agent", text, "move it where only root can write")
