"""The commands below `pcont sim`: simulated tasks and machines, on the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pcont.commands.common import App, json_option, pids_argument, verb
from pcont.commands.declare import DeclaredCommand, Function, argument, group, option
from pcont.commands.kinds import FILE, PID, Seconds, Whole

if TYPE_CHECKING:
    from pcont.ops.task_ids import TaskIds


@group
@json_option
def sim(app: App) -> None:
    """Simulate tasks and machines on the model.

    These commands need --backend model. The model's state keeps the simulated tasks.

    \b
    Example:
      pcont --backend model sim fork
      pcont --backend model attach jobs:/batch 5000000
      pcont --backend model sim fork 5000000 --count 100
    """


def _verb(*example: str) -> Callable[[Function], DeclaredCommand]:
    """Make a command as `verb` does, and add it to the group."""

    def make(function: Function) -> DeclaredCommand:
        found = verb(*example)(function)
        sim.commands[found.name] = found
        return found

    return make


def _show_ids(app: App, session: Any, ids: Sequence[int]) -> None:
    app.show(session, ids, lambda: print("\n".join(map(str, ids))))


count_option = option("--count", kind=Whole(1), default=1, metavar="N", help="Repeat this N times.")


@_verb("pcont sim fork", "pcont sim fork 5000000 --count 100")
@argument("pid", kind=PID, required=False)
@count_option
@option("--name", default="simulated", metavar="NAME", help="Without PID: name of the task.")
@option(
    "--uid",
    kind=Whole(0),
    metavar="UID",
    help="Without PID: owner (default: you).",
)
def fork_command(app: App, pid: int | None, count: int, name: str, uid: int | None) -> None:
    """Fork a simulated task, or start a new one.

    A child starts in the containers of its parent. Prints the new ids, which no live task can have.
    At a limit, the command fails with exit 8. Tasks that were forked before that, or before a
    signal, remain.
    """
    from pcont.ops import simulate

    session = app.session(acts=True)
    _show_ids(app, session, simulate.fork(session, pid, count=count, name=name, uid=uid))


@_verb("pcont sim thread 5000000")
@argument("pid", kind=PID)
@count_option
def thread_command(app: App, pid: int, count: int) -> None:
    """Start threads of a simulated process.

    Prints the ids of the threads.
    """
    from pcont.ops import simulate

    session = app.session(acts=True)
    _show_ids(app, session, simulate.thread(session, pid, count=count))


@_verb("pcont sim unshare 5000000 --subsystem cpuset")
@argument("pid", kind=PID)
@option(
    "--subsystem",
    default="ns",
    show_default=True,
    metavar="NAME",
    help="Subsystem that the hierarchy has.",
)
def unshare_command(app: App, pid: int, subsystem: str) -> None:
    """Call unshare(2) in a simulated task.

    In the dialects of 2006, the task gets a container of its own (container_clone): a child
    node_PID of its container, in the hierarchy that has the subsystem. Prints the path of that.
    """
    from pcont.ops import simulate

    session = app.session(acts=True)
    path = simulate.unshare_task(session, pid, subsystem)
    app.show(session, path, lambda: print(path, end="\n" if path else ""))


@_verb("pcont sim exit 5000000 5000010-5000019")
@pids_argument
@option("--thread", is_flag=True, help="End only these tasks, not their whole processes.")
def exit_command(app: App, pids: TaskIds, thread: bool) -> None:
    """End simulated processes.

    A PID is an id, a range of ids such as 5000000-5000009, or - for ids on standard input.
    """
    from pcont.ops import simulate

    session = app.session(acts=True)
    app.show(session, simulate.exit(session, pids, thread=thread))


@_verb("pcont sim work 5000000 2.5", "pcont sim work 5000000 1 --system 0.5 --cpu 3")
@argument("pid", kind=PID)
@argument("seconds", kind=Seconds())
@option(
    "--system",
    kind=Seconds(),
    default=0.0,
    metavar="SECONDS",
    help="CPU time in the kernel, in addition.",
)
@option(
    "--cpu",
    kind=Whole(0),
    metavar="N",
    help="CPU to use (default: the first allowed).",
)
def work_command(app: App, pid: int, seconds: float, system: float, cpu: int | None) -> None:
    """Use CPU time in a simulated task; this does not wait."""
    from pcont.ops import simulate

    session = app.session(acts=True)
    simulate.work(session, pid, seconds, system=system, cpu=cpu)
    app.show(session, pid)


@_verb("pcont sim open 5000000 --count 100")
@argument("pid", kind=PID)
@count_option
def open_command(app: App, pid: int, count: int) -> None:
    """Open files in a simulated process.

    Prints the numbers of the files. Children that it forks later hold these files, too.
    """
    from pcont.ops import simulate

    session = app.session(acts=True)
    _show_ids(app, session, simulate.open_files(session, pid, count=count))


@_verb("pcont sim close 5000000 1 2")
@argument("pid", kind=PID)
@argument("files", metavar="FILE...", nargs=-1, required=True, kind=FILE)
def close_command(app: App, pid: int, files: Sequence[int]) -> None:
    """Close files in a simulated process.

    The model frees a file when no process holds it any more.
    """
    from pcont.ops import simulate

    session = app.session(acts=True)
    simulate.close_files(session, pid, files)
    app.show(session, files)


@_verb("pcont sim mount-cpuset /dev/cpuset")
@argument("mountpoint")
def mount_cpuset_command(app: App, mountpoint: str) -> None:
    """Mount the old file system `cpuset`.

    It has cpuset alone, with the file names and the release agent of kernels before cgroups.
    Prints the mount point.
    """
    from pcont.ops import simulate

    session = app.session(acts=True)
    where = simulate.mount_cpuset(session, mountpoint)
    app.show(session, where, lambda: print(where))


@_verb("pcont sim param numtasks.total_numtasks=1000")
@argument("words", metavar="[NAME[=VALUE]...]", nargs=-1)
def param_command(app: App, words: Sequence[str]) -> None:
    """Show or set parameters of subsystems.

    In 2006 they were files below /sys/module. Without NAME, shows all parameters. The dialect v1
    has none.
    """
    from pcont.ops import simulate
    from pcont.output import text

    session = app.session(acts=bool(words))
    found = simulate.parameters(session, words)
    app.show(session, {one.key: one.value for one in found}, lambda: text.values(found, bare=False))


@_verb("pcont sim notified")
def notified_command(app: App) -> None:
    """Show the release agents that would have been run.

    Each line has the program, and the path of the container that became empty. The first one that
    would have been run comes first.
    """
    from pcont import records
    from pcont.ops import simulate

    session = app.session()
    rows = simulate.notified(session)
    app.show_table(session, rows, records.Notified)


@_verb("pcont sim proc 5000000/cgroup", "pcont sim proc containers")
@argument("file")
def proc_command(app: App, file: str) -> None:
    """Show a file of /proc about hierarchies or containers.

    FILE is the path below /proc: cgroups, PID/cgroup or PID/cpuset; in dialect v6 containers,
    PID/container or PID/cpuset.
    """
    from pcont.ops import simulate

    session = app.session()
    text = simulate.proc(session, file)
    app.show(session, text, lambda: print(text, end=""))


@_verb("pcont sim machine --cpus 0-511 --nodes 0-7")
@option("--cpus", default="", metavar="LIST", help="Set the CPUs that are online.")
@option("--nodes", default="", metavar="LIST", help="Set the memory nodes.")
def machine_command(app: App, cpus: str, nodes: str) -> None:
    """Show or change the simulated machine.

    As with hotplug, a CPU or memory node that is removed is also removed from every cpuset.
    """
    from pcont.ops import simulate
    from pcont.output import text

    session = app.session(acts=bool(cpus or nodes))
    found = simulate.machine(session, cpus=cpus, nodes=nodes)
    app.show(session, {one.key: one.value for one in found}, lambda: text.values(found, bare=False))
