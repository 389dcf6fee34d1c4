"""cpuset on cgroup v2: its control files.

The kernel's admin-guide/cgroup-v2.rst, section Cpuset (kernel/cgroup/cpuset.c). The rules of cgroup
v1 for parents, children and siblings do not hold: an empty list means the parent's, and what the
parent lacks is left out of the effective list.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EBUSY, EINVAL, ENOSPC, ERANGE
from typing import Any

from pcont.subsys import EXCLUSIVE, PARTITION
from pcont.subsys.cpuset import CPUS, MEMS, no_so_large, no_such
from pcont.subsys.partitions import (
    MEMBER,
    PARTITIONS,
    Cpuset,
    collides,
    consequences,
    isolated,
    reason_of,
)
from pcont.tables.control_file import (
    BELOW_ROOT,
    SETTING_BELOW_ROOT,
    Access,
    Advice,
    ControlFile,
    Listed,
    Subsystem,
    Undo,
)
from pcont.tables.face import Face, FaceSource, NotServed, Translation
from pcont.tables.rules import Fix, Follows, Machine, Rule, Site, Violation, Where
from pcont.values import FLAG, ID_LIST, WORD, Codec, id_list

CPUS_EFFECTIVE, MEMS_EFFECTIVE = "cpuset.cpus.effective", "cpuset.mems.effective"
EXCLUSIVE_EFFECTIVE, CPUS_ISOLATED = "cpuset.cpus.exclusive.effective", "cpuset.cpus.isolated"


def invalid_partition(text: str) -> str:
    """Return why a partition is invalid, given what cpuset.cpus.partition reads; empty if it is
    valid.

    The kernel accepts the write of a partition that it cannot make, and shows the reason then.

    >>> invalid_partition("root invalid (Cpu list in cpuset.cpus not exclusive)")
    'Cpu list in cpuset.cpus not exclusive'
    """
    reason = reason_of(text)
    return "" if reason is None else reason or "a partition is not possible here"


def _unmet(now: Site, text: str) -> Violation | None:
    """Explain why a partition is invalid, given what cpuset.cpus.partition reads."""
    if reason_of(text) is None:
        return None
    from pcont.subsys.invalid_partitions import explain  # for invalid ones only

    return explain(now, text)


def _foreseen(file: str) -> Callable[[Site, Any], list[Follows]]:
    """Return the function that tells how a write to a file changes partitions."""
    return lambda now, value: consequences(now, file, value)


def _possible_cpus(file: str) -> Rule:
    """Return the rule that a list has no CPU that the machine cannot have. One that is offline is
    accepted.
    """

    def rule(now: Site, wanted: Site) -> Violation | None:
        machine = now.machine
        missing = frozenset(one for one in wanted.value(file) if one >= machine.cpu_limit)
        return Violation(ERANGE, no_such("CPUs", missing, machine.cpus)) if missing else None

    return rule


def _possible_nodes(now: Site, wanted: Site) -> Violation | None:
    """Check that the list has no memory node that the machine cannot have."""
    machine = now.machine
    missing = wanted.value(MEMS) - machine.nodes
    if not missing:
        return None
    reason = no_such("memory nodes", missing, machine.nodes)
    # A node that may come online is accepted.
    return Violation(EINVAL, reason, sure=max(missing) >= machine.node_limit)


def _tasks_keep_a_list(file: str, effective: str) -> Rule:
    """Return the rule that a list is not emptied while tasks are in the container or below it."""

    def rule(now: Site, wanted: Site) -> Violation | None:
        if wanted.value(file) or not now.value(file) or not now.populated():
            return None
        above = now.parent
        inherited = ID_LIST.show(above.value(effective)) if above else "all"
        return Violation(
            ENOSPC,
            f"{file} cannot be emptied while tasks are in {now.shown} or below it; without a value "
            f"it would inherit {inherited}",
            f"pcont set {now.word} {file}={inherited}",
        )

    return rule


def _time_for_deadlines(now: Site, wanted: Site) -> Violation | None:
    """Check that the list of a partition is not emptied. The kernel compares the lists of
    cpuset.cpus, also if the partition has other CPUs: deadlines have reserved time on the CPUs
    where it balances load, and there is none without a CPU (dl_cpuset_cpumask_can_shrink()).
    """
    one = Cpuset(now)
    if wanted.value(CPUS) or not one.cpus or not one.is_valid or min(one.cpus) in isolated(one):
        return None
    fix = Fix(now.path, ((PARTITION, MEMBER),))
    reason = f"time is reserved on its CPU {min(one.cpus)} for tasks with deadlines"
    return Violation(
        EBUSY, f"{CPUS} of the partition {now.shown} cannot be emptied: {reason}", fixes=(fix,)
    )


def _apart_from_siblings(now: Site, wanted: Site) -> Violation | None:
    """Check that the exclusive list leaves each sibling what it has."""
    only = wanted.value(EXCLUSIVE)
    other = None if only == now.value(EXCLUSIVE) else collides(now, only)
    if other is None:
        return None
    one = Cpuset(other)
    cpus = one.wanted & (only or now.value(CPUS))
    noun, shared = "CPU" if len(cpus) == 1 else "CPUs", ID_LIST.show(cpus)
    has = "has" if one.only or one.is_valid else "has only"
    return Violation(
        EINVAL,
        f"the sibling {other.shown} {has} the {noun} {shared} in {one.list_file}",
        f"give one of them other CPUs; to see them: pcont get {other.word}",
    )


def _a_partition(now: Site, wanted: Site) -> Violation | None:
    """Check that the partition is one of the kernel's words."""
    if wanted.value(PARTITION) in PARTITIONS:
        return None
    return Violation(EINVAL, f"a partition is one of {', '.join(PARTITIONS)}")


def _first_word(text: str, now: str) -> list[tuple[str, str]]:
    return [(PARTITION, text.split()[0])]


def _list(
    file: str,
    help: str,
    order: int,
    *rules: Rule,
    read_as: Callable[[Machine], Codec],
    larger: Callable[[Machine], str],
    foreseen: Callable[[Site, Any], list[Follows]] | None = None,
) -> ControlFile:
    return ControlFile(
        file,
        help,
        ID_LIST,
        default=frozenset(),
        rules=rules,
        order=order,
        listed=Listed.IF_SET,
        access=SETTING_BELOW_ROOT._replace(
            read_as=read_as, longest=lambda machine: 100 + 6 * machine.most_cpus
        ),
        undo=Undo(moves_affinity=file == CPUS),
        advice=Advice(larger=larger, foreseen=foreseen),
    )


def _cpus(machine: Machine) -> Codec:
    return id_list(machine.cpu_limit)


def _no_cpu(machine: Machine) -> str:
    return no_so_large("CPU", machine.cpus)


_MIGRATE = "cpuset.memory_migrate"
_ALWAYS = f"it is always 1 on cgroup v2: the kernel moves the pages when {MEMS} changes"
_EXCLUSIVE = NotServed(
    "an exclusive cpuset of cgroup v1 is neither a partition of cgroup v2, which changes the "
    f"parent's CPUs and the scheduling domains, nor {EXCLUSIVE}, which alone excludes no sibling",
    f"{PARTITION} and {EXCLUSIVE} are the files of cgroup v2",
)
_NO_SPREADING = NotServed(
    "cgroup v2 spreads no memory over nodes", "numactl --interleave does it for a command"
)
_NO_PRESSURE = NotServed("cgroup v2 counts no reclaims by cpuset", "memory.pressure is the file")
_NO_DOMAINS = NotServed(
    "cgroup v2 changes scheduling domains only for partitions",
    f"{PARTITION}=isolated takes the CPUs out of load balancing",
)


def _always_migrates(text: str, source: FaceSource) -> list[tuple[str, str]]:
    if FLAG.parse(text) != 1:
        raise ValueError(_ALWAYS)
    return []


def _is_migrating(now: Site, wanted: Site) -> Violation | None:
    """Check that pages are to move when the memory nodes change."""
    return None if wanted.value(_MIGRATE) == 1 else Violation(EINVAL, _ALWAYS)


TABLE = Subsystem(
    name="cpuset",
    help="CPUs and memory nodes",
    faces={
        "cpuset.effective_cpus": Face(CPUS_EFFECTIVE),
        "cpuset.effective_mems": Face(MEMS_EFFECTIVE),
        "cpuset.cpu_exclusive": _EXCLUSIVE,
        "cpuset.mem_exclusive": NotServed("cgroup v2 has no exclusive memory nodes"),
        "cpuset.mem_hardwall": NotServed("cgroup v2 has no hardwall of memory nodes"),
        _MIGRATE: Translation(MEMS, lambda source: "1\n", _always_migrates, rules=(_is_migrating,)),
        "cpuset.memory_pressure": _NO_PRESSURE,
        "cpuset.memory_pressure_enabled": _NO_PRESSURE,
        "cpuset.memory_spread_page": _NO_SPREADING,
        "cpuset.memory_spread_slab": _NO_SPREADING,
        "cpuset.sched_load_balance": _NO_DOMAINS,
        "cpuset.sched_relax_domain_level": _NO_DOMAINS,
    },
    files=(
        _list(
            MEMS,
            "memory nodes that the tasks may use; empty: those of the parent",
            10,
            _possible_nodes,
            _tasks_keep_a_list(MEMS, MEMS_EFFECTIVE),
            read_as=lambda machine: id_list(machine.node_limit),
            larger=lambda machine: no_so_large("memory node", machine.nodes),
        ),
        _list(
            CPUS,
            "CPUs that the tasks may use; empty: those of the parent",
            20,
            _possible_cpus(CPUS),
            _tasks_keep_a_list(CPUS, CPUS_EFFECTIVE),
            _time_for_deadlines,
            read_as=_cpus,
            larger=_no_cpu,
            foreseen=_foreseen(CPUS),
        ),
        _list(
            EXCLUSIVE,
            "CPUs for a partition here or below; without one, others have them, too",
            30,
            _possible_cpus(EXCLUSIVE),
            _apart_from_siblings,
            read_as=_cpus,
            larger=_no_cpu,
            foreseen=_foreseen(EXCLUSIVE),
        ),
        ControlFile(
            PARTITION,
            "member, or root or isolated: the CPUs are its own",
            WORD,
            default=MEMBER,
            rules=(_a_partition,),
            order=60,  # after the lists that it needs
            listed=Listed.IF_SET,
            access=SETTING_BELOW_ROOT,
            undo=Undo(write_back=_first_word),
            advice=Advice(unmet=_unmet, foreseen=_foreseen(PARTITION)),
        ),
        ControlFile(
            CPUS_EFFECTIVE, "CPUs in force: those of the list that the parent has", ID_LIST
        ),
        ControlFile(
            MEMS_EFFECTIVE, "memory nodes in force: those of the list that the parent has", ID_LIST
        ),
        ControlFile(
            EXCLUSIVE_EFFECTIVE,
            "exclusive CPUs in force, of which partitions are made",
            ID_LIST,
            access=BELOW_ROOT,
        ),
        ControlFile(
            CPUS_ISOLATED,
            "CPUs of all isolated partitions",
            ID_LIST,
            access=Access(where=Where.ROOT),
        ),
    ),
)
