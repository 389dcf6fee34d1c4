"""Steps that mount and unmount hierarchies, and wait until the kernel has removed an
unmounted one.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from errno import EBUSY, EINVAL, ENOENT, ENOSPC
from functools import partial
from shlex import quote
from typing import TYPE_CHECKING

from pcont import signals
from pcont.bases import on_disk
from pcont.errors import BY_ERRNO, Busy, LimitReached, PcontError, from_oserror
from pcont.kernel.retry import Retry, wait_until
from pcont.kernel.types import Mount, Place, Tree, TreeRequest, source
from pcont.steps.snapshot import StateReader, write_back
from pcont.transaction.step import Step
from pcont.transaction.undo_log import Action, UndoLog, UndoRecord

if TYPE_CHECKING:
    from pcont.kernel.interfaces import Backend, Mounts, Trees

# The kernel keeps a removed container for a moment (RCU, and references of exiting tasks).
# A hierarchy that is unmounted in that moment stays active without a mount. To remove it, pcont
# mounts and unmounts it again later.
RELEASE_PAUSE = 0.005
RELEASE_PATIENCE = 10.0
PATIENCE_WITH_COPIES = 2.0  # a mount namespace may be about to end


@on_disk("NoDirectory", "directory")
class RemoveMadeDirectory(UndoRecord):
    """Undo record of MakeDirectory: the directory did not exist. Raises ValueError for a relative
    path.
    """

    directory: str

    def __init__(self, directory: str) -> None:
        _check_absolute(directory)
        self.directory = directory

    @property
    def label(self) -> str:
        return self.directory

    def restore(self, backend: Mounts) -> Iterator[Action]:
        if not backend.missing(self.directory):
            yield lambda: backend.remove_directory(self.directory)


class MakeDirectory(Step):
    """Create a directory to mount on with mkdir(2), if it does not exist."""

    def __init__(self, directory: str, action: str) -> None:
        self.directory, self.action = directory, action

    def dry_run_lines(self, backend: Backend) -> list[str]:
        return [f"mkdir {quote(self.directory)}"]

    def rehearse(self, backend: Mounts) -> None:
        if backend.missing(self.directory):
            backend.make_directory(self.directory)

    def do(self, backend: Mounts, undo_log: UndoLog) -> None:
        # An earlier step, or another process, may have made it.
        if backend.missing(self.directory):
            with undo_log.of(RemoveMadeDirectory(self.directory)):
                backend.make_directory(self.directory)


@on_disk("Directory", "directory")
class RemakeDirectory(UndoRecord):
    """Undo record of RemoveDirectory: the directory existed. Raises ValueError for a
    relative path.
    """

    directory: str

    def __init__(self, directory: str) -> None:
        _check_absolute(directory)
        self.directory = directory

    @property
    def label(self) -> str:
        return self.directory

    def restore(self, backend: Mounts) -> Iterator[Action]:
        if backend.missing(self.directory):
            yield lambda: backend.make_directory(self.directory)


class RemoveDirectory(Step):
    """Remove a mount point that pcont made with rmdir(2). A directory that is not empty is kept."""

    def __init__(self, directory: str, action: str) -> None:
        self.directory, self.action = directory, action

    def dry_run_lines(self, backend: Backend) -> list[str]:
        return [f"rmdir {quote(self.directory)}"]

    def rehearse(self, backend: Mounts) -> None:
        backend.remove_directory(self.directory)

    def do(self, backend: Mounts, undo_log: UndoLog) -> None:
        with undo_log.of(RemakeDirectory(self.directory)), contextlib.suppress(OSError):
            backend.remove_directory(self.directory)


@on_disk("NotMounted", "request", "point", "new")
class UnmountMounted(UndoRecord):
    """Undo record of MountTree: pcont had nothing mounted at `point`; `new`: the hierarchy was not
    active.
    """

    request: TreeRequest
    point: str
    new: bool

    def __init__(self, request: TreeRequest, point: str, new: bool) -> None:
        self.request, self.point, self.new = request, point, new

    @property
    def label(self) -> str:
        return f"{self.request.options}, not to be mounted at {self.point}"

    def restore(self, backend: Mounts) -> Iterator[Action]:
        tree = find_tree(backend, self.request)
        if tree and any(one.point == self.point and one.ours for one in tree.mounts):
            yield lambda: backend.umount(self.point)
        if self.new:
            yield lambda: dissolve(backend, self.request, self.point, source(self.point, 0))


class MountTree(Step):
    """Mount a hierarchy at a directory with mount(2).

    `made`: how many directories of the path pcont created, which the mount source records for
    `umount`. `action` names the operation in messages.
    """

    def __init__(self, request: TreeRequest, point: str, action: str, made: int = 0) -> None:
        self.request, self.point, self.action, self.made = request, point, action, made

    def dry_run_lines(self, backend: Backend) -> list[str]:
        words = f"mount -t cgroup -o {self.request.options}"
        return [f"{words} {quote(source(self.point, self.made))} {quote(self.point)}"]

    def rehearse(self, backend: Mounts) -> None:
        backend.mount(self.request, self.point, source(self.point, self.made))

    def do(self, backend: Mounts, undo_log: UndoLog) -> None:
        new = find_tree(backend, self.request) is None
        with undo_log.of(UnmountMounted(self.request, self.point, new)):
            try:
                backend.mount(self.request, self.point, source(self.point, self.made))
            except OSError:
                # The kernel creates the hierarchy before it checks the directory.
                if new:
                    _wait_until_gone(backend, self.request)
                raise

    def refusal(self, backend: Mounts, err: OSError) -> PcontError:
        reasons = {
            EBUSY: "one of these controllers is in use, or the name has other controllers",
            EINVAL: "the kernel has no such controller, or it is disabled",
            ENOSPC: "this kernel cannot have more hierarchies",
        }
        if err.errno == ENOENT and not backend.missing(self.point):
            reasons[ENOENT] = "this kernel does not have the option"
        hint = "find what holds it: pcont hierarchies; pcont doctor" if err.errno == EBUSY else ""
        kinds = {**BY_ERRNO, ENOSPC: LimitReached}
        return from_oserror(err, self.action, reasons.get(err.errno or 0, ""), hint, kinds)


@on_disk("Mounted", "tree", "mount", "attributes", "settings")
class RemountUnmounted(UndoRecord):
    """Undo record of UmountTree: the hierarchy was mounted there.

    `attributes`, `settings`: those of its root container, recorded only if the unmount removes the
    hierarchy.
    """

    tree: Tree
    mount: Mount
    attributes: dict[str, str]
    settings: list[tuple[str, str]]

    def __init__(
        self, tree: Tree, mount: Mount, attributes: dict[str, str], settings: list[tuple[str, str]]
    ) -> None:
        self.tree, self.mount, self.attributes = tree, mount, attributes
        self.settings = settings

    @property
    def label(self) -> str:
        return f"{self.tree.id} at {self.mount.point}"

    def restore(self, backend: Backend) -> Iterator[Action]:
        yield lambda: self._mount_again(backend)
        root = Place.at(self.tree)
        for file, text in self.settings:
            yield partial(write_back, backend, root, file, text)
        for name, text in self.attributes.items():
            yield partial(backend.set_attribute, root, name, text)

    def _mount_again(self, backend: Mounts) -> None:
        request = TreeRequest(self.tree.controllers, self.tree.name)
        active = find_tree(backend, request)
        if active and any(mount.point == self.mount.point for mount in active.mounts):
            return  # it was not unmounted
        if not self.mount.ours:
            raise PcontError(f"{self.mount.point} is no longer mounted: mount it as it was")
        backend.mount(request, self.mount.point, self.mount.source)


class UmountTree(Step):
    """Unmount one mount of a hierarchy with umount2(2).

    `last`: it is the only mount, so that the kernel removes a hierarchy without children.
    `lingers`: if the kernel keeps the hierarchy for a while, print a warning instead of raising
    Busy. `action` names the operation in messages.
    """

    def __init__(
        self,
        tree: Tree,
        mount: Mount,
        last: bool,
        action: str,
        lingers: bool = False,
    ) -> None:
        self.tree, self.mount, self.last, self.action = tree, mount, last, action
        self.lingers = lingers
        self.lingering = False

    def dry_run_lines(self, backend: Backend) -> list[str]:
        return [f"umount {quote(self.mount.point)}"]

    def rehearse(self, backend: Mounts) -> None:
        backend.umount(self.mount.point)

    def do(self, backend: Backend, undo_log: UndoLog) -> None:
        root = Place.at(self.tree)
        dissolves = self.last and not backend.children(root)
        before = RemountUnmounted(self.tree, self.mount, {}, [])
        if dissolves:
            before.attributes, before.settings = (
                backend.attributes(root),
                StateReader(backend).state(root).settings,
            )
        with undo_log.of(before):
            backend.umount(self.mount.point)
        if dissolves:
            self._dissolve(backend)

    def _dissolve(self, backend: Backend) -> None:
        request = TreeRequest(self.tree.controllers, self.tree.name)
        try:
            dissolve(backend, request, self.mount.point, self.mount.source)
            backend.releases.forget(self.tree.id)
        except Busy:
            if not self.lingers:
                raise
            self.lingering = True

    def notes(self) -> list[str]:
        if not self.lingering:
            return []
        return [f"{self.tree.id} lingers: the kernel has not removed it yet"]

    def refusal(self, backend: Mounts, err: OSError) -> PcontError:
        reason, hint = "", ""
        if err.errno == EBUSY:
            with contextlib.suppress(OSError):
                reason, hint = backend.in_the_way(self.mount.point)
            hint = hint or "a process that you may not inspect, or another mount, may use it"
        return from_oserror(err, self.action, reason, hint)


def _check_absolute(directory: str) -> None:
    """Raise ValueError for a relative path, as a damaged journal may contain."""
    if not directory.startswith("/"):
        raise ValueError(f"a mount point is not an absolute path: {directory!r}")


def find_tree(backend: Trees, request: TreeRequest) -> Tree | None:
    """Return the active hierarchy with exactly the controllers and the name of a request; None if
    none has.
    """
    for tree in backend.trees():
        if request.is_met_by(tree):
            return tree
    return None


def _wait_until_gone(backend: Trees, request: TreeRequest) -> None:
    def is_released() -> bool:
        signals.beat()
        return find_tree(backend, request) is None

    wait_until(is_released, RELEASE_PATIENCE, RELEASE_PAUSE)


def _copied(request: TreeRequest, point: str, copies: list[tuple[int, str]]) -> Busy:
    """Return the error if other mount namespaces have the hierarchy mounted; it names a process of
    the first one.
    """
    pid, where = copies[0]
    more = f", and {len(copies) - 1} more mount namespaces have it" if len(copies) > 1 else ""
    return Busy(
        f"the kernel does not release {request.options} (EBUSY): it is mounted at {where} in the "
        f"mount namespace of process {pid}{more}",
        path=point,
        errno=EBUSY,
        hint=f"nsenter --mount --target {pid} umount {quote(where)}",
    )


def dissolve(backend: Mounts, request: TreeRequest, point: str, source: str) -> None:
    """Wait until the kernel has removed an unmounted hierarchy; mount and unmount it again to help.

    `point` and `source` are the directory and the mount source to use. Raises Busy after
    RELEASE_PATIENCE seconds: the memory controller keeps a removed container until its last page
    is freed, any controller until no zombie of it is left.
    """
    unmounted = Retry(RELEASE_PATIENCE, RELEASE_PAUSE, longest=math.inf)
    mounted = Retry(pause=2 * RELEASE_PAUSE, longest=math.inf)
    copies_end = Retry(PATIENCE_WITH_COPIES)
    while tree := find_tree(backend, request):
        if copies_end.is_over and (copies := backend.copies(tree.id)):
            raise _copied(request, point, copies)
        if unmounted.is_over:
            raise Busy(
                f"the kernel does not release {request.options} (EBUSY): removed containers linger "
                "in it, or a mount namespace without processes has it mounted",
                path=point,
                errno=EBUSY,
                hint="try again later: memory lingers until its last page is freed, others until "
                "no zombie is left that was in there (ps -eo pid,ppid,stat); list the namespaces "
                "that pcont keeps: pcont pins",
            )
        signals.check()
        unmounted.wait()
        if find_tree(backend, request):
            backend.mount(request, point, source)
            mounted.wait()
            backend.umount(point)
