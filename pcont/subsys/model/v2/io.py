"""io on cgroup v2 in the model: limits of the disks of this machine are stored, no I/O is counted.

No disk has weights, as with the schedulers that Debian uses.
"""

from __future__ import annotations

from errno import EINVAL

from pcont.subsys.v2.io import BFQ_WEIGHT, IO_MAX, IO_WEIGHT
from pcont.subsys.v2.values import IO_RATES, Devices
from pcont.tables.behaviour import Behaviour, FileBehaviour
from pcont.tables.rules import ModelCgroup


def _limit(site: ModelCgroup, wanted: Devices) -> None:
    """Change the words that a line names; a disk without a limit has no line."""
    found: Devices = dict(site.written(IO_MAX))
    for device, pairs in wanted.items():
        before = found.pop(device, dict.fromkeys(IO_RATES.names))
        after = {**before, **pairs}
        if any(number is not None for number in after.values()):
            found[device] = after
    site.store(IO_MAX, found)


def _weight(file: str) -> FileBehaviour:
    """Return the behaviour of a file with weights: only the default can be set."""

    def write(site: ModelCgroup, wanted: str) -> None:
        site.store(file, f"default {wanted.split()[-1]}")

    return FileBehaviour(write=write)


_NO_LINES = FileBehaviour(derived=lambda site: "", write=lambda site, wanted: None, lines=True)

BEHAVIOUR = Behaviour(
    not_built=("io.latency", "io.prio.class"),
    files={
        IO_MAX: FileBehaviour(
            write=_limit, refuses=lambda site, wanted: 0 if wanted else EINVAL, lines=True
        ),
        IO_WEIGHT: _weight(IO_WEIGHT),
        BFQ_WEIGHT: _weight(BFQ_WEIGHT),
        **dict.fromkeys(("io.stat", "io.cost.model", "io.cost.qos"), _NO_LINES),
    },
)
