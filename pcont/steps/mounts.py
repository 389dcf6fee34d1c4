"""Steps that mount and unmount hierarchies, and wait until the kernel has let go of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from errno import EBUSY, EINVAL, ENOENT, ENOSPC
from functools import partial
from shlex import quote

from pcont import signals
from pcont.errors import BY_ERRNO, Busy, LimitReached, PcontError, from_oserror
from pcont.kernel.interfaces import Backend, Mounts, Trees
from pcont.kernel.types import Mount, Place, Tree, TreeRequest, source
from pcont.steps.containers import settings_of, write_back
from pcont.tags import on_disk
from pcont.transaction.step import Step
from pcont.transaction.undo_log import Action, UndoLog, UndoRecord

# A removed container lives on in the kernel for a moment (RCU, and references of dying tasks).
# A hierarchy that is unmounted in that moment stays active, invisible; mounting it and unmounting
# it again, when the moment has passed, heals that.
FIRST_PAUSE = 0.005
PATIENCE = 10.0
PATIENCE_WITH_COPIES = 2.0  # a mount namespace may be about to end


@on_disk("NoDirectory", "directory")
@dataclass
class RemoveMadeDirectory(UndoRecord):
    """There was no such directory to mount on. Raises ValueError for a relative path."""

    directory: str

    def __post_init__(self) -> None:
        _check_absolute(self.directory)

    @property
    def what(self) -> str:
        return self.directory

    def restore(self, backend: Mounts) -> Iterator[Action]:
        if not backend.missing(self.directory):
            yield lambda: backend.remove_directory(self.directory)


@dataclass
class MakeDirectory(Step):
    """mkdir(2) of a directory to mount on."""

    directory: str
    doing: str

    def dry_run_lines(self, backend: Backend) -> list[str]:
        return [f"mkdir {quote(self.directory)}"]

    def rehearse(self, backend: Mounts) -> None:
        if backend.missing(self.directory):
            backend.make_directory(self.directory)

    def do(self, backend: Mounts, memory: UndoLog) -> None:
        # A step before this one, or somebody else, may have made it.
        if backend.missing(self.directory):
            with memory.of(RemoveMadeDirectory(self.directory)):
                backend.make_directory(self.directory)


@on_disk("Directory", "directory")
@dataclass
class RemakeDirectory(UndoRecord):
    """There was a directory. Raises ValueError for a relative path."""

    directory: str

    def __post_init__(self) -> None:
        _check_absolute(self.directory)

    @property
    def what(self) -> str:
        return self.directory

    def restore(self, backend: Mounts) -> Iterator[Action]:
        if backend.missing(self.directory):
            yield lambda: backend.make_directory(self.directory)


@dataclass
class RemoveDirectory(Step):
    """rmdir(2) of a mount point that pcont made; it stays if somebody has put something there."""

    directory: str
    doing: str

    def dry_run_lines(self, backend: Backend) -> list[str]:
        return [f"rmdir {quote(self.directory)}"]

    def do(self, backend: Mounts, memory: UndoLog) -> None:
        with memory.of(RemakeDirectory(self.directory)), contextlib.suppress(OSError):
            backend.remove_directory(self.directory)


@on_disk("NotMounted", "request", "point", "new")
@dataclass
class UnmountMounted(UndoRecord):
    """Nothing of pcont's was mounted at a point; `new`: nor was the hierarchy active at all."""

    request: TreeRequest
    point: str
    new: bool

    @property
    def what(self) -> str:
        return f"{self.request.options}, not to be mounted at {self.point}"

    def restore(self, backend: Mounts) -> Iterator[Action]:
        tree = find_tree(backend, self.request)
        if tree and any(one.point == self.point and one.ours for one in tree.mounts):
            yield lambda: backend.umount(self.point)
        if self.new:
            yield lambda: dissolve(backend, self.request, self.point, source(self.point, 0))


@dataclass
class MountTree(Step):
    """mount(2) of a hierarchy at a directory; `made`: how many directories of it pcont made."""

    request: TreeRequest
    point: str
    doing: str
    made: int = 0

    def dry_run_lines(self, backend: Backend) -> list[str]:
        words = f"mount -t cgroup -o {self.request.options}"
        return [f"{words} {quote(source(self.point, self.made))} {quote(self.point)}"]

    def rehearse(self, backend: Mounts) -> None:
        backend.mount(self.request, self.point, source(self.point, self.made))

    def do(self, backend: Mounts, memory: UndoLog) -> None:
        new = find_tree(backend, self.request) is None
        with memory.of(UnmountMounted(self.request, self.point, new)):
            try:
                backend.mount(self.request, self.point, source(self.point, self.made))
            except OSError:
                # The kernel makes the hierarchy before it looks at the directory.
                if new:
                    _wait_until_gone(backend, self.request)
                raise

    def refusal(self, backend: Mounts, err: OSError) -> PcontError:
        reasons = {
            EBUSY: "the kernel has one of these controllers in use, or a name bound to others",
            EINVAL: "the kernel knows no such controller, or has it switched off",
            ENOSPC: "there are as many hierarchies as this kernel can have",
        }
        if err.errno == ENOENT and not backend.missing(self.point):
            reasons[ENOENT] = "this kernel knows no such option"
        hint = "find what holds it: pcont hierarchies; pcont doctor" if err.errno == EBUSY else ""
        kinds = {**BY_ERRNO, ENOSPC: LimitReached}
        return from_oserror(err, self.doing, reasons.get(err.errno or 0, ""), hint, kinds)


@on_disk("Mounted", "tree", "mount", "attributes", "settings")
@dataclass
class RemountUnmounted(UndoRecord):
    """A hierarchy was mounted at a point; where it was to go, with what its root had."""

    tree: Tree
    mount: Mount
    attributes: dict[str, str]
    settings: list[tuple[str, str]]

    @property
    def what(self) -> str:
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
            return  # it never went
        if not self.mount.ours:
            raise PcontError(f"{self.mount.point} is no longer mounted: mount it as it was")
        backend.mount(request, self.mount.point, self.mount.source)


@dataclass
class UmountTree(Step):
    """umount2(2) of one mount; of the last one of a hierarchy without children, for good.

    `lingers`: that the kernel keeps it for a while is a note, and no failure.
    """

    tree: Tree
    mount: Mount
    last: bool
    doing: str
    lingers: bool = False
    lingering: bool = False

    def dry_run_lines(self, backend: Backend) -> list[str]:
        return [f"umount {quote(self.mount.point)}"]

    def rehearse(self, backend: Mounts) -> None:
        backend.umount(self.mount.point)

    def do(self, backend: Backend, memory: UndoLog) -> None:
        root = Place.at(self.tree)
        dissolves = self.last and not backend.children(root)
        before = RemountUnmounted(self.tree, self.mount, {}, [])
        if dissolves:
            before.attributes, before.settings = (
                backend.attributes(root),
                settings_of(backend, root),
            )
        with memory.of(before):
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
            hint = hint or "a process that you may not look at may use it, or another mount"
        return from_oserror(err, self.doing, reason, hint)


def _check_absolute(directory: str) -> None:
    """A damaged journal may have any text: a relative path has no end of directories above it."""
    if not directory.startswith("/"):
        raise ValueError(f"a mount point is not an absolute path: {directory!r}")


def find_tree(backend: Trees, request: TreeRequest) -> Tree | None:
    """The active hierarchy that answers to a request, if there is one."""
    for tree in backend.trees():
        if (set(tree.controllers), tree.name) == (set(request.controllers), request.name):
            return tree
    return None


def _wait_until_gone(backend: Trees, request: TreeRequest) -> None:
    limit = time.monotonic() + PATIENCE
    while find_tree(backend, request) and time.monotonic() < limit:
        signals.beat()
        time.sleep(FIRST_PAUSE)


def _copied(request: TreeRequest, point: str, copies: list[tuple[int, str]]) -> Busy:
    """Another mount namespace has the hierarchy mounted, too; the first process there is named."""
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
    """Wait until an unmounted hierarchy has left /proc/self/cgroup, and help it to.

    Raises Busy where the kernel holds on to it: memory may, until the last page is freed, and any
    controller until a zombie that was in a container of it is waited for.
    """
    pause, began = FIRST_PAUSE, time.monotonic()
    while tree := find_tree(backend, request):
        waited = time.monotonic() - began
        if waited > PATIENCE_WITH_COPIES and (copies := backend.copies(tree.id)):
            raise _copied(request, point, copies)
        if waited > PATIENCE:
            raise Busy(
                f"the kernel does not release {request.options} (EBUSY): removed containers linger "
                "in it, or a mount namespace without processes has it mounted",
                path=point,
                errno=EBUSY,
                hint="try again later: memory lingers until its last page is freed, others until "
                "no zombie is left that was in there (ps -eo pid,ppid,stat); pcont pins shows "
                "the namespaces that pcont keeps",
            )
        signals.check()
        time.sleep(pause)
        pause *= 2
        if find_tree(backend, request):
            backend.mount(request, point, source)
            time.sleep(pause)
            backend.umount(point)
