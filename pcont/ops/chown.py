"""chown: give containers to another user, which may then create others in them."""

from __future__ import annotations

from collections.abc import Iterable

from pcont.errors import Denied
from pcont.hierarchy.container import Container
from pcont.hierarchy.presence import at_least_partial
from pcont.kernel.types import Place
from pcont.ops import guards
from pcont.ops.containers import beneath
from pcont.ops.owners import Owners
from pcont.session import Session, checks_first


def check_giving(session: Session, container: Container, places: Iterable[Place]) -> None:
    """Raise Denied for a root container, because it has tasks of other users, and without --force
    for a container of systemd.
    """
    if container.is_root:
        child = container.child("NAME").word
        raise Denied(
            f"refusing to give {container.name} away: it is a root container, which has the tasks "
            "of other users",
            hint=f"pcont create {child} --owner USER",
        )
    guards.check_units(session, places, "give away")


@checks_first
def give(
    session: Session,
    place: str,
    owner: str,
    *,
    tasks_owner: str | None = None,
    recursive: bool = False,
) -> list[str]:
    """Give containers to a user, in all of their trees or in none; returns their names.

    `owner`: USER[:GROUP]. `tasks_owner`: the user that gets the task files (default: the owner).
    `recursive`: also all containers below. Raises UnknownName for a user that does not exist,
    NotFound for a container that does not, Denied for a root container, and where the kernel
    refuses, as it does unless the caller is root.
    """
    owners = Owners(owner, tasks_owner)
    with session.exclusive() as registry:
        container = registry.place(place)
        there = at_least_partial(session.backend, container)
        check_giving(session, container, there)
        found = [(container, there)]
        if recursive:
            found += reversed(beneath(session.backend, container, there))
        session.carry_out(
            [step for one, places in found for step in owners.steps(session.backend, one, places)]
        )
        return [one.canonical for one, _ in found]
