"""Steps that mount and unmount hierarchies, and wait until the kernel has let go of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from errno import EBUSY, EINVAL
from functools import partial
from shlex import quote

from pcont import signals
from pcont.backend import Backend, Mount, Place, Tree, TreeRequest, source
from pcont.errors import Busy, PcontError, from_oserror
from pcont.steps import Action, Step
from pcont.steps.containers import restore, settings

# A removed container lives on in the kernel for a moment (RCU, and references of dying tasks).
# A hierarchy that is unmounted in that moment stays active, invisible; mounting it and unmounting
# it again, when the moment has passed, heals that.
FIRST_PAUSE = 0.005
PATIENCE = 10.0


@dataclass
class MakeDirectory(Step):
    """mkdir(2) of a directory to mount on."""

    directory: str
    doing: str
    made: bool = False

    def tell(self, backend: Backend) -> list[str]:
        return [f"mkdir {quote(self.directory)}"]

    def do(self, backend: Backend) -> None:
        # A step before this one, or somebody else, may have made it.
        if backend.missing(self.directory):
            backend.make_directory(self.directory)
            self.made = True

    def undo(self, backend: Backend) -> Iterator[Action]:
        if self.made:
            yield lambda: backend.remove_directory(self.directory)


@dataclass
class RemoveDirectory(Step):
    """rmdir(2) of a mount point that pcont made; it stays if somebody has put something there."""

    directory: str
    doing: str
    removed: bool = False

    def tell(self, backend: Backend) -> list[str]:
        return [f"rmdir {quote(self.directory)}"]

    def do(self, backend: Backend) -> None:
        with contextlib.suppress(OSError):
            backend.remove_directory(self.directory)
            self.removed = True

    def undo(self, backend: Backend) -> Iterator[Action]:
        if self.removed:
            yield lambda: backend.make_directory(self.directory)


@dataclass
class MountTree(Step):
    """mount(2) of a hierarchy at a directory; `made`: how many directories of it pcont made."""

    request: TreeRequest
    point: str
    doing: str
    made: int = 0
    new: bool = False
    mounted: bool = False

    def tell(self, backend: Backend) -> list[str]:
        words = f"mount -t cgroup -o {self.request.options}"
        return [f"{words} {quote(source(self.point, self.made))} {quote(self.point)}"]

    def do(self, backend: Backend) -> None:
        self.new = find(backend, self.request) is None
        try:
            backend.mount(self.request, self.point, source(self.point, self.made))
        except OSError:
            # The kernel makes the hierarchy before it looks at the directory.
            if self.new:
                _wait_until_gone(backend, self.request)
            raise
        self.mounted = True

    def undo(self, backend: Backend) -> Iterator[Action]:
        if self.mounted:
            yield lambda: backend.umount(self.point)
            if self.new:
                yield lambda: dissolve(backend, self.request, self.point)

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        reasons = {
            EBUSY: "the kernel has one of these controllers in use, or a name bound to others",
            EINVAL: "the kernel knows no such controller, or has it switched off",
        }
        hint = "pcont hierarchies and pcont doctor show what holds it" if err.errno == EBUSY else ""
        return from_oserror(err, self.doing, reasons.get(err.errno or 0, ""), hint)


@dataclass
class UmountTree(Step):
    """umount2(2) of one mount; of the last one of a hierarchy without children, for good."""

    tree: Tree
    mount: Mount
    last: bool
    doing: str
    attributes: dict[str, str] = field(default_factory=dict)
    settings: list[tuple[str, str]] = field(default_factory=list)
    unmounted: bool = False

    @property
    def _request(self) -> TreeRequest:
        return TreeRequest(self.tree.controllers, self.tree.name)

    def tell(self, backend: Backend) -> list[str]:
        return [f"umount {quote(self.mount.point)}"]

    def do(self, backend: Backend) -> None:
        root = Place(self.tree.id)
        dissolves = self.last and not backend.children(root)
        if dissolves:
            self.attributes = backend.attributes(root)
            self.settings = settings(backend, root)
        backend.umount(self.mount.point)
        self.unmounted = True
        if dissolves:
            dissolve(backend, self._request, self.mount.point)

    def undo(self, backend: Backend) -> Iterator[Action]:
        if not self.unmounted:
            return
        yield lambda: self._mount_again(backend)
        root = Place(self.tree.id)
        for file, text in self.settings:
            yield partial(restore, backend, root, file, text)
        for name, text in self.attributes.items():
            yield partial(backend.set_attribute, root, name, text)

    def _mount_again(self, backend: Backend) -> None:
        active = find(backend, self._request)
        if active and any(mount.point == self.mount.point for mount in active.mounts):
            return  # it never went
        if not self.mount.ours:
            raise PcontError(f"{self.mount.point} is not mounted any more: mount it as it was")
        backend.mount(self._request, self.mount.point, self.mount.source)

    def refusal(self, backend: Backend, err: OSError) -> PcontError:
        hint = "a shell may stand in it, or a file may be open" if err.errno == EBUSY else ""
        return from_oserror(err, self.doing, hint=hint)


def find(backend: Backend, request: TreeRequest) -> Tree | None:
    """The active hierarchy that answers to a request, if there is one."""
    for tree in backend.trees():
        if (set(tree.controllers), tree.name) == (set(request.controllers), request.name):
            return tree
    return None


def _wait_until_gone(backend: Backend, request: TreeRequest) -> None:
    limit = time.monotonic() + PATIENCE
    while find(backend, request) and time.monotonic() < limit:
        time.sleep(FIRST_PAUSE)


def dissolve(backend: Backend, request: TreeRequest, point: str) -> None:
    """Wait until an unmounted hierarchy has left /proc/self/cgroup, and help it to.

    Raises Busy where the kernel holds on to it: memory may, until the last page is freed.
    """
    pause, limit = FIRST_PAUSE, time.monotonic() + PATIENCE
    while find(backend, request):
        if time.monotonic() > limit:
            raise Busy(
                f"the kernel does not let go of {request.options} (EBUSY): removed containers "
                "linger in it, or it is mounted in another mount namespace",
                path=point,
                errno=EBUSY,
                hint="try again later; memory lingers until its last page is freed",
            )
        signals.check()
        time.sleep(pause)
        pause *= 2
        if find(backend, request):
            backend.mount(request, point, source(point, 0))
            time.sleep(pause)
            backend.umount(point)
