"""clone: give a process its own container and namespaces (patch semantics, 6.1 and 6.2)."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Sequence

from pcont.bases import NamedTuple
from pcont.errors import BadValue, Busy, Unsupported, UsageProblem
from pcont.hierarchy.container import Container
from pcont.hierarchy.presence import (
    attributes_as_namespace_root,
    check_seen,
    refuse_unified_tree,
    required,
)
from pcont.kernel.types import NAMESPACES, IdRange, NamespaceSpec
from pcont.linux.spawn import PLAIN
from pcont.ops import cpuset_memset, guards
from pcont.ops.attach import entry
from pcont.ops.containers import create_steps
from pcont.ops.launch import Announce, Command, Planned, quietly, spawn, tidying
from pcont.ops.listing import locate
from pcont.ops.named import alive
from pcont.ops.ties import note_entered, note_split
from pcont.session import Session, checks_first
from pcont.steps.namespaces import EnterNamespaces, NamespaceRequest, Pin, option_word
from pcont.steps.tasks import where_process_is
from pcont.steps.xattr import SetXattr
from pcont.transaction.step import Step

PIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,62}")
ID_RANGE = re.compile(r"[0-9]{1,10}:[0-9]{1,10}:[0-9]{1,10}")  # ids have 32 bits


class CloneRequest(NamedTuple):
    """The namespaces that a command is to have of its own.

    `kinds`: words separated by commas. `uids` and `gids`: INSIDE:OUTSIDE:COUNT of the user
    namespace. `pin`: the name that keeps them. `init`: pcont's init is the first process of the pid
    namespace, and the command is its child.
    """

    kinds: str = ""
    uids: Sequence[str] = ()
    gids: Sequence[str] = ()
    pin: str = ""
    init: bool = False


@checks_first
def clone(
    session: Session,
    where: str,
    words: Sequence[str] = (),
    *,
    pid: int | None = None,
    keep: bool = False,
    request: CloneRequest | None = None,
    announce: Announce = quietly,
) -> tuple[str, int]:
    """container_clone(): make a container `node_<pid>`, and move a process into it.

    `where` is a PLACE: the new container is its child. If it is the root, as it is for the name of
    a hierarchy, the new one is a child of the container that the process is in, or of the root if
    the process is outside of the hierarchy. With `pid`, that process is moved. With a command,
    pcont forks a process, which is moved and executes the command; pcont removes the container
    after it unless `keep` is true. The child gets its parent's settings. `request`: the namespaces
    of the command, made after it has entered. `announce` is called with the place and the pid,
    right before the new process executes the command.

    Returns the child's name, and the exit status of the command. Raises NotFound for a PLACE that
    does not exist, Busy for an existing child, for a process that is in different containers of the
    hierarchy's trees, and for the name of a pin that is taken.
    """
    if (pid is None) == (not words):
        problem = "clone needs --pid or COMMAND" + (", not both" if words else "")
        raise UsageProblem(problem, hint="add --pid PID or -- COMMAND")
    spec = _namespace_spec(session, request, with_command=not pid)
    if pid is not None:
        return _clone_process(session, where, pid), 0
    names: list[str] = []

    def plan(child: int, enter: Callable[[], None]) -> Planned:
        container = _parent(session, where, os.getpid(), words).child(f"node_{child}")
        names.append(container.canonical)
        steps = create_steps(session.backend, container, parents=False)
        if "cgroup" in spec.kinds:
            steps += _views(session, container)
        return Planned(container, steps, _separating(request, spec, child, enter))

    birth = session.backend.separate(spec) if spec.kinds else PLAIN
    wanted = NamespaceRequest(spec.kinds)
    command = Command(words, birth, init=bool(request and request.init), wanted=wanted)
    tidy = None if keep else tidying(session, below=True)
    status = spawn(session, command, plan, tidy=tidy, started=announce)
    return names[0], status


def _clone_process(session: Session, where: str, pid: int) -> str:
    with session.exclusive() as registry:
        known = alive(session, pid)
        guards.check_move(session, known.pid)
        container = _parent(session, where, known.pid).child(f"node_{known.pid}")
        steps = create_steps(session.backend, container, parents=False)
        step = entry(session, container, [known])
        session.carry_out([*steps, step])
        note_split(session, registry, note_entered(session, container, [step]))
        return container.canonical


def _parent(session: Session, where: str, task: int, words: Sequence[str] = ()) -> Container:
    """Return the container below which a clone of a task is made."""
    container = session.registry().place(where)
    refuse_unified_tree(container.hierarchy, "clone in")
    check_seen(session.backend, container.hierarchy)
    if container.is_root:
        container = _location(session, container, task, words)
    required(session.backend, container)
    guards.check_frozen(session, container)
    return container


def _location(session: Session, root: Container, task: int, words: Sequence[str]) -> Container:
    """Return the container of a task below a root; the root if the task is outside of it."""
    found = locate(session.backend, root.hierarchy, where_process_is(session.backend, task))
    if found.container is not None:
        return root.hierarchy.container(found.container, root.spelling)
    if found.state == "outside":
        return root
    paths = [f"{path} in {tree}" for tree, path in found.paths.items()]
    members = [one for one in root.hierarchy.members if one.tree.id in found.paths]
    inside = [one.inside(found.paths[one.tree.id]) or "/" for one in members]
    path = next(path for path in inside if path != "/")
    place = root.hierarchy.container(path, root.spelling).word
    subject = f"-- {shlex.join(words)}" if words else f"--pid {task}"
    name = "this pcont" if words else f"task {task}"
    raise Busy(
        f"{name} is in several containers of {root.hierarchy.name}: {', '.join(paths)}",
        hint=f"name the parent of the new container: pcont clone {place} {subject}",
    )


def _namespace_spec(
    session: Session, request: CloneRequest | None, with_command: bool
) -> NamespaceSpec:
    """Check the words of a request, and whether the kernel has the namespaces."""
    if request is None:
        return NamespaceSpec(())
    kinds = tuple(dict.fromkeys(filter(None, request.kinds.split(","))))
    _check_words(request, kinds, with_command)
    lacking = [kind for kind in kinds if kind not in session.backend.namespaces()]
    if lacking:
        raise Unsupported(f"this kernel has no namespaces of kind {', '.join(lacking)}")
    return NamespaceSpec(kinds, _ranges(request.uids), _ranges(request.gids))


def _check_words(request: CloneRequest, kinds: Sequence[str], with_command: bool) -> None:
    unknown = [kind for kind in kinds if kind not in NAMESPACES]
    if unknown or not kinds:
        problem = f"unknown namespace {unknown[0]!r}" if unknown else "--ns is empty"
        raise UsageProblem(problem, hint=f"known: {','.join(NAMESPACES)}")
    if not with_command:
        raise UsageProblem(
            "--ns needs COMMAND: pcont cannot change the namespaces of a running process",
            hint="add -- COMMAND",
        )
    if request.init and "pid" not in kinds:
        raise UsageProblem("--init needs a pid namespace: add pid to --ns")
    if (request.uids or request.gids) and "user" not in kinds:
        raise UsageProblem("--uid-map and --gid-map need a user namespace: add user to --ns")
    if bool(request.uids) != bool(request.gids):
        raise UsageProblem("--uid-map and --gid-map must be given together")
    if request.pin and not PIN.fullmatch(request.pin):
        raise BadValue(
            f"not a name for a pin: {request.pin!r}. Use 1 to 63 letters, digits, dots, dashes and "
            "underscores; the first must not be a dot or a dash"
        )


def _ranges(words: Sequence[str]) -> tuple[IdRange, ...]:
    found = []
    for word in words:
        if not ID_RANGE.fullmatch(word):
            raise UsageProblem(f"{word!r} is not a range of ids", hint="INSIDE:OUTSIDE:COUNT")
        found.append(IdRange(*map(int, word.split(":"))))
    return tuple(found)


def _views(session: Session, container: Container) -> list[Step]:
    """Record in the container what pcont reads from a root, for processes that see it as one."""
    action = f"make {container.name} a root"
    without = f"in there, pcont knows only one tree of {container.hierarchy.name}, and no ns"
    return [
        SetXattr(place, name, text, action, without)
        for seen in (attributes_as_namespace_root, cpuset_memset.attributes_as_root_with_both)
        for place, name, text in seen(session.backend, container)
    ]


def _separating(
    request: CloneRequest | None,
    spec: NamespaceSpec,
    pid: int,
    enter: Callable[[], None],
) -> list[Step]:
    if request is None or not spec.kinds:
        return []
    words = "unshare " + " ".join(f"--{option_word(kind)}" for kind in spec.kinds)
    action = f"make the namespaces {', '.join(spec.kinds)}"
    steps: list[Step] = [EnterNamespaces(enter, words, action, NamespaceRequest(spec.kinds))]
    if request.pin:
        steps.append(Pin(request.pin, pid, spec.kinds, f"pin namespaces as {request.pin}"))
    return steps
