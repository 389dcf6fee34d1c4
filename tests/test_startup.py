"""Startup: what a command loads before it does anything, seen in a fresh interpreter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pcont import __version__
from pcont.cli import COMMANDS

# What every command imports. A command also imports its own module, and what it works with.
FIRST = {
    *("pcont", "pcont.__main__", "pcont.bases", "pcont.cli", "pcont.errors", "pcont.signals"),
    *("pcont.commands", "pcont.commands.common", "pcont.commands.declare", "pcont.commands.kinds"),
    *("pcont.commands.plain", "pcont.commands.table", "pcont.output", "pcont.output.streams"),
}
# What click needs beside that.
FOR_CLICK = {
    *("pcont.commands.clicks", "pcont.commands.hints", "pcont.commands.words"),
    "pcont.output.version",
}
TYPES = {"pcont.commands.click_types"}  # only of commands that use them
HEAVY = ("rich", "psutil", "pyroute2", "asyncio", "importlib.metadata", "json", "ctypes")


def imported(*words: str) -> tuple[set[str], str]:
    """The modules that an interpreter imports, and what it prints."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PCONT_")}
    result = subprocess.run(
        [sys.executable, "-v", *words],  # -X importtime does not see importlib.import_module
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    names = re.findall(r"^import '?([\w.]+)'? # ", result.stderr, re.MULTILINE)
    return set(names), result.stdout


def loaded(*words: str) -> tuple[set[str], str]:
    """The modules that a command line loads, and what it prints."""
    names, out = imported("-m", "pcont", *words)
    assert "pcont.cli" in names
    return names | {"pcont.__main__"}, out


def heavy(names: set[str]) -> set[str]:
    return {name for name in names for one in HEAVY if name == one or name.startswith(f"{one}.")}


@pytest.mark.parametrize(
    ("words", "module"),
    [
        ("--help", None),
        ("--version", None),
        ("-h", None),
        ("mount --help", "mounts"),
        ("get -h", "settings"),
        ("run --help", "launch"),
        ("sim --help", "sim"),
        ("sim fork --help", "sim"),
    ],
)
def test_help_imports_click_and_the_module_of_one_command(words: str, module: str | None) -> None:
    names, _ = loaded(*words.split())
    more = {f"pcont.commands.{module}"} if module else set()
    assert {name for name in names if name.partition(".")[0] == "pcont"} - TYPES == FIRST | (
        FOR_CLICK - TYPES
    ) | more
    assert heavy(names) == set()
    assert "dataclasses" not in names
    # What the installation of Python brings with it is there before click, too; copy.py looks
    # for a module of Jython's.
    before, _ = imported("-c", "import click")
    packages = {name.partition(".")[0] for name in names - before}
    assert packages - sys.stdlib_module_names <= {"pcont", "click", "org"}


def test_the_version_is_a_literal() -> None:
    _, out = loaded("--version")
    assert out == f"pcont {__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        ("create", "-p", "-i", "jobs:/b"),
        ("set", "jobs:/a", "cpus=0"),
        ("get", "jobs:/a"),
        ("hierarchies",),
        ("tree",),
        ("where", str(os.getpid())),
        ("rm", "jobs:/a"),
    ],
)
def test_in_a_pipe_no_command_imports_rich(tmp_path: Path, words: tuple[str, ...]) -> None:
    model = ("--backend", "model", "--state", str(tmp_path / "model.json"))
    loaded(*model, "mount", "-o", "cpuset,cpuacct", "--name", "jobs")
    loaded(*model, "create", "-i", "jobs:/a")
    names, _ = loaded(*model, *words)
    assert {name.partition(".")[0] for name in names} & {"rich", "pyroute2", "asyncio"} == set()
    assert "psutil" not in names
    assert "importlib.metadata" not in names
    assert "pcont.transaction.rehearsal" not in names  # it is for dry runs


def test_get_imports_no_module_of_other_commands(tmp_path: Path) -> None:
    model = ("--backend", "model", "--state", str(tmp_path / "model.json"))
    loaded(*model, "mount", "-o", "cpuset,cpuacct", "--name", "jobs")
    names, _ = loaded(*model, "get", "jobs:/", "cpuset.cpus")
    families = {f"pcont.commands.{one.module}" for one in COMMANDS.values()}
    assert families & names == {"pcont.commands.settings"}
    assert {name for name in names if name.startswith("pcont.output.")} == {
        "pcont.output.streams",
        "pcont.output.text",
    }
    assert {
        "pcont.ops.attach",
        "pcont.ops.containers",
        "pcont.ops.listing",
        "pcont.ops.task_owners",
        "pcont.transaction.rehearsal",
    } & names == set()


OF_BATCH = {
    *("pcont.commands.batch", "pcont.commands.lines", "pcont.commands.line_groups"),
    *("pcont.commands.line_runner", "pcont.ops.batch"),
}


def test_no_other_command_imports_what_batch_needs(tmp_path: Path) -> None:
    model = ("--backend", "model", "--state", str(tmp_path / "model.json"))
    loaded(*model, "mount", "-o", "pids", "--name", "jobs")
    for words in (("create", "jobs:/a"), ("set", "jobs:/a", "pids.max=5"), ("rm", "jobs:/a")):
        assert OF_BATCH & loaded(*model, *words)[0] == set(), words


def test_a_batch_imports_click_only_for_lines_that_need_it(tmp_path: Path) -> None:
    model = ("--backend", "model", "--state", str(tmp_path / "model.json"))
    file = tmp_path / "lines"
    file.write_text("mount -o pids --name jobs\n")
    assert "click" in loaded(*model, "batch", str(file))[0], "mount is not hot"
    file.write_text("create jobs:/a -s pids.max=5 # five\nset 'jobs:/a' pids.max=6\nrm jobs:/a\n")
    names, _ = loaded(*model, "batch", str(file))
    assert names >= OF_BATCH
    assert {"click", "dataclasses", "pcont.transaction.rehearsal"} & names == set()


def test_each_backend_is_imported_without_the_other(tmp_path: Path) -> None:
    state = str(tmp_path / "model.json")
    model, _ = loaded("--backend", "model", "--state", state, "subsys")
    kernel, _ = loaded("--backend", "cgroupfs", "doctor")
    assert "pcont.backend_cgroupfs" not in model
    assert not {name for name in kernel if "model" in name and name.startswith("pcont.")}


def test_no_hot_command_imports_what_takes_long_on_the_kernel() -> None:
    for words in (("hierarchies",), ("where", str(os.getpid())), ("tree",)):
        names, _ = loaded("--backend", "cgroupfs", *words)
        assert {"click", "dataclasses", "inspect", "importlib.metadata"} & names == set(), words
        assert {"psutil", "shutil", "threading", "pcont.kernel.interfaces"} & names == set(), words
    operations = "attach, containers, get, listing, run, settings"
    names, _ = imported("-c", f"import pcont.backend_cgroupfs; from pcont.ops import {operations}")
    assert {"click", "dataclasses", "inspect", "importlib.metadata"} & names == set()


def test_no_hot_command_imports_what_takes_long_on_the_model(tmp_path: Path) -> None:
    model = ("--backend", "model", "--state", str(tmp_path / "model.json"))
    loaded(*model, "mount", "-o", "cpuset,cpuacct", "--name", "jobs")
    for words in (
        ("create", "-i", "jobs:/a"),
        ("get", "jobs:/a"),
        ("set", "jobs:/a", "notify_on_release=1"),
        ("attach", "jobs:/a", str(os.getpid())),
        ("tree", "jobs:/"),
        ("rm", "--evict", "jobs:/a"),
    ):
        names, _ = loaded(*model, *words)
        assert {"click", "dataclasses", "inspect", "importlib.metadata"} & names == set(), words
        assert {"socket", "selectors", "pcont.linux.proc_events"} & names == set(), words


def test_a_read_imports_no_step_no_journal_and_no_recovery() -> None:
    for words in (("hierarchies",), ("where", str(os.getpid()))):
        names, _ = loaded("--backend", "cgroupfs", *words)
        steps = {name for name in names if name.startswith("pcont.steps.")}
        assert steps <= {"pcont.steps.tasks"}, words
        assert {"pcont.transaction.journal", "pcont.transaction.step"} & names == set(), words


def test_the_release_agent_imports_only_what_it_needs() -> None:
    """The kernel starts it for every container that becomes empty while no other one is at work."""
    imports = (
        "import pcont.agent, pcont.backend_cgroupfs, pcont.virtual.files, pcont.virtual.auto_delete"
    )
    names, _ = imported("-I", "-c", f"import sys; sys.path.insert(0, '.'); {imports}")
    assert {"pcont.backend_cgroupfs", "pcont.steps.reap"} <= names
    assert heavy(names) <= {name for name in names if name.partition(".")[0] == "json"}
    assert {"click", "subprocess", "pcont.cli", "pcont.backend_model"} & names == set()
