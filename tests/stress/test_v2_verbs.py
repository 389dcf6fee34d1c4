"""Each command on cgroup v2 that moves or kills all tasks, a hundred times among a storm.

`PCONT_STORMS=40x100,400x25`: a hundred times with 40 lineages, 25 times with 400. Each time the
command runs once undisturbed, and once more until SIGKILL ends it at a random moment.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pcont.kernel.types import UNIFIED
from tests.conftest import IN_GUEST
from tests.contract.conftest import Pcont
from tests.contract.test_v2_hierarchies import UMBRELLA, Plain, mounted
from tests.stress.conftest import report
from tests.stress.v2 import (
    KILL,
    KILL_THREADED,
    MOVE,
    MOVE_THREADED,
    MOVE_TO_LEAF,
    SPILL,
    Scene,
    Verb,
    tallied,
)

pytestmark = [pytest.mark.kernel, pytest.mark.nightly]

STORMS = [
    tuple(map(int, one.split("x")))
    for one in os.environ.get("PCONT_STORMS", "40x100,400x25").split(",")
]
SEED = int(os.environ.get("PCONT_SEED", 1))
# What enables a controller needs a host on which no v1 hierarchy has it.
VERBS = [
    *(pytest.param(verb, id=str(verb)) for verb in (MOVE_THREADED, MOVE, KILL_THREADED, KILL)),
    *(pytest.param(verb, id=str(verb), marks=pytest.mark.guest) for verb in (MOVE_TO_LEAF, SPILL)),
]


@pytest.fixture(params=VERBS)
def verb(request: pytest.FixtureRequest) -> Verb:
    found = request.param
    assert isinstance(found, Verb)
    return found


@pytest.fixture
def scene(verb: Verb, cgroup2: None, compiler: None, name: str) -> Iterator[Scene]:
    """A hierarchy with a home and a part in cgroup v2; on a host whose cgroup v2 has no
    controllers, containers in both trees.
    """
    if IN_GUEST:
        subsystems = "cpuset,cpuacct,pids" if verb.threaded else "memory"
        for jobs in mounted(Plain(()), name, subsystems):
            yield Scene(
                jobs.pcont,
                f"{name}:",
                {f"name={name}": "", UNIFIED: f"{UMBRELLA}/{name}"},
            )
        return
    kernel = Pcont(("--backend", "cgroupfs"))
    kernel.ok("mount", "-o", "none", "--name", name)
    scene = Scene(
        kernel, f"{UNIFIED},{name}:/{name}", dict.fromkeys((UNIFIED, f"name={name}"), f"/{name}")
    )
    kernel.ok("create", scene.place)
    try:
        yield scene
    finally:
        kernel.ok("rm", scene.place)
        kernel.ok("umount", name)


@pytest.mark.parametrize(("width", "times"), STORMS)
def test_no_lineage_is_left_split_or_frozen(
    scene: Scene, verb: Verb, width: int, times: int
) -> None:
    tally = tallied(scene, verb, width, times, SEED)
    report(tally.line)
    assert tally.is_good, [tally.line, *tally.problems]
