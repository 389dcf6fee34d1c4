"""Steps that mount and unmount hierarchies, and wait until the kernel has let go of them."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from errno import EBUSY, EINVAL

from pcont.backend import Backend, Mount, Place, Tree, TreeRequest, source
from pcont.errors import Busy, PcontError, from_oserror
from pcont.steps import Step

# A removed container lives on in the kernel for a moment (RCU, and references of dying tasks).
# A hierarchy that is unmounted in that moment stays active, invisible; mounting it and unmounting
# it again, when the moment has passed, heals that.
FIRST_PAUSE = 0.005
PATIENCE = 5.0


@dataclass
class MakeDirectory(Step):
    """mkdir(2) of a directory to mount on."""

    directory: str
    doing: str
    made: bool = False

    def tell(self, backend: Backend) -> list[str]:
        return [f"mkdir {self.directory}"]

    def do(self, backend: Backend) -> None:
        backend.make_directory(self.directory)
        self.made = True

    def undo(self, backend: Backend) -> None:
        if self.made:
            backend.remove_directory(self.directory)
            self.made = False


@dataclass
class RemoveDirectory(Step):
    """rmdir(2) of a mount point that pcont made; it stays if somebody has put something there."""

    directory: str
    doing: str
    removed: bool = False

    def tell(self, backend: Backend) -> list[str]:
        return [f"rmdir {self.directory}"]

    def do(self, backend: Backend) -> None:
        with contextlib.suppress(OSError):
            backend.remove_directory(self.directory)
            self.removed = True

    def undo(self, backend: Backend) -> None:
        if self.removed:
            backend.make_directory(self.directory)
            self.removed = False


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
        return [f"{words} {source(self.made)} {self.point}"]

    def do(self, backend: Backend) -> None:
        self.new = find(backend, self.request) is None
        try:
            backend.mount(self.request, self.point, source(self.made))
        except OSError:
            # The kernel makes the hierarchy before it looks at the directory.
            if self.new:
                _wait_until_gone(backend, self.request)
            raise
        self.mounted = True

    def undo(self, backend: Backend) -> None:
        if not self.mounted:
            return
        backend.umount(self.point)
        self.mounted = False
        if self.new:
            dissolve(backend, self.request, self.point)

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
    unmounted: bool = False

    @property
    def _request(self) -> TreeRequest:
        return TreeRequest(self.tree.controllers, self.tree.name)

    def tell(self, backend: Backend) -> list[str]:
        return [f"umount {self.mount.point}"]

    def do(self, backend: Backend) -> None:
        root = Place(self.tree.id)
        dissolves = self.last and not backend.children(root)
        if dissolves:
            self.attributes = backend.attributes(root)
        backend.umount(self.mount.point)
        self.unmounted = True
        if dissolves:
            dissolve(backend, self._request, self.mount.point)

    def undo(self, backend: Backend) -> None:
        if not self.unmounted:
            return
        backend.mount(self._request, self.mount.point, self.mount.source)
        self.unmounted = False
        for name, text in self.attributes.items():
            backend.set_attribute(Place(self.tree.id), name, text)

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
                f"{request.options} is unmounted but lingers: the kernel still holds removed "
                "containers of it",
                path=point,
                errno=EBUSY,
                hint="mount and umount it again later; pcont hierarchies shows it meanwhile",
            )
        time.sleep(pause)
        pause *= 2
        if find(backend, request):
            backend.mount(request, point, source(0))
            time.sleep(pause)
            backend.umount(point)
