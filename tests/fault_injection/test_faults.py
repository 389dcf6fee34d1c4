"""Every command of several steps, failing at each of its changes: all or nothing, dead or alive."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

import psutil
import pytest

from pcont.kernel.interfaces import Backend
from pcont.kernel.refusals import exists
from pcont.kernel.types import UNIFIED, Place
from tests.conftest import IN_GUEST
from tests.contract.conftest import threads_of
from tests.fault_injection.command import RECOVERS, FaultyCommand
from tests.fault_injection.commands import ROWS
from tests.fault_injection.conftest import EVERYTHING, KINDS, cases, on_each_backend, some
from tests.fault_injection.workspace import Workspace
from tests.fault_injection.wrapper import (
    CHANGING,
    INTERRUPTED,
    KILLED,
    LOOKING,
    Act,
    Fault,
    delay,
    refusals,
)

LATE = 0.02
FORCED = "rm --force with numfiles"
BESIDE_OTHERS = "v2: create below a container of another program"
KEEP, WRITE = "set_attribute", "write"
# Commands that write a virtual file, and the changes that one such write is made of, in order.
VIRTUAL = {
    "set shares": [
        (KEEP, "numtasks.total_numtasks"),
        (WRITE, "pids.max"),
        (WRITE, "pids.max"),
        (KEEP, "numtasks.shares"),
        (WRITE, "pids.max"),
    ],
    "set memset": [(WRITE, "cpuset.mems"), (KEEP, "mems"), (WRITE, "cpuset.mem_hardwall")],
    "set the first auto_delete": [
        (KEEP, "auto_delete"),  # of the two children
        (KEEP, "auto_delete"),
        (KEEP, "release_agent"),
        (KEEP, "notify_on_release"),
        (KEEP, "auto_delete"),
        (WRITE, "release_agent"),
        (WRITE, "notify_on_release"),
    ],
    "set auto_delete back": [
        (KEEP, "auto_delete"),
        (KEEP, "notify_on_release"),
        (WRITE, "notify_on_release"),
    ],
    "set notify_on_release with auto_delete": [(KEEP, "notify_on_release")],
    "set release_agent with auto_delete": [(KEEP, "release_agent")],
    "set a forkrate": [("set", "numtasks.forkrate")],
}
# Commands that enable controllers of cgroup v2, of which a neighbour gets the files.
ENABLING = (
    *("v2: create and enable", "v2: set and enable beside another program"),
    *(BESIDE_OTHERS, "v2: bind to whole processes"),
)
# What another program sets during them, in each container that has the file and is not new.
OTHERS = {"pids.max": "4321", "memory.max": "67108864", "cpu.weight": "77"}
MOVING = ("set, and enter", "attach several", "clone --pid")


def drive(command: FaultyCommand, faults: Iterable[tuple[int, Fault]], most: int) -> None:
    """Run the command with these faults, each at the change of its number, or with some of them."""
    command.problems.clear()
    for at, fault in some(faults, 1 if IN_GUEST else most):
        result = command.run(at, fault)
        verb, words = command.reached(at)
        if verb:
            cases.append(f"{command.row}, {at}, {fault}")
        command.judge(
            f"{fault} at {at}, {verb}{words}",
            result,
            done=fault is INTERRUPTED,
            fatal=fault.fatal and bool(verb),
            directory=words[0] if verb == "remove_directory" else "",
        )
    assert not command.problems, "\n\n".join(command.problems)


def at_each_change(command: FaultyCommand, *faults: Fault) -> list[tuple[int, Fault]]:
    return [(at, one) for at in range(1, len(command.changes) + 1) for one in faults]


def test_the_kinds_are_tests() -> None:
    assert all(callable(globals()[kind]) for kind in KINDS)


def test_the_wrapper_knows_every_verb() -> None:
    interfaces = [one for one in Backend.__mro__ if one.__module__ == Backend.__module__]
    verbs = {name for one in interfaces for name in vars(one) if not name.startswith("_")}
    assert verbs == set(CHANGING) | LOOKING


def test_a_refusal_leaves_all_as_it_was(command: FaultyCommand) -> None:
    faults = [(at, one) for at, verb in enumerate(command.changes, 1) for one in refusals(verb)]
    drive(command, faults, most=4)


def test_a_change_that_is_late_is_none_the_worse(command: FaultyCommand) -> None:
    drive(command, at_each_change(command, delay(LATE)), most=1)


def test_a_signal_finds_all_done_or_nothing(command: FaultyCommand) -> None:
    drive(command, at_each_change(command, INTERRUPTED), most=2)


def test_a_death_leaves_nothing_in_between(command: FaultyCommand) -> None:
    if not (RECOVERS or command.workspace.on_model):
        pytest.skip("there is no pcont recover")
    drive(command, at_each_change(command, *KILLED), most=4)


@pytest.mark.parametrize(
    "command",
    on_each_backend([row for row in ROWS if row.name == "rm -r --evict"], backends=["model"]),
    indirect=True,
)
def test_a_task_that_one_listing_leaves_out_is_put_back_where_it_was(
    command: FaultyCommand,
) -> None:
    fault, last = refusals(command.changes[-1])[0], len(command.changes)
    shortened = 1
    while shortened <= (command.listings() or 1):
        task = dict(command.workspace.threads())["0.2"]
        result = command.run(last, fault, task, shortened)
        command.judge(f"0.2 is not in listing {shortened}, refused at {last}", result)
        shortened += 1
    assert not command.problems, "\n\n".join(command.problems)


@pytest.mark.parametrize(
    "command", on_each_backend([row for row in ROWS if row.name in VIRTUAL]), indirect=True
)
def test_each_part_of_a_write_to_a_virtual_file_is_a_change(command: FaultyCommand) -> None:
    parts = VIRTUAL[command.row.name]
    command.run()
    found = [(verb, words[1]) for verb, *words in command.done()]
    command.anew_as_before()
    where = range(len(found))
    assert any(found[at : at + len(parts)] == parts for at in where), found


@pytest.mark.parametrize(
    "command", on_each_backend([row for row in ROWS if row.name == FORCED]), indirect=True
)
def test_files_that_a_forced_removal_uncharged_are_reported(command: FaultyCommand) -> None:
    command.anew_as_before()  # files that earlier tests uncharged are not seen
    last = max(at for at, verb in enumerate(command.changes, 1) if verb == "remove")
    result = command.run(last, refusals("remove")[0])
    assert re.search(r"NOT RESTORED: /a/b: \d open file", result.err)
    command.anew_as_before()


@pytest.mark.parametrize(
    "command",
    on_each_backend([row for row in ROWS if row.name in ENABLING], backends=["cgroupfs"]),
    indirect=True,
)
@pytest.mark.parametrize("fatal", [False, True], ids=["refused", "killed"])
def test_what_another_program_sets_during_a_command_is_kept(
    command: FaultyCommand, fatal: bool
) -> None:
    """A controller that the command has enabled stays enabled then: the kernel would forget it."""
    set_by_others, neighbour = command.workspace.scratch / "others", Neighbour(command.workspace)

    def strike(verb: str, act: Act) -> object:
        set_by_others.write_text(json.dumps(neighbour.sets()))
        return (KILLED[0] if fatal else refusals(verb)[0]).strike(verb, act)

    kept = 0
    for at, fault in some(at_each_change(command, Fault("others set", strike, fatal)), 4):
        command.anew()
        set_by_others.write_text("[]")
        command.run(at, fault)
        if fatal:
            command.workspace.pcont("recover")  # it reports what stays enabled
        for path, file in json.loads(set_by_others.read_text()):
            assert neighbour.read(path, file) == OTHERS[file], f"{at}: {file} of {path}"
            kept += 1
        cases.append(f"{command.row}, {at}, {fault}")
    command.anew_as_before()
    assert kept or not EVERYTHING


@pytest.mark.parametrize(
    "command", on_each_backend([row for row in ROWS if row.name == BESIDE_OTHERS]), indirect=True
)
def test_the_state_has_what_cgroup_v2_enables_and_what_others_have_set(
    command: FaultyCommand,
) -> None:
    top = f"unified:/{command.workspace.name}/o"
    state = command.look()
    assert state["unified enables"].split() == ["memory", "pids"]
    assert state[f"{top} cgroup.subtree_control"].split() == ["memory", "pids"]
    assert state[f"{top}/p cgroup.type"] == "domain\n"
    assert state[f"{top}/p pids.max"] == "5\n"
    assert state[f"{top}/p memory.max"] == f"{32 << 20}\n"


@dataclass
class Neighbour:
    """Another program, which has a container beside those of a command."""

    workspace: Workspace

    def sets(self) -> list[tuple[str, str]]:
        """Set what it can in its container; the container and the file of each setting."""
        backend = self.workspace.pcont.backend()
        place = Place(UNIFIED, f"/{self.workspace.name}-other")
        if not exists(backend, place):
            backend.make(place)
        there = [file for file in OTHERS if file in backend.files(place)]
        for file in there:
            backend.write(place, file, OTHERS[file])
        return [(place.path, file) for file in there]

    def read(self, path: str, file: str) -> str:
        return self.workspace.pcont.backend().read(Place(UNIFIED, path), file).strip()


@pytest.mark.parametrize(
    "command",
    on_each_backend([row for row in ROWS if row.name in MOVING], backends=["cgroupfs"]),
    indirect=True,
)
def test_a_child_that_is_forked_during_a_command_is_in_one_place_in_every_tree(
    command: FaultyCommand,
) -> None:
    workspace = command.workspace

    def strike(verb: str, act: Act) -> object:
        workspace.fork()
        return act()

    for at, fault in some(at_each_change(command, Fault("a fork", strike)), 1):
        leader = workspace.processes[0].pid
        old = workspace.pcont.paths(leader)
        result = command.run(at, fault)
        assert result.status == 0, result.err
        (child,) = psutil.Process(leader).children()
        new = workspace.pcont.paths(leader)
        assert workspace.pcont.paths(child.pid) in (old, new), f"{at}: {command.reached(at)}"
        assert all(workspace.pcont.paths(task) == new for task in threads_of(leader))
        cases.append(f"{command.row}, {at}, {fault}")
        command.anew_as_before()
