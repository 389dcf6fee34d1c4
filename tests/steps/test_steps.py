"""steps: all or none, whatever fails or interrupts."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import pytest

from pcont.backend_model import Model
from pcont.errors import BadValue, Busy, PcontError
from pcont.kernel.interfaces import Backend
from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import AssignedIds, Place, Task, TreeRequest
from pcont.model.dialects import V2
from pcont.signals import Interrupted
from pcont.steps import attach as attach_step
from pcont.steps.attach import Attach, Seen
from pcont.steps.attach_undo import AttachUndo
from pcont.steps.created import RemoveCreated
from pcont.steps.creation import CreateContainer
from pcont.steps.mirror import JoinUndo
from pcont.steps.mounts import (
    MakeDirectory,
    MountTree,
    RemakeDirectory,
    RemountUnmounted,
    RemoveDirectory,
    RemoveMadeDirectory,
    UmountTree,
    UnmountMounted,
    dissolve,
    find_tree,
)
from pcont.steps.move_all import Move, MoveAll, MoveAllUndo
from pcont.steps.origins import Processes
from pcont.steps.removal import RecreateRemoved, RemoveContainer
from pcont.steps.reuse import SOON
from pcont.steps.snapshot import StateReader
from pcont.steps.write import RestoreAffinities, RestoreValue, Setting, WriteFiles
from pcont.steps.xattr import RestoreXattr, SetXattr
from pcont.subsys.freezer import STATE
from pcont.tables.rules import Machine
from pcont.transaction.step import Step, carry_out
from pcont.transaction.undo_log import Action, UndoLog, UndoRecord, restore_record
from tests import hints

TREE = "cpuset,cpuacct"
ROOT, A, B = Place(TREE), Place(TREE, "/a"), Place(TREE, "/a/b")


@pytest.fixture
def model() -> Model:
    """Eight CPUs and four nodes, one hierarchy, and /a with all of it."""
    ids = frozenset(range(8))
    model = Model(Machine(ids, frozenset(range(4)), cpu_limit=8))
    model.make_directory("/cg")
    model.mount(TreeRequest(("cpuset", "cpuacct")), "/cg", "pcont")
    model.make(A)
    write(model, A, cpus="0-7", mems="0-3")
    return model


def write(model: Model, place: Place, **values: str) -> None:
    for name, text in values.items():
        model.write(place, f"cpuset.{name}", text or "\n")


def read(model: Model, place: Place, *names: str) -> list[str]:
    return [model.read(place, f"cpuset.{name}").rstrip("\n") for name in names]


def settings(place: Place, **values: str) -> list[Setting]:
    return [Setting(place, f"cpuset.{name}", text) for name, text in values.items()]


# carry_out, with steps that only take notes


@dataclass
class Untouched(UndoRecord):
    """Nothing was done to a note; its restore may fail."""

    action: str
    log: list[str]
    stuck: Exception | None

    @property
    def label(self) -> str:
        return self.action

    def restore(self, backend: Backend) -> Iterator[Action]:
        yield self._fail
        yield lambda: self.log.append(f"undo {self.action}")

    def _fail(self) -> None:
        if self.stuck:
            raise self.stuck


@dataclass
class Note(Step):
    """Writes down what is done to it; may fail, or be interrupted, at what it does."""

    action: str
    log: list[str]
    fails: BaseException | None = None
    stuck: Exception | None = None
    interrupted_by: int = 0
    threads: list[str] = field(default_factory=list)

    def dry_run_lines(self, backend: Backend) -> list[str]:
        return [f"note {self.action}"]

    def do(self, backend: Backend, undo_log: UndoLog) -> None:
        self.log.append(f"do {self.action}")
        with undo_log.of(Untouched(self.action, self.log, self.stuck)):
            if self.interrupted_by:
                os.kill(os.getpid(), self.interrupted_by)
                self.log.append(f"finish {self.action}")
            if self.fails:
                raise self.fails


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def handler() -> Iterator[list[int]]:
    """Signals that must reach this test only."""
    arrived: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: arrived.append(number))
    yield arrived
    signal.signal(signal.SIGTERM, before)


def test_steps_are_done_in_their_order(log: list[str]) -> None:
    done = carry_out(Model(), [Note("a", log), Note("b", log)])
    assert log == ["do a", "do b"]
    assert done.undo() == []
    assert log == ["do a", "do b", "undo b", "undo a"]
    assert done.undo() == []
    assert len(log) == 4


def test_no_steps_are_nothing() -> None:
    assert carry_out(Model(), []).undo() == []


def test_a_failure_undoes_everything_the_last_first(log: list[str]) -> None:
    failing = Note("c", log, fails=OSError(errno.EBUSY, "", "/c"))
    with pytest.raises(Busy, match=r"cannot c: .* \(EBUSY\)") as caught:
        carry_out(Model(), [Note("a", log), Note("b", log), failing, Note("d", log)])
    assert log == ["do a", "do b", "do c", "undo b", "undo a"]
    assert caught.value.undone
    assert caught.value.left == []
    assert caught.value.message.endswith("; everything before it was undone")
    assert isinstance(caught.value.__cause__, OSError)


def test_a_first_step_that_fails_had_nothing_before_it(log: list[str]) -> None:
    with pytest.raises(Busy) as caught:
        carry_out(Model(), [Note("a", log, fails=OSError(errno.EBUSY, "", "/a"))])
    assert log == ["do a"]
    assert not caught.value.undone


def test_a_refusal_of_pconts_own_undoes_as_well(log: list[str]) -> None:
    with pytest.raises(BadValue, match="no"):
        carry_out(Model(), [Note("a", log), Note("b", log, fails=BadValue("no"))])
    assert log[-2:] == ["undo b", "undo a"]


def test_a_bug_undoes_as_well(log: list[str]) -> None:
    with pytest.raises(ZeroDivisionError):
        carry_out(Model(), [Note("a", log), Note("b", log, fails=ZeroDivisionError())])
    assert log[-2:] == ["undo b", "undo a"]


def test_what_cannot_be_put_back_is_named_and_the_rest_is_put_back(log: list[str]) -> None:
    stuck = Note("b", log, stuck=OSError(errno.EBUSY, "", "/b"))
    failing = Note("c", log, fails=OSError(errno.EINVAL, "", "/c"))
    with pytest.raises(BadValue) as caught:
        carry_out(Model(), [Note("a", log), stuck, failing])
    assert log[-2:] == ["undo b", "undo a"]
    assert caught.value.left == ["cannot put back b: Device or resource busy (EBUSY)"]
    assert "NOT RESTORED" in caught.value.message
    assert "was undone" not in caught.value.message


def test_a_hierarchy_that_stays_is_refused_with_commands(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pcont.steps.mounts.RELEASE_PATIENCE", 0)
    with pytest.raises(Busy, match="does not release cpuset,cpuacct") as caught:
        dissolve(model, TreeRequest(("cpuset", "cpuacct")), "/cg", "pcont")
    assert "pcont pins" in caught.value.hint
    hints.check(f"  hint: {caught.value.hint}")


def test_a_refusal_while_putting_back_is_named_like_any_other(log: list[str]) -> None:
    """Unmounting, as an undo, may find that the hierarchy lingers: that is Busy, no OSError."""
    stuck = Note("b", log, stuck=Busy("it lingers"))
    failing = Note("c", log, fails=OSError(errno.EINVAL, "", "/c"))
    with pytest.raises(BadValue) as caught:
        carry_out(Model(), [Note("a", log), stuck, failing])
    assert log[-2:] == ["undo b", "undo a"]
    assert len(caught.value.left) == 1
    assert "it lingers" in caught.value.left[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_lets_the_step_end_and_then_undoes_it(
    log: list[str], number: signal.Signals
) -> None:
    before = signal.signal(number, lambda number, frame: log.append("not held"))
    try:
        with pytest.raises(Interrupted) as caught:
            carry_out(
                Model(), [Note("a", log), Note("b", log, interrupted_by=number), Note("c", log)]
            )
    finally:
        signal.signal(number, before)
    assert log == ["do a", "do b", "finish b", "undo b", "undo a"]
    assert caught.value.number == number


def test_a_signal_in_the_last_step_undoes_all_of_it(log: list[str], handler: list[int]) -> None:
    with pytest.raises(Interrupted):
        carry_out(Model(), [Note("a", log), Note("b", log, interrupted_by=signal.SIGTERM)])
    assert log == ["do a", "do b", "finish b", "undo b", "undo a"]
    assert handler == []


def test_a_signal_while_something_fails_leaves_the_failure(
    log: list[str], handler: list[int]
) -> None:
    failing = Note("b", log, interrupted_by=signal.SIGTERM, fails=OSError(errno.EBUSY, "", "/b"))
    with pytest.raises(Busy):
        carry_out(Model(), [Note("a", log), failing])
    assert log[-2:] == ["finish b", "undo a"]


def test_an_interruption_says_what_it_could_not_put_back(
    log: list[str], handler: list[int]
) -> None:
    stuck = Note("a", log, stuck=OSError(errno.EBUSY, "", "/a"))
    with pytest.raises(Interrupted) as caught:
        carry_out(Model(), [stuck, Note("b", log, interrupted_by=signal.SIGTERM)])
    assert caught.value.left == ["cannot put back a: Device or resource busy (EBUSY)"]


def test_ignored_signals_stay_ignored(log: list[str]) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        carry_out(Model(), [Note("a", log, interrupted_by=signal.SIGHUP), Note("b", log)])
    finally:
        signal.signal(signal.SIGHUP, before)
    assert log == ["do a", "finish a", "do b"]


def test_handlers_are_as_before_whatever_came_of_it(log: list[str], handler: list[int]) -> None:
    mine = signal.getsignal(signal.SIGTERM)
    carry_out(Model(), [Note("a", log)])
    assert signal.getsignal(signal.SIGTERM) is mine
    with pytest.raises(Busy):
        carry_out(Model(), [Note("a", log, fails=OSError(errno.EBUSY, ""))])
    assert signal.getsignal(signal.SIGTERM) is mine


def test_another_thread_can_carry_out_steps(log: list[str]) -> None:
    thread = threading.Thread(target=lambda: carry_out(Model(), [Note("a", log)]))
    thread.start()
    thread.join()
    assert log == ["do a"]


def test_progress_is_reported_before_each_step(log: list[str]) -> None:
    reported: list[tuple[int, int, int]] = []
    steps = [Note("a", log), Note("b", log)]
    carry_out(Model(), steps, lambda done, of: reported.append((done, of, len(log))))
    assert reported == [(0, 2, 0), (1, 2, 1)]


# Settings


def test_settings_are_written_in_the_order_of_the_table(model: Model) -> None:
    step = WriteFiles(settings(A, cpu_exclusive="0", cpus="0", mems="0"), "set a")
    assert [one.file for one in step.settings] == [
        "cpuset.mems",
        "cpuset.cpus",
        "cpuset.cpu_exclusive",
    ]
    assert step.dry_run_lines(model) == [
        "echo 0 > /cg/a/cpuset.mems",
        "echo 0 > /cg/a/cpuset.cpus",
        "echo 0 > /cg/a/cpuset.cpu_exclusive",
    ]


def test_what_cannot_be_undone_is_written_last(model: Model) -> None:
    step = WriteFiles(
        [Setting(A, "cpuacct.usage", "0"), *settings(A, sched_load_balance="0", cpus="1")], "set a"
    )
    assert [one.file for one in step.settings][-1] == "cpuacct.usage"
    carry_out(model, [step])
    assert read(model, A, "cpus", "sched_load_balance") == ["1", "0"]


def test_a_reset_is_not_written_when_something_before_it_is_refused(model: Model) -> None:
    model.hierarchies.active[0].root.nodes["a"].times[0] = (5, 5)
    with pytest.raises(BadValue):
        carry_out(
            model,
            [WriteFiles([Setting(A, "cpuacct.usage", "0"), *settings(A, cpus="99")], "set a")],
        )
    assert model.read(A, "cpuacct.usage") == "10\n"


def test_a_refused_reset_puts_the_settings_before_it_back(model: Model) -> None:
    step = WriteFiles([Setting(A, "cpuacct.usage", "7"), *settings(A, cpus="1")], "set a")
    with pytest.raises(BadValue, match="takes only 0"):
        carry_out(model, [step])
    assert read(model, A, "cpus") == ["0-7"]


def test_an_order_that_only_works_one_way_is_found(model: Model) -> None:
    """Exclusive and shared with a sibling: the flag must fall before the list may grow."""
    write(model, ROOT, cpu_exclusive="1")
    write(model, A, cpu_exclusive="1")
    for name in ("b", "c"):
        model.make(A.child(name))
    write(model, B, cpus="0-1", mems="0", cpu_exclusive="1")
    write(model, A.child("c"), cpus="2-3", mems="0")
    with pytest.raises(WriteRefused):
        write(model, B, cpus="0-3")
    carry_out(model, [WriteFiles(settings(B, cpus="0-3", cpu_exclusive="0"), "set b")])
    assert read(model, B, "cpus", "cpu_exclusive") == ["0-3", "0"]
    # And the other way round the list must shrink before the flag may rise.
    carry_out(model, [WriteFiles(settings(B, cpu_exclusive="1", cpus="0-1"), "set b")])
    assert read(model, B, "cpus", "cpu_exclusive") == ["0-1", "1"]


@pytest.mark.parametrize("order", [(A, B), (B, A)], ids=["parent first", "child first"])
def test_parent_and_child_grow_and_shrink_in_one_step(
    model: Model, order: tuple[Place, Place]
) -> None:
    model.make(B)
    write(model, A, cpus="0-1")
    write(model, B, cpus="0-1", mems="0")
    for cpus in ("0-7", "2-3", "2"):
        both = [one for place in order for one in settings(place, cpus=cpus)]
        carry_out(model, [WriteFiles(both, "set both")])
        assert read(model, A, "cpus") == read(model, B, "cpus") == [cpus]


def test_a_refused_value_leaves_every_setting_as_it_was(model: Model) -> None:
    values = {"mems": "1", "cpus": "0-99", "memory_migrate": "1", "sched_load_balance": "0"}
    names = tuple(values)
    before = read(model, A, *names)
    with pytest.raises(BadValue, match="this machine has no CPUs 8-99"):
        carry_out(model, [WriteFiles(settings(A, **values), "set a")])
    assert read(model, A, *names) == before


def test_a_refusal_amid_several_keys_says_that_the_others_were_undone(model: Model) -> None:
    with pytest.raises(BadValue) as caught:
        carry_out(model, [WriteFiles(settings(A, mems="1", cpus="99"), "set a")])
    assert "undone" in caught.value.message


def test_empty_lists_are_written_as_a_newline_and_put_back(model: Model) -> None:
    model.make(B)
    step = WriteFiles(settings(B, cpus="0-1", mems="0"), "set b")
    done = carry_out(model, [step])
    assert read(model, B, "cpus", "mems") == ["0-1", "0"]
    assert done.undo() == []
    assert read(model, B, "cpus", "mems") == ["", ""]
    carry_out(model, [WriteFiles(settings(A.child("b"), cpus=""), "set b")])
    assert Setting(B, "cpuset.cpus", "").written == "\n"


def test_a_value_that_cannot_be_put_back_does_not_keep_the_others_from_it(model: Model) -> None:
    class Sticky(Model):
        """Once written, cpuset.memory_migrate stays."""

        def write(self, place: Place, file: str, text: str) -> None:
            if file == "cpuset.memory_migrate" and text.strip() == "0":
                raise WriteRefused(errno.EIO, os.strerror(errno.EIO), self.show(place, file))
            super().write(place, file, text)

    sticky = Sticky(model.config.machine)
    vars(sticky).update(vars(model))
    values = {"mems": "1", "cpus": "1", "memory_migrate": "1", "sched_relax_domain_level": "99"}
    with pytest.raises(BadValue) as caught:
        carry_out(sticky, [WriteFiles(settings(A, **values), "set a")])
    assert caught.value.left
    assert read(sticky, A, "mems", "cpus") == ["0-3", "0-7"]


def test_the_affinity_of_the_tasks_inside_comes_back(model: Model, sleeper: int) -> None:
    model.write(A, "tasks", str(sleeper))
    model.set_affinity(sleeper, frozenset({3}))
    done = carry_out(model, [WriteFiles(settings(A, cpus="0-1"), "set a")])
    assert model.affinity(sleeper) == {0, 1}
    done.undo()
    assert model.affinity(sleeper) == {3}


# Containers


def test_what_was_made_goes_and_what_was_there_stays(model: Model) -> None:
    with pytest.raises(Busy, match="cannot create a: it exists already"):
        carry_out(model, [CreateContainer(B, "create b"), CreateContainer(A, "create a")])
    assert model.children(ROOT) == ["a"]
    assert model.children(A) == []


def test_a_removed_container_comes_back_with_all_that_it_had(model: Model) -> None:
    model.make(B)
    write(model, B, cpus="1", mems="2", sched_load_balance="0")
    model.write(B, "notify_on_release", "1")
    model.set_attribute(B, "auto_delete", "1")
    with pytest.raises(Busy):
        carry_out(model, [RemoveContainer(B, "remove b"), RemoveContainer(ROOT, "remove all")])
    assert read(model, B, "cpus", "mems", "sched_load_balance") == ["1", "2", "0"]
    assert model.read(B, "notify_on_release") == "1\n"
    assert model.attributes(B) == {"auto_delete": "1"}


def test_an_attribute_is_put_back_or_taken_away(model: Model) -> None:
    model.set_attribute(A, "old", "1")
    marks = [SetXattr(A, "old", "2", "mark"), SetXattr(A, "new", "3", "mark")]
    done = carry_out(model, [*marks])
    assert model.attributes(A) == {"old": "2", "new": "3"}
    assert done.undo() == []
    assert model.attributes(A) == {"old": "1"}


# Mounts


def test_a_mount_that_is_undone_leaves_no_hierarchy_and_no_directory(model: Model) -> None:
    request = TreeRequest((), "jobs")
    steps: list[Step] = [MakeDirectory("/m", "m"), MountTree(request, "/m", "mount", made=1)]
    done = carry_out(model, steps)
    found = find_tree(model, request)
    assert found
    assert found.mounts[0].made == ["/m"]
    assert done.undo() == []
    assert find_tree(model, request) is None
    assert model.missing("/m") == ["/m"]


def test_one_more_view_that_is_undone_leaves_the_first(model: Model) -> None:
    model.make_directory("/m")
    request = TreeRequest(("cpuset", "cpuacct"))
    carry_out(model, [MountTree(request, "/m", "mount")]).undo()
    (tree,) = model.trees()
    assert [mount.point for mount in tree.mounts] == ["/cg"]


def test_an_unmounted_hierarchy_comes_back_with_its_facts(model: Model) -> None:
    request = TreeRequest((), "jobs")
    steps: list[Step] = [MakeDirectory("/m", "m"), MountTree(request, "/m", "mount", made=1)]
    carry_out(model, steps)
    tree = find_tree(model, request)
    assert tree
    model.set_attribute(Place(tree.id), "tie", "facts")
    away: list[Step] = [
        UmountTree(tree, tree.mounts[0], True, "umount"),
        RemoveDirectory("/m", "umount"),
    ]
    done = carry_out(model, away)
    assert find_tree(model, request) is None
    assert done.undo() == []
    assert find_tree(model, request) is not None
    assert model.attributes(Place(tree.id)) == {"tie": "facts"}
    (back,) = (one for one in model.trees() if one.name == "jobs")
    assert back.mounts[0].ours


# Tasks


def test_trees_that_may_refuse_come_first_and_the_freezer_last() -> None:
    ids = ("freezer", "cpuacct", "name=jobs", "cpu,cpuset", "memory", "cpu", "cpuset")
    reported = Attach(1, [Place(id) for id in ids], "attach process 1").dry_run_lines(Model())
    assert [line.removeprefix("echo 1 > ").partition(":")[0] for line in reported] == [
        "cpu,cpuset",
        "cpu",
        "cpuset",
        "cpuacct",
        "name=jobs",
        "memory",
        "freezer",
    ]


def two_trees() -> Model:
    """A named tree without rules, and a cpuset tree with an empty /a."""
    model = Model()
    for point, request in (("/n", TreeRequest((), "n")), ("/c", TreeRequest(("cpuset",)))):
        model.make_directory(point)
        model.mount(request, point, "pcont")
    for tree in ("name=n", "cpuset"):
        model.make(Place(tree, "/a"))
    return model


def enter(task: int) -> Attach:
    return Attach(task, [Place("name=n", "/a"), Place("cpuset", "/a")], f"attach {task}")


def test_a_refused_task_is_in_no_tree_of_the_container(sleeper: int) -> None:
    model = two_trees()
    with pytest.raises(BadValue, match=r"cpuset\.cpus and cpuset\.mems of \S+ are empty"):
        carry_out(model, [enter(sleeper)])
    assert set(model.membership(sleeper).values()) == {"/"}


def test_a_moved_task_goes_back_when_a_later_step_fails(sleeper: int, log: list[str]) -> None:
    model = two_trees()
    for file, text in (("cpuset.cpus", "0-1"), ("cpuset.mems", "0")):
        model.write(Place("cpuset", "/a"), file, text)
    model.set_affinity(sleeper, frozenset({2}))
    with pytest.raises(Busy):
        carry_out(model, [enter(sleeper), Note("x", log, fails=OSError(errno.EBUSY, ""))])
    assert set(model.membership(sleeper).values()) == {"/"}
    assert model.affinity(sleeper) == {2}
    carry_out(model, [enter(sleeper)])
    assert set(model.membership(sleeper).values()) == {"/a"}


def test_a_task_that_ends_during_the_move_is_a_note_and_no_failure() -> None:
    model = two_trees()
    with subprocess.Popen(["true"]) as process:
        pass
    places = [Place("name=n", "/a")]
    step = Attach(process.pid, places, "attach")
    carry_out(model, [step])
    assert step.notes() == [f"task {process.pid} ended while it was being moved"]


class Busily(Model):
    """A model with two named trees in which something happens after the first write of a task."""

    def __init__(self, act: Callable[[Busily], None]) -> None:
        super().__init__()
        self.act: Callable[[Busily], None] | None = None
        for name in ("n", "m"):
            self.make_directory(f"/{name}")
            self.mount(TreeRequest((), name), f"/{name}", "pcont")
            self.make(Place(f"name={name}", "/a"))
        self.task_id = self.simulator.spawn()
        self.child = 0
        self.refuses = True
        self.after_each: Callable[[Busily, int], None] = lambda model, task: None
        self.act = act

    def write(self, place: Place, file: str, text: str) -> None:
        if self.refuses and text == str(self.child) and place.path == "/a":
            raise WriteRefused(errno.EAGAIN, "no", place.path)
        super().write(place, file, text)
        self.written(place, text)

    def enter(self, place: Place, tasks: Iterable[int], file: str = "") -> Iterator[int]:
        for task in tasks:
            if self.refuses and task == self.child and place.path == "/a":
                raise WriteRefused(errno.EAGAIN, "no", place.path)
            for one in super().enter(place, [task], file):
                self.written(place, str(one))
                yield one

    def written(self, place: Place, text: str) -> None:
        """A task has been moved."""
        if self.act:
            act, self.act = self.act, None
            act(self)
        if place.path == "/a":
            self.after_each(self, int(text))

    def fork_one(self) -> None:
        self.child = self.simulator.fork(self.task_id)


TWO = [Place("name=n", "/a"), Place("name=m", "/a")]


def test_a_child_that_was_forked_between_two_trees_goes_back_with_its_parent() -> None:
    """It was in the container of the first tree from its start: its parent's origin is its own."""
    model = Busily(Busily.fork_one)
    with pytest.raises(PcontError, match="EAGAIN"):
        carry_out(model, [Attach(model.task_id, TWO, "attach")])
    for task in (model.task_id, model.child):
        assert model.membership(task) == {"name=n": "/", "name=m": "/"}


def test_a_child_that_was_forked_between_two_trees_is_late() -> None:
    model = Busily(Busily.fork_one)
    model.refuses = False
    step = Attach(model.task_id, TWO, "attach")
    model.act = lambda model: setattr(model, "late", model.simulator.fork(model.task_id))
    carry_out(model, [step])
    assert set(model.membership(model.late).values()) == {"/a"}  # type: ignore[attr-defined]
    assert (step.outcome.moved, step.outcome.stragglers, step.outcome.rounds) == (2, 1, 2)


def several(model: Busily) -> tuple[Attach, dict[int, str]]:
    """Three processes that were in containers of their own; the last one forks between two trees.

    Returns the step that attaches them all, and what an error would say of each.
    """
    tasks = [model.simulator.spawn(), model.simulator.spawn(), model.task_id]
    for task in tasks:
        for place in TWO:
            model.make(place.parent.child(str(task)))
            model.write(place.parent.child(str(task)), "cgroup.procs", str(task))
    said = {task: f"attach {task}" for task in tasks}
    first, *others = tasks
    step = Attach(first, TWO, said[first], also={task: said[task] for task in others})

    def fork_once(model: Busily, task: int) -> None:
        if task == model.task_id and not model.child:
            model.fork_one()

    model.after_each = fork_once
    return step, said


def test_a_process_goes_back_with_all_its_threads_though_its_first_one_has_ended(
    log: list[str],
) -> None:
    model = Busily(lambda model: None)
    model.refuses = False
    thread = model.simulator.thread(model.task_id)
    steps = [
        Attach(model.task_id, TWO, "attach"),
        Note("x", log, fails=OSError(errno.EBUSY, "")),
    ]

    def ends(model: Busily, task: int) -> None:
        if model.membership(thread)["name=m"] == "/a":
            model.simulator.exit(task, thread=True)

    model.after_each = ends
    with pytest.raises(Busy):
        carry_out(model, steps)
    assert model.task(model.task_id).exited
    assert model.membership(thread) == {"name=n": "/", "name=m": "/"}


def test_several_tasks_of_a_step_go_back_each_to_its_own_container() -> None:
    """So does the child of one of them: to where its own parent was."""
    model = Busily(lambda model: None)
    step, said = several(model)
    with pytest.raises(PcontError, match="EAGAIN"):
        carry_out(model, [step])
    for task in said:
        assert set(model.membership(task).values()) == {f"/{task}"}
    assert set(model.membership(model.child).values()) == {f"/{model.task_id}"}


def test_a_step_of_several_tasks_moves_them_all_and_what_they_start() -> None:
    model = Busily(lambda model: None)
    model.refuses = False
    step, said = several(model)
    carry_out(model, [step])
    for task in (*said, model.child):
        assert set(model.membership(task).values()) == {"/a"}
    assert (step.outcome.moved, step.outcome.stragglers) == (4, 1)
    assert step.dry_run_lines(model) == [
        f"echo {task} > /{name}/a/cgroup.procs" for name in ("n", "m") for task in said
    ]


def test_an_error_names_the_task_of_several_that_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Busily(lambda model: None)
    second, task = model.simulator.spawn(), model.placement.task
    monkeypatch.setattr(model.placement, "task", lambda id: task(id)._replace(fixed=id == second))
    step = Attach(model.task_id, TWO, "attach the first", also={second: "attach the second"})
    with pytest.raises(BadValue, match="cannot attach the second: "):
        carry_out(model, [step])
    assert set(model.membership(model.task_id).values()) == {"/"}


def test_those_of_several_that_have_ended_are_noted() -> None:
    model = Busily(lambda model: None)
    gone = [model.simulator.spawn(), model.simulator.spawn()]
    for task in gone:
        model.simulator.exit(task)
    step = Attach(gone[0], TWO, "x", also={model.task_id: "y", gone[1]: "z"})
    carry_out(model, [step])
    assert step.notes() == [f"task {task} ended while it was being moved" for task in gone]
    assert set(model.membership(model.task_id).values()) == {"/a"}


def test_a_child_goes_back_to_where_the_live_threads_of_its_parent_were() -> None:
    """The first thread of the parent has ended; another one has started the child."""
    model = Busily(lambda model: None)
    thread = model.simulator.thread(model.task_id)
    model.simulator.exit(model.task_id, thread=True)
    child = model.simulator.fork(thread)
    outside = JoinUndo([], {}, {thread: (0, "/from")})
    assert [outside._origin(model, task) for task in (thread, child)] == ["/from", "/from"]


def test_another_task_with_the_same_id_is_not_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The id was used again between two trees, after the time in which pcont trusts a look."""
    monkeypatch.setattr(attach_step, "FRESH", 0.0)
    model = Busily(lambda model: monkeypatch.setattr(model.placement, "task", reused))
    task = model.placement.task

    def reused(id: int) -> Task:
        return task(id)._replace(start=7)

    step = Attach(model.task_id, TWO, "attach")
    carry_out(model, [step])
    assert model.membership(model.task_id)["name=m"] == "/"
    assert step.notes() == [f"task {model.task_id} ended while it was being moved"]


@pytest.mark.parametrize("assigned", [0, 1000])
def test_a_process_is_looked_up_again_if_its_id_may_have_been_assigned_since(
    monkeypatch: pytest.MonkeyPatch, assigned: int
) -> None:
    """It was seen with another start time."""
    model = Busily(lambda model: None)
    task, look = model.task_id, model.placement.task
    before = AssignedIds(last=task - 500 - SOON, started=0, most=1 << 23)
    now = before._replace(last=before.last + assigned, started=assigned)
    monkeypatch.setattr(model, "assigned_ids", lambda: now)
    seen = Seen({task: look(task)._replace(start=7)}, before)
    step = Attach(task, TWO[:1], "attach", seen=seen)
    carry_out(model, [step])
    moved = assigned == 0
    assert model.membership(task)["name=n"] == ("/a" if moved else "/")
    assert step.notes() == ([] if moved else [f"task {task} ended while it was being moved"])


def test_a_child_that_has_a_thread_in_the_target_already_stays_where_it_is() -> None:
    model = Busily(lambda model: None)
    model.refuses = False
    child = model.simulator.fork(model.task_id)
    thread = model.simulator.thread(child)
    model.write(TWO[0], "tasks", str(thread))
    step = Attach(model.task_id, TWO, "attach")
    carry_out(model, [step])
    assert step.moved == {model.task_id}
    assert set(model.membership(child).values()) == {"/"}
    assert model.membership(thread) == {"name=n": "/a", "name=m": "/"}


def test_a_child_with_the_id_of_a_moved_process_goes_with_its_parent() -> None:
    """The process has ended, and its id was used again between two trees."""
    model = Busily(lambda model: None)
    child = model.simulator.fork(model.task_id)
    starts = {model.task_id: model.task(model.task_id).start, child: 7}
    undo = AttachUndo(TWO, model.task_id, {place: set() for place in TWO})
    undo.extend(processes=[Processes({"name=n": "/", "name=m": "/"}, None, starts)])
    inside = {TWO[0]: {model.task_id, child}, TWO[1]: {model.task_id}}
    assert undo.started(model, inside, settled={model.task_id}) == {child: model.task_id}
    assert undo.started(model, inside, settled={model.task_id, child}) == {}


@pytest.mark.parametrize("movable", [False, True])
def test_a_drain_leaves_what_cannot_be_moved_if_it_may(
    monkeypatch: pytest.MonkeyPatch, movable: bool
) -> None:
    model = Busily(lambda model: None)
    fixed = model.simulator.spawn()
    for place in TWO:
        model.write(place, "cgroup.procs", str(model.task_id))
        model.write(place, "cgroup.procs", str(fixed))
    task = model.placement.task
    monkeypatch.setattr(model.placement, "task", lambda id: task(id)._replace(fixed=id == fixed))
    routes = [Move(place, place.parent) for place in TWO]
    reported = MoveAll(routes, "move", movable=movable)
    step = MoveAll(routes, "move", movable=movable)
    if not movable:
        with pytest.raises(BadValue, match="EINVAL"):
            reported.dry_run_lines(model)
        with pytest.raises(BadValue, match="EINVAL"):
            carry_out(model, [step])
        assert set(model.membership(model.task_id).values()) == {"/a"}
        return
    assert [line.split()[1] for line in reported.dry_run_lines(model)] == [str(model.task_id)] * 2
    carry_out(model, [step])
    assert (step.outcome.moved, step.outcome.skipped, reported.outcome.skipped) == (1, 1, 1)
    assert set(model.membership(fixed).values()) == {"/a"}
    assert set(model.membership(model.task_id).values()) == {"/"}


def test_every_kind_of_step_tells_what_it_does(model: Model) -> None:
    request = TreeRequest(("cpuset",), "x")
    (tree,) = model.trees()
    reported = {
        "mkdir /cg/a": CreateContainer(A, "x"),
        "rmdir /cg/a": RemoveContainer(A, "x"),
        "mkdir /m": MakeDirectory("/m", "x"),
        "rmdir /m": RemoveDirectory("/m", "x"),
        "mount -t cgroup -o cpuset,name=x pcont:2:/m /m": MountTree(request, "/m", "x", made=2),
        "umount /cg": UmountTree(tree, tree.mounts[0], True, "x"),
        "echo 5000000 > /cg/a/cgroup.procs": Attach(5_000_000, [A], "x"),
        "echo 5000000 > /cg/a/tasks": Attach(5_000_000, [A], "x", thread=True),
    }
    assert {line: step.dry_run_lines(model) for line, step in reported.items()} == {
        line: [line] for line in reported
    }


def test_an_attribute_is_printed_with_its_copy_for_users(model: Model) -> None:
    assert SetXattr(A, "k", "v", "x").dry_run_lines(model) == [
        "setfattr -n trusted.pcont.k -v v /cg/a",
        "setfattr -n user.pcont.k -v v /cg/a",
    ]
    assert SetXattr(A, "k", None, "x").dry_run_lines(model) == [
        "setfattr -x trusted.pcont.k /cg/a",
        "setfattr -x user.pcont.k /cg/a",
    ]


def test_what_is_printed_is_safe_to_paste(model: Model) -> None:
    odd = A.child("a b'$(x)")
    request = TreeRequest((), "n")
    for step in (
        CreateContainer(odd, "x"),
        RemoveContainer(odd, "x"),
        SetXattr(odd, "k", "$v", "x"),
        MakeDirectory("/m $x", "x"),
        RemoveDirectory("/m $x", "x"),
        MountTree(request, "/m $x", "x"),
        Attach(5_000_000, [odd], "x"),
        WriteFiles(settings(odd, cpus="$(x)"), "x"),
    ):
        *_, line = step.dry_run_lines(model)
        words = shlex.split(line)
        assert "$" in line
        assert line == " ".join(word if word == ">" else shlex.quote(word) for word in words)


def test_what_is_still_true_is_left_alone(model: Model, sleeper: int) -> None:
    """A crash may have come before the act."""
    (tree,) = model.trees()
    before = model.children(ROOT), read(model, A, "cpus"), model.trees()
    facts = [
        RemoveCreated(B),
        RecreateRemoved(A, *StateReader(model).state(A)),
        RestoreXattr(A, "k", None),
        RestoreXattr(B.child("removed"), "k", None),
        RemoveMadeDirectory("/m"),
        RemakeDirectory("/cg"),
        UnmountMounted(TreeRequest((), "n"), "/cg", new=True),
        RemountUnmounted(tree, tree.mounts[0], {}, []),
        RestoreValue.of(model, A, "cpuset.cpus"),
        RestoreAffinities.of(model, [sleeper]),
        AttachUndo([A], sleeper, {A: set()}),
    ]
    assert [line for record in facts for line in restore_record(model, record)] == []
    assert (model.children(ROOT), read(model, A, "cpus"), model.trees()) == before


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("in_leaf", [True, False])
def test_undo_of_a_move_does_not_freeze_this_process(
    sleeper: int, inside: bool, in_leaf: bool
) -> None:
    machine, states = Model(dialect=V2), list[str]()
    source, target = Place("unified", "/a"), Place("unified", "/b")
    for place in (source, target, *[target.leaf] * in_leaf):
        machine.make(place)
    entered = target.leaf if in_leaf else target
    machine.write(entered, "cgroup.procs", str(os.getpid() if inside else sleeper))
    write = machine.write

    def noted(place: Place, file: str, text: str) -> None:
        if file == STATE:
            states.append(text)
        write(place, file, text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "write", noted)
        assert restore_record(machine, MoveAllUndo([Move(source, target)], {target: set()})) == []
    frozen = 0 if inside else 2 + in_leaf  # the source, too
    assert states == ["FROZEN"] * frozen + ["THAWED"] * frozen
    assert machine.read(target, "tasks") == ""


def test_a_refusal_is_never_a_bare_oserror(model: Model) -> None:
    with pytest.raises(PcontError):
        carry_out(model, [CreateContainer(Place(TREE, "/no/such/parent"), "create x")])


def test_what_cannot_be_taken_back_is_done_when_a_signal_comes(
    log: list[str], handler: list[int]
) -> None:
    class Last(Note):
        @property
        def final(self) -> bool:
            return True

    carry_out(Model(), [Note("a", log), Last("b", log, interrupted_by=signal.SIGTERM)])
    assert log == ["do a", "do b", "finish b"]
    assert handler == [signal.SIGTERM]
