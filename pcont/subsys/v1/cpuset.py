"""cpuset on cgroup v1: its control files."""

from __future__ import annotations

from pcont.subsys.cpuset import (
    CPUS,
    MEMS,
    NESTED,
    RELAX,
    ROOT_HAS_ALL_ONLINE,
    a_level,
    has_cpus_and_nodes,
    no_so_large,
    online,
)
from pcont.tables.control_file import Access, Advice, ControlFile, Creation, Listed, Subsystem, Undo
from pcont.tables.rules import Rule, Where
from pcont.values import FLAG, ID_LIST, INT_FLAG, INTEGER, SIGNED, id_list

_STAYS, _PASSED_ON = Creation(), Creation(passed_on=True)


def _flag(
    word: str, help: str, *rules: Rule, root: int | None = None, creation: Creation = _STAYS
) -> ControlFile:
    """Return the row of a flag; `root` is its value in the root container if that is not 0."""
    if root is not None:
        creation = creation._replace(root_default=root)
    # update_flag() is given an int of what was read as 64 bits.
    return ControlFile(
        f"cpuset.{word}",
        help,
        INT_FLAG,
        default=0,
        rules=rules,
        access=Access(writable=True),
        creation=creation,
    )


TABLE = Subsystem(
    name="cpuset",
    help="CPUs and memory nodes",
    entry=(has_cpus_and_nodes,),
    files=(
        ControlFile(
            MEMS,
            "memory nodes that the tasks may use",
            ID_LIST,
            default=frozenset(),
            rules=(online(MEMS, "memory nodes"), *NESTED),
            order=10,
            listed=Listed.ALWAYS,
            access=Access(
                writable=True,
                root_fixed=ROOT_HAS_ALL_ONLINE,
                read_as=lambda machine: id_list(machine.node_limit),
                longest=lambda machine: 100 + 6 * machine.node_limit,
            ),
            creation=Creation(inherit=True),
            undo=Undo(copied_as="mems"),
            advice=Advice(larger=lambda machine: no_so_large("memory node", machine.nodes)),
        ),
        ControlFile(
            CPUS,
            "CPUs that the tasks may use",
            ID_LIST,
            default=frozenset(),
            rules=(online(CPUS, "CPUs"), *NESTED),
            order=20,
            listed=Listed.ALWAYS,
            access=Access(
                writable=True,
                root_fixed=ROOT_HAS_ALL_ONLINE,
                read_as=lambda machine: id_list(machine.cpu_limit),
                longest=lambda machine: 100 + 6 * machine.most_cpus,
            ),
            creation=Creation(inherit=True),
            undo=Undo(copied_as="cpus", moves_affinity=True),
            advice=Advice(larger=lambda machine: no_so_large("CPU", machine.cpus)),
        ),
        ControlFile(
            "cpuset.effective_cpus",
            "CPUs in force, after hotplug",
            ID_LIST,
        ),
        ControlFile(
            "cpuset.effective_mems",
            "memory nodes in force, after hotplug",
            ID_LIST,
        ),
        _flag("cpu_exclusive", "1: no sibling shares the CPUs", *NESTED, root=1),
        _flag("mem_exclusive", "1: no sibling shares the nodes", *NESTED, root=1),
        _flag("mem_hardwall", "1: kernel memory stays on the nodes, too"),
        _flag("memory_migrate", "1: pages move when mems changes", creation=Creation(inherit=True)),
        ControlFile(
            "cpuset.memory_pressure",
            "direct reclaims per second × 1000, 10 s half-life",
            INTEGER,
            default=0,
        ),
        ControlFile(
            "cpuset.memory_pressure_enabled",
            "1: measure memory_pressure",
            FLAG,
            default=0,
            access=Access(writable=True, where=Where.ROOT),
        ),
        _flag("memory_spread_page", "1: page cache is spread over the nodes", creation=_PASSED_ON),
        _flag("memory_spread_slab", "1: slab is spread (no effect today)", creation=_PASSED_ON),
        ControlFile(
            "cpuset.sched_load_balance",
            "1: the scheduler balances load over the CPUs",
            INT_FLAG,
            default=1,
            access=Access(writable=True),
        ),
        ControlFile(
            RELAX,
            "how far the scheduler looks for idle CPUs, -1 to 5",
            SIGNED,
            default=-1,
            rules=(a_level,),
            access=Access(writable=True),
        ),
    ),
)
