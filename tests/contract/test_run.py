"""run and clone with a command: it starts inside, its status is passed on, nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.contract.conftest import Jobs, Result, Top, eventually
from tests.contract.test_containers import there


def own(jobs: Jobs, *words: str) -> list[str]:
    """The command line that a command would use to ask pcont itself."""
    return [sys.executable, "-m", "pcont", *jobs.pcont.words, *words]


def container_of(jobs: Jobs, text: str) -> object:
    rows = json.loads(text)["result"]
    return next(row for row in rows if row["hierarchy"] == jobs.name)["container"]


@pytest.mark.quick
def test_run_becomes_the_command_inside(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"), "-s", "cpus=1")
    asks = own(jobs, "where", "--json", '"$$"')
    out = jobs.pcont.ok("run", jobs.at("/a"), "--", "sh", "-c", " ".join(asks))
    assert container_of(jobs, out) == "/a"
    assert there(jobs) == ["/", "/a"]


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 42"], 42),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["sh", "-c", "kill -KILL $$"], 137),
        (["/no/such/command"], 127),
        (["no-such-command"], 127),
        (["/etc/passwd"], 126),
    ],
)
@pytest.mark.parametrize("options", [["--create", "--auto-delete"], None])
@pytest.mark.host
def test_the_status_is_the_commands(
    jobs: Jobs, command: list[str], status: int, options: list[str] | None
) -> None:
    if options:
        result = jobs.pcont("run", jobs.at("/new/deep"), *options, "--", *command)
        assert there(jobs) in (["/"], ["/", "/new"])
    else:
        jobs.pcont.ok("create", "-i", jobs.at("/run"))
        result = jobs.pcont("run", jobs.at("/run"), "--", *command)
        if result.status < 0:  # run has become the command, which the signal ended
            result = Result(128 - result.status, result.out, result.err)
    assert result.status == status


def test_failures_of_run_itself_are_125(jobs: Jobs) -> None:
    jobs.pcont.fails(125, "run", jobs.at("/no"), "--", "true")
    jobs.pcont.fails(125, "run", "no-such-hierarchy:/a", "--", "true")
    jobs.pcont.ok("create", jobs.at("/empty"))
    said = jobs.pcont.fails(125, "run", jobs.at("/empty"), "--", "true")
    assert "cpuset.cpus" in said
    error = json.loads(jobs.pcont.fails(125, "run", "--json", jobs.at("/no"), "--", "true"))
    assert error["error"]["code"] == "not-found"


def test_a_file_that_is_no_program_leaves_nothing(jobs: Jobs, tmp_path: os.PathLike[str]) -> None:
    program = os.path.join(tmp_path, "program")
    with open(program, "w") as stream:
        stream.write("no program")
    os.chmod(program, 0o755)
    for more in (["--auto-delete"], []):
        said = jobs.pcont.fails(126, "run", jobs.at("/new"), "--create", *more, "--", program)
        assert "ENOEXEC" in said or "format" in said
        assert there(jobs) == ["/"]


@pytest.mark.quick
def test_clone_puts_a_command_into_a_node_of_its_own(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"), "-s", "cpus=1")
    script = " ".join(own(jobs, "where", "--json", '"$$"')) + "; grep Cpus_allowed_list"
    script += " /proc/$$/status; echo $$; exit 5"
    clones = own(jobs, "clone", jobs.name, "--", "sh", "-c", script)
    result = jobs.pcont("run", jobs.at("/a"), "--", *clones)
    where, cpus, pid = result.out.splitlines()
    assert result.status == 5
    assert container_of(jobs, where) == f"/a/node_{pid}"
    assert result.err == f"{jobs.at(f'/a/node_{pid}')}\n"
    if "model" not in jobs.pcont.words:
        assert cpus.split() == ["Cpus_allowed_list:", "1"]
    assert there(jobs) == ["/", "/a"]


def test_clone_keeps_the_container_when_asked(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    clones = own(jobs, "clone", jobs.name, "--keep", "--", "true")
    result = jobs.pcont("run", jobs.at("/a"), "--", *clones)
    assert result.status == 0
    name = result.err.strip().partition(":")[2]
    assert there(jobs) == ["/", "/a", name]


def test_clone_that_fails_is_125_and_leaves_nothing(jobs: Jobs) -> None:
    jobs.pcont.fails(125, "clone", "no-such-hierarchy", "--", "true")
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    clones = own(jobs, "clone", jobs.name, "--", "/etc/passwd")
    jobs.pcont.fails(126, "run", jobs.at("/a"), "--", *clones)
    assert there(jobs) == ["/", "/a"]


def test_a_container_that_others_are_in_stays_and_says_so(
    jobs: Jobs, start: Callable[..., int]
) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    pid = start()
    jobs.pcont.ok("attach", jobs.at("/a"), str(pid))
    result = jobs.pcont("run", jobs.at("/a"), "--auto-delete", "--", "true")
    assert result.status == 0
    assert f"is kept: tasks are in it: {pid}" in result.err
    assert there(jobs) == ["/", "/a"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.host
def test_a_signal_reaches_the_command_and_the_container_goes(
    jobs: Jobs, number: signal.Signals
) -> None:
    words = own(jobs, "run", jobs.at("/a"), "--create", "--auto-delete", "--", "sleep", "600")
    process = subprocess.Popen(words)
    assert eventually(lambda: "/a" in there(jobs) and "sleep" in _children(process.pid))
    process.send_signal(number)
    assert process.wait() == 128 + number
    assert there(jobs) == ["/"]


def _children(pid: int) -> list[str]:
    import psutil

    try:
        return [child.name() for child in psutil.Process(pid).children()]
    except psutil.NoSuchProcess:
        return []


def test_a_dry_run_starts_nothing(jobs: Jobs) -> None:
    reported = jobs.pcont.ok("run", "-n", jobs.at("/a"), "--create", "--", "false")
    assert "mkdir " in reported
    assert there(jobs) == ["/"]
    reported = jobs.pcont.ok("mount", "-n", "-o", "none", "--name", "other")
    assert "mount -t cgroup -o none,name=other" in reported


def test_the_command_gets_its_default_signals(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    for more in (["--auto-delete"], []):
        command = ["grep", "SigIgn", "/proc/self/status"]
        jobs.pcont.ok("create", "-p", "-i", jobs.at("/a"))
        out = jobs.pcont.ok("run", jobs.at("/a"), *more, "--", *command)
        ignored = int(out.split()[1], 16)
        assert not ignored & (1 << (signal.SIGPIPE - 1))
        assert not ignored & (1 << (signal.SIGTERM - 1))


@pytest.mark.host
def test_a_command_that_ends_its_parent_at_once_leaves_no_container(jobs: Jobs) -> None:
    """Whatever arrives from the fork of the command on is passed on to it, or waits."""
    for _ in range(5):
        command = ["sh", "-c", "kill -TERM $PPID; exec sleep 600"]
        words = ["run", jobs.at("/a"), "--create", "--auto-delete", "--", *command]
        assert jobs.pcont(*words).status == 128 + signal.SIGTERM
        assert there(jobs) == ["/"]


@pytest.mark.host
def test_an_interrupt_that_is_not_the_terminals_is_passed_on(jobs: Jobs) -> None:
    words = own(jobs, "run", jobs.at("/a"), "--create", "--auto-delete", "--", "sleep", "600")
    process = subprocess.Popen(words, start_new_session=True)
    assert eventually(lambda: "/a" in there(jobs) and "sleep" in _children(process.pid))
    process.send_signal(signal.SIGINT)
    assert process.wait() == 128 + signal.SIGINT
    assert there(jobs) == ["/"]


def test_words_of_the_command_are_never_pconts(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    said = jobs.pcont.fails(125, "run", jobs.at("/a"), "grep", "-n", "root", "/etc/passwd")
    assert "--" in said
    out = jobs.pcont.ok("run", jobs.at("/a"), "--", "echo", "--json", "-n", "--dry-run", "--")
    assert out == "--json -n --dry-run --\n"
    jobs.pcont.fails(2, "clone", jobs.name, "true")
    jobs.pcont.fails(2, "tree", "run", "--", "x")


def test_pcont_does_not_freeze_itself(icebox: Top) -> None:
    """It would stop while it has the lock, and no command could thaw it."""
    pcont, place = icebox.pcont, icebox.at()
    freeze = [sys.executable, "-m", "pcont", "set", place, "freezer.state=FROZEN"]
    result = pcont("run", place, "--", *freeze)
    assert result.status == 4
    assert "refusing to freeze" in result.err
    pcont.ok("set", place, "freezer.state=FROZEN")
    for more in ([], ["--auto-delete"]):
        for inside in (place, icebox.at("/below")):
            said = pcont.fails(125, "run", inside, "--create", *more, "--", "true")
            assert "freezer.state=THAWED" in said
    assert icebox.below() == [place]


@pytest.mark.parametrize("words", [("clone", "{}"), ("run", "{}:/a/b", "--auto-delete")])
@pytest.mark.host
def test_killed_itself_pcont_leaves_no_container_behind_the_command(
    jobs: Jobs, words: tuple[str, ...]
) -> None:
    """Even where all of its process group is killed; the command comes to its own end."""
    jobs.pcont.ok("create", "-i", "-p", jobs.at("/a/b"))
    named = [word.format(jobs.name) for word in words]
    command = ["sh", "-c", "echo started; read line; echo ended", "sh"]
    inside = own(jobs, "run", jobs.at("/a"), "--", *own(jobs, *named, "--", "setsid", *command))
    pipe = subprocess.PIPE
    with subprocess.Popen(
        inside, stdin=pipe, stdout=pipe, text=True, start_new_session=True
    ) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == "started\n"
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert len(there(jobs)) == 3 + (words[0] == "clone")
        process.stdin.write("on\n")
        process.stdin.close()
        assert process.stdout.read() == "ended\n"
    left = ["/", "/a", *["/a/b"] * (words[0] == "clone")]
    assert eventually(lambda: there(jobs) == left)


def test_what_a_clone_has_left_below_goes_with_it(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    inner = own(jobs, "clone", "--keep", jobs.name, "--", "true")
    clones = own(jobs, "clone", jobs.name, "--", *inner)
    assert jobs.pcont("run", jobs.at("/a"), "--", *clones).status == 0
    assert there(jobs) == ["/", "/a"]
