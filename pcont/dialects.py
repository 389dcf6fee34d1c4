"""How kernels differ that a model can be: what each dialect has, and how its core answers.

What its subsystems answer otherwise is in their tables: `subsys` for v1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from errno import EINVAL

from pcont import subsys
from pcont.tables import Subsystem
from pcont.values import INTEGER


def _kernels_number(text: str) -> int:
    """As kstrtoint(9) has it: nothing but the number, and it is no negative one."""
    task: int = INTEGER.parse(text.strip())
    if not 0 <= task < 1 << 31:
        raise ValueError(text)
    return task


@dataclass(frozen=True)
class Dialect:
    """A kernel's way of answering.

    `controllers`: in the order in which a hierarchy names them. `table`: the files of a subsystem,
    without a name those of every container. `keeps`: pcont keeps what this kernel lacks.

    Mounting: `unknown`: the errno of a word that is none of them.

    Attaching: `number` reads the id of a task from what was written, and `no_number` is the errno
    where it is none. `fixed`: some kernel threads may not be moved.
    """

    name: str
    controllers: tuple[str, ...]
    table: Callable[[str], Subsystem | None]
    keeps: bool
    unknown: int
    number: Callable[[str], int]
    no_number: int
    fixed: bool


V1 = Dialect(
    name="v1",
    controllers=("cpuset", "cpuacct", "freezer", "pids"),  # as /proc/cgroups of Linux 6.1 has them
    table=subsys.load,
    keeps=True,
    unknown=EINVAL,
    number=_kernels_number,
    no_number=EINVAL,
    fixed=True,
)

DIALECTS = {one.name: one for one in (V1,)}
