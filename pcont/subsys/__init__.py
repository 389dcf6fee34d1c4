"""The tables of all subsystems, each loaded when it is first asked for.

NAME.py has what holds for a subsystem everywhere: names of files, codecs, rules. The tables are in
a directory for each interface: `v1/NAME.py`, `v2006/NAME.py`. `model/NAME.py` has what only the
model does for it. Other packages register subsystems under the entry point group `pcont.subsys`.

Users name control files by KEYs, which are the names of cgroup v1 and of the subsystems that pcont
provides. The functions here that take a KEY answer from those tables.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
from collections.abc import Iterable
from errno import EINVAL
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from pcont.errors import Unsupported
from pcont.tables.control_file import Access, ControlFile, Subsystem, Undo
from pcont.tables.face import KeyFace
from pcont.tables.interface import Interface
from pcont.tables.rules import Violation
from pcont.values import BYTES, NO_LIMIT, is_unlimited

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_GROUP = "pcont.subsys"

# The kernel's controllers of cgroup v1. Each has a table that explains the kernel's refusals. The
# dialect of the model says which of them it simulates.
NAMES = (
    *("cpuset", "cpu", "cpuacct", "blkio", "memory", "devices", "freezer"),
    *("net_cls", "perf_event", "net_prio", "hugetlb", "pids", "rdma", "misc"),
)

# Virtual subsystems: the kernel lacks them, and pcont provides them. One that limits something uses
# a controller of the kernel, or eBPF programs that pcont loads.
VIRTUAL = ("numtasks", "memset", "numfiles", "ns")

# Those of the patch set of 2006. /proc/PID/container lists them by descending id: newest first.
NAMES_2006 = ("numtasks", "cpuacct", "cpuset", "bc")

FREEZER = "freezer"

# The table of the files NAME.pressure.
_PRESSURE = "pressure"

# The tables with files that every container of cgroup v2 has, whatever is enabled.
ALWAYS_ON_V2 = ("cpu", _PRESSURE)

# Which subsystems have a module in the directory of an interface; each directory also has `core`.
WITH_TABLES = {
    Interface.V1: (*NAMES, *VIRTUAL),
    Interface.V2: (
        *("cpuset", "cpu", "cpuacct", "io", "memory", "perf_event"),
        *("hugetlb", "pids", "rdma", "misc", _PRESSURE, FREEZER),
    ),
    Interface.V2006: (*NAMES_2006, "ns"),
}

# Other words for a subsystem: the patch's, with which its files begin.
_ALIASES = {"bc": "numfiles"}

LAST_TO_ENTER = 2  # see entry_order

# Words that no hierarchy may be called by: options of mount, subsystems with other names, and the
# hierarchy of cgroup v2.
RESERVED = ("all", "none", "unified", *_ALIASES)

# An entry without a limit, as rdma.max and misc.max have one for each device or resource.
_NO_LIMITS = r"\S+( (\S+=)?max)+ *"

_TWO_DESCRIPTORS = (
    "it takes two descriptors and a control file's argument: the first one, of eventfd(2), reports "
    "events of the second one"
)

# A core file that only memory brings.
EVENT_CONTROL = ControlFile(
    "cgroup.event_control",
    "events of a control file for eventfd(2)",
    access=Access(writable=True),
    undo=Undo(lasting=True),
    rules=(lambda now, wanted: Violation(EINVAL, _TWO_DESCRIPTORS),),
)

# The core's files that list tasks, and those that only the home of a hierarchy needs.
TASK_FILES = ("tasks", "cgroup.procs", "cgroup.threads")
AUTO_DELETE, NOTIFY, AGENT = "auto_delete", "notify_on_release", "release_agent"
CLONE_CHILDREN = "cgroup.clone_children"
# Files of cgroup v2. PARTITION shows whether the kernel has made the partition.
PARTITION, EXCLUSIVE = "cpuset.cpus.partition", "cpuset.cpus.exclusive"
CPUACCT_LOAD = "cpuacct.load"  # no kernel has this file: pcont measures it
HOME_FILES = (AUTO_DELETE, NOTIFY, AGENT, "cgroup.sane_behavior")

# Files of controllers without a table that reset or trigger something when written: a write there
# cannot be undone (kernel documentation, admin-guide/cgroup-v1 and cgroup-v2.rst).
_LASTING_SUFFIXES = (
    ".failcnt",
    ".force_empty",
    ".max_usage_in_bytes",
    ".reset_stats",
    ".event_control",
    ".pressure",
    ".reclaim",
    ".peak",
)


_NUMBER = "0|-?[1-9][0-9]{0,19}"


@cache
def load(name: str, interface: Interface) -> Subsystem | None:
    """Return a subsystem's table for an interface, or None if there is none.

    The empty name is the core, whose files every container has. Raises Unsupported for a subsystem
    of another package that does not work.
    """
    if not name or name in WITH_TABLES[interface]:
        module = f"pcont.subsys.{interface.value}.{name or 'core'}"
        table = importlib.import_module(module).TABLE
        assert isinstance(table, Subsystem)
        return table
    return _load_other(name) if interface is Interface.V1 and is_virtual(name) else None


def by_key(name: str) -> Subsystem | None:
    """Return the table that has a subsystem's KEYs, or None for a controller without a table."""
    return load(name, Interface.V1)


@cache
def others() -> dict[str, EntryPoint]:
    """Return the subsystems of other packages, by name."""
    finders = [one for one in sys.meta_path if hasattr(one, "find_distributions")]
    if len(finders) < 2 and not any(map(_may_register, sys.path)):
        return {}
    from importlib.metadata import entry_points

    taken = {*NAMES, *VIRTUAL, *RESERVED, "cgroup"}
    found = {point.name: point for point in entry_points(group=_GROUP) if point.name not in taken}
    return dict(sorted(found.items()))


def _may_register(directory: str) -> bool:
    """Return whether a package in this directory of sys.path may register subsystems.

    importlib.metadata takes longer to import than most commands to run, and few hosts have such a
    package.
    """
    try:
        packages = [one.path for one in os.scandir(directory or ".") if _has_metadata(one.name)]
    except FileNotFoundError:
        return False
    except OSError:
        return True  # a zip file, say
    for package in packages:
        with contextlib.suppress(OSError), open(f"{package}/entry_points.txt", "rb") as file:
            if f"[{_GROUP}]".encode() in file.read():
                return True
    return False


def _has_metadata(name: str) -> bool:
    return name.lower().endswith((".dist-info", ".egg-info")) or name == "EGG-INFO"


def _load_other(name: str) -> Subsystem:
    point = others()[name]
    try:
        table = point.load()
        if not isinstance(table, Subsystem) or table.name != name:
            raise TypeError(f"no Subsystem called {name}")
        if strays := [row.name for row in table.files if row.name.partition(".")[0] != name]:
            raise ValueError(f"{strays[0]} does not begin with {name}.")
    except Exception as err:  # whatever another package may do
        raise Unsupported(
            f"the subsystem {name} ({point.value}) cannot be used: {type(err).__name__}: {err}",
            hint="repair or remove the package that provides it",
        ) from err
    return table


def virtual_names() -> tuple[str, ...]:
    """Return the subsystems that the kernel does not have, those of other packages included."""
    return (*VIRTUAL, *others())


def is_virtual(name: str) -> bool:
    """Return whether pcont, or another package, provides a subsystem in place of the kernel."""
    if name in VIRTUAL:
        return True
    if name in NAMES or name in ("", "cgroup", *RESERVED, *TASK_FILES, *HOME_FILES):
        return False
    return "=" not in name and name in others()


def called(word: str) -> str:
    """Return the name of a subsystem for a word that may be another name of it, such as bc."""
    return _ALIASES.get(word, word)


def of(file: str) -> str:
    """Return the name of the subsystem that a control file belongs to."""
    return called(file.partition(".")[0])


def is_virtual_file(file: str, controllers: Iterable[str]) -> bool:
    """Return whether pcont provides a control file in a tree with these controllers."""
    return file.partition(".")[0] not in controllers and is_virtual(of(file))


def is_enforced(name: str) -> bool:
    """Return whether BPF programs that pcont loads do the work of a subsystem."""
    table = _virtual_table(name)
    return bool(table and table.enforced)


def requires(name: str) -> str:
    """Return the controller that a subsystem of pcont requires; empty if it requires none."""
    table = _virtual_table(name)
    return table.virtual.requires if table else ""


def _virtual_table(name: str) -> Subsystem | None:
    """Return the table of a subsystem of pcont; None for any other, without loading its table."""
    return by_key(name) if is_virtual(name) else None


def about(table: Subsystem | None) -> str:
    """Return what a subsystem is for, in a few words; empty if it has no table."""
    return table.help if table else ""


@lru_cache(maxsize=1024)
def row(file: str) -> ControlFile | None:
    """Return the row of a KEY such as `cpuset.cpus`, or None if no table has it."""
    if known := core_table().by_name.get(file):
        return known
    if file == EVENT_CONTROL.name:
        return EVENT_CONTROL
    table = by_key(of(file))
    return (table.by_name.get(file) if table else None) or row_of_v2(file)


def row_of_v2(file: str) -> ControlFile | None:
    """Return the row of a file of cgroup v2, or None if no table has it."""
    if file.startswith("cgroup."):
        name = ""
    else:
        name = _PRESSURE if file.endswith(f".{_PRESSURE}") else of(file)
    table = load(name, Interface.V2)
    return table.by_name.get(file) if table else None


def is_always_on_v2(file: str) -> bool:
    """Return whether cgroup v2 has a file of a controller also where this is not enabled."""
    known = row_of_v2(file)
    return bool(known and known.access.always)


# Where the faces of KEYs are: for each interface, and for the first word of a KEY, the names of the
# tables that may have its face. For any other word, it is the table of that name.
_WITH_FACES: dict[Interface, dict[str, tuple[str, ...]]] = {
    Interface.V1: {"io": ("blkio",), "irq": ("cpu",), "cgroup": ("", FREEZER)},
    Interface.V2: {"blkio": ("io",)},
}


def with_face(key: str, interface: Interface) -> tuple[str, ...]:
    """Return the names of the tables that may have the face of a KEY. The core's name is empty."""
    word = key.partition(".")[0]
    return _WITH_FACES.get(interface, {}).get(word) or (of(key),)


@lru_cache(maxsize=1024)
def face(key: str, interface: Interface) -> KeyFace | None:
    """Return where an interface has the value of a KEY; None if it is in the file of that name, or
    nowhere.
    """
    found = {name: table for name in with_face(key, interface) if (table := load(name, interface))}
    faces = [table.faces for table in found.values()]
    has_file = any(key in table.by_name for table in found.values())
    if interface is Interface.V1 and not has_file and row_of_v2(key):
        from pcont.subsys.v1 import of_v2  # for KEYs of cgroup v2 only

        faces = [of_v2.FACES.get(name, {}) for name in found]
    return next((one[key] for one in faces if key in one), None)


def typed(file: str, text: str) -> int | str:
    """Return the value of a control file: a number if it holds one, otherwise the text.

    The table decides which files hold numbers; for a file without a row, the text decides. A word
    in place of a number, such as `max`, stays text, and can be written back.
    """
    known, plain = row(file), text.rstrip("\n")
    if not known:
        return int(plain) if re.fullmatch(_NUMBER, plain) else plain
    with contextlib.suppress(ValueError, OverflowError):
        value = known.type.parse(plain)
        return value if isinstance(value, int) else plain
    return plain


def order(file: str) -> int:
    """Return the place of a file among several that are written; what cannot be undone is last."""
    known = row(file)
    return 100 if _is_lasting(file, known) else known.order if known else 50


def is_setting(file: str, writable: bool) -> bool:
    """Return whether a file shows a setting, which pcont records before it changes it."""
    known = row(file)
    if known and known.undo.write_back:
        return True
    if known and (known.undo.written_to or known.virtual.stands_for):
        return False
    return writable and not _is_lasting(file, known) and file not in TASK_FILES


def stands_for(file: str) -> str:
    """Return the kernel's file for a KEY that is only another name of it; empty for any
    other KEY.
    """
    known = row(file)
    return known.virtual.stands_for if known else ""


def written_to(file: str) -> str:
    """Return the file that shows what was written into this one: usually itself."""
    known = row(file)
    return known.undo.written_to if known and known.undo.written_to else file


def can_write_back(file: str, text: str) -> bool:
    """Return whether writing the old text back undoes a write."""
    return bool(row(file)) or len(text.splitlines()) == 1


def writes_back(file: str, text: str, now: str = "") -> list[tuple[str, str]]:
    """Return the writes that make a file read as `text` again, as pairs of file and text.

    `now`: what the file reads at present.
    """
    known = row(file)
    if known and known.undo.write_back:
        return known.undo.write_back(text, now)
    if known or len(text.splitlines()) < 2:
        return [(file, text or "\n")]
    return [(file, f"{line}\n") for line in text.splitlines()]


def is_as_new(file: str, text: str, is_root: bool) -> bool:
    """Return whether a file reads as in a new container; a guess for a file without a row."""
    known = row(file)
    if known is None:
        return text.strip() in ("", "0", "max", str(NO_LIMIT))
    new = known.begins(is_root)
    if known.undo.many:
        text = "".join(
            f"{line}\n" for line in text.splitlines() if not re.fullmatch(_NO_LIMITS, line)
        )
    if write_back := known.undo.write_back:  # some of the text may change by itself
        return write_back(text, "") == write_back(known.type.show(new), "")
    try:
        value = known.type.parse(text.removesuffix(known.access.end))
    except (ValueError, OverflowError):
        return False
    unlimited = known.type is BYTES and is_unlimited(value)
    return bool(value == new) or (unlimited and is_unlimited(new))


def moves_affinity(file: str) -> bool:
    """Return whether a write changes the CPU affinity of the tasks inside."""
    known = row(file)
    return bool(known and known.undo.moves_affinity)


@cache
def sets_affinity(controllers: tuple[str, ...]) -> bool:
    """Return whether a task that enters or leaves a container may get another CPU affinity."""
    return any(row.undo.moves_affinity for row in rows(controllers))


@cache
def core_table() -> Subsystem:
    """Return the table of the files that every container has, whatever is bound."""
    table = by_key("")
    assert table
    return table


def lasting(file: str) -> bool:
    """Return whether a write to a file cannot be undone."""
    return _is_lasting(file, row(file))


def _is_lasting(file: str, known: ControlFile | None) -> bool:
    return known.undo.lasting if known else file.endswith(_LASTING_SUFFIXES)


def rows(controllers: Iterable[str]) -> list[ControlFile]:
    """Return the rows of all tables of these subsystems."""
    tables = [table for name in controllers if (table := by_key(name))]
    return [row for table in tables for row in table.files]


def entry_order(controllers: Iterable[str]) -> int:
    """Return when a task enters a tree with these controllers, compared to other trees: lower
    numbers come first.

    -1: a rule of pcont may refuse the task. A child that the task forks between two trees starts in
    this tree already, so the rule does not have to see it. 0: the kernel may refuse the task, which
    then happens before any other move. 1: other trees. 2: the freezer. A frozen task thaws when it
    enters a thawed container, and must be in every other tree by then.
    """
    names = set(controllers)
    if FREEZER in names:
        return LAST_TO_ENTER
    refusing = [name for name in names if (one := by_key(name)) and one.may_refuse]
    if any(map(is_virtual, refusing)):
        return -1
    return 0 if refusing else 1
