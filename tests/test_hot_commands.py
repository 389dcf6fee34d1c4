"""What each hot command loads and reads, as numbers that do not depend on the machine's speed.

A command is run once by the name of a hierarchy, and once by a subsystem. If a number grows for a
good reason, write the new one here.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Runs a command line. At its end, or when it executes another program, it reports what was done.
PROBE = """
import atexit, functools, os, sys
target = os.environ.pop("PROBE")
opened, compiled = [], []
def note(event, words):
    if event == "open" and isinstance(words[0], str) and not words[0].endswith((".py", ".pyc")):
        opened.append(words[0])
    elif event == "compile" and words[1] == "<string>":
        compiled.append(words[0])
    elif event == "os.exec":
        report()
def report():
    files = list(opened)
    with open(target, "w") as stream:
        stream.write(repr((sorted(sys.modules), files, len(compiled))))
sys.addaudithook(note)
atexit.register(report)
sys.argv[0] = "pcont"
from pcont.__main__ import start
start()
"""

# For each command line: the most modules of pcont, and the most files that it opens. `{at}` is the
# SELECTOR. A command opens the state file of the model, and the file of the process that the model
# knows; one that changes something opens the lock and the state again.
MOST = {
    "get {at}:/a cpuset.cpus": (84, 2),
    "get {at}:/a cpus": (88, 2),
    "get {at}:/a": (84, 2),
    "set {at}:/a notify_on_release=0": (104, 4),
    "create {at}:/b": (107, 5),
    "attach {at}:/a {pid}": (106, 16),
    "run {at}:/a -- true": (108, 14),
    "ps {at}:/c": (92, 7),
    "where {pid}": (89, 5),
    "get --help": (20, 0),
}
# What no plain command line needs. The import of each takes a millisecond or more.
HEAVY = {
    *("click", "dataclasses", "importlib.metadata", "inspect", "psutil", "rich", "shutil"),
    *("subprocess", "threading", "pcont.steps.explain", "pcont.kernel.interfaces"),
    *("pcont.ops.units", "pcont.linux.systemd", "pcont.ops.enabling"),  # of cgroup v2
}


@pytest.fixture(scope="module")
def pid() -> Iterator[int]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process.pid
        process.kill()


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, pid: int) -> Path:
    """The state of a model with a hierarchy of three subsystems, and a process in a container."""
    file = tmp_path_factory.mktemp("hot") / "model.json"
    mount = "mount -o cpuset,cpuacct,pids --name jobs"
    for line in (mount, "create -i jobs:/a jobs:/c", f"attach jobs:/c {pid}"):
        words = [sys.executable, "-m", "pcont", "--backend", "model", "--state", str(file)]
        subprocess.run([*words, *line.split()], check=True, capture_output=True)
    return file


@pytest.fixture
def state(begun: Path, tmp_path: Path) -> str:
    """A copy of that state."""
    return str(shutil.copy(str(begun), str(tmp_path / "model.json")))


def probed(words: list[str], folder: Path, **more: str) -> tuple[list[str], list[str], int]:
    """The modules that a command line loads, the files that it opens, and how often it compiles."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PCONT_")}
    report = folder / "report"
    result = subprocess.run(
        [sys.executable, "-c", PROBE, *words],
        capture_output=True,
        text=True,
        env={**kept, "PROBE": str(report), **more},
    )
    assert result.returncode == 0, result.stderr
    modules, files, compiled = ast.literal_eval(report.read_text())
    return modules, files, compiled


@pytest.mark.parametrize("at", ["jobs", "cpuset"])
@pytest.mark.parametrize("line", MOST)
def test_a_hot_command_loads_and_opens_no_more_than_it_needs(
    line: str, at: str, state: str, pid: int, tmp_path: Path
) -> None:
    words = ["--backend", "model", "--state", state, *line.format(at=at, pid=pid).split()]
    modules, files, compiled = probed(words, tmp_path)
    ours = {one for one in modules if one.partition(".")[0] == "pcont"}
    most_modules, most_files = MOST[line]
    assert len(ours) <= most_modules, sorted(ours)
    assert len(files) <= most_files, files
    if "--help" not in line:
        assert HEAVY & set(modules) == set()
        assert compiled == 0, "classes are made without the compiler (pcont.bases)"


def test_a_completion_loads_the_module_of_one_command(tmp_path: Path) -> None:
    shell = {"_PCONT_COMPLETE": "bash_complete", "COMP_WORDS": "pcont get --wi", "COMP_CWORD": "2"}
    modules, files, _ = probed([], tmp_path, **shell)
    ours = {one for one in modules if one.partition(".")[0] == "pcont"}
    assert len(ours) <= 20
    assert {one for one in ours if one.startswith("pcont.ops")} == set()
    assert files == []
