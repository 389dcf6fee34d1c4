"""The files of every container in 2006 (patch semantics, 1.4): tasks, and the release agent.

A write as long as a page is E2BIG; a flag that is no number is read as 0. auto_delete was
announced with the patch set, and is as it was designed (6.4).
"""

from __future__ import annotations

from pcont.subsys.v2006.values import LENIENT_FLAG, VERBATIM, less_than
from pcont.tables.control_file import Access, ControlFile, Creation, Subsystem
from pcont.tables.rules import Where
from pcont.values import PAGE

TABLE = Subsystem(
    name="",
    help="every container",
    files=(
        ControlFile(
            "notify_on_release",
            "1: the release agent runs when the last task or child leaves",
            LENIENT_FLAG,
            default=0,
            access=Access(writable=True, longest=less_than(PAGE)),
            creation=Creation(passed_on=True),
        ),
        ControlFile(
            "auto_delete",
            "1: the container is removed when the last task or child leaves",
            LENIENT_FLAG,
            default=0,
            access=Access(writable=True, where=Where.NOT_ON_ROOT, longest=less_than(PAGE)),
            creation=Creation(passed_on=True),
        ),
        ControlFile(
            "tasks",
            "the tasks in the container, by id",
            access=Access(writable=True, longest=less_than(PAGE)),
        ),
        ControlFile(
            "release_agent",
            "the program that the kernel runs for notify_on_release",
            VERBATIM,
            access=Access(writable=True, where=Where.ROOT, longest=less_than(PAGE)),
        ),
    ),
)
