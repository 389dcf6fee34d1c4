"""Record what killed commands leave on the disk: journals, and the state of the model.

`python -m tests.recorded` writes new files to tests/data/journals. The files there were written by
earlier versions of pcont, and tests read them: add files for a new format, never replace old ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcont import cli
from pcont.backend_model import StoredModel
from pcont.kernel.interfaces import Backend
from pcont.kernel.types import Place, TreeRequest
from pcont.linux.proc import Proc
from pcont.model.rows import all_rows
from pcont.steps.recover import roll_back
from pcont.transaction.journal import Journal
from tests.model_states import rows_in, write_rows

DATA = Path(__file__).parent / "data"
RECOVER = "recover the model"
BEYOND = "do what no command does"

SETUP = """
sim machine --cpus 0-3 --nodes 0-1
mount -o cpuset,cpuacct --name jobs /dev/jobs
mount --tie --name tied --no-freezer -o pids --at /tied /dev/tied
create -i jobs:/a jobs:/a/below jobs:/b -s cgroup.clone_children=1
create -i tied:/a tied:/a/below tied:/b -s pids.max=20
sim fork --name shell --uid 1000
sim fork 5000000 --count 2
sim thread 5000000
attach jobs:/a 5000000 5000001
attach --thread jobs:/a/below 5000003
attach tied:/a 5000002
"""

# The name of a case, and its command; "" for a command that only prepares the next ones.
COMMANDS = (
    ("mount", "mount -o none --name cold --release-agent /bin/true /dev/new/cold"),
    ("create-together", "create -i jobs:/made jobs:/made/below -s notify_on_release=1"),
    ("set", "set jobs:/a/below cpuset.cpus=0-1 cpuset.mems=0"),
    ("reset", "set jobs:/a/below cpuset.cpus=1 cpuacct.usage=0"),
    ("chown", "chown jobs:/a/below 1000:1000 --tasks-owner 1001"),
    ("attach", "attach tied:/b 5000000"),
    ("attach-processes", "attach tied:/b 5000001 5000002"),
    ("", "sim fork 5000000"),
    ("move", "move tied:/b tied:/a"),
    ("move-with-affinities", "move jobs:/a/below jobs:/b"),
    ("bind", "bind tied freezer -i"),
    ("bind-programs", "bind tied numfiles"),
    ("", "set tied:/a bc.numfiles.barrier=9 auto_delete=1"),
    ("unbind-programs", "unbind tied numfiles --yes"),
    ("unbind", "unbind tied freezer --yes"),
    ("rm-together", "rm -r tied:/a --evict"),
    ("clone", "clone --ns uts,net tied --pin box --keep -- true"),
    ("unpin", "unpin box"),
    ("", "bind cold numfiles"),
    ("umount", "umount cold"),
    ("umount-tie", "umount tied"),
)


SETUP_OF_V2 = """
sim machine --cpus 0-3 --nodes 0-1
create unified:/jobs
create -p pids:/jobs/a -s pids.max=20
create unified:/threads
create unified:/threads/a unified:/threads/b -s cgroup.type=threaded
sim fork --name shell --uid 1000
sim fork 5000000 --count 2
sim thread 5000000
attach unified:/jobs/a 5000001
attach unified:/threads/a 5000000
"""

COMMANDS_OF_V2 = (
    ("enable", "create -p memory:/jobs/c/d -s memory.max=64M -s cpuset.cpus=1"),
    ("attach-threads", "attach --thread unified:/threads/b 5000003"),
    ("move-processes", "move unified:/threads/a unified:/jobs/a"),
    ("", "mount -o cpuset,pids --name cold /dev/cold"),
    ("", "create cold:/x -s pids.max=7"),
    ("unbind-of-v2", "unbind cold pids --yes"),
    ("", "rm cold:/x"),
    ("umount-of-v2", "umount cold"),
)


class Recorded(StoredModel):
    """A model in a file that has journals, and where the only real task is the command itself."""

    def __init__(self, directory: Path, dialect: str | None = None) -> None:
        self._directory = directory
        super().__init__(str(directory / "model.json"), dialect)

    def _load(self) -> None:
        super()._load()
        self.tasks.proc = Proc(str(self._directory / "proc"))

    def journals(self) -> str:
        return str(self._directory / "journals")


def opened(directory: Path, dialect: str | None = None) -> Recorded:
    """The model in a directory."""
    for name in ("proc", "journals"):
        (directory / name).mkdir(exist_ok=True)
    for one in (directory / "proc").iterdir():
        if (one / "stat").is_symlink():
            shutil.rmtree(one)
    _link_one_thread(directory / "proc" / f"{os.getpid()}", Path(f"/proc/{os.getpid()}"))
    return Recorded(directory, dialect)


def _link_one_thread(place: Path, process: Path) -> None:
    """Show a process in another /proc with its first thread only: pytest may have more."""
    (place / "task").mkdir(parents=True)
    for name in os.listdir(process):
        if name != "task":
            (place / name).symlink_to(process / name)
    (place / "task" / process.name).symlink_to(process / "task" / process.name)


@dataclass
class Watch:
    """Count what a command does with its journals, and kill it at a number."""

    model: Recorded
    kill_at: int
    events: list[str]

    def install(self) -> None:
        """Replace the two methods of Journal in this process."""
        append, close = Journal.append, Journal.close

        def appending(journal: Journal, entry: dict[str, Any]) -> None:
            self.happens("end" if entry.get("end") else "entry")
            append(journal, entry)

        def closing(journal: Journal) -> None:
            if journal._entries:
                self.happens("close")
            close(journal)

        setattr(Journal, "append", appending)  # noqa: B010
        setattr(Journal, "close", closing)  # noqa: B010

    def happens(self, event: str) -> None:
        """Kill this process before the event of that number; the kernel keeps its state, too."""
        if len(self.events) == self.kill_at:
            self.model._store.save()
            os.kill(os.getpid(), signal.SIGKILL)
        self.events.append(event)


def run(directory: Path, words: str, kill_at: int = -1) -> list[Any]:
    """Run a command on the model in a directory, in a process; returns what happened."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            model = opened(directory)
            watch = Watch(model, kill_at, [])
            watch.install()
            from pcont.kernel import open as kernel_open

            kernel_open.open_backend = lambda *words: model
            found, status = act(model, words, watch.events)
            os.write(writer, json.dumps(found).encode())
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader) as stream:
        text = stream.read()
    _, status = os.waitpid(pid, 0)
    if kill_at >= 0:
        assert os.WIFSIGNALED(status), words
        return []
    assert status == 0, words
    return list(json.loads(text))


def act(model: Recorded, words: str, events: list[str]) -> tuple[list[Any], int]:
    """Run a command, or do what none does; returns what to report, and the exit status."""
    if words == RECOVER:
        return recovered(model), 0
    if words == BEYOND:
        with model.exclusive():
            beyond_commands(model)
        return [], 0
    status = cli.main(words.removeprefix("! ").split())
    status = status == 0 if words.startswith("! ") else status
    return events, status


def copied(directory: Path, work: Callable[[Path], None]) -> None:
    """Do something with a copy of a directory."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name, "copy")
        shutil.copytree(directory, copy, symlinks=True)
        work(copy)


def kills(events: list[str]) -> dict[str, int]:
    """Where to kill a command: when all is done, and before its last act, if that is final."""
    last = max(number for number, event in enumerate(events) if event == "close")
    found = {"done": last}
    ends = [number for number, event in enumerate(events) if event == "end" and number]
    return {**found, "before-the-end": ends[-1]} if ends else found


def record(directory: Path, name: str, words: str, target: Path) -> None:
    """Write what a command leaves that is killed, once for each of `kills`."""
    events: list[str] = []
    copied(directory, lambda copy: events.extend(run(copy, words)))
    for how, kill_at in kills(events).items():

        def killed(copy: Path, kill_at: int = kill_at, how: str = how) -> None:
            run(copy, words, kill_at)
            (journal,) = (copy / "journals").iterdir()
            found = {
                "command": words,
                "journal": journal.read_text(encoding="utf-8").splitlines(),
                "killed": state_in(copy),
                "found": run(copy, RECOVER),
                "recovered": state_in(copy),
            }
            (target / f"{name}-{how}.json").write_text(f"{json.dumps(found)}\n", encoding="utf-8")

        copied(directory, killed)


def state_in(directory: Path) -> dict[str, Any]:
    """The state of the model in a directory."""
    return rows_in(directory / "model.json")


def recovered(backend: Backend) -> list[list[object]]:
    """Recover, and return the outcome of each journal, and what is left."""
    with backend.exclusive():
        return [[one.outcome, list(one.left)] for one in roll_back(backend)]


def record_journals(target: Path) -> None:
    """Record all cases of journals."""
    for dialect, setup, commands in (("v1", SETUP, COMMANDS), ("v2", SETUP_OF_V2, COMMANDS_OF_V2)):
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            begin(directory, dialect)
            for words in setup.strip().splitlines():
                run(directory, words)
            for case, words in commands:
                if case:
                    record(directory, case, words, target)
                run(directory, words)


def begin(directory: Path, dialect: str) -> None:
    """Write the state of a new model."""
    new = opened(directory, dialect)
    write_rows(new.file, all_rows(new))


# The commands that make the state of each dialect, and those that show it.
STATES = {
    "v2": (
        """
        --dialect v2
        sim machine --cpus 0-3 --nodes 0-1
        create unified:/jobs
        create -p memory,pids:/jobs/a -s memory.max=64M -s pids.max=5 -s cpu.weight=7
        set memory:/jobs/a cpuset.cpus=1-2 cgroup.max.depth=3
        create unified:/threads
        create unified:/threads/a unified:/threads/b -s cgroup.type=threaded
        mount -o none --name named
        create named:/x -s notify_on_release=1
        sim fork --name shell --uid 1000
        sim fork 5000000 --count 2
        sim thread 5000000
        attach unified:/jobs/a 5000001
        attach unified:/threads/a 5000000
        attach --thread unified:/threads/b 5000003
        attach named:/x 5000002
        sim work 5000001 2.5 --system 0.5
        set unified:/threads cgroup.freeze=1
        """,
        """
        hierarchies
        subsys
        tree unified
        get memory:/jobs/a
        ps unified:/threads/b
        where 5000003
        where 5000002
        sim proc 5000003/cgroup
        """,
    ),
    "v1": (
        """
        sim machine --cpus 0-3 --nodes 0-1
        mount -o cpuset,cpuacct --name jobs /dev/jobs
        mount -o cpuset,cpuacct --name jobs /dev/again
        mount --tie --name tied -o pids,freezer --at /tied /dev/tied
        bind tied numfiles,numtasks
        create -i jobs:/a jobs:/a/below jobs:/b -s cgroup.clone_children=1
        create tied:/a tied:/a/below tied:/b -s pids.max=20
        set tied:/a bc.numfiles.barrier=9 bc.numfiles.limit=9
        set tied:/a numtasks.shares=max_shares=50 auto_delete=1
        set jobs: release_agent=/bin/true
        set jobs:/b notify_on_release=1 cpuset.cpus=1-2
        sim fork --name shell --uid 0
        sim fork 5000000 --count 4
        sim thread 5000000
        attach jobs:/a 5000000 5000001 5000002
        attach --thread jobs:/a/below 5000005
        attach jobs:/b 5000003
        attach tied:/a 5000000 5000003
        attach tied:/a/below 5000002
        attach jobs:/b {live}
        attach tied:/b {killed}
        sim open 5000000 --count 3
        ! sim open 5000000 --count 9
        create tied:/c -s pids.max=1 -s auto_delete=1
        sim fork --uid 0
        attach tied:/c 5000006
        ! sim fork 5000006
        sim fork 5000000
        set jobs:/a/below auto_delete=1 notify_on_release=1
        sim work 5000000 2.5 --system 0.5 --cpu 3
        sim exit --thread 5000000
        move jobs:/b jobs:/a
        set tied:/a/below freezer.state=FROZEN
        create tied:/gone
        attach tied:/gone {killed}
        rm tied:/gone --kill
        clone --ns uts,net tied --pin box --keep -- true
        """,
        """
        subsys
        hierarchies
        tree jobs:/a
        tree tied:/a
        get jobs:/
        get jobs:/a
        get jobs:/a/below
        get tied:/
        get tied:/a
        get tied:/a/below
        ps tied:/a/below
        where 5000000
        where 5000005
        where {live}
        stat jobs:/a
        beancounters
        pins
        sim notified
        sim machine
        sim proc cgroups
        sim proc 5000002/cgroup
        """,
    ),
    "v1-cpuset": (
        """
        sim mount-cpuset /dev/cpuset
        sim fork
        """,
        """
        hierarchies
        get cpuset:/
        """,
    ),
    "v6": (
        """
        --dialect v6
        sim machine --cpus 0-3 --nodes 0-1
        mount -o cpuset,cpuacct /dev/containers
        mount -o numtasks /dev/numtasks
        mount -o bc /dev/bc
        create cpuset:/jobs cpuset:/jobs/a
        create bc:/server
        sim fork
        set cpuset:/jobs cpus=0-1 mems=0
        set cpuset:/jobs/a cpus=0 mems=0
        set cpuset: release_agent=/bin/true
        attach cpuset:/jobs/a 5000000
        sim work 5000000 2
        set cpuset:/jobs auto_delete=1
        set cpuset:/jobs/a notify_on_release=1
        sim param numtasks.total_numtasks=10000
        create numtasks:/bomb -s numtasks.shares=max_shares=1,child_shares_divisor=100
        set numtasks:/ numtasks.shares=child_shares_divisor=1000
        set bc:/server bc.numfiles.barrier=2 bc.numfiles.limit=2
        attach bc:/server 5000000
        sim open 5000000 --count 2
        attach numtasks:/bomb 5000000
        sim fork 5000000 --count 3
        sim exit 5000003
        move cpuset:/jobs/a cpuset:/jobs
        umount bc
        """,
        """
        subsys
        hierarchies
        get cpuset:/
        get cpuset:/jobs
        get cpuset:/jobs/a
        tree cpuset:/jobs
        get numtasks:/bomb
        get numtasks:/
        ps cpuset:/jobs
        where 5000000
        sim notified
        sim param
        sim machine
        sim proc containers
        sim proc 5000000/container
        """,
    ),
    "v6-ns": (
        """
        --dialect v6-ns
        sim machine --cpus 0-3 --nodes 0-1
        mount -o numtasks /dev/numtasks
        set numtasks:/ numtasks.shares=child_shares_divisor=1000
        umount numtasks
        mount -o ns,cpuset /dev/ns
        sim fork
        sim unshare 5000000
        sim fork 5000000
        sim unshare 5000001
        """,
        """
        hierarchies
        tree ns:/
        where 5000001
        sim proc containers
        """,
    ),
}


def beyond_commands(model: Recorded) -> None:
    """What no command of pcont does to a model of v1."""
    model.mount(TreeRequest((), "over"), "/dev/jobs", "pcont:0:/dev/jobs")
    model.set_affinity(5000005, frozenset({1}))
    list(model.kill(Place("freezer", "/tied/a/below"), [5000002], signal.SIGKILL))
    model.simulator.exit(5000006)  # nothing has removed its container yet


def record_states(target: Path) -> None:
    """Record a state of each dialect, with a copy of /proc that has two processes."""
    shutil.rmtree(target / "proc", ignore_errors=True)
    with contextlib.ExitStack() as stack:
        sleeping = [stack.enter_context(subprocess.Popen(["sleep", "99"])) for _ in range(2)]
        for one in sleeping:
            stack.callback(one.kill)
            copy_process(one.pid, target / "proc")
        pids = {"live": sleeping[0].pid, "killed": sleeping[1].pid}
        for name, (commands, reads) in STATES.items():
            with tempfile.TemporaryDirectory() as directory:
                shutil.copytree(target / "proc", Path(directory, "proc"))
                record_state(Path(directory), target / f"{name}.state", commands.format_map(pids))
            record_shown(target / f"{name}.state", target, reads.format_map(pids))


def copy_process(pid: int, proc: Path) -> None:
    """Copy what pcont reads of a process in /proc."""
    (proc / f"{pid}/task/{pid}").mkdir(parents=True)
    for file in ("stat", "status", f"task/{pid}/stat"):
        (proc / f"{pid}/{file}").write_text(Path(f"/proc/{pid}/{file}").read_text())


def record_state(directory: Path, file: Path, commands: str) -> None:
    """Write the state that some commands make."""
    for words in lines_of(commands):
        if words.startswith("--dialect"):
            begin(directory, words.split()[1])
        else:
            run(directory, words)
    if file.stem == "v1":
        run(directory, BEYOND)
    shutil.copy(directory / "model.json", file)


def record_shown(file: Path, target: Path, reads: str) -> None:
    """Write what some commands show of a state."""
    shown = {words: shown_by(file, words) for words in lines_of(reads)}
    text = json.dumps(shown, indent=1)
    file.with_suffix(".shown").write_text(f"{text}\n", encoding="utf-8")


def shown_by(file: Path, words: str) -> list[str]:
    """Return the lines that a command prints with the model of a recorded state."""
    with tempfile.TemporaryDirectory() as name:
        shutil.copytree(file.parent / "proc", Path(name, "proc"))
        shutil.copy(file, Path(name, "model.json"))
        with open(f"{name}/printed", "w") as stream, on_descriptor(1, stream.fileno()):
            run(Path(name), f"--json {words}")
        return Path(f"{name}/printed").read_text(encoding="utf-8").splitlines()


@contextlib.contextmanager
def on_descriptor(number: int, other: int) -> Iterator[None]:
    """Have a descriptor lead to where another one does."""
    saved = os.dup(number)
    sys.stdout.flush()
    os.dup2(other, number)
    try:
        yield
    finally:
        os.dup2(saved, number)
        os.close(saved)


def lines_of(text: str) -> list[str]:
    """Return the lines without the white space around them."""
    return [line.strip() for line in text.strip().splitlines()]


def main(target: Path) -> None:
    """Record everything."""
    for name in ("journals", "states4"):
        (target / name).mkdir(parents=True, exist_ok=True)
    record_journals(target / "journals")
    record_states(target / "states4")


if __name__ == "__main__":
    main(Path(*sys.argv[1:]) if sys.argv[1:] else DATA)
