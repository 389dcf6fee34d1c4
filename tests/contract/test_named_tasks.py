"""Which tasks a command means: ids, ranges, lists on standard input, threads of the kernel."""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.contract.conftest import Jobs, Pcont, threads_of

KTHREADD = "2"


@pytest.fixture
def group(pcont: Pcont, name: str) -> Iterator[Jobs]:
    """A hierarchy without controllers, which takes any task, with /a in it."""
    pcont.ok("mount", "-o", "none", "--name", name)
    pcont.ok("create", f"{name}:/a")
    yield Jobs(pcont, name, {})
    pcont.ok("rm", "--evict", "-r", f"{name}:/a")
    pcont.ok("umount", name)


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give a command its standard input."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def inside(group: Jobs) -> list[int]:
    return [int(one) for one in group.pcont.get(group.at("/a"), "cgroup.procs").split()]


def ended() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_ids_on_standard_input(
    group: Jobs, start: Callable[..., int], feed: Callable[[str], None]
) -> None:
    """As `pgrep` lists them, or `pidof`: a newline after each, or blanks between."""
    first, second, third = start(), start(threads=3), start()
    feed(f"{first}\n{second}\n{threads_of(second)[1]} {third}\n")
    answer = group.pcont("attach", "--json", group.at("/a"), "-")
    assert (answer.status, answer.err, answer.json["moved"]) == (0, "", 3)
    assert inside(group) == sorted([first, second, third])


def test_what_has_ended_since_it_was_listed_is_a_note(
    group: Jobs, start: Callable[..., int], feed: Callable[[str], None]
) -> None:
    first, gone = start(), ended()
    feed(f"{gone}\n{first}\n")
    answer = group.pcont("attach", group.at("/a"), "-")
    assert (answer.status, answer.out) == (0, "")
    assert answer.err == f"pcont: note: skipped, because they have ended: {gone}\n"
    assert inside(group) == [first]


@pytest.mark.parametrize("text", ["", "\n", "{gone}\n"])
def test_a_list_without_any_task_is_not_found(
    group: Jobs, feed: Callable[[str], None], text: str
) -> None:
    """pgrep found nothing: a script is to notice."""
    feed(text.format(gone=ended()))
    said = group.pcont.fails(3, "attach", group.at("/a"), "-")
    assert "none of these is a task" in said


def test_an_id_that_was_typed_has_to_be_there(
    group: Jobs, start: Callable[..., int], feed: Callable[[str], None]
) -> None:
    feed(f"{start()}\n")
    group.pcont.fails(3, "attach", group.at("/a"), "-", str(ended()))
    assert inside(group) == []


def test_what_is_no_id_on_standard_input_moves_nothing(
    group: Jobs, start: Callable[..., int], feed: Callable[[str], None]
) -> None:
    feed(f"{start()} make\n")
    said = group.pcont.fails(2, "attach", group.at("/a"), "-")
    assert "'make'" in said
    assert inside(group) == []


def test_pcont_itself_is_not_meant_by_a_list(
    group: Jobs, start: Callable[..., int], feed: Callable[[str], None]
) -> None:
    """`pgrep -f WORD` finds the pcont that has WORD in its PLACE."""
    first = start()
    feed(f"{first}\n{os.getpid()}\n")
    answer = group.pcont("attach", group.at("/a"), "-")
    assert (answer.status, answer.err) == (0, "")
    assert inside(group) == [first]


def test_a_range_means_the_processes_in_it(group: Jobs, start: Callable[..., int]) -> None:
    """Of one id only: others may have started a process in between, which is not to be moved."""
    pid = start(threads=2)
    thread = threads_of(pid)[1]
    answer = group.pcont("attach", group.at("/a"), f"{pid}-{pid}")
    assert answer.err == f"pcont: note: 1 of the 1 ids in {pid}-{pid} is a process\n"
    assert inside(group) == [pid]
    group.pcont.ok("attach", f"{group.name}:/", str(pid))
    group.pcont.fails(3, "attach", group.at("/a"), f"{thread}-{thread}")
    group.pcont.ok("attach", "--thread", group.at("/a"), f"{thread}-{thread}")
    assert group.pcont.get(group.at("/a"), "tasks") == str(thread)
    group.pcont.fails(3, "attach", group.at("/a"), f"{ended()}-{ended()}")


def test_a_range_of_played_processes(tmp_path: object, feed: Callable[[str], None]) -> None:
    pcont = Pcont(("--backend", "model", "--state", f"{tmp_path}/model.json"))
    pcont.ok("mount", "-o", "none", "--name", "n")
    pcont.ok("create", "n:/a")
    first = int(pcont.ok("sim", "fork", "--name", "one"))
    child = pcont.ok("sim", "fork", str(first), "--count", "4").split()
    thread = int(pcont.ok("sim", "thread", child[0]))
    assert thread == first + 5
    ids = f"{first + 1}-{first + 20}"
    answer = pcont("attach", "n:/a", ids)
    assert answer.err == f"pcont: note: 4 of the 20 ids in {ids} are processes\n"
    assert pcont.get("n:/a", "cgroup.procs").split() == child
    feed(f"{child[1]}\n")
    ended = json.loads(pcont.ok("sim", "exit", "--json", f"{child[2]}-{child[3]}", "-"))["result"]
    assert sorted(map(str, ended)) == child[1:]
    assert pcont.get("n:/a", "tasks").split() == [child[0], str(thread)]


def test_a_process_of_which_the_first_thread_is_played_to_its_end(tmp_path: object) -> None:
    pcont = Pcont(("--backend", "model", "--state", f"{tmp_path}/model.json"))
    pcont.ok("mount", "-o", "none", "--name", "n")
    pcont.ok("create", "n:/a")
    pid = pcont.ok("sim", "fork").strip()
    thread = pcont.ok("sim", "thread", pid).strip()
    pcont.ok("sim", "exit", "--thread", pid)
    pcont.ok("attach", "n:/a", pid)
    assert pcont.get("n:/a", "tasks") == thread
    pcont.ok("sim", "exit", pid)
    assert pcont.get("n:/a", "tasks") == ""
    pcont.fails(3, "where", pid)


def test_movable_leaves_a_thread_of_the_kernel_and_says_so(
    group: Jobs, start: Callable[..., int]
) -> None:
    pid = start()
    refused = group.pcont.fails(7, "attach", group.at("/a"), str(pid), KTHREADD)
    assert "--movable" in refused
    assert inside(group) == []
    words = ["attach", "--movable", "--json", group.at("/a"), str(pid), KTHREADD]
    answer = group.pcont(*words)
    assert (answer.status, answer.json["moved"], answer.json["skipped"]) == (0, 1, 1)
    assert "1 kernel thread cannot be moved" in answer.err
    assert inside(group) == [pid]
    reported = group.pcont("attach", "--movable", "--thread", "-v", group.at("/a"), KTHREADD)
    assert reported.status == 0
    assert "0 moved in 1 round, until none was left, 1 skipped" in reported.err


def test_a_dry_run_knows_what_cannot_be_moved(group: Jobs, start: Callable[..., int]) -> None:
    pid = start()
    words = ["attach", "-n", group.at("/a"), str(pid), KTHREADD]
    assert "EINVAL" in group.pcont.fails(7, *words)
    answer = group.pcont("--json", *words, "--movable")
    assert [line.split()[1] for line in json.loads(answer.out)["would"]] == [str(pid)]
    assert "1 kernel thread cannot be moved" in answer.err


def test_a_thread_of_the_kernel_is_left_where_it_is_already(group: Jobs) -> None:
    """The kernel refuses to move it even there."""
    root = f"{group.name}:/"
    for words in (["--json"], ["--json", "--thread"]):
        answer = group.pcont("attach", root, KTHREADD, *words)
        assert (answer.status, answer.err) == (0, "")
        assert (answer.json["moved"], answer.json["skipped"]) == (0, 0)
    group.pcont.ok("set", root, f"tasks={KTHREADD}")
    assert group.pcont.ok("attach", "-n", root, KTHREADD) == ""


@pytest.mark.parametrize(
    "pcont",
    ["model", pytest.param("cgroupfs", marks=[pytest.mark.kernel, pytest.mark.guest])],
    indirect=True,
)
@pytest.mark.slow
def test_all_that_can_be_moved_leaves_a_root(group: Jobs) -> None:
    words = ["move", "--force", "--json", f"{group.name}:/", group.at("/a")]
    dry = group.pcont(*words, "-n")
    assert f"echo {KTHREADD} > " not in dry.out
    answer = group.pcont(*words)
    assert answer.status == 0, answer.err
    assert answer.json["skipped"] > 1
    assert "kernel threads cannot be moved, and stay where they are" in answer.err
    assert answer.json["stragglers"] < answer.json["moved"] / 2
    assert 1 in inside(group)
    words = ["move", "--force", "--movable", "--json", group.at("/a"), f"{group.name}:/"]
    assert group.pcont(*words).json["skipped"] == 0
    assert inside(group) == []


def test_zero_is_pcont_itself_and_is_refused(group: Jobs) -> None:
    for file in ("tasks", "cgroup.procs"):
        said = group.pcont.fails(2, "set", group.at("/a"), f"{file}=0")
        assert f"pcont attach {group.at('/a')} $$" in said
        assert "pcont itself" in said
    assert inside(group) == []
