"""pins and unpin: list and remove the namespaces that clone --pin keeps."""

from __future__ import annotations

from collections.abc import Sequence

from pcont.errors import NotFound
from pcont.records import PinRow
from pcont.session import Session, checks_first
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


@checks_first
def unpin(session: Session, names: Sequence[str]) -> list[str]:
    """Unpin namespaces; returns the names. The kernel keeps a namespace while a process is in it.

    Raises NotFound for a name that is not pinned, before any is unpinned.
    """
    wanted = list(dict.fromkeys(names))
    with session.exclusive():
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
