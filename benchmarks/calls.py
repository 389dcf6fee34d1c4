"""Count what one command costs inside pcont: calls, changes of module, and reads of the model.

Each command runs twice to load and cache what it needs, and is counted the third time. The counts
do not depend on the machine: `tests/test_calls.py` keeps them from growing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pcont
from benchmarks.tables import lines
from pcont.backend_model import Model
from pcont.ops import attach, containers, mount, settings
from pcont.session import Session

PACKAGE = str(Path(pcont.__file__).parent)
MODEL = (sys.modules[Model.__module__].__file__ or "", str(Path(PACKAGE, "model")))
READS = ("has", "read", "attributes", "files", "children", "trees", "task", "threads", "membership")


@dataclass
class Counts:
    """What one run did: Python calls, those outside of the model, changes of module, and reads.

    `reads` are calls of the model by others, by the name of the method. `functions` has the calls
    of each function.
    """

    calls: int = 0
    outside: int = 0
    modules: int = 0
    reads: Counter[str] = field(default_factory=Counter)
    functions: Counter[str] = field(default_factory=Counter)

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Count a call of a Python function; the resumption of a generator is one, too."""
        code, above = frame.f_code, frame.f_back
        if event != "call" or code.co_filename == __file__:
            return
        inside, answers = is_in_the_model(above), code.co_filename.startswith(MODEL)
        self.calls += 1
        self.outside += not (inside or answers)
        self.modules += bool(above and is_another_module(code, above.f_code))
        self.functions[f"{code.co_filename.removeprefix(PACKAGE)}:{code.co_name}"] += 1
        if answers and not inside and code.co_name in READS:
            self.reads[code.co_name] += 1


def is_in_the_model(frame: FrameType | None) -> bool:
    """Whether a method of the model is at work."""
    while frame:
        if frame.f_code.co_filename.startswith(MODEL):
            return True
        frame = frame.f_back
    return False


def is_another_module(code: CodeType, above: CodeType) -> bool:
    """Whether a call goes from one module to another one of pcont."""
    return code.co_filename != above.co_filename and code.co_filename.startswith(PACKAGE)


def counted(run: Callable[[], object]) -> Counts:
    """Count what a function does."""
    counts = Counts()
    sys.setprofile(counts)
    try:
        run()
    finally:
        sys.setprofile(None)
    return counts


def mounted(subsystems: str) -> Model:
    """A model in which each subsystem is mounted as a hierarchy of its own."""
    model = Model()
    for name in subsystems.split(","):
        mount.mount(Session(model), name)
    return model


def tie(model: Model, subsystems: str) -> None:
    """Mount a tie of these hierarchies."""
    mount.mount(Session(model), subsystems, tie=True, name="jobs", freezer=False)


def on_a_tie(subsystems: str) -> Model:
    """A model with a tie of these hierarchies, which has the containers /a and /b."""
    model = mounted(subsystems)
    tie(model, subsystems)
    containers.create(Session(model), ["jobs:/a", "jobs:/b"], inherit=True)
    return model


def set_one(subsystems: str) -> Counts:
    """`pcont set jobs:/a cpuset.mem_hardwall=1`."""
    model = on_a_tie(subsystems)

    def run(value: int) -> None:
        settings.assign(Session(model), "jobs:/a", [f"cpuset.mem_hardwall={value}"])

    run(1)
    run(0)
    return counted(lambda: run(1))


def attach_simulated(subsystems: str) -> Counts:
    """`pcont attach jobs:/a PID` of a process of the model, with one thread."""
    model = on_a_tie(subsystems)
    return attach_process(model, model.simulated().spawn())


def attach_real(subsystems: str) -> Counts:
    """The same of a process of this machine: the model reads /proc for each of its answers."""
    with a_sleeper() as pid:
        return attach_process(on_a_tie(subsystems), pid)


def attach_process(model: Model, pid: int) -> Counts:
    """Attach a process to /a, from /b."""
    for place in ("jobs:/a", "jobs:/b"):
        attach.attach(Session(model), place, [pid])
    return counted(lambda: attach.attach(Session(model), "jobs:/a", [pid]))


def mount_tie(subsystems: str) -> Counts:
    """`pcont mount --tie --name jobs`, over mounted hierarchies."""
    on_a_tie(subsystems)
    model = mounted(subsystems)
    return counted(lambda: tie(model, subsystems))


def create_many(number: int) -> Counts:
    """`pcont create pids:/0 … -s pids.max=9` of so many containers."""
    model = mounted("pids")
    places = [f"pids:/{one}" for one in range(number)]
    return counted(lambda: containers.create(Session(model), places, settings=["pids.max=9"]))


def remove_many(number: int) -> Counts:
    """`pcont rm -r pids:/top`, with so many containers below it."""
    model = mounted("pids")
    places = ["pids:/top", *(f"pids:/top/{one}" for one in range(number))]
    containers.create(Session(model), places)
    return counted(lambda: containers.remove(Session(model), ["pids:/top"], recursive=True))


def attach_many(number: int) -> Counts:
    """`pcont attach pids:/a PID …` of so many processes, which are in one container."""
    model, pids = populated(number)
    return counted(lambda: attach.attach(Session(model), "pids:/a", pids))


def attach_threads(number: int) -> Counts:
    """`pcont attach pids:/a PID` of a process with so many threads."""
    model, (pid,) = populated(1)
    for _ in range(number - 1):
        model.simulated().thread(pid)
    return counted(lambda: attach.attach(Session(model), "pids:/a", [pid]))


def move_many(number: int) -> Counts:
    """`pcont move pids:/b pids:/a` of so many processes."""
    model, _ = populated(number)
    return counted(lambda: attach.move(Session(model), "pids:/b", "pids:/a"))


def move_beside(number: int) -> Counts:
    """The same into a container that has a task: which ones were moved is recorded."""
    model, _ = populated(number)
    attach.attach(Session(model), "pids:/a", [model.simulated().spawn()])
    return counted(lambda: attach.move(Session(model), "pids:/b", "pids:/a"))


def move_threads_beside(number: int) -> Counts:
    """`move_beside` of a process with so many threads."""
    model, (pid,) = populated(1)
    for _ in range(number - 1):
        model.simulated().thread(pid)
    attach.attach(Session(model), "pids:/a", [model.simulated().spawn()])
    return counted(lambda: attach.move(Session(model), "pids:/b", "pids:/a"))


def populated(number: int) -> tuple[Model, list[int]]:
    """A model with so many processes in the container /b, and an empty one."""
    model = mounted("pids")
    containers.create(Session(model), ["pids:/a", "pids:/b"])
    pids = [model.simulated().spawn() for _ in range(number)]
    attach.attach(Session(model), "pids:/b", pids)
    return model, pids


@contextmanager
def a_sleeper() -> Iterator[int]:
    """A process with one thread, which runs during the block."""
    with subprocess.Popen(["sleep", "600"]) as child:
        try:
            yield child.pid
        finally:
            child.kill()


COMMANDS: dict[str, Callable[[str], Counts]] = {
    "set of one value": set_one,
    "attach of a simulated process": attach_simulated,
    "attach of a real process": attach_real,
    "mount --tie": mount_tie,
}
TIES = {"2 trees": "cpuset", "3 trees": "cpuset,cpuacct"}


HEAD = ("command", "tie of", "calls", "outside of the model", "changes of module", *READS)


def counts() -> tuple[Sequence[str], Iterator[Sequence[object]]]:
    """The table: its head, and one row for each command on each tie."""
    return HEAD, (
        (name, trees, *_numbers(count(subsystems)))
        for name, count in COMMANDS.items()
        for trees, subsystems in TIES.items()
    )


def _numbers(found: Counts) -> list[int]:
    return [found.calls, found.outside, found.modules, *(found.reads[verb] for verb in READS)]


def main() -> None:
    """Print the table, or the functions that each command calls most."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--functions", type=int, default=0, help="print the N most called")
    most = parser.parse_args().functions
    if not most:
        print("\n".join(lines(*counts())))
    for name, count in COMMANDS.items() if most else ():
        print(name)
        for line, number in count("cpuset").functions.most_common(most):
            print(f"    {number:5} {line}")


if __name__ == "__main__":
    main()
