"""hugetlb on cgroup v2 in the model: limits are stored. The machine has huge pages of 2 MB."""

from __future__ import annotations

from pcont.subsys.hugetlb import SIZES
from pcont.tables.behaviour import Behaviour, FileBehaviour
from pcont.tables.rules import ModelCgroup

_SIZE, _BYTES = "2MB", 2 << 20


def _limit(file: str) -> FileBehaviour:
    """Return the behaviour of a limit, which is rounded down to huge pages."""

    def write(site: ModelCgroup, wanted: int | None) -> None:
        site.store(file, None if wanted is None else wanted // _BYTES * _BYTES)

    return FileBehaviour(write=write)


def _by_node(site: ModelCgroup) -> str:
    return " ".join(["total=0", *(f"N{node}=0" for node in sorted(site.machine.nodes))])


_LIMITS = (f"hugetlb.{_SIZE}.max", f"hugetlb.{_SIZE}.rsvd.max")
_COUNTERS = (f"hugetlb.{_SIZE}.current", f"hugetlb.{_SIZE}.rsvd.current")
_EVENTS = (f"hugetlb.{_SIZE}.events", f"hugetlb.{_SIZE}.events.local")

BEHAVIOUR = Behaviour(
    not_built=tuple(f"hugetlb.{size}." for size in SIZES if size != _SIZE),
    files={
        **{file: _limit(file) for file in _LIMITS},
        **dict.fromkeys(_COUNTERS, FileBehaviour(derived=lambda site: 0)),
        **dict.fromkeys(_EVENTS, FileBehaviour(derived=lambda site: {"max": 0})),
        f"hugetlb.{_SIZE}.numa_stat": FileBehaviour(derived=_by_node),
    },
)
