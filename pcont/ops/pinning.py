"""pins and unpin: the namespaces that clone has left under a name."""

from __future__ import annotations

from collections.abc import Sequence

from pcont.errors import NotFound
from pcont.records import PinRow
from pcont.session import Session
from pcont.steps.apart import Unpin


def pins(session: Session) -> list[PinRow]:
    """Every namespace that is pinned, by name and kind."""
    return [
        PinRow(name, kind, file)
        for name, files in session.backend.pins().items()
        for kind, file in files.items()
    ]


def unpin(session: Session, names: Sequence[str]) -> list[str]:
    """Let go of namespaces, which last as long as somebody is in them; returns the names.

    Raises NotFound for a name that nothing is pinned by, before any is let go.
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
                    else "pin some: pcont clone HIERARCHY --ns KIND --pin NAME -- COMMAND",
                )
        session.carry_out([Unpin(wanted, f"unpin {', '.join(wanted)}")])
    return wanted
