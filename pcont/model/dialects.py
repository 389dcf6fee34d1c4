"""The kernels that a model can simulate: what each dialect has, and how its core differs.

Differences of single controllers are in their tables, `subsys.v1` and `subsys.v2006`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from errno import EINVAL, EIO, ENOENT

from pcont import subsys
from pcont.bases import NamedTuple
from pcont.subsys.model import load_behaviour
from pcont.tables.behaviour import Behaviour
from pcont.tables.control_file import Subsystem
from pcont.tables.interface import Interface
from pcont.values import INTEGER, strip

# Subsystems that a caller may name before a kernel has them (patch semantics, 6.2).
ANNOUNCED = ("ns",)


class Slot(NamedTuple):
    """A hierarchy as /proc shows it.

    `subsystems`: its controllers. `containers`: their number. `inside`: the number of tasks in the
    root itself. `mounts`: the number of mounts; None for a free slot.
    """

    number: int
    subsystems: tuple[str, ...]
    name: str
    containers: int
    inside: int
    mounts: int | None


class Dialect(NamedTuple):
    """A kernel that the model simulates: what it has, and how it answers.

    `controllers`: in the order in which a hierarchy names them. `interface`: selects its tables and
    behaviours. `has_virtual`: pcont adds virtual subsystems. `bare`: the files of cpuset have
    names without the prefix.

    `v2`: the controllers that cgroup v2 has while v1 has not bound them; `v2_point`: where it is
    mounted, empty if it is not.

    Mounting: `unknown`: the errno for an option that is no controller. `nothing`: the errno for an
    empty option; None if that means all controllers. `named`: hierarchies can have names. `slots`:
    the number of hierarchies that are possible (ENOSPC above it); 0 for any number.

    Attaching: `number`: parses the id of a task. `no_number`: the errno if that fails. `fixed`:
    some kernel threads cannot be moved. `zombies`: writing a task that has exited has no effect,
    and it holds on to a container that was removed; otherwise the write is ESRCH. `owners`: only
    root and the owner may move a task. `again`: writing a task into its own container has effects,
    too.

    `empty`: a write of zero bytes counts as a write.

    `keeps_requested`: a cpuset narrows the CPUs of sched_setaffinity(2), and restores them later
    (Linux 6.2, commit 851a723e45d1). In earlier kernels, a task gets all CPUs of its cpuset.

    `clones`: a task can get a container of its own below its present one.

    `listing`, `membership`: name and formatter of the files in /proc and /proc/PID that show
    hierarchies.
    """

    name: str
    controllers: tuple[str, ...]
    interface: Interface
    has_virtual: bool
    bare: bool
    unknown: int
    nothing: int | None
    named: bool
    slots: int
    number: Callable[[str], int]
    no_number: int
    fixed: bool
    zombies: bool
    owners: bool
    again: bool
    empty: bool
    clones: bool
    keeps_requested: bool
    listing: tuple[str, Callable[[Iterable[Slot], tuple[str, ...]], str]]
    membership: tuple[str, Callable[[Iterable[tuple[Slot, str]]], str]]
    v2: tuple[str, ...] = ()
    v2_point: str = ""

    @property
    def listed(self) -> tuple[str, ...]:
        """The controllers of v1 and v2, by the names of v1, as /proc/cgroups lists them."""
        if not self.v2:
            return self.controllers
        return tuple(name for name in subsys.NAMES if name in {*self.controllers, *self.offered})

    @property
    def offered(self) -> frozenset[str]:
        """The controllers of v2, by the names of v1 as well."""
        return frozenset((*self.v2, "blkio") if "io" in self.v2 else self.v2)

    @property
    def slot_numbers(self) -> range:
        """The numbers that a hierarchy can have; empty if any number is possible."""
        return range(1, 1 + self.slots)

    def table(self, name: str) -> Subsystem | None:
        """Return the table of a controller; None if there is none. The empty name is the core."""
        return subsys.load(name, self.interface)

    def behaviour(self, name: str) -> Behaviour:
        """Return what the model does for a controller, beside storing what is written."""
        return load_behaviour(name, self.interface)


def _v1_number(text: str) -> int:
    """Parse a task id as kstrtoint(9) does, with blanks around it, and refuse negative numbers."""
    task: int = INTEGER.parse(strip(text))
    if not 0 <= task < 1 << 31:
        raise ValueError(text)
    return task


def _v1_listing(slots: Iterable[Slot], controllers: tuple[str, ...]) -> str:
    """Return the text of /proc/cgroups (kernel/cgroup/cgroup-v1.c, proc_cgroupstats_show())."""
    bound = {name: slot for slot in slots for name in slot.subsystems}
    rows = ["#subsys_name\thierarchy\tnum_cgroups\tenabled"]
    v2 = next((slot for slot in slots if not slot.number), None)
    for name in controllers:
        slot = bound.get(name, v2)
        rows.append(f"{name}\t{slot.number if slot else 0}\t{slot.containers if slot else 1}\t1")
    return "".join(f"{row}\n" for row in rows)


def _v1_membership(paths: Iterable[tuple[Slot, str]]) -> str:
    """Return the text of /proc/PID/cgroup: the newest hierarchy first."""
    newest = sorted(paths, key=lambda pair: -pair[0].number)
    return "".join(f"{slot.number}:{_id(slot)}:{path}\n" for slot, path in newest)


def _id(slot: Slot) -> str:
    return ",".join([*slot.subsystems, f"name={slot.name}"] if slot.name else slot.subsystems)


def _v6_number(text: str) -> int:
    """Parse a task id as the patch set does."""
    from pcont.subsys.v2006.values import first_number

    return first_number(text)


def _v6_listing(slots: Iterable[Slot], controllers: tuple[str, ...]) -> str:
    """Return the text of /proc/containers (patch semantics, 1.5): every slot, and every subsystem
    by its id.
    """
    found, names_by_id = list(slots), controllers[::-1]
    ids = {name: id for id, name in enumerate(names_by_id)}
    bound = {name: slot.number for slot in found for name in slot.subsystems}
    rows = ["Hierarchies:"]
    for one in found:
        names = one.subsystems if one.number else ()
        bits = sum(1 << ids[name] for name in one.subsystems)
        row = f"{one.number}: topcount={1 + one.inside} bits={bits:x} containers={one.containers}"
        row += f" ({', '.join(names)})"
        if one.mounts is not None:
            row += f" s_active={one.mounts + one.containers - 1}"
        rows.append(row)
    rows.append("Subsystems:")
    rows += [f"{ids[name]}: name={name} hierarchy={bound[name]}" for name in names_by_id]
    return "".join(f"{row}\n" for row in rows)


def _v6_membership(paths: Iterable[tuple[Slot, str]]) -> str:
    """Return the text of /proc/PID/container, in the order of the slots."""
    return "".join(f"{','.join(slot.subsystems)}:{path}\n" for slot, path in paths)


V1 = Dialect(
    name="v1",
    controllers=("cpuset", "cpuacct", "freezer", "pids"),  # as /proc/cgroups of Linux 6.1 has them
    interface=Interface.V1,
    has_virtual=True,
    bare=False,
    unknown=EINVAL,
    nothing=EINVAL,
    named=True,
    slots=0,
    number=_v1_number,
    no_number=EINVAL,
    fixed=True,
    zombies=True,
    owners=False,
    again=False,
    empty=False,
    clones=False,
    keeps_requested=False,
    listing=("cgroups", _v1_listing),
    membership=("cgroup", _v1_membership),
)

# v1 of newer kernels, by the first release with the difference.
SINCE = (((6, 2), V1._replace(keeps_requested=True)),)

# The patch set as it was posted on 22 December 2006.
V6 = Dialect(
    name="v6",
    controllers=subsys.NAMES_2006,
    interface=Interface.V2006,
    has_virtual=False,
    bare=True,
    unknown=ENOENT,
    nothing=None,
    named=False,
    slots=3,  # CONFIG_MAX_CONTAINER_HIERARCHIES is 4, and one is where the unbound ones are
    number=_v6_number,
    no_number=EIO,
    fixed=False,
    zombies=False,
    owners=True,
    again=True,
    empty=True,
    clones=True,
    keeps_requested=False,
    listing=("containers", _v6_listing),
    membership=("container", _v6_membership),
)

# With the announced namespace subsystem, as in Linux 2.6.24.
V6_NS = V6._replace(name="v6-ns", controllers=("ns", *V6.controllers))

# Linux 6.12 as Debian builds it, booted with cgroup v2 only. The controllers that v2 does not have
# can be mounted as v1 beside it.
V2 = V1._replace(
    name="v2",
    controllers=("cpuacct", "freezer"),
    v2=("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"),
    v2_point="/sys/fs/cgroup",
    keeps_requested=True,
)

# Linux 6.12 built with v1's parts of all controllers, as a host that uses both. Cgroup v2 has the
# controllers that no hierarchy of v1 has.
HYBRID = V2._replace(name="hybrid", controllers=V1.controllers, v2_point="/sys/fs/cgroup/unified")

DIALECTS = {one.name: one for one in (V1, V2, HYBRID, V6, V6_NS)}


def like(release: str) -> Dialect:
    """Return the v1 dialect of a kernel release, given as uname(1) prints it."""
    numbers = tuple(int(word) for word in re.findall(r"[0-9]+", release)[:2])
    return next((one for since, one in reversed(SINCE) if since <= numbers), V1)
