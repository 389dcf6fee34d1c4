"""A dry run is refused like the real run: the same status and message, and nothing is changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.contract.conftest import Jobs, Pcont, Result, Top

UNDONE = "; everything before it was undone"


def same_answer(pcont: Pcont, words: Sequence[str]) -> Result:
    """The answer of the real run, which the dry run before it has given, too."""
    dry = pcont("--dry-run", *words)
    real = pcont(*words)
    assert dry.status == real.status, (dry, real)
    if real.status:
        assert _said(dry) == _said(real)
    return real


def _said(answer: Result) -> list[str]:
    lines = answer.err.replace(UNDONE, "").splitlines()
    return [line for line in lines if not line.startswith("  at: ")]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("create", "{}/new"), 0),
        (("create", "{}"), 5),
        (("create", "{}/tasks"), 5),
        (("create", "{}/cgroup.procs"), 5),
        (("create", "{}/x/y"), 3),
        (("create", "-i", "{}/new", "-s", "cpus=4711"), 7),
        (("create", "-i", "{}/new", "-s", "cpus=0"), 0),
        (("create", "{}/new", "-s", "cpus=lots"), 7),
        (("create", "{}/new", "-s", "cpus=0", "-s", "mems=0", "-s", "cpu_exclusive=1"), 7),
        (("create", "-p", "-i", "{}/x/y", "{}/x/z", "-s", "cpus=0", "-s", "mems=0"), 0),
        (("set", "{}", "cpus=4711"), 7),
        (("set", "{}", "cpus=0-"), 7),
        (("set", "{}", "cpus="), 0),
        (("set", "{}", "cpuset.effective_cpus=0"), 7),
        (("set", "{}", "cpuacct.usage=5"), 7),
        (("set", "{}", "cpuacct.usage=0"), 0),
        (("set", "{}", "cpus=0", "memory_migrate=1"), 0),
        (("set", "{}", "cpus=0", "cpuset.sched_relax_domain_level=77"), 7),
        (("set", "{}", "notify_on_release=7"), 0),
        (("set", "{}", "notify_on_release=x"), 7),
        (("set", "{}", "nope=1"), 3),
        (("rm", "{}"), 0),
        (("rm", "{}/nope"), 3),
        (("rm", "-f", "{}/nope"), 0),
    ],
)
@pytest.mark.host
def test_a_dry_run_has_the_status_and_message_of_the_real_run(
    jobs: Jobs, words: tuple[str, ...], status: int
) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    said = same_answer(jobs.pcont, [word.replace("{}", jobs.at("/a")) for word in words])
    assert said.status == status, said


@pytest.mark.parametrize("more", [("-i",), ()])
def test_a_dry_run_knows_whether_a_task_may_enter(
    jobs: Jobs, start: Callable[..., int], more: tuple[str, ...]
) -> None:
    jobs.pcont.ok("create", *more, jobs.at("/a"))
    said = same_answer(jobs.pcont, ["attach", jobs.at("/a"), str(start())])
    assert said.status == (0 if more else 7)


def test_a_dry_run_counts_what_its_steps_before_would_have_set(jobs: Jobs) -> None:
    """The lists that are empty now would not be by the time that the command enters."""
    jobs.pcont.ok("create", jobs.at("/a"))
    words = ["run", "--create", jobs.at("/a/b"), "--", "true"]
    assert same_answer(jobs.pcont, words).status == 125  # its parent's lists are empty
    words = ["run", "--create", jobs.at("/c"), "--", "true"]
    assert same_answer(jobs.pcont, words).status == 0
    assert jobs.pcont("-n", "run", jobs.at("/a"), "--", "true").status == 125


def test_a_dry_run_moves_tasks_before_it_asks_the_target(
    jobs: Jobs, start: Callable[..., int]
) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    jobs.pcont.ok("create", jobs.at("/b"))
    jobs.pcont.ok("attach", jobs.at("/a"), str(start()))
    assert same_answer(jobs.pcont, ["move", jobs.at("/a"), jobs.at("/b")]).status == 7
    assert same_answer(jobs.pcont, ["set", jobs.at("/a"), "cpus="]).status == 7
    assert same_answer(jobs.pcont, ["rm", jobs.at("/a")]).status == 5
    assert same_answer(jobs.pcont, ["rm", "--evict", jobs.at("/a")]).status == 0


@pytest.mark.parametrize("text", ["lots", "-1", "99999999999", "5", "max"])
def test_a_dry_run_knows_the_limits_of_tasks(crowd: Top, text: str) -> None:
    said = same_answer(crowd.pcont, ["set", crowd.at(), f"pids.max={text}"])
    assert said.status == (0 if text in ("5", "max") else 7)


@pytest.mark.parametrize("text", ["FROZEN", "THAWED", "FREEZING", "frozen"])
def test_a_dry_run_knows_the_states_of_the_freezer(icebox: Top, text: str) -> None:
    said = same_answer(icebox.pcont, ["set", icebox.at(), f"freezer.state={text}"])
    assert said.status == (0 if text in ("FROZEN", "THAWED") else 7)


@pytest.mark.parametrize("more", [["--notify-on-release"], ["--release-agent", "/bin/true"]])
def test_a_dry_run_sets_up_a_release_agent_in_what_is_not_mounted_yet(
    pcont: Pcont, name: str, tmp_path: Path, more: list[str]
) -> None:
    point = str(tmp_path / "m")
    assert same_answer(pcont, ["mount", "-o", "none", "--name", name, *more, point]).status == 0
    pcont.ok("create", f"{name}:/a")
    try:
        pcont.ok("umount", name)  # it stays active with its container
        others = ["mount", "-o", "cpuset", "--name", name, point]
        assert f"# not known: what {name} has" in pcont.ok("-n", *others)
        assert f"has -o none; {UNDONE[2:]}" in pcont.fails(5, *others)
        assert "# not known" not in pcont.ok("-n", "mount", "--name", name, point)
        assert same_answer(pcont, ["mount", "--name", name, *more, point]).status == 0
    finally:
        pcont.ok("rm", f"{name}:/a")
        pcont.ok("umount", name)


def test_a_dry_run_changes_nothing(jobs: Jobs, start: Callable[..., int]) -> None:
    pcont, pid = jobs.pcont, start()
    pcont.ok("create", "-i", jobs.at("/a"))
    values, tree, paths = (
        pcont.ok("get", jobs.at("/a")),
        pcont.ok("tree", jobs.at("/a")),
        pcont.paths(pid),
    )
    pcont.ok("-n", "create", "-i", jobs.at("/a/b"), "-s", "cpus=0")
    pcont.ok("-n", "set", jobs.at("/a"), "cpus=0", "notify_on_release=1")
    pcont.ok("-n", "attach", jobs.at("/a"), str(pid))
    pcont.ok("-n", "rm", jobs.at("/a"))
    assert (pcont.ok("get", jobs.at("/a")), pcont.ok("tree", jobs.at("/a"))) == (values, tree)
    assert pcont.paths(pid) == paths


@pytest.mark.kernel
@pytest.mark.host
def test_a_dry_run_of_a_user_is_denied_like_the_real_run(kernel: Pcont, name: str) -> None:
    user = Pcont(kernel.words, uid=65534)
    own = str(os.getpid())
    for words in (
        ["create", f"cpuset:/{name}"],
        ["mount", "-o", "none", "--name", name],
        ["set", "cpuset:/", "notify_on_release=0"],
        ["attach", "cpuset:/", own],
    ):
        assert same_answer(user, words).status in (0, 4), words
