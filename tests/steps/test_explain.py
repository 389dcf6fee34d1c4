"""explain: a refusal says which rule is broken, by which value or task, and what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from pcont.backend_model import Model
from pcont.errors import BadValue, Busy, Denied, NotFound, PcontError
from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import Place, Task, TreeRequest
from pcont.steps import explain

TREE = "cpuset,cpuacct"
ROOT, A, B, C = (Place(TREE, path) for path in ("/", "/a", "/a/b", "/a/c"))


@pytest.fixture
def model() -> Model:
    """/a with CPUs 0-2 and both nodes, /a/b with CPU 0 and node 0; a /a/c that has nothing."""
    model = Model()
    model.make_directory("/cg")
    model.mount(TreeRequest(("cpuset", "cpuacct")), "/cg", "pcont")
    for place, cpus, mems in ((A, "0-2", "0-1"), (B, "0", "0"), (C, "", "")):
        model.make(place)
        write(model, place, "cpuset.cpus", cpus)
        write(model, place, "cpuset.mems", mems)
    return model


def write(model: Model, place: Place, file: str, text: str) -> None:
    model.write(place, file, text or "\n")


def why_not_written(model: Model, place: Place, file: str, text: str) -> PcontError:
    """The explanation of a write that the model refuses."""
    with pytest.raises(OSError, match=r"\S") as caught:
        write(model, place, file, text)
    return explain.write_refusal(model, place, file, text or "\n", caught.value)


def exclusive(model: Model, *places: Place) -> None:
    for place in places:
        write(model, place, "cpuset.cpu_exclusive", "1")


Prepare = Callable[[Model, int], None]


def nothing(model: Model, task: int) -> None:
    pass


def with_task(model: Model, task: int) -> None:
    model.write(B, "tasks", str(task))


def all_exclusive(model: Model, task: int) -> None:
    exclusive(model, ROOT, A, B)


def c_beside_exclusive(model: Model, task: int) -> None:
    exclusive(model, ROOT, A, B)
    write(model, C, "cpuset.cpus", "1")


@pytest.mark.parametrize(
    ("prepare", "place", "file", "text", "kind", "number", "sentence"),
    [
        (
            nothing,
            B,
            "cpuset.cpus",
            "0,3",
            BadValue,
            errno.EACCES,
            "the parent /a lacks the CPUs 3; it has: 0-2",
        ),
        (
            nothing,
            A,
            "cpuset.mems",
            "1",
            Busy,
            errno.EBUSY,
            "the child /a/b still uses the memory nodes 0",
        ),
        (
            nothing,
            A,
            "cpuset.cpus",
            "",
            Busy,
            errno.EBUSY,
            "the child /a/b still uses the CPUs 0",
        ),
        (
            nothing,
            B,
            "cpuset.cpus",
            "0-7",
            BadValue,
            errno.ERANGE,
            "this machine has no CPUs 4-7; online: 0-3",
        ),
        (
            nothing,
            B,
            "cpuset.mems",
            "2",
            BadValue,
            errno.EINVAL,
            "this machine has no memory nodes 2; online: 0-1",
        ),
        (
            nothing,
            B,
            "cpuset.cpu_exclusive",
            "1",
            BadValue,
            errno.EACCES,
            "the parent /a is not exclusive itself",
        ),
        (
            all_exclusive,
            A,
            "cpuset.cpu_exclusive",
            "0",
            Busy,
            errno.EBUSY,
            "the child /a/b has cpuset.cpu_exclusive=1",
        ),
        (
            c_beside_exclusive,
            C,
            "cpuset.cpus",
            "0-1",
            BadValue,
            errno.EINVAL,
            "the sibling /a/b overlaps in the CPUs 0, and /a/b has cpuset.cpu_exclusive=1",
        ),
        (
            with_task,
            B,
            "cpuset.cpus",
            "",
            BadValue,
            errno.ENOSPC,
            "tasks are inside, and cpuset.cpus would have no CPUs left",
        ),
        (
            nothing,
            ROOT,
            "cpuset.cpus",
            "0",
            BadValue,
            errno.EACCES,
            "the root container always has everything that is online",
        ),
        (
            nothing,
            B,
            "cpuset.sched_relax_domain_level",
            "6",
            BadValue,
            errno.EINVAL,
            "levels go from -1 to 5 at the most",
        ),
        (
            nothing,
            B,
            "cpuacct.usage",
            "5",
            BadValue,
            errno.EINVAL,
            "the counter takes only 0, which resets it",
        ),
        (
            nothing,
            B,
            "cpuset.cpus",
            "none",
            BadValue,
            errno.EINVAL,
            "the file takes numbers and ranges, as in 0-3,8 (CPUs that the tasks may use)",
        ),
        (
            nothing,
            B,
            "cpuset.cpus",
            "70000",
            BadValue,
            errno.ERANGE,
            "this machine has no CPU with so large a number; online: 0-3",
        ),
    ],
)
def test_a_broken_rule_is_named(
    model: Model,
    sleeper: int,
    prepare: Prepare,
    place: Place,
    file: str,
    text: str,
    kind: type[PcontError],
    number: int,
    sentence: str,
) -> None:
    prepare(model, sleeper)
    before = model.read(place, file).rstrip("\n")
    err = why_not_written(model, place, file, text)
    assert type(err) is kind
    assert err.errno == number
    assert err.what == (
        f"cannot set {file} of {place.shown} from {before!r} to {text!r}: "
        f"{sentence} ({errno.errorcode[number]})"
    )
    assert err.path == model.show(place, file)


def test_the_container_that_would_be_exclusive_is_named(model: Model) -> None:
    exclusive(model, ROOT, A)
    write(model, C, "cpuset.cpus", "0-1")
    err = why_not_written(model, C, "cpuset.cpu_exclusive", "1")
    assert "overlaps in the CPUs 0, and this container has cpuset.cpu_exclusive=1" in err.what
    assert err.hint == "take the CPUs 0 from one of them, or clear cpuset.cpu_exclusive"


def test_what_the_parent_lacks_comes_with_what_to_choose_from(model: Model) -> None:
    err = why_not_written(model, B, "cpuset.cpus", "2-3")
    assert err.hint == f"pcont set {B.tree}:/a/b cpuset.cpus=2"
    err = why_not_written(model, B, "cpuset.cpus", "3")
    assert err.hint == "set cpuset.cpus of /a first"


def test_nothing_is_no_list_of_ids(model: Model) -> None:
    write(model, B, "cpuset.cpus", "")
    write(model, A, "cpuset.cpus", "")
    assert "it has: none" in why_not_written(model, B, "cpuset.cpus", "0").what


def test_values_of_several_lines_are_shown_on_one(model: Model) -> None:
    err = explain.write_refusal(
        model, A, "cpuacct.stat", "1", WriteRefused(errno.EINVAL, "", "/cg/a/cpuacct.stat")
    )
    assert "from 'user 0; system 0' to '1'" in err.what


def test_a_rule_that_fits_another_errno_is_not_blamed(model: Model) -> None:
    err = explain.write_refusal(model, B, "cpuset.cpus", "3", WriteRefused(errno.ENOMEM, "", "/f"))
    assert "lacks" not in err.what
    assert os.strerror(errno.ENOMEM) in err.what


def test_a_user_that_may_not_open_the_file_is_denied_without_a_rule(model: Model) -> None:
    err = explain.write_refusal(
        model, B, "cpuset.cpus", "3", PermissionError(errno.EACCES, "", "/f")
    )
    assert type(err) is Denied
    assert "sudo" in err.hint
    assert "lacks" not in err.what


def test_a_file_that_is_not_there_names_the_nearest(model: Model) -> None:
    err = explain.write_refusal(
        model, A, "cpuset.cpu", "1", FileNotFoundError(errno.ENOENT, "", "/f")
    )
    assert type(err) is NotFound
    assert "cpuset.cpus" in err.hint


def test_files_without_a_table_are_explained_by_their_errno(model: Model) -> None:
    err = explain.write_refusal(model, A, "debug.limit", "1", WriteRefused(errno.EINVAL, "", "/f"))
    assert type(err) is BadValue
    assert err.what == (
        f"cannot set debug.limit of {A.shown} from 'unreadable' to '1': Invalid argument (EINVAL)"
    )


# Making and removing


def test_why_a_container_cannot_be_made(model: Model) -> None:
    exists = explain.make_refusal(
        model, A, FileExistsError(errno.EEXIST, "", "/cg/a"), "create x:/a"
    )
    assert (type(exists), exists.what) == (Busy, "cannot create x:/a: it exists already (EEXIST)")
    assert "create -p" in exists.hint
    alone = explain.make_refusal(
        model, Place(TREE, "/n/m"), FileNotFoundError(errno.ENOENT, "", "/cg/n/m"), "create x:/n/m"
    )
    assert alone.what == "cannot create x:/n/m: there is no cpuset,cpuacct:/n (ENOENT)"
    other = explain.make_refusal(model, A, OSError(errno.ENOSPC, "", "/cg/a"), "create x:/a")
    assert type(other) is PcontError


def test_why_a_container_cannot_be_removed(model: Model, sleeper: int) -> None:
    busy = OSError(errno.EBUSY, "", "/cg/a")
    parent = explain.remove_refusal(model, A, busy, "remove x:/a")
    assert parent.what == "cannot remove x:/a: containers are in it: b, c (EBUSY)"
    assert "rm -r" in parent.hint
    model.write(B, "tasks", str(sleeper))
    inside = explain.remove_refusal(model, B, busy, "remove x:/a/b")
    assert inside.what == f"cannot remove x:/a/b: tasks are in it: {sleeper} (EBUSY)"
    assert "--evict" in inside.hint
    assert "--kill" in inside.hint
    assert os.strerror(errno.EBUSY) in explain.remove_refusal(model, C, busy, "remove x:/a/c").what


def test_a_crowd_is_named_by_its_first_five(model: Model) -> None:
    for number in range(7):
        model.make(C.child(f"n{number}"))
    assert explain.in_use(model, C)[0] == "containers are in it: n0, n1, n2, n3, n4, …"


# Entering


def why_not_entered(model: Model, place: Place, task: int) -> PcontError:
    with pytest.raises(OSError, match=r"\S") as caught:
        model.write(place, "tasks", str(task))
    return explain.enter_refusal(model, place, task, caught.value, f"attach {task}")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "cpuset.cpus and cpuset.mems of /a/c are empty"),
        ({"cpuset.cpus": "1"}, "cpuset.mems of /a/c is empty"),
        ({"cpuset.mems": "0"}, "cpuset.cpus of /a/c is empty"),
    ],
)
def test_an_empty_cpuset_is_named_and_never_space(
    model: Model, sleeper: int, values: dict[str, str], words: str
) -> None:
    for file, text in values.items():
        write(model, C, file, text)
    err = why_not_entered(model, C, sleeper)
    assert type(err) is BadValue
    assert words in err.what
    assert "space" not in err.what + err.hint
    empty = [file for file in ("cpuset.cpus", "cpuset.mems") if file not in values]
    offers = {"cpuset.cpus": "0-2", "cpuset.mems": "0-1"}  # the parent's
    assert all((f"{file}={offers[file]}" in err.hint) is (file in empty) for file in offers)
    assert err.hint.startswith(f"pcont set {C.tree}:/a/c cpuset.")
    assert "create -i" not in err.hint


def test_a_task_of_another_user_is_denied(model: Model, sleeper: int) -> None:
    err = explain.enter_refusal(model, A, sleeper, WriteRefused(errno.EACCES, "", "/f"), "attach")
    assert type(err) is Denied
    assert f"{sleeper} belongs to another user" in err.what


def test_a_file_of_tasks_that_cannot_be_opened_is_denied(model: Model, sleeper: int) -> None:
    err = explain.enter_refusal(
        model, A, sleeper, PermissionError(errno.EACCES, "", "/f"), "attach"
    )
    assert type(err) is Denied
    assert "sudo" in err.hint


def test_a_kernel_thread_and_a_real_time_task_have_different_reasons(
    model: Model, sleeper: int
) -> None:
    class Kernel(Model):
        """Every task is one of the kernel's."""

        def task(self, task: int) -> Task:
            return super().task(task)._replace(kernel=True, name="kthreadd")

    invalid = WriteRefused(errno.EINVAL, "", "/f")
    thread = explain.enter_refusal(Kernel(), A, sleeper, invalid, "attach")
    assert f"{sleeper} (kthreadd) is a kernel thread" in thread.what
    other = explain.enter_refusal(model, A, sleeper, invalid, "attach")
    assert "cpu.rt_runtime_us" in other.what


def test_a_full_device_is_never_what_an_attach_met(model: Model, sleeper: int) -> None:
    err = explain.enter_refusal(model, A, sleeper, WriteRefused(errno.ENOSPC, "", "/f"), "attach")
    assert type(err) is BadValue
    assert "space" not in err.what


def test_explaining_works_after_everything_was_removed() -> None:
    gone = Model()
    for number in (errno.EACCES, errno.EBUSY, errno.EINVAL, errno.ENOSPC):
        refused = WriteRefused(number, "", "/f")
        assert explain.write_refusal(gone, B, "cpuset.cpus", "3", refused).errno == number
        assert explain.enter_refusal(gone, B, os.getpid(), refused, "attach").errno == number
        assert explain.remove_refusal(gone, B, OSError(number, "", "/f"), "remove").errno == number
