"""The library: `pcont.open()` returns an object with the verbs of the command line.

A program imports `pcont`, `pcont.errors` and `pcont.records`, and nothing else of this package.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from pcont.errors import FAILURES, FORCE, PcontError, UsageProblem, from_failure
from pcont.records import (
    BeanRow,
    Collected,
    ContainerNode,
    CpuRow,
    Ended,
    Finding,
    HierarchyRow,
    Mounted,
    Notified,
    Outcome,
    PinRow,
    Progress,
    Recovered,
    Scalar,
    Started,
    SubsystemRow,
    TaskRow,
    Unbound,
    UsageRow,
    Value,
    WhereRow,
)
from pcont.signals import Interrupted as Interrupted

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend
    from pcont.ops.batch import Batch
    from pcont.ops.task_ids import TaskIds
    from pcont.session import Session

BACKEND_NAMES = ("cgroupfs", "model")
DIALECT_NAMES = ("v1", "v2", "hybrid", "v6", "v6-ns")
FORCE_HERE = "using(force=True) does it"
_COMMAND = re.compile(r"(^|[:;&(] ?)pcont [a-z-]")
_OPTION = re.compile(r"--([a-z][a-z-]+)(?: ([A-Z]+|model)\b)?")

# Values by KEY, or KEY=VALUE words. A KEY that has several values (devices.allow) needs words.
Settings = Mapping[str, Scalar] | Iterable[str]
# A PLACE as on the command line, a directory below a mount, or an object of `Pcont.place`.
PlaceLike: TypeAlias = "str | os.PathLike[str] | PlaceRef"
# The id of a process or a task, or a range of ids such as "100-120".
TaskLike = int | str
# Names of subsystems: "cpuset,pids", or a list of names.
Names = str | Iterable[str]
Warn = Callable[[str], None]


def open(
    backend: str | None = None,
    state: str | os.PathLike[str] | None = None,
    *,
    dialect: str | None = None,
    dry_run: bool = False,
    force: bool = False,
    timeout: float | None = None,
    warn: Warn | None = None,
    progress: Progress | None = None,
) -> Pcont:
    """Open the kernel of this host, or a model of it.

    backend: "cgroupfs" is the kernel (the default), "model" simulates one. If you name "cgroupfs",
        `mount` and `bind` take controllers from cgroup v2; by default they refuse that.
    state: the file that holds the model between programs. Without it, the model is in memory, and
        ends with the returned object.
    dialect: what a new model simulates: "v1" (the default) is cgroup v1, "v2" is cgroup v2,
        "hybrid" is a machine with both, and "v6" and "v6-ns" are the patch set of 2006.
    dry_run: change nothing, and write what each verb would do into `Pcont.planned`.
    force: also act on what pcont protects: PID 1, the leader of your login session, root
        containers as the source of `move`, containers of units of systemd, mount points that are
        not empty, containers that open files are charged to. `mount` without a name takes
        controllers from cgroup v2 for v1, if no container of cgroup v2 has them.
    timeout: the seconds to wait for another pcont command, then `Busy` is raised. None: no limit.
    warn: is called with each note, a line of text without a newline. None: notes are dropped.
    progress: is called with the number of finished steps and of all steps of a verb.

    The environment variables of the command line (PCONT_BACKEND, PCONT_STATE, PCONT_DIALECT) are
    not read. Raises UsageProblem for an unknown backend or dialect, for a state or dialect
    without backend "model", and for a timeout that is negative or no number; PcontError for a
    state file that cannot be read.
    """
    source = Source(
        backend or BACKEND_NAMES[0], None if state is None else os.fspath(state), dialect
    )
    with _translated("open"):
        source.check()
    options = Options(
        dry_run=dry_run,
        force=force,
        timeout=_timeout(timeout),
        chosen=backend == "cgroupfs",
        warn=warn or _drop,
        progress=progress or _drop,
    )
    return Pcont(source, options)


def _drop(*facts: object) -> None:
    """Do nothing: the program asked for no notes, or no progress."""


class Source:
    """Opens the backend for each verb.

    As with the command line, a verb sees what other programs have changed since the last one. Only
    a model in memory is opened once.
    """

    def __init__(self, name: str, state: str | None, dialect: str | None) -> None:
        self.name = name
        self.state = state
        self.dialect = dialect
        self.closed = False
        self._in_memory: Backend | None = None
        self._batch: OpenBatch | None = None

    @property
    def batch(self) -> OpenBatch | None:
        """The batch of this thread that is open; other threads wait for its end, as programs do."""
        found = self._batch
        return found if found and found.thread == threading.get_ident() else None

    @contextlib.contextmanager
    def in_batch(self, batch: OpenBatch) -> Iterator[None]:
        """In the block, the verbs of this thread are operations of the batch."""
        self._batch = batch
        try:
            yield
        finally:
            self._batch = None

    def check(self) -> None:
        """Raise UsageProblem for words that do not fit, PcontError for an unreadable state."""
        if self.name not in BACKEND_NAMES:
            raise UsageProblem(
                f"no backend {self.name!r}", hint=f"known: {', '.join(BACKEND_NAMES)}"
            )
        if self.dialect not in (None, *DIALECT_NAMES):
            raise UsageProblem(
                f"no dialect {self.dialect!r}", hint=f"known: {', '.join(DIALECT_NAMES)}"
            )
        if self.name != "model" and (self.state is not None or self.dialect):
            raise UsageProblem("state and dialect go with the backend model")
        if self.state == "":
            raise UsageProblem("the name of the state file is empty")
        self.backend()

    def backend(self) -> Backend:
        """Return the backend for the next verb; UsageProblem after `Pcont.close`."""
        from pcont.kernel.open import open_backend

        if self.closed:
            raise UsageProblem("this object of pcont.open() is closed")
        if self.name == "model" and self.state is None:
            if self._in_memory is None:
                self._in_memory = open_backend("memory", dialect=self.dialect)
            return self._in_memory
        return open_backend(self.name, self.state, self.dialect)

    def close(self) -> None:
        """Refuse further verbs, and forget a model in memory."""
        self.closed, self._in_memory = True, None


@dataclass(frozen=True)
class Options:
    """The arguments of `open` that every verb uses; `chosen`: the caller named cgroupfs."""

    dry_run: bool = False
    force: bool = False
    timeout: float | None = None
    chosen: bool = False
    warn: Callable[..., None] = _drop
    progress: Callable[..., None] = _drop


class OpenBatch:
    """A batch that `Pcont.batch` has begun. `backend`: that of its verbs."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self.thread = threading.get_ident()
        self.backend, self.dry_run = batch.session.backend, batch.session.dry_run
        self.atomic = batch.atomic

    @contextlib.contextmanager
    def operation(self, verb: str, options: Options) -> Iterator[Session]:
        """Give the session of a verb. Raises UsageProblem for a verb that the batch cannot have."""
        from pcont.ops.batch import check_verb

        check_verb(verb, self._batch.atomic, changes=False)
        session = self._batch.session
        session.force, session.warn = options.force, options.warn
        session.progress = options.progress
        with self._batch.operation(verb):
            yield session


class Caller:
    """What `Pcont` and `Sim` share: each verb is one call of an operation with a new session."""

    def __init__(self, source: Source, options: Options, planned: list[str]) -> None:
        self._source = source
        self._options = options
        self._planned = planned

    @contextlib.contextmanager
    def _calling(self, verb: str, *words: object) -> Iterator[Session]:
        """Give the session of a verb; in the block, every failure becomes one of pcont.errors.

        The words are for notes of other pcont commands, and for the journal.
        """
        with _translated(verb), self._opened(verb, words) as session:
            begun = len(session.planned)
            try:
                yield session
            finally:
                self._planned += session.planned[begun:]

    def _opened(self, verb: str, words: Sequence[object]) -> AbstractContextManager[Session]:
        """Return the session of the open batch, if the verb belongs to it, or else a new one."""
        found, dry_run = self._source.batch, self._options.dry_run
        if found and found.dry_run == dry_run and not (dry_run and verb.startswith("sim ")):
            return found.operation(verb, self._options)
        return contextlib.nullcontext(self._session(shlex.join([verb, *map(str, words)])))

    def _session(self, command: str) -> Session:
        from pcont.session import Session

        options, found = self._options, self._source.batch
        # The lock of a batch that is open keeps other objects of the backend out.
        shared = found.backend if found and not found.dry_run else None
        return Session(
            shared or self._source.backend(),
            dry_run=options.dry_run,
            force=options.force,
            chosen=options.chosen,
            timeout=options.timeout,
            command=command,
            warn=options.warn,
            progress=options.progress,
        )


@contextlib.contextmanager
def _translated(verb: str) -> Iterator[None]:
    """Raise what an operation raises as a PcontError, with hints for a program."""
    try:
        yield
    except PcontError as err:
        err.hint = _for_a_program(err.hint)
        raise
    except FAILURES as err:
        deeper = "raise the limit: sys.setrecursionlimit(20000)"
        encoding = "use a UTF-8 locale, or Python's UTF-8 mode: python3 -X utf8"
        raise from_failure(err, verb, deeper=deeper, encoding=encoding) from err


def _for_a_program(hint: str) -> str:
    """Return a hint with arguments in place of options. A hint that has a command keeps it as it is
    typed in a shell.

    >>> _for_a_program("give --name NAME, or use a longer --timeout")
    'give name=NAME, or use a longer `timeout`'
    """
    if hint == FORCE:
        return FORCE_HERE
    if _COMMAND.search(hint):
        return hint
    return _OPTION.sub(_as_argument, hint.replace("-- COMMAND", "`command`"))


def _as_argument(option: re.Match[str]) -> str:
    name, value = option[1].replace("-", "_"), option[2]
    if not value:
        return f"`{name}`"
    return f"{name}={value if value.isupper() else repr(value)}"


class Pcont(Caller):
    """The verbs of the command line, as methods. `pcont.open()` makes it.

    Each verb does what the command of that name does, and returns a record of `pcont.records` (or
    plain values) with the numbers of `--json`: bytes, nanoseconds, percent. Verbs that change
    something change all or nothing, and one at a time, as pcont commands do.

    A verb raises `pcont.errors.PcontError`; its class says what kind of failure it is: UsageProblem
    for arguments that do not fit together, NotFound for a place, key or task that does not exist,
    Denied where your rights do not suffice, Busy for what is in use or exists already, Unsupported
    for what this host cannot do, BadValue for a refused value, LimitReached where a limit
    prevents it. A signal during a verb raises `pcont.Interrupted`, after the changes are undone.

    As a context manager it closes itself at the end of the block: it does not undo what was done.
    """

    def __init__(self, source: Source, options: Options, planned: list[str] | None = None) -> None:
        super().__init__(source, options, [] if planned is None else planned)

    def __enter__(self) -> Pcont:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<pcont over {self._source.name}>"

    def close(self) -> None:
        """End the use of this object, and of those that `using` made of it.

        Containers and mounts stay. A model in memory is forgotten.
        """
        self._source.close()

    @property
    def planned(self) -> list[str]:
        """The changes that the verbs of a dry run would make, as shell commands, in their order."""
        return self._planned

    def using(
        self,
        *,
        dry_run: bool | None = None,
        force: bool | None = None,
        timeout: float | None = None,
        warn: Warn | None = None,
        progress: Progress | None = None,
    ) -> Pcont:
        """Return an object over the same backend with other options; see `pcont.open`.

        Options that are None stay as they are. The new object has its own `planned`.
        """
        given = {
            "dry_run": dry_run,
            "force": force,
            "timeout": _timeout(timeout),
            "warn": warn,
            "progress": progress,
        }
        changed: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        return Pcont(self._source, replace(self._options, **changed))

    @property
    def sim(self) -> Sim:
        """The verbs below `pcont sim`: simulated tasks and machines, on a model only."""
        return Sim(self._source, self._options, self._planned)

    def batch(self, *, atomic: bool = False) -> AbstractContextManager[Pcont]:
        """Make many calls of verbs cheap in a `with` block, or make them one operation.

        atomic: all verbs of the block are carried out, or none. If the block raises, everything
            that they changed is undone. pcont does the same if the program is killed: the next
            pcont command undoes it.

        In the block, the verbs of this object, and of those that `using`, `place` and `sim` make of
        it, take pcont's lock once, and read the hierarchies once. A verb sees what the verbs before
        it have changed. A verb that fails changes nothing; the program may catch the error, and go
        on.

        Other pcont commands wait until the end of the block; without `atomic`, they get the lock
        between two verbs about every half second in which verbs are called. `run`, `clone` and
        `recover` raise UsageProblem in the block; with `atomic`, so does what pcont cannot undo.
        """
        return self._in_batch(atomic)

    @contextlib.contextmanager
    def _in_batch(self, atomic: bool) -> Iterator[Pcont]:
        from pcont.ops.batch import Batch

        if self._source.batch:
            raise UsageProblem("a batch is open already: a batch has no batch in it")
        with contextlib.ExitStack() as stack:
            with _translated("batch"):
                session = self._session("batch --atomic" if atomic else "batch")
                batch = stack.enter_context(Batch(session, atomic=atomic))
            with self._source.in_batch(OpenBatch(batch)):
                yield self
            with _translated("batch"):
                stack.close()

    def place(self, place: PlaceLike) -> PlaceRef:
        """Return an object for a place, which has the verbs that a place can have.

        place: a PLACE as on the command line: "jobs:/a", "jobs" (its root), or a directory below a
            mount. It need not exist yet.
        """
        return PlaceRef(self, _text(place))

    # Hierarchies

    def subsys(self) -> list[SubsystemRow]:
        """Return the subsystems, and where each one is bound."""
        from pcont.ops import listing

        with self._calling("subsys") as session:
            return listing.subsystems(session)

    def hierarchies(self) -> list[HierarchyRow]:
        """Return every active hierarchy, mounted or not."""
        from pcont.ops import listing

        with self._calling("hierarchies") as session:
            return listing.hierarchies(session)

    def mount(
        self,
        subsystems: Names | None = None,
        mountpoint: str | os.PathLike[str] = "",
        *,
        name: str = "",
        release_agent: str = "",
        notify_on_release: bool = False,
        tie: bool = False,
        at: str = "",
        freezer: bool = True,
    ) -> Mounted:
        """Mount a hierarchy, or mount it at one more directory; return its name and mount point.

        subsystems: their names, "all" or "none". With `name` alone, pcont mounts what is missing of
            the hierarchy of that name.
        mountpoint: an absolute directory, or one that begins with ./; pcont creates it. Without it,
            pcont chooses one.
        name: the name of the hierarchy.
        release_agent: the program to run when a container with notify_on_release becomes empty.
        notify_on_release: set that in the root; new containers inherit it.
        tie: make one hierarchy over several of the kernel's, which are bound already. `at` is the
            container of each that is the root; without `freezer`, the freezer is left out. One
            with subsystems of cgroup v2 is always a tie, and needs a name.

        Raises UsageProblem if nothing says what to mount, NotFound for an unknown subsystem or
        name, Busy for a subsystem that is bound elsewhere and for a directory in use, Unsupported
        for a subsystem of cgroup v2 without a name.
        """
        from pcont.ops import mount as ops_mount

        point, words = os.fspath(mountpoint), None if subsystems is None else _joined(subsystems)
        if not (words or name or tie or point):
            raise UsageProblem("nothing to mount: subsystems, name or mountpoint is missing")
        with self._calling("mount", *filter(None, (words, name, point))) as session:
            return ops_mount.mount(
                session,
                words,
                point,
                name=name,
                release_agent=release_agent,
                notify_on_release=notify_on_release,
                tie=tie,
                at=at,
                freezer=freezer,
            )

    def umount(self, hierarchy: str | os.PathLike[str], *, foreign: bool = False) -> None:
        """Unmount a hierarchy; it stays active if it has containers.

        hierarchy: its name, or one of its mount points.
        foreign: also unmount what pcont did not mount.

        Raises NotFound if it is not mounted, Denied for mounts of others, Busy for one in use.
        """
        from pcont.ops import umount as ops_umount

        text = os.fspath(hierarchy)
        with self._calling("umount", text) as session:
            ops_umount.umount(session, text, foreign=foreign)

    def bind(
        self,
        hierarchy: str,
        subsystems: Names,
        *,
        inherit: bool = False,
        settings: Settings = (),
    ) -> tuple[str, ...]:
        """Bind subsystems to a hierarchy in use; return all subsystems that it then has.

        inherit: copy cpuset.cpus and cpuset.mems from the parents (otherwise they start empty).
        settings: control files to set before tasks enter, by KEY for all containers, or by
            /PATH:KEY for one.

        Raises Busy for a subsystem that is bound already, NotFound for an unknown one, BadValue
        where the settings of a container admit none of its tasks.
        """
        from pcont.ops import bind as ops_bind

        words = _joined(subsystems)
        with self._calling("bind", hierarchy, words) as session:
            return ops_bind.bind(
                session, hierarchy, words, inherit=inherit, settings=_assignments(settings)
            )

    def unbind(
        self,
        hierarchy: str,
        subsystems: Names,
        *,
        confirm: Callable[[Sequence[str]], bool] | None = None,
    ) -> Unbound:
        """Unbind subsystems from a hierarchy in use; return what was unbound, and what ceased.

        confirm: is called before any change with the settings that will no longer hold, as PLACE
            KEY=VALUE; if it returns False, Cancelled is raised. None: unbind without asking.

        Raises Busy for a subsystem that shares a tree of the kernel with one that stays, NotFound
        for one that is not bound.
        """
        from pcont.ops import bind as ops_bind

        words = _joined(subsystems)
        with self._calling("unbind", hierarchy, words) as session:
            return ops_bind.unbind(session, hierarchy, words, confirm or _agree)

    # Containers

    def create(
        self,
        *places: PlaceLike,
        parents: bool = False,
        inherit: bool = False,
        settings: Settings = (),
        owner: str | None = None,
        tasks_owner: str | None = None,
    ) -> list[str]:
        """Create containers, all or none; return them as HIERARCHY:/path.

        parents: create missing parents, and accept containers that exist.
        inherit: copy cpuset.cpus and cpuset.mems from the parent (otherwise they start empty).
        settings: control files to set in each place.
        owner, tasks_owner: the users that get each new place, as for `chown`.

        Raises Busy for a container that exists, NotFound for a missing parent or an unknown key,
        BadValue for a refused value.
        """
        from pcont.ops import containers

        texts = [_text(one) for one in places]
        with self._calling("create", *texts) as session:
            return containers.create(
                session,
                texts,
                parents=parents,
                inherit=inherit,
                settings=_assignments(settings),
                owner=owner,
                tasks_owner=tasks_owner,
            )

    def chown(
        self,
        place: PlaceLike,
        owner: str,
        *,
        tasks_owner: str | None = None,
        recursive: bool = False,
    ) -> list[str]:
        """Give containers to another user; return them as HIERARCHY:/path.

        owner: USER, USER:GROUP, USER: (with the user's login group) or :GROUP, by name or number.
        tasks_owner: the user that gets the files into which tasks are written (default: owner).
        recursive: also give all containers below.

        On cgroup v2 the user gets the directory and the files that the kernel lists in
        /sys/kernel/cgroup/delegate, so that the limits of the place itself stay root's. On cgroup
        v1 the user gets all control files, as by cgcreate -a and -t. Raises UnknownName for a user
        that does not exist, NotFound for a container that does not, Denied for a root container,
        and unless the caller is root.
        """
        from pcont.ops import chown

        text = _text(place)
        with self._calling("chown", text, owner) as session:
            return chown.give(session, text, owner, tasks_owner=tasks_owner, recursive=recursive)

    def rm(
        self,
        *places: PlaceLike,
        recursive: bool = False,
        kill: bool = False,
        evict: bool = False,
        missing_ok: bool = False,
    ) -> list[str]:
        """Remove containers, all or none; return those that were removed as HIERARCHY:/path.

        recursive: remove all containers below, too.
        kill: first kill the tasks in them, which cannot be undone.
        evict: first move their tasks to the parent.
        missing_ok: ignore containers that do not exist.

        Raises Busy where tasks or containers are inside, Denied for a root container, LimitReached
        where tasks fork faster than they can be killed or moved.
        """
        from pcont.ops import containers

        texts = [_text(one) for one in places]
        with self._calling("rm", *texts) as session:
            return containers.remove(
                session,
                texts,
                recursive=recursive,
                kill=kill,
                evict=evict,
                missing_ok=missing_ok,
            )

    def tree(self, place: PlaceLike = "") -> list[ContainerNode]:
        """Return a container with those below it, their number of tasks and their settings.

        place: without it, the hierarchies that pcont mounted, or all if it mounted none.

        Raises NotFound for a container that does not exist.
        """
        from pcont.ops import listing
        from pcont.ops import recover as ops_recover

        text = _text(place)
        with self._calling("tree", text) as session:
            ops_recover.note_pending(session)
            return listing.tree(session, text)

    def gc(self, *hierarchies: str, cpus: bool = False) -> list[Collected]:
        """Remove what auto_delete missed, and forged attributes; return what was done.

        hierarchies: without any, all that this pcont mounted and looks after.
        cpus: instead, only restore CPUs and memory nodes that were lost by hotplug, in the given
            hierarchies or in all with cpuset.

        Raises Denied for a hierarchy that pcont did not mount.
        """
        from pcont.ops import gc as ops_gc

        with self._calling("gc", *hierarchies) as session:
            return (ops_gc.gc_cpus if cpus else ops_gc.gc)(session, hierarchies)

    # Tasks

    def attach(
        self,
        place: PlaceLike,
        *tasks: TaskLike,
        listed: Iterable[int] = (),
        thread: bool = False,
        tree: bool = False,
        movable: bool = False,
    ) -> Outcome:
        """Move processes, with all their threads, into a container; return how it went.

        tasks: ids, each of which must be that of a task, and ranges such as "100-120".
        listed: ids that you found some time ago; those of tasks that have ended are skipped.
        thread: move only these tasks, not their whole processes.
        tree: move all descendants of the processes, too, also those that daemonize.
        movable: skip kernel threads that cannot be moved, and count them.

        Raises NotFound for a task or container that does not exist, BadValue where the settings of
        the container do not admit a task (an empty cpuset), Denied for a task that you may not
        move or that pcont protects, LimitReached where the tasks fork faster than they can be
        moved. After an error, no task has moved.
        """
        from pcont.ops import attach as ops_attach

        text, ids = _text(place), _task_ids(tasks, listed)
        with self._calling("attach", text, *tasks) as session:
            return ops_attach.attach(session, text, ids, thread=thread, tree=tree, movable=movable)

    def move(self, source: PlaceLike, target: PlaceLike, *, movable: bool = False) -> Outcome:
        """Move all tasks of a container to another one of its hierarchy; return how it went.

        movable: skip kernel threads that cannot be moved, and count them.

        Raises NotFound for a container that does not exist, Denied for a root container as the
        source, Busy where another program has frozen one of them, BadValue where the settings of
        the target do not admit a task, LimitReached where the tasks fork faster than they can be
        moved.
        """
        from pcont.ops import attach as ops_attach

        texts = _text(source), _text(target)
        with self._calling("move", *texts) as session:
            return ops_attach.move(session, *texts, movable=movable)

    def ps(self, place: PlaceLike) -> list[TaskRow]:
        """Return the tasks in a container.

        Raises NotFound if it does not exist.
        """
        from pcont.ops import listing

        text = _text(place)
        with self._calling("ps", text) as session:
            return listing.ps(session, text)

    def where(self, pid: int) -> list[WhereRow]:
        """Return the container of a task in every hierarchy.

        Raises NotFound if the task does not exist.
        """
        from pcont.ops import listing

        id = _task_id(pid)
        with self._calling("where", id) as session:
            return listing.where(session, id)

    def run(
        self,
        place: PlaceLike,
        command: Sequence[str],
        *,
        create: bool = False,
        auto_delete: bool = False,
        join: str = "",
        replace: bool = False,
        started: Callable[[Started], None] | None = None,
    ) -> Ended:
        """Run a command in a container, and wait for its end; return its pid and exit status.

        command: the program and its arguments.
        create: create the container if it does not exist, with its parents, and with the cpuset
            lists of the parent.
        auto_delete: remove the container when its last task has ended.
        join: run the command in the namespaces that are pinned by this name.
        replace: as the command line does, let this process become the command. The call returns
            only if that fails. It has no effect with auto_delete and join, or in a dry run.
        started: is called with the place and the pid before the program of the command starts.

        The status is 128+N where signal N ended the command. In a dry run, the pid is 0. Raises
        NotFound for a container or a pin that does not exist, and the errors of `attach`. For a
        command that cannot be executed, it raises CommandNotFound or NotExecutable, and changes
        nothing.
        """
        from pcont.ops import run as ops_run

        text, words, announcing = _text(place), _command(command), _Announcing(started)
        with self._calling("run", text, "--", *words) as session:
            status = ops_run.run(
                session,
                text,
                words,
                create=create,
                auto_delete=auto_delete,
                join=join,
                wait=not replace,
                announce=announcing,
            )
            return announcing.ended(text, status)

    @overload
    def clone(
        self,
        place: PlaceLike,
        command: Sequence[str],
        *,
        keep: bool = False,
        ns: Names | None = None,
        pin: str = "",
        uid_map: Iterable[str] = (),
        gid_map: Iterable[str] = (),
        init: bool = False,
        started: Callable[[Started], None] | None = None,
    ) -> Ended: ...

    @overload
    def clone(self, place: PlaceLike, *, pid: int) -> str: ...

    def clone(
        self,
        place: PlaceLike,
        command: Sequence[str] = (),
        *,
        pid: int | None = None,
        keep: bool = False,
        ns: Names | None = None,
        pin: str = "",
        uid_map: Iterable[str] = (),
        gid_map: Iterable[str] = (),
        init: bool = False,
        started: Callable[[Started], None] | None = None,
    ) -> Ended | str:
        """Create a container node_PID for a command or a process, and namespaces.

        place: the new container is below it. For a hierarchy, it is below the container that the
            process is in, or below the root if the process is outside of the hierarchy.
        command: run it in the new container, and wait for its end. pcont then removes the
            container. Returns the place, the pid and the exit status.
        pid: instead, move this process into the new container. Returns that as HIERARCHY:/path.
        keep: keep the container after the command has ended.
        ns: give the command its own namespaces: cgroup, ipc, mnt, net, pid, time, user, uts.
        pin: keep the namespaces by this name, for `run(join=...)`.
        uid_map, gid_map: map ids, as INSIDE:OUTSIDE:COUNT (default: you are root inside).
        init: run an init as PID 1, and the command as its child.
        started: is called with the place and the pid before the program of the command starts.

        Raises NotFound for a place or process that does not exist, and Busy for a child that exists
        or for the name of a pin that is taken. For a command that cannot be executed, it raises
        CommandNotFound or NotExecutable, and changes nothing.
        """
        from pcont.ops import clone as ops_clone

        if ns is None and (pin or uid_map or gid_map or init):
            raise UsageProblem("pin, uid_map, gid_map and init go with ns")
        text, announcing = _text(place), _Announcing(started)
        pid = None if pid is None else _task_id(pid)
        words = _command(command) if command else ()
        request = None
        if ns is not None:
            request = ops_clone.CloneRequest(_joined(ns), tuple(uid_map), tuple(gid_map), pin, init)
        with self._calling("clone", text, "--", *(words or (pid,))) as session:
            name, status = ops_clone.clone(
                session, text, words, pid=pid, keep=keep, request=request, announce=announcing
            )
            return announcing.ended(name, status) if words else name

    def pins(self) -> list[PinRow]:
        """Return the pinned namespaces: yours, and those of root."""
        from pcont.ops import pins as ops_pins

        with self._calling("pins") as session:
            return ops_pins.pins(session)

    def unpin(self, *names: str) -> list[str]:
        """Unpin namespaces; return the names.

        The kernel removes a namespace when no process is in it. Raises NotFound for a name under
        which nothing is pinned.
        """
        from pcont.ops import pins as ops_pins

        with self._calling("unpin", *names) as session:
            return ops_pins.unpin(session, names)

    # Settings and usage

    def get(self, place: PlaceLike, *keys: str, window: float = 10.0) -> list[Value]:
        """Return the values of control files, in the order of the keys.

        keys: without any, all files that can be read, but not the tasks.
        window: the seconds for which the key cpuacct.load is measured, if you name it.

        Numbers are numbers, all else is the text of the kernel. Raises NotFound for an unknown
        container or key, Denied where the kernel refuses to read.
        """
        from pcont.ops.get import get

        text = _text(place)
        with self._calling("get", text, *keys) as session:
            return get(session, text, keys, window=window)

    def value(self, place: PlaceLike, key: str) -> Scalar:
        """Return the value of one control file.

        Raises the errors of `get`.
        """
        return self.get(place, key)[0].value

    def set(self, place: PlaceLike, settings: Settings) -> list[str]:
        """Write control files, all or none; return the names of the files.

        settings: values by KEY, or KEY=VALUE words.

        Raises NotFound for an unknown container or key, BadValue for a refused value, with the rule
        in the message; UsageProblem if there is nothing to set.
        """
        from pcont.ops import settings as operations

        text, words = _text(place), _assignments(settings)
        with self._calling("set", text, *words) as session:
            return operations.assign(session, text, words)

    def stat(self, place: PlaceLike, *, window: float = 0.0) -> list[CpuRow | UsageRow]:
        """Return the CPU time of a container and of those below it: in all, then by CPU.

        window: the seconds for which the load is measured; with 0, the load is None.

        Times are in nanoseconds, the load is in percent of one CPU. If the container has
        memory, the first row also has what happened at limits of memory. Raises NotFound for an
        unknown container, and where the hierarchy has neither cpuacct nor memory.
        """
        from pcont.ops import stat as ops_stat

        text = _text(place)
        with self._calling("stat", text) as session:
            return ops_stat.stat(session, text, window)

    def beancounters(self, place: PlaceLike = "") -> list[BeanRow]:
        """Return the open files that are charged to containers, and how many may be open.

        place: without it, all containers of hierarchies with numfiles.

        Raises NotFound for an unknown container, and where the hierarchy has no numfiles.
        """
        from pcont.ops import listing

        text = _text(place)
        with self._calling("beancounters", text) as session:
            return listing.beancounters(session, text)

    # The host

    def recover(self) -> list[Recovered]:
        """Roll back or complete commands that were killed part-way; return the outcome of each.

        Every verb that changes something does this first.
        """
        from pcont.ops import recover as ops_recover

        with self._calling("recover") as session:
            return ops_recover.recover_all(session)

    def doctor(self) -> list[Finding]:
        """Return what this host can do, and what to change."""
        from pcont.ops import doctor

        with self._calling("doctor") as session:
            return doctor.examine(session)


@dataclass(frozen=True)
class PlaceRef:
    """A place and the verbs that it can have. `Pcont.place()` makes it.

    The container need not exist. Each verb is that of `Pcont` with this place as the first
    argument: see there for the arguments, the results and the errors. `place / "name"` is a
    container below.
    """

    pcont: Pcont
    text: str

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, name: str) -> PlaceRef:
        """Return the place of a container below this one."""
        top = self.text.rstrip("/")
        is_selector = not (":" in self.text or "/" in self.text)
        return PlaceRef(self.pcont, f"{top}:/{name}" if is_selector else f"{top}/{name}")

    def create(
        self,
        *,
        parents: bool = False,
        inherit: bool = False,
        settings: Settings = (),
        owner: str | None = None,
        tasks_owner: str | None = None,
    ) -> PlaceRef:
        """Create the container; return this object."""
        self.pcont.create(
            self,
            parents=parents,
            inherit=inherit,
            settings=settings,
            owner=owner,
            tasks_owner=tasks_owner,
        )
        return self

    def chown(
        self, owner: str, *, tasks_owner: str | None = None, recursive: bool = False
    ) -> list[str]:
        """Give the container to another user; return what was given."""
        return self.pcont.chown(self, owner, tasks_owner=tasks_owner, recursive=recursive)

    def rm(
        self,
        *,
        recursive: bool = False,
        kill: bool = False,
        evict: bool = False,
        missing_ok: bool = False,
    ) -> list[str]:
        """Remove the container; return what was removed."""
        return self.pcont.rm(
            self, recursive=recursive, kill=kill, evict=evict, missing_ok=missing_ok
        )

    def attach(
        self,
        *tasks: TaskLike,
        listed: Iterable[int] = (),
        thread: bool = False,
        tree: bool = False,
        movable: bool = False,
    ) -> Outcome:
        """Move processes into the container; return how it went."""
        return self.pcont.attach(
            self, *tasks, listed=listed, thread=thread, tree=tree, movable=movable
        )

    def move(self, target: PlaceLike, *, movable: bool = False) -> Outcome:
        """Move all tasks of the container to another one; return how it went."""
        return self.pcont.move(self, target, movable=movable)

    def get(self, *keys: str, window: float = 10.0) -> list[Value]:
        """Return the values of control files."""
        return self.pcont.get(self, *keys, window=window)

    def value(self, key: str) -> Scalar:
        """Return the value of one control file."""
        return self.pcont.value(self, key)

    def set(self, settings: Settings) -> list[str]:
        """Write control files, all or none; return the names of the files."""
        return self.pcont.set(self, settings)

    def tree(self) -> ContainerNode:
        """Return the container with those below it."""
        return self.pcont.tree(self)[0]

    def ps(self) -> list[TaskRow]:
        """Return the tasks in the container."""
        return self.pcont.ps(self)

    def stat(self, *, window: float = 0.0) -> list[CpuRow | UsageRow]:
        """Return the CPU time of the container and of those below it."""
        return self.pcont.stat(self, window=window)

    def beancounters(self) -> list[BeanRow]:
        """Return the open files that are charged to the container and to those below it."""
        return self.pcont.beancounters(self)

    def run(
        self,
        command: Sequence[str],
        *,
        create: bool = False,
        auto_delete: bool = False,
        join: str = "",
        replace: bool = False,
        started: Callable[[Started], None] | None = None,
    ) -> Ended:
        """Run a command in the container, and wait for its end."""
        return self.pcont.run(
            self,
            command,
            create=create,
            auto_delete=auto_delete,
            join=join,
            replace=replace,
            started=started,
        )


class Sim(Caller):
    """The verbs below `pcont sim`, on a model only: `k.sim.fork()`.

    Each raises Unsupported on a kernel, and the errors that the kernel would return to such a task:
    NotFound for a task that does not exist, LimitReached at a limit. As on the command line, there
    are no dry runs of them: a verb that would change something then raises UsageProblem.
    """

    def _acting(self, verb: str, *words: object) -> contextlib.AbstractContextManager[Session]:
        """As `_calling`, for a verb that changes something."""
        if self._options.dry_run:
            raise UsageProblem(f"{verb} has no dry run", hint="using(dry_run=False)")
        if self._source.batch and self._source.batch.atomic:
            from pcont.ops.batch import check_verb

            check_verb(verb, atomic=True)
        return self._calling(verb, *words)

    def fork(
        self,
        pid: int | None = None,
        *,
        count: int = 1,
        name: str = "simulated",
        uid: int | None = None,
    ) -> list[int]:
        """Fork a simulated task `count` times, or start new ones; return the new ids.

        pid: the parent. The children start in its containers.
        name, uid: the name and the owner of new tasks (default: your user). They have no effect
            with `pid`.

        At a limit, LimitReached is raised. Tasks that were forked before that, or before a signal,
        remain.
        """
        from pcont.ops import simulate

        parent = None if pid is None else _task_id(pid)
        with self._acting("sim fork") as session:
            return simulate.fork(session, parent, count=count, name=name, uid=uid)

    def thread(self, pid: int, *, count: int = 1) -> list[int]:
        """Start threads of a simulated process; return their ids."""
        from pcont.ops import simulate

        task = _task_id(pid)
        with self._acting("sim thread", task) as session:
            return simulate.thread(session, task, count=count)

    def unshare(self, pid: int, subsystem: str = "ns") -> str:
        """Call unshare(2) in a simulated task; return the path of its new container.

        In the dialects of 2006, the task gets a container in the hierarchy that has the subsystem.
        The path is empty where none was made.
        """
        from pcont.ops import simulate

        task = _task_id(pid)
        with self._acting("sim unshare", task) as session:
            return simulate.unshare_task(session, task, subsystem)

    def exit(self, *pids: TaskLike, listed: Iterable[int] = (), thread: bool = False) -> list[int]:
        """End simulated processes, or with `thread` only these tasks; return their ids."""
        from pcont.ops import simulate

        ids = _task_ids(pids, listed)
        with self._acting("sim exit", *pids) as session:
            return simulate.exit(session, ids, thread=thread)

    def work(
        self, pid: int, seconds: float, *, system: float = 0.0, cpu: int | None = None
    ) -> None:
        """Use CPU time in a simulated task, at once.

        seconds: the time in user space; `system`: in the kernel, in addition.
        cpu: the CPU (default: the first one that is allowed). BadValue for one that is not.
        """
        from pcont.ops import simulate

        task = _task_id(pid)
        with self._acting("sim work", task) as session:
            simulate.work(session, task, seconds, system=system, cpu=cpu)

    def open(self, pid: int, *, count: int = 1) -> list[int]:
        """Open files in a simulated process; return the numbers of the files."""
        from pcont.ops import simulate

        task = _task_id(pid)
        with self._acting("sim open", task) as session:
            return simulate.open_files(session, task, count=count)

    def close(self, pid: int, *files: int) -> None:
        """Close files in a simulated process.

        Raises NotFound for a file that it does not hold.
        """
        from pcont.ops import simulate

        task, numbers = _task_id(pid), [_number(one, "the number of a file") for one in files]
        with self._acting("sim close", task) as session:
            simulate.close_files(session, task, numbers)

    def mount_cpuset(self, mountpoint: str | os.PathLike[str]) -> str:
        """Mount the old file system `cpuset`; return the mount point."""
        from pcont.ops import simulate

        point = os.fspath(mountpoint)
        with self._acting("sim mount-cpuset", point) as session:
            return simulate.mount_cpuset(session, point)

    def param(self, *names: str) -> list[Value]:
        """Return parameters of subsystems, or set them.

        names: NAME reads one, NAME=VALUE sets it; without any, all are returned.
        """
        from pcont.ops import simulate

        calling = self._acting if names else self._calling
        with calling("sim param", *names) as session:
            return simulate.parameters(session, names)

    def notified(self) -> list[Notified]:
        """Return the release agents that would have been run, the first one first."""
        from pcont.ops import simulate

        with self._calling("sim notified") as session:
            return simulate.notified(session)

    def proc(self, file: str) -> str:
        """Return the text of a file of /proc, such as "cgroups" or "PID/cgroup"."""
        from pcont.ops import simulate

        with self._calling("sim proc", file) as session:
            return simulate.proc(session, file)

    def machine(self, *, cpus: str = "", nodes: str = "") -> list[Value]:
        """Return the CPUs and memory nodes that are online, or change them first.

        cpus, nodes: lists such as "0-3,8". One that is removed is removed from every cpuset, too.
        """
        from pcont.ops import simulate

        calling = self._acting if cpus or nodes else self._calling
        with calling("sim machine") as session:
            return simulate.machine(session, cpus=cpus, nodes=nodes)


class _Announcing:
    """Notes the process of a command that run or clone starts, and tells the caller."""

    def __init__(self, started: Callable[[Started], None] | None) -> None:
        self._started = started
        self._known: Started | None = None

    def __call__(self, started: Started) -> None:
        self._known = started
        if self._started:
            self._started(started)

    def ended(self, place: str, status: int) -> Ended:
        """The record of its end; `place` is for a dry run, which starts no process."""
        known = self._known or Started(place, 0)
        return Ended(known.place, known.pid, status)


def _agree(ceasing: Sequence[str]) -> bool:
    return True


def _text(place: PlaceLike) -> str:
    return place.text if isinstance(place, PlaceRef) else os.fspath(place)


def _joined(names: Names) -> str:
    return names if isinstance(names, str) else ",".join(names)


def _assignments(settings: Settings) -> list[str]:
    """Return settings as KEY=VALUE words."""
    if isinstance(settings, str):
        return [settings]
    if isinstance(settings, Mapping):
        return [f"{key}={_written(value)}" for key, value in settings.items()]
    return list(settings)


def _written(value: Scalar) -> Scalar:
    return int(value) if isinstance(value, bool) else value


def _command(words: Sequence[str]) -> list[str]:
    if isinstance(words, str):
        hint = f"pass {shlex.split(words)}"
        raise UsageProblem("the command is one text: pass a list of words", hint=hint)
    if not words:
        raise UsageProblem("there is no command")
    return list(words)


def _timeout(seconds: float | None) -> float | None:
    """Return the time limit of a caller; UsageProblem for a time that is no number, or negative."""
    from pcont.ops import numbers

    return None if seconds is None else numbers.seconds(seconds, "timeout")


def _task_id(given: int) -> int:
    return _number(given, "the id of a task")


def _number(given: object, label: str) -> int:
    """Return the id of a task or the number of a file. Raises UsageProblem for any other value.

    `label`: what the value must be, for the message.
    """
    from pcont.ops import numbers, task_ids

    try:
        return task_ids.number(str(given), label)
    except ValueError as err:
        raise UsageProblem(f"{numbers.shown(given)} is not {label}") from err


def _task_ids(tasks: Sequence[TaskLike], listed: Iterable[int]) -> TaskIds:
    """Return ids and ranges as operations take them; UsageProblem for what is neither."""
    from pcont.ops import task_ids

    if isinstance(listed, str) or not isinstance(listed, Iterable):
        raise UsageProblem(f"listed is a list of ids, and not {listed!r}")
    found = tuple(map(_task_id, listed))
    if not (tasks or found):
        raise UsageProblem("there is no task: pass at least one id")
    try:
        ids = task_ids.read_ids(map(str, tasks), _no_standard_input)
    except ValueError as err:
        raise UsageProblem(str(err)) from err
    return ids._replace(listed=found)


def _no_standard_input() -> str:
    raise ValueError("'-' is not the id of a task: pass ids from elsewhere as listed=")
