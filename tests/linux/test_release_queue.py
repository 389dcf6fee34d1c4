"""The queue of releases: the script appends any path, and no report is ever lost."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from shlex import split

import pytest

import pcont
from pcont.errors import Busy
from pcont.linux import release_queue
from pcont.linux.release_queue import KernelQueue

TREE = "cpuset,name=x"
PYTHON = sys.executable


@pytest.fixture
def releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KernelQueue:
    """With its program and its queue below a directory of the test's, and no Python to start."""
    monkeypatch.setattr(release_queue, "PROGRAMS", str(tmp_path / "agents of ours"))
    monkeypatch.setattr(release_queue, "QUEUES", str(tmp_path / "queues"))
    monkeypatch.setattr("sys.executable", "/bin/true")
    releases = KernelQueue()
    releases.follow(TREE, f"{releases.program(TREE)}\n")
    return releases


def tell(releases: KernelQueue, path: bytes) -> None:
    """As the kernel does: one argument, hardly an environment, and no open files."""
    subprocess.run(
        [releases.program(TREE), path], env=release_queue.ENVIRONMENT, check=True, close_fds=True
    )


def test_each_path_is_one_whatever_is_in_it(releases: KernelQueue) -> None:
    paths = [b"/a", b"/a b", b"/$(id)`id`'\"\\", b"/-n", b"/%s\\0", "/ä".encode(), b"/\xff", b"/a"]
    for path in paths:
        tell(releases, path)
    assert releases.reported() == [TREE]
    with releases.taken(TREE) as found:
        assert [os.fsencode(path) for path in found] == paths
        found.clear()
    assert releases.reported() == []


def test_many_at_once_are_all_reported(releases: KernelQueue) -> None:
    paths = [f"/{number}" for number in range(50)]
    running = [subprocess.Popen([releases.program(TREE), path]) for path in paths]
    for one in running:
        one.wait()
    with releases.taken(TREE) as found:
        assert sorted(found) == sorted(paths)


def test_a_report_that_was_not_processed_is_read_again(releases: KernelQueue) -> None:
    for path in (b"/a", b"/b"):
        tell(releases, path)
    with suppress(ZeroDivisionError), releases.taken(TREE) as found:
        assert found == ["/a", "/b"]
        raise ZeroDivisionError
    assert releases.reported() == [TREE]
    tell(releases, b"/c")
    with releases.taken(TREE) as found:
        assert found == ["/a", "/b"]
        found.remove("/a")
    with releases.taken(TREE) as found:
        assert found == ["/c", "/b"]
        found.clear()
    assert releases.reported() == []


def test_one_at_a_time_sees_to_it(releases: KernelQueue) -> None:
    tell(releases, b"/a")
    with releases.taken(TREE), pytest.raises(Busy), releases.taken(TREE):
        pass


def test_a_process_that_is_about_to_report_is_waited_for(releases: KernelQueue) -> None:
    """pcont takes the queue while a script has it open, and has not written yet."""
    tell(releases, b"/a")
    stream = open(os.path.join(release_queue.QUEUES, TREE), "ab", buffering=0)  # noqa: SIM115

    def tells_late() -> None:
        stream.write(b"/late\0")
        stream.close()

    later = threading.Timer(0.2, tells_late)
    later.start()
    with releases.taken(TREE) as found:
        assert found == ["/a", "/late"]
    later.join()


def test_the_program_is_there_while_it_is_the_release_agent(releases: KernelQueue) -> None:
    assert releases.programs() == {TREE: True}
    Path(releases.program(TREE)).write_text("another pcont's")
    assert releases.programs() == {TREE: False}
    releases.follow(TREE, releases.program(TREE))
    assert releases.programs() == {TREE: True}
    releases.follow(TREE, "/sbin/agent")
    assert releases.programs() == {}
    queues = os.listdir(release_queue.QUEUES) if os.path.exists(release_queue.QUEUES) else []
    assert queues == []


def test_nothing_is_left_of_a_hierarchy_that_is_no_more(releases: KernelQueue) -> None:
    tell(releases, b"/a")
    releases.forget(TREE)
    assert releases.programs() == {}
    assert releases.reported() == []
    assert os.listdir(release_queue.QUEUES) == []


def test_an_agent_has_the_kernels_environment(releases: KernelQueue, tmp_path: Path) -> None:
    program = tmp_path / "agent"
    program.write_text(f'#!/bin/sh\necho "$# $1 $HOME $PATH $(pwd) $(umask)" >{tmp_path}/log\n')
    program.chmod(0o755)
    releases.notify(str(program), "/a b")
    said = (tmp_path / "log").read_text()
    assert said == "1 /a b / /sbin:/bin:/usr/sbin:/usr/bin / 0022\n"
    releases.notify(str(tmp_path / "not there"), "/a")


def test_the_script_finds_the_package_that_wrote_it(releases: KernelQueue) -> None:
    """Without the packages that are installed for this Python (-S)."""
    words = split(Path(releases.program(TREE)).read_text(), comments=True)
    package, agent = words[-2], Path(pcont.__file__).with_name("agent.py")
    code = "import sys; sys.path.insert(0, sys.argv[1]); import pcont.agent as a; print(a.__file__)"
    found = subprocess.run(
        [PYTHON, "-I", "-S", "-c", code, package], check=True, capture_output=True, text=True
    )
    assert Path(found.stdout.rstrip("\n")) == agent


def test_another_pcont_that_still_exists_keeps_its_hierarchy(
    releases: KernelQueue, tmp_path: Path
) -> None:
    program = Path(releases.program(TREE))
    script = program.read_text()
    assert releases.keeper(TREE) == releases.keeper("no such") == ""
    other = tmp_path / "with blank"
    package = str(Path(pcont.__file__).parents[1])
    program.write_text(script.replace(package, f"'{other}'"))
    assert releases.keeper(TREE) == ""  # it was removed
    (other / "pcont").mkdir(parents=True)
    (other / "pcont" / "agent.py").touch()
    assert releases.keeper(TREE) == str(other)
    program.write_text(program.read_text().replace("/bin/true", "/no/such/python"))
    assert releases.keeper(TREE) == ""
    program.write_text("#!/bin/sh\necho 'half a quote")
    assert releases.keeper(TREE) == ""
