"""pins and unpin: the namespaces that clone has left under a name."""

from __future__ import annotations

from collections.abc import Sequence

from pcont.errors import NotFound
from pcont.records import PinRow
from pcont.session import Session, looks_first
from pcont.steps.namespaces import Unpin


def pins(session: Session) -> list[PinRow]:
    """Return every namespace that is pinned, by name and kind: the user's, and those of root.

    A note says which of them the user cannot join.
    """
    found = session.backend.pins()
    rows = [
        PinRow(name, kind, file) for name, files in found.items() for kind, file in files.items()
    ]
    closed = [name for name, files in found.items() if not session.backend.may_join(files)]
    if closed:
        session.warn(f"pinned by root, and only root can join or unpin them: {', '.join(closed)}")
    return rows


@looks_first
def unpin(session: Session, names: Sequence[str]) -> list[str]:
    """Unpin namespaces, which last as long as a process is in them; returns the names.

    Raises NotFound for a name under which nothing is pinned, before any is unpinned.
    """
    wanted = list(dict.fromkeys(names))
    with session.turn():
        there = session.backend.pins()
        for name in wanted:
            if name not in there:
                raise NotFound(
                    f"no namespaces are pinned as {name!r}",
                    hint=f"pinned: {', '.join(there)}"
                    if there
                    else "clone --pin makes pins: pcont clone --help",
                )
        session.carry_out([Unpin(wanted, f"unpin {', '.join(wanted)}")])
    return wanted
