"""set: write control files by name, all of them or none."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.errors import Denied, NotFound, UsageProblem
from pcont.hierarchy import keys
from pcont.hierarchy.container import Container
from pcont.hierarchy.presence import required
from pcont.kernel.types import UNIFIED
from pcont.ops import guards
from pcont.ops.named import alive
from pcont.ops.ties import note_entered, note_split
from pcont.session import Session, checks_first
from pcont.steps.write import Known, Setting, WriteFiles, can_rehearse, is_lasting
from pcont.transaction.step import Step
from pcont.virtual.files import ControlFiles

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend
    from pcont.steps.attach import Attach


@checks_first
def assign(session: Session, place: str, assignments: Iterable[str]) -> list[str]:
    """Write control files, all or none; returns the names of the files.

    Raises NotFound for an unknown key, BadValue with the broken rule for a refused value.
    """
    words = list(assignments)
    meant = with_equals(words)
    pairs = keys.split_assignments(
        words, f"pcont set {shlex.quote(place)} {meant}" if meant else ""
    )
    if not pairs:
        raise UsageProblem("there is nothing to set: KEY=VALUE is missing")
    with session.exclusive() as registry:
        container = required(session.backend, registry.place(place))
        files = keys.files_of(container.hierarchy, pairs)
        control = ControlFiles(session.backend)
        known: Known = {}
        first = enabling_steps(session.backend, container, files)
        settings: list[Setting] = []
        entries: list[Attach] = []
        for file, (key, text) in zip(files, pairs, strict=True):
            if key == subsys.CPUACCT_LOAD:
                raise Denied(f"{key} is measured, and can only be read")
            texts = _texts(control, container, file, key, bool(first))
            places = keys.owners(container, file) if texts is None else [*texts]
            if file in subsys.TASK_FILES:
                entries.append(_entry(session, container, file, text))
            else:
                settings += [Setting(one, file, text) for one in places]
                known.update({(one, file): now for one, now in (texts or {}).items()})
            guards.check_freezing(session, places, file, text)
        pending = {one.file for one in settings if (one.place, one.file) not in known}
        steps = _in_order(control, container, settings, entries, known, pending)
        session.carry_out([*first, *steps])
        _note_systemd(session, container, settings, entries)
        if entries:
            note_split(session, registry, note_entered(session, container, entries))
        for one in settings:
            guards.note_still_frozen(session, container, one.file, one.text)
        return files


def _note_systemd(
    session: Session, container: Container, settings: Iterable[Setting], entries: Sequence[Attach]
) -> None:
    """Warn about what was set or attached in a container of systemd."""
    if container.places[-1].tree != UNIFIED:
        return
    guards.note_set(session, container, [(one.file, one.text) for one in settings])
    if entries:
        guards.note_in_unit(session, container)


def enabling_steps(backend: Backend, container: Container, files: Collection[str]) -> list[Step]:
    """Return the steps that give a container of cgroup v2 these files; none if it has them."""
    if not any(place.is_unified for place in container.places):
        return []
    from pcont.ops.enabling import Enabling  # only cgroup v2 needs it

    return Enabling(backend, set()).steps(container, files)


def _texts(
    control: ControlFiles, container: Container, file: str, key: str, enabling: bool
) -> keys.Texts | None:
    """Return the places that have a file, each with its text; None if the file is not there yet.

    `enabling`: the command is about to enable controllers of cgroup v2, which can bring the file.
    """
    try:
        return keys.find_places(control, container, file, key)
    except NotFound:
        if not (enabling and keys.owners(container, file)):
            raise
        return None


def with_equals(words: Sequence[str]) -> str:
    """Return KEY VALUE words as KEY=VALUE, for a hint."""
    found: list[str] = []
    for word in words:
        lacking = bool(found) and "=" not in found[-1] and "=" not in word
        found.append(f"{found.pop()}={word}" if lacking else word)
    return shlex.join(found) if all("=" in word for word in found) else ""


def _in_order(
    control: ControlFiles,
    container: Container,
    settings: list[Setting],
    entries: Sequence[Step],
    known: Known,
    pending: Collection[str] = (),
) -> list[Step]:
    """Order the steps: what can be undone, then attaches, then what cannot be undone. `pending`:
    files that the command is about to bring.
    """
    final = [
        one
        for one in settings
        if (subsys.lasting(one.file) if one.file in pending else is_lasting(control, one, known))
    ]
    if len(final) > 1 and not can_rehearse(final):
        raise UsageProblem(
            f"{' and '.join(dict.fromkeys(one.file for one in final))} cannot be undone once "
            "written: at most one such value in a command",
            hint="the entries of devices.allow and devices.deny count as one",
        )
    plain = [one for one in settings if one not in final]
    action = f"set {container.name}"
    first: list[Step] = [WriteFiles(plain, action, known=known)] if plain else []
    last: list[Step] = [WriteFiles(final, action)] if final else []
    return [*first, *entries, *last]


def _entry(session: Session, container: Container, file: str, text: str) -> Attach:
    """Return the step for `tasks=TID` and `cgroup.procs=PID`, which attach a task or a process."""
    from pcont.ops.attach import entry  # for these two files only: no other get or set needs it

    if not re.fullmatch("[0-9]{1,10}", text.strip()):
        raise UsageProblem(f"{file} takes the id of a task, and {text!r} is not one")
    if int(text) in (0, os.getpid()):
        raise UsageProblem(
            f"{file}={text} means the process that writes it, which is pcont itself",
            hint=f"pcont attach {container.word} $$",
        )
    thread = file != "cgroup.procs"
    return entry(session, container, [alive(session, int(text), thread)], thread=thread)
