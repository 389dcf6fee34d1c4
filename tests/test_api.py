"""`pcont.open()`: what it imports, its arguments, and that every command has a verb."""

from __future__ import annotations

import inspect
import math
import os
import re
import signal
from collections.abc import Callable
from errno import EAGAIN, EIO, EMFILE
from pathlib import Path
from typing import Any

import click
import pytest

import pcont
from pcont import api
from pcont.api import Sim
from pcont.cli import cli
from pcont.errors import (
    BadValue,
    Busy,
    Denied,
    LimitReached,
    NotFound,
    PcontError,
    Unsupported,
    UsageProblem,
)
from pcont.kernel import open as kernel_open
from pcont.model import dialects
from pcont.model.tasks import FIRST_SIMULATED_ID
from pcont.ops import numbers
from tests.command_tree import commands_of
from tests.test_startup import heavy, imported


@pytest.fixture
def k() -> pcont.Pcont:
    """A model in memory with one hierarchy, and one container in it."""
    opened = pcont.open("model")
    opened.mount("pids,cpuset", name="jobs")
    opened.create("jobs:/a", inherit=True)
    return opened


# What is imported


def test_import_pcont_imports_no_other_module_of_it() -> None:
    before, _ = imported("-c", "from __future__ import annotations; import typing")
    names, _ = imported("-c", "import pcont")
    assert {name for name in names if name.partition(".")[0] == "pcont"} == {"pcont"}
    assert {name.partition(".")[0] for name in names - before} == {"pcont"}
    assert heavy(names - before) == set()


def test_a_verb_imports_nothing_of_the_command_line_and_of_other_verbs() -> None:
    names, out = imported(
        "-c",
        "import pcont; k = pcont.open('model'); k.mount('pids', name='jobs');"
        "print(k.value('jobs:/', 'tasks') != '')",
    )
    assert out == "True\n"
    assert {"click", "rich", "psutil", "pyroute2"} & names == set()
    assert "pcont.backend_cgroupfs" not in names
    assert not {name for name in names if name.startswith(("pcont.cli", "pcont.commands"))}


def test_the_package_has_the_names_of_the_library_and_no_other() -> None:
    assert all(getattr(pcont, name) is getattr(api, name) for name in ("open", "Pcont", "PlaceRef"))
    assert pcont.Interrupted is api.Interrupted
    with pytest.raises(AttributeError, match="has no attribute 'create'"):
        pcont.create  # type: ignore[attr-defined]  # noqa: B018


ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {"pcont", "pcont.errors", "pcont.plugin", "pcont.records"}


def modules(code: str) -> set[str]:
    """The modules of pcont that a program imports."""
    found = re.findall(r"^ *(?:from|import) (pcont[\w.]*)( import \w+)?", code, re.M)
    return {
        module if module != "pcont" else module + more.replace(" import ", ".")
        for module, more in found
    }


def test_the_examples_import_what_is_meant_for_programs_only() -> None:
    page = (ROOT / "docs" / "library.md").read_text()
    for code in re.findall(r"```python\n(.*?)```", page, re.S):
        assert "pcont" in modules(code) <= OUTSIDE
    example = ROOT / "examples" / "seats" / "pcont_seats.py"
    assert modules(example.read_text()) == {"pcont.plugin"}


def rows() -> list[str]:
    """The table of docs/library.md: each verb, what it returns, and the first line of its help."""
    found = []
    for owner, before in ((pcont.Pcont, "k."), (Sim, "k.sim.")):
        for name, verb in vars(owner).items():
            if inspect.isfunction(verb) and not name.startswith("_"):
                returned = str(inspect.signature(verb).return_annotation).replace(" | ", " or ")
                about = (inspect.getdoc(verb) or "").partition("\n")[0]
                found.append(f"| `{before}{name}` | {returned} | {about} |")
    return found


def test_the_page_has_a_table_of_all_verbs() -> None:
    page = (ROOT / "docs" / "library.md").read_text()
    table = [line for line in page.splitlines() if line.startswith("| `k.")]
    assert table == rows(), "\n".join(["docs/library.md needs this table:", *rows()])


def test_a_plugin_gets_each_name_that_is_announced() -> None:
    from pcont import plugin

    assert len(set(plugin.__all__)) == len(plugin.__all__)
    assert all(hasattr(plugin, name) for name in plugin.__all__)
    names, _ = imported("-c", "import pcont.plugin")
    assert heavy(names) == set()
    assert not {name for name in names if name.startswith(("pcont.subsys", "pcont.session"))}


# Each command has a verb

# Options of the command line that are arguments of pcont.open(), or have no use in a program.
ELSEWHERE = {"dry_run", "force", "yes"}
# A program calls verbs in the block of `batch`, and catches their errors, in place of these.
IN_THE_BLOCK = {("batch", "file"), ("batch", "keep_going")}
# Arguments that have another name here: by command and parameter of the command line.
RENAMED = {
    ("attach", "pids"): "tasks",
    ("bind", "subsystems"): "subsystems",
    ("clone", "gids"): "gid_map",
    ("clone", "kinds"): "ns",
    ("clone", "uids"): "uid_map",
    ("mount", "mountpoints"): "mountpoint",
    ("mount", "no_freezer"): "freezer",
    ("mount", "options"): "subsystems",
    ("set", "assignments"): "settings",
    ("sim param", "words"): "names",
}


COMMANDS = commands_of(cli())


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_has_a_verb_with_its_arguments(words: str) -> None:
    owner = Sim if words.startswith("sim ") else pcont.Pcont
    verb = getattr(owner, words.rpartition(" ")[2].replace("-", "_"), None)
    assert verb, f"pcont.api lacks a verb for: pcont {words}"
    assert (inspect.getdoc(verb) or "").strip().endswith(".")
    arguments = set(inspect.signature(verb).parameters)
    for one in COMMANDS[words].params:
        if (words, one.name) in IN_THE_BLOCK:
            continue
        if one.expose_value and one.name and one.name not in ELSEWHERE:
            assert RENAMED.get((words, one.name), one.name) in arguments, one.name


def test_the_table_of_renamed_arguments_has_no_rows_for_what_is_not_there() -> None:
    for words, name in RENAMED:
        assert name in {one.name for one in COMMANDS[words].params}


def test_a_place_has_the_arguments_of_the_verbs() -> None:
    for name, verb in vars(pcont.PlaceRef).items():
        if inspect.isfunction(verb) and not name.startswith("_"):
            ours = list(inspect.signature(verb).parameters.values())[1:]
            theirs = list(inspect.signature(getattr(pcont.Pcont, name)).parameters.values())[2:]
            assert [(one.name, one.default) for one in ours] == [
                (one.name, one.default) for one in theirs
            ]


def test_the_environment_of_the_command_line_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCONT_BACKEND", "model")
    assert repr(pcont.open()) == "<pcont over cgroupfs>"


# Arguments of open()


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (("v2",), {}, "no backend 'v2'"),
        (("model",), {"dialect": "v7"}, "no dialect 'v7'"),
        (("cgroupfs", "file"), {}, "go with the backend model"),
        ((), {"dialect": "v1"}, "go with the backend model"),
        (("model", ""), {}, "is empty"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    arguments: tuple[str, ...], options: dict[str, str], words: str
) -> None:
    with pytest.raises(UsageProblem, match=words):
        pcont.open(*arguments, **options)  # type: ignore[arg-type]


def test_the_command_line_and_the_library_have_the_backends_and_dialects_that_exist() -> None:
    """Three modules name them: those that know them cannot be imported at start-up."""
    choices = {
        one.name: tuple(one.type.choices)
        for one in cli().params
        if isinstance(one.type, click.Choice)
    }
    assert choices == {"backend": api.BACKEND_NAMES, "dialect": api.DIALECT_NAMES}
    assert {*api.BACKEND_NAMES, "memory"} == set(kernel_open.BACKENDS)
    assert tuple(dialects.DIALECTS) == api.DIALECT_NAMES


def test_a_state_that_cannot_be_read_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(PcontError, match="regular file"):
        pcont.open("model", tmp_path)


def test_a_closed_object_refuses_every_verb() -> None:
    with pcont.open("model") as k:
        later = k.using(dry_run=True)
        k.hierarchies()
    for verb in (k.hierarchies, later.hierarchies, k.sim.notified):
        with pytest.raises(UsageProblem, match="is closed"):
            verb()


def test_models_in_memory_are_separate(k: pcont.Pcont) -> None:
    assert k.place("jobs:/a").tree().path == "/a"
    assert pcont.open("model").hierarchies() == []


def test_a_model_in_a_file_is_read_anew_for_each_verb(tmp_path: Path) -> None:
    one, other = (pcont.open("model", tmp_path / "state.json") for _ in range(2))
    one.mount("pids", name="jobs")
    other.create("jobs:/a")
    assert [child.name for child in one.tree("jobs")[0].children] == ["a"]


def test_a_dialect_is_that_of_a_new_model() -> None:
    k = pcont.open("model", dialect="v6")
    k.mount("cpuset", "/tmp/containers")
    k.create("cpuset:/a", inherit=True, settings={"cpus": 0})
    assert k.value("cpuset:/a", "cpus") == "0"
    assert "cpuset" in k.sim.proc("containers")


# Options


def test_a_dry_run_changes_nothing_and_collects_the_lines(k: pcont.Pcont) -> None:
    plan = k.using(dry_run=True)
    plan.create("jobs:/b")
    plan.rm("jobs:/a")
    assert [line.split()[0] for line in plan.planned] == ["mkdir", "rmdir"]
    assert k.planned == []
    assert [child.name for child in k.tree("jobs")[0].children] == ["a"]
    with pytest.raises(NotFound):
        plan.set("jobs:/b", {"pids.max": 1})


def test_the_hint_for_what_is_protected_names_the_option_of_the_library(k: pcont.Pcont) -> None:
    with pytest.raises(Denied) as caught:
        k.attach("jobs:/a", 1)
    assert caught.value.hint == "using(force=True) does it"
    k.using(force=True).attach("jobs:/a", 1)
    assert k.where(1)[0].container == "/a"


def test_hints_name_the_arguments_of_the_library_and_not_options(
    k: pcont.Pcont, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("no state")
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: k.mount("cpuacct", tie=True), "give name=NAME, or with `tie` a MOUNTPOINT"),
        (lambda: k.clone("jobs", (), ns="uts"), "add pid=PID or `command`"),
        (lambda: k.set("jobs:/a", {"tasks": 0}), "pcont attach jobs:/a $$"),
        (
            lambda: pcont.open("model", broken),
            "rename the file to start with a new model, or use another state=FILE",
        ),
    ]
    for call, hint in calls:
        with pytest.raises(PcontError) as caught:
            call()
        assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("hint", "meant"),
    [
        ("use a longer --timeout, or none", "use a longer `timeout`, or none"),
        ("rehearse with --backend model", "rehearse with backend='model'"),
        ("add --pid PID or -- COMMAND", "add pid=PID or `command`"),
        ("set --uid-map", "set `uid_map`"),
        ("pcont umount --foreign /a", "pcont umount --foreign /a"),
        ("mount it again: pcont mount --name a", "mount it again: pcont mount --name a"),
        ("", ""),
    ],
)
def test_an_option_in_a_hint_becomes_an_argument_but_not_in_a_command(
    hint: str, meant: str
) -> None:
    with pytest.raises(PcontError) as caught, api._translated("x"):
        raise PcontError("x", hint=hint)
    assert caught.value.hint == meant


def test_notes_and_progress_are_reported_to_the_caller(k: pcont.Pcont) -> None:
    notes: list[str] = []
    steps: list[tuple[int, int]] = []
    loud = k.using(warn=notes.append, progress=lambda done, of: steps.append((done, of)))
    loud.create("jobs:/a", parents=True, inherit=True)
    loud.create("jobs:/b", "jobs:/c")
    assert any("jobs:/a exists" in note for note in notes)
    assert (0, 2) in steps
    assert (1, 2) in steps


# Arguments of verbs


def test_settings_are_a_dictionary_or_words(k: pcont.Pcont) -> None:
    assert k.set("jobs:/a", {"pids.max": 7, "notify_on_release": True}) == [
        "pids.max",
        "notify_on_release",
    ]
    assert [one.value for one in k.get("jobs:/a", "pids.max", "notify_on_release")] == [7, 1]
    k.set("jobs:/a", ["pids.max=8"])
    k.set("jobs:/a", "notify_on_release=0")
    assert [one.value for one in k.get("jobs:/a", "pids.max", "notify_on_release")] == [8, 0]


def test_a_place_is_a_text_a_path_or_an_object(k: pcont.Pcont, tmp_path: Path) -> None:
    k.mount("none", tmp_path / "view", name="other")
    k.create(tmp_path / "view" / "a", k.place("other:/b"), "other:/c")
    assert [child.name for child in k.place("other").tree().children] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("top", "below"),
    [
        ("jobs", "jobs:/x"),
        ("jobs:/", "jobs:/x"),
        ("jobs:/a", "jobs:/a/x"),
        ("/dev/jobs/a/", "/dev/jobs/a/x"),
        ("/", "/x"),
        ("./a", "./a/x"),
        ("cpuset,pids", "cpuset,pids:/x"),
    ],
)
def test_a_slash_gives_the_place_below(k: pcont.Pcont, top: str, below: str) -> None:
    assert str(k.place(top) / "x") == below


def test_tasks_are_ids_and_ranges_and_a_list(k: pcont.Pcont) -> None:
    ids = k.sim.fork(count=4)
    assert k.attach("jobs:/a", ids[0], f"{ids[1]}-{ids[2]}").moved == 3
    k.sim.exit(ids[1])
    k.attach("jobs:/", ids[0], listed=[ids[1], ids[2]])
    assert k.ps("jobs:/a") == []
    assert k.sim.exit(ids[0], listed=ids[1:]) == [ids[0], ids[2], ids[3]]


@pytest.mark.parametrize("words", [("-",), ("x",), ("9-1",), (-1,), ()])
def test_what_is_no_task_is_refused(k: pcont.Pcont, words: tuple[str | int, ...]) -> None:
    with pytest.raises(UsageProblem):
        k.attach("jobs:/a", *words)


NO_TASK: list[Any] = ["x", "", -1, 0, 1.5, 1 << 31, None, "1-2", b"5", [5], 10**5000]


@pytest.mark.parametrize("pid", NO_TASK, ids=numbers.shown)
def test_each_verb_refuses_what_is_no_task_as_wrong_usage(k: pcont.Pcont, pid: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: k.where(pid),
        lambda: k.attach("jobs:/a", listed=[pid]),
        lambda: k.sim.exit(listed=[pid]),
        lambda: k.sim.thread(pid),
        lambda: k.sim.unshare(pid),
        lambda: k.sim.work(pid, 1),
        lambda: k.sim.open(pid),
        lambda: k.sim.close(pid, 1),
        lambda: k.sim.close(k.sim.fork()[0], pid),
    ]
    if pid is not None:  # without a task
        calls += [lambda: k.sim.fork(pid), lambda: k.clone("jobs", pid=pid)]
    for call in calls:
        with pytest.raises(UsageProblem, match=r"is not the (id|number) of a"):
            call()


@pytest.mark.parametrize("listed", ["123", "x", 5, None])
def test_listed_ids_are_a_list(k: pcont.Pcont, listed: Any) -> None:
    for call in (lambda: k.attach("jobs:/a", listed=listed), lambda: k.sim.exit(listed=listed)):
        with pytest.raises(UsageProblem, match="listed is a list of ids"):
            call()


def test_a_task_may_be_named_by_a_text_in_every_verb(k: pcont.Pcont) -> None:
    (task,) = k.sim.fork()
    assert k.where(str(task)) == k.where(task)  # type: ignore[arg-type]
    assert k.sim.exit(listed=[str(task)]) == [task]  # type: ignore[list-item]


@pytest.mark.parametrize("number", [-1, 1.5, "1", (1 << 32) - 1, 10**5000], ids=numbers.shown)
def test_numbers_of_the_simulator_are_whole_and_in_their_range(k: pcont.Pcont, number: Any) -> None:
    (task,) = k.sim.fork()
    for call in (lambda: k.sim.fork(uid=number), lambda: k.sim.work(task, 1, cpu=number)):
        with pytest.raises(UsageProblem, match="is a number from 0 to"):
            call()


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", 10**5000], ids=numbers.shown)
def test_a_count_is_a_number_from_1(k: pcont.Pcont, count: Any) -> None:
    (task,) = k.sim.fork()
    for verb in (k.sim.fork, k.sim.thread, k.sim.open):
        with pytest.raises(UsageProblem, match="count is a number from 1 to"):
            verb(task, count=count)
    with pytest.raises(UsageProblem, match="count is a number from 1 to"):
        k.sim.fork(count=count)


def test_a_count_beyond_what_a_kernel_has_is_refused_at_once(k: pcont.Pcont) -> None:
    (task,) = k.sim.fork()
    calls: list[tuple[Callable[[], object], int]] = [
        (lambda: k.sim.fork(count=10**9), EAGAIN),
        (lambda: k.sim.fork(task, count=10**9), EAGAIN),
        (lambda: k.sim.thread(task, count=10**9), EAGAIN),
        (lambda: k.sim.open(task, count=10**9), EMFILE),
    ]
    for call, errno in calls:
        with pytest.raises(LimitReached, match=r"1000000000.*at most") as caught:
            call()
        assert caught.value.errno == errno
    assert k.sim.fork() == [task + 1]


def test_the_model_refuses_a_fork_when_all_ids_are_in_use(
    k: pcont.Pcont, monkeypatch: pytest.MonkeyPatch
) -> None:
    (task,) = k.sim.fork()
    monkeypatch.setattr("pcont.model.tasks.PID_MAX_LIMIT", 5)
    calls: list[Callable[[], object]] = [
        lambda: k.sim.thread(task, count=9),
        lambda: k.sim.fork(task),
        lambda: k.sim.fork(),
    ]
    for call in calls:
        with pytest.raises(LimitReached, match="ids of tasks are in use") as caught:
            call()
        assert caught.value.errno == EAGAIN
    k.sim.exit(task, thread=True)
    k.sim.exit(task + 1, thread=True)
    assert k.sim.fork()


def test_a_signal_ends_a_long_row_of_forks(k: pcont.Pcont) -> None:
    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(pcont.Interrupted):
            k.sim.fork(count=1 << 22)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    (task,) = k.sim.fork()
    assert 1 < task - FIRST_SIMULATED_ID < 1 << 22


@pytest.mark.parametrize("timeout", [-1, math.nan, math.inf, "soon", 10**400, [1]])
def test_a_timeout_is_a_time_that_ends(timeout: Any) -> None:
    with pytest.raises(UsageProblem, match="timeout is a finite number of seconds"):
        pcont.open("model", timeout=timeout)
    with pytest.raises(UsageProblem, match="timeout is a finite number of seconds"):
        pcont.open("model").using(timeout=timeout)


@pytest.mark.parametrize("seconds", [-1.0, 1e300, math.inf, math.nan])
def test_a_simulated_task_works_for_a_time_that_ends(k: pcont.Pcont, seconds: float) -> None:
    (task,) = k.sim.fork()
    for user, system in ((seconds, 0.0), (1.0, seconds)):
        with pytest.raises(UsageProblem, match="seconds"):
            k.sim.work(task, user, system=system)


@pytest.mark.parametrize("window", [-1.0, math.inf, math.nan])
def test_a_window_is_a_time_that_ends(window: float) -> None:
    k = pcont.open("model")
    k.mount("cpuacct", name="jobs")
    with pytest.raises(UsageProblem, match="window"):
        k.stat("jobs:/", window=window)
    with pytest.raises(UsageProblem, match="window"):
        k.get("jobs:/", "cpuacct.load", window=window)


@pytest.mark.parametrize("command", ["make -j8", [], ()])
def test_a_command_is_a_list_of_words(k: pcont.Pcont, command: str | list[str]) -> None:
    with pytest.raises(UsageProblem):
        k.run("jobs:/a", command)


def test_mount_needs_to_be_given_something() -> None:
    with pytest.raises(UsageProblem, match="nothing to mount"):
        pcont.open("model").mount()


def test_namespace_options_need_namespaces(k: pcont.Pcont) -> None:
    with pytest.raises(UsageProblem, match="go with ns"):
        k.clone("jobs:/a", ["true"], pin="box")


# Failures


def test_an_errno_that_no_operation_explains_is_an_error_of_pcont(
    k: pcont.Pcont, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        err = OSError(EIO, os.strerror(EIO), "/some/file")
        err.__dict__["left"] = ["rmdir /some"]
        raise err

    monkeypatch.setattr("pcont.ops.listing.ps", broken)
    with pytest.raises(PcontError) as caught:
        k.ps("jobs:/a")
    assert (caught.value.errno_name, caught.value.path) == ("EIO", "/some/file")
    assert "rmdir /some" in caught.value.message


@pytest.mark.parametrize("error", [RecursionError(), UnicodeEncodeError("ascii", "ö", 0, 1, "x")])
def test_an_error_of_python_itself_is_an_error_of_pcont(
    k: pcont.Pcont, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("pcont.ops.listing.ps", broken)
    with pytest.raises(PcontError) as caught:
        k.ps("jobs:/a")
    assert caught.value.hint


def test_each_kind_of_failure_has_its_class(k: pcont.Pcont) -> None:
    with pytest.raises(Busy):
        k.create("jobs:/a")
    with pytest.raises(BadValue):
        k.set("jobs:/a", {"pids.max": "many"})
    with pytest.raises(NotFound):
        k.value("jobs:/a", "pids.min")
    with pytest.raises(Unsupported):
        pcont.open().sim.fork()


# Simulated tasks and machines


def test_the_verbs_of_sim_do_what_the_commands_do(k: pcont.Pcont) -> None:
    k.sim.machine(cpus="0-3", nodes="0")
    assert [(one.key, one.value) for one in k.sim.machine()] == [("cpus", "0-3"), ("nodes", "0")]
    (pid,) = k.sim.fork(name="server")
    (thread,) = k.sim.thread(pid)
    files = k.sim.open(pid, count=2)
    k.sim.close(pid, *files)
    with pytest.raises(NotFound):
        k.sim.close(pid, files[0])
    k.mount("cpuacct", name="time")
    k.sim.work(pid, 1.5, system=0.5, cpu=2)
    assert k.stat("time")[0].used == 2_000_000_000
    assert k.sim.unshare(pid) == ""
    assert k.sim.exit(thread, thread=True) == [thread]
    assert k.sim.param() == []
    assert k.sim.notified() == []
    assert "cpuacct,name=time:/" in k.sim.proc(f"{pid}/cgroup")


def test_a_simulation_has_no_dry_run(k: pcont.Pcont, tmp_path: Path) -> None:
    (pid,) = k.sim.fork()
    (file,) = k.sim.open(pid)
    sim = k.using(dry_run=True).sim
    before = k.sim.machine()
    for verb in (
        lambda: sim.fork(),
        lambda: sim.thread(pid),
        lambda: sim.unshare(pid),
        lambda: sim.work(pid, 1),
        lambda: sim.open(pid),
        lambda: sim.close(pid, file),
        lambda: sim.mount_cpuset(tmp_path),
        lambda: sim.param("x=1"),
        lambda: sim.machine(cpus="0-99"),
        lambda: sim.exit(pid),
    ):
        with pytest.raises(UsageProblem, match="has no dry run"):
            verb()
    assert sim.machine() == before
    assert (sim.param(), sim.notified()) == ([], [])
    assert sim.proc(f"{pid}/cgroup") == k.sim.proc(f"{pid}/cgroup")


def test_the_old_file_system_is_mounted(tmp_path: Path) -> None:
    k = pcont.open("model")
    assert k.sim.mount_cpuset(tmp_path / "cpuset") == str(tmp_path / "cpuset")
    assert "cpus" in [one.key for one in k.get("cpuset:/")]
