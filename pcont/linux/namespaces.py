"""Start processes in new or existing namespaces, and pin namespaces.

A user, pid or time namespace made by unshare(2) applies to children only, or must exist before the
others. So a helper process makes these and forks. When the helper has exited, its child becomes a
child of pcont. pcont attaches the child to its container, and then the child makes the other
namespaces: a cgroup namespace is rooted at the container of its maker.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from errno import ECHILD, EEXIST
from functools import partial

from pcont.kernel import proc_text, v1
from pcont.kernel.paths import is_outside
from pcont.kernel.types import IdRange, NamespaceSpec
from pcont.linux import procfs, syscalls
from pcont.linux.proc import Proc, is_on

# linux/sched.h
CLONE_FLAGS = {
    "user": 0x10000000,
    "pid": 0x20000000,
    "time": 0x00000080,
    "cgroup": 0x02000000,
    "ipc": 0x08000000,
    "uts": 0x04000000,
    "net": 0x40000000,
    "mnt": 0x00020000,
}
AT_BIRTH = ("user", "pid", "time")
_READY = b"u"
_PROC_FLAGS = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC


def known() -> tuple[str, ...]:
    """Return the kinds of namespaces that this kernel has, by their names in /proc/PID/ns."""
    return tuple(kind for kind in sorted(CLONE_FLAGS) if os.path.exists(f"/proc/self/ns/{kind}"))


class Unshared:
    """Start a process in new namespaces. `spec`: which ones. `hidden`: the directory with pins,
    which the process does not see.

    Call `fork` first. In the child, call `enter_namespaces` when it is in its container.
    """

    note = ""

    def __init__(self, spec: NamespaceSpec, hidden: str) -> None:
        self._spec = spec
        self._hidden = hidden
        self.is_init = "pid" in spec.kinds

    def fork(self) -> int:
        if "net" in self._spec.kinds:
            import pyroute2  # noqa: F401  slow: imported before pcont holds its lock
        first = [kind for kind in AT_BIRTH if kind in self._spec.kinds]
        if not first:
            return os.fork()
        return _fork(partial(self._begin, first), self._map_ids)

    def _begin(self, first: Sequence[str], mapped: Callable[[], None]) -> None:
        """Runs in the helper: make the namespaces that must exist before the fork."""
        if "user" in first:
            _unshare(["user"])
            mapped()
            _be_root()
        _unshare([kind for kind in first if kind != "user"])

    def _map_ids(self, pid: int) -> None:
        """Write the id maps of the helper. By default, the caller's ids become root inside
        (user_namespaces(7)).
        """
        privileged = Proc().may_set_groups()
        _write(f"/proc/{pid}/uid_map", self._spec.uids or (IdRange(0, os.geteuid(), 1),))
        if not privileged:
            # Otherwise the process could drop a group that is denied access (setgroups(2)).
            with open(f"/proc/{pid}/setgroups", "w") as stream:
                stream.write("deny")
        _write(f"/proc/{pid}/gid_map", self._spec.gids or (IdRange(0, os.getegid(), 1),))

    def enter_namespaces(self) -> None:
        kinds = self._spec.kinds
        _unshare([kind for kind in CLONE_FLAGS if kind in kinds and kind not in AT_BIRTH])
        if "mnt" in kinds:
            _own_mounts(self._hidden, proc="pid" in kinds)
        if "net" in kinds:
            _loopback_up()


class Joined:
    """Start a process in existing namespaces. `files`: for each kind, a file in /proc/PID/ns or a
    pin.

    Call `fork` first. In the child, call `enter_namespaces` when it is in its container.
    """

    note, is_init = "", False

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files
        self._opened: dict[str, int] = {}

    def fork(self) -> int:
        # Opened now: inside of the namespaces the paths may not exist.
        flags = os.O_RDONLY | os.O_CLOEXEC
        self._opened = {kind: os.open(file, flags) for kind, file in self._files.items()}
        first = [kind for kind in AT_BIRTH if kind in self._files]
        pid = -1
        try:
            pid = _fork(partial(self._begin, first), lambda pid: None) if first else os.fork()
        finally:
            if pid:
                self._close()
        return pid

    def _begin(self, first: Sequence[str], mapped: Callable[[], None]) -> None:
        for kind in first:
            self._enter(kind)
            if kind == "user":
                _be_root()

    def _enter(self, kind: str) -> None:
        syscalls.setns(self._opened[kind], CLONE_FLAGS[kind], self._files[kind])

    def enter_namespaces(self) -> None:
        directory = os.getcwd()
        for kind in CLONE_FLAGS:
            if kind in self._opened and kind not in AT_BIRTH:
                self._enter(kind)
        self._close()
        with contextlib.suppress(OSError):  # it may not exist in that mount namespace
            os.chdir(directory)

    def _close(self) -> None:
        for descriptor in self._opened.values():
            os.close(descriptor)
        self._opened = {}


def _unshare(kinds: Sequence[str]) -> None:
    if kinds:
        flags = sum(CLONE_FLAGS[kind] for kind in kinds)
        syscalls.sys_unshare(flags, f"namespaces {', '.join(kinds)}")


def _write(file: str, ranges: Sequence[IdRange]) -> None:
    lines = "".join(f"{one.inside} {one.outside} {one.length}\n" for one in ranges)
    # The kernel accepts a map only as one write(2).
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, lines.encode())
    except OSError as err:
        raise OSError(err.errno, os.strerror(err.errno or 0), file) from err
    finally:
        os.close(descriptor)


def _be_root() -> None:
    """Become root of the user namespace. If it does not map id 0, keep the ids."""
    if _maps_root("uid") and _maps_root("gid"):
        with contextlib.suppress(PermissionError):  # setgroups may be denied
            os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)


def _maps_root(id_kind: str) -> bool:
    text = Proc().text(f"self/{id_kind}_map")
    return any(line.split()[0] == "0" for line in proc_text.lines(text))


# The helper


def _fork(begin: Callable[[Callable[[], None]], None], map_ids: Callable[[int], None]) -> int:
    """Fork a child by a helper process that runs `begin` first; returns the pid, 0 in the child.

    `map_ids` is called with the helper's pid when the helper is in its user namespace. Raises
    OSError if a step of the helper fails.
    """
    hear, tell = os.pipe()
    wait, go = os.pipe()
    with _adopting():
        helper = os.fork()
        if helper == 0:
            os.close(hear)
            os.close(go)
            if _help(begin, wait, tell):
                return 0
        os.close(wait)
        os.close(tell)
        try:
            return _born(helper, hear, go, map_ids)
        finally:
            os.close(hear)
            os.close(go)
            os.waitpid(helper, 0)


@contextlib.contextmanager
def _adopting() -> Iterator[None]:
    """In the block, orphaned descendants become children of this process
    (PR_SET_CHILD_SUBREAPER).
    """
    before = syscalls.adopts_orphans()
    syscalls.adopt_orphans(True)
    try:
        yield
    finally:
        syscalls.adopt_orphans(before)


def _help(begin: Callable[[Callable[[], None]], None], wait: int, tell: int) -> bool:
    """In the helper: make namespaces by `begin`, fork the child, report its pid to `tell`, exit.

    Returns True in the child. `begin` is called with a function that waits at `wait` until pcont
    has written the id maps.
    """
    child = False

    def mapped() -> None:
        os.write(tell, _READY)
        if os.read(wait, 1) != _READY:
            os._exit(1)

    try:
        begin(mapped)
        pid = os.fork()
        child = pid == 0
        if child:
            os.close(wait)
            os.close(tell)
        else:
            os.write(tell, f"{pid}\n".encode())
    except OSError as err:
        os.write(tell, f"!{err.errno} {err.filename or 'fork'}\n".encode())
    finally:
        if not child:
            os._exit(0)
    return True


def _born(helper: int, hear: int, go: int, map_ids: Callable[[int], None]) -> int:
    """Read the helper's report; returns the pid of the child. Raises OSError if there is none."""
    answer = os.read(hear, 4096)
    if answer == _READY:
        map_ids(helper)
        os.write(go, _READY)
        answer = os.read(hear, 4096)
    text = answer.decode().rstrip("\n")
    if text.startswith("!"):
        number, _, name = text[1:].partition(" ")
        raise OSError(int(number), os.strerror(int(number)), name)
    if not text:
        raise ChildProcessError(ECHILD, "the process that makes the namespaces was killed")
    return int(text)


# What new namespaces need


def _own_mounts(hidden: str, proc: bool) -> None:
    """Set up a new mount namespace: no mount propagates in or out.

    `proc`: mount a /proc for the new pid namespace. Hierarchies whose mounts show a root above the
    cgroup namespace are mounted again. Pins in `hidden` are unmounted, so that the new namespace
    does not keep them alive.
    """
    syscalls.sys_mount("none", "/", "none", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    lines = Proc().mounts()
    for name in procfs.namespace_pins(lines, hidden):
        with contextlib.suppress(OSError):  # locked in a user namespace
            syscalls.sys_umount(os.path.join(hidden, name), syscalls.MNT_DETACH)
    known_names = [one.name for one in proc_text.controllers(Proc().text("cgroups"))]
    for line in lines:
        if (
            is_outside(line.root)
            and line.type in ("cgroup", "cgroup2")
            and is_on(line.point, line.device)
        ):
            _uncover(line.point)
            options = v1.selecting(line, known_names)
            syscalls.sys_mount(line.source, line.point, line.type, options, _PROC_FLAGS)
    if proc:
        syscalls.sys_mount("proc", "/proc", "proc", flags=_PROC_FLAGS)


def _uncover(point: str) -> None:
    """Remove the mount at a point, so that the same file system can be mounted there again.

    The kernel refuses to mount a file system on top of itself. In a user namespace the old mount is
    locked and cannot be removed: then a tmpfs covers it.
    """
    try:
        syscalls.sys_umount(point, syscalls.MNT_DETACH)
    except OSError:
        syscalls.sys_mount("none", point, "tmpfs", "mode=755,size=0k", _PROC_FLAGS)


def _loopback_up() -> None:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as routes:
            routes.link("set", ifname="lo", state="up")
    except NetlinkError as err:
        raise OSError(err.code, os.strerror(err.code), "the loopback device") from err


# Pins


def pin_namespaces(directory: str, pid: int, kinds: Iterable[str]) -> None:
    """Keep namespaces of a process alive: bind-mount them in `directory`, on a tmpfs of its own.

    `kinds`: names in /proc/PID/ns. Raises FileExistsError if the directory is a mount point
    already.
    """
    if os.path.ismount(directory):
        raise FileExistsError(EEXIST, os.strerror(EEXIST), directory)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    syscalls.sys_mount("pcont", directory, "tmpfs", "mode=700,size=64k", _PROC_FLAGS)
    # The kernel binds a mount namespace only on a private mount.
    syscalls.sys_mount("none", directory, "none", flags=syscalls.MS_PRIVATE)
    for kind in kinds:
        file = os.path.join(directory, kind)
        os.close(os.open(file, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o400))
        syscalls.sys_mount(f"/proc/{pid}/ns/{kind}", file, "none", flags=syscalls.MS_BIND)


def unpin_namespaces(directory: str) -> None:
    """Remove a pin, and also an incomplete one, with one lazy unmount."""
    if not os.path.ismount(directory):
        os.rmdir(directory)
        return
    syscalls.sys_umount(directory, syscalls.MNT_DETACH)
    # The namespaces are unpinned. An empty directory that remains does no harm.
    with contextlib.suppress(OSError):
        os.rmdir(directory)
