"""The Enforcer of the running kernel: eBPF programs at the hooks of the Linux security modules.

Programs and counters are pinned below /sys/fs/bpf/pcont, so they continue after pcont has exited.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from errno import EBUSY

from pcont import subsys
from pcont.bpf import libbpf
from pcont.bpf.numfiles import Files
from pcont.bpf.numtasks import Forks
from pcont.bpf.programs import V2_NUMBER, BpfHost, Pinned
from pcont.errors import Unsupported
from pcont.kernel.refusals import refuse
from pcont.kernel.types import Place, Tree

_BPF_FS = "fs/bpf"
OURS = "pcont"


class BpfEnforcer:
    """Load, unload and read the eBPF programs of all controllers that use them (numtasks,
    numfiles).

    `sys`, `proc`: the mount points of sysfs and proc. `trees`: returns the hierarchies of the
    kernel. `number`: returns the number of a hierarchy by its id; 0 if there is none. `directory`:
    returns the path of a container. `sizes`: the number of entries by map, for maps that should not
    have the default size.
    """

    def __init__(
        self,
        sys: str,
        proc: str,
        trees: Callable[[], Iterable[Tree]],
        number: Callable[[str], int],
        directory: Callable[[Place], str],
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        self._sys, self._trees = sys, trees
        host = BpfHost(self._folder(OURS), proc, number, directory, sizes or {})
        self._files = Files(host)
        kinds: list[Pinned] = [self._files, Forks(host)]
        self._pinned = {one.name: one for one in kinds}

    def check(self, label: str) -> None:
        """Raise Unsupported, with a hint, if the kernel cannot run the programs. `label`: the file
        or controller, for the message.
        """
        reason, hint = self._obstacle()
        if reason:
            raise Unsupported(f"{label} is enforced by BPF programs, and {reason}", hint=hint)

    def _obstacle(self) -> tuple[str, str]:
        """Return what the kernel lacks to run the programs, and a hint; empty texts if it can run
        them.
        """
        modules = self._modules()
        if "bpf" not in modules:
            own = [
                name for name in modules if name != "capability"
            ]  # always active, not on the line
            line = f"boot with lsm={','.join([*own, 'bpf'])} on the kernel's command line"
            if modules:
                return f"this kernel has no BPF among its security modules ({','.join(own)})", line
            return (
                "the kernel does not say which security modules it has",
                f"mount -t securityfs securityfs {self._sys}/kernel/security; or {line}",
            )
        if not os.path.exists(f"{self._sys}/kernel/btf/vmlinux"):
            return (
                "this kernel has no types of its own (BTF)",
                "take one with CONFIG_DEBUG_INFO_BTF",
            )
        if not os.path.ismount(self._folder()):
            point = self._folder()
            return f"no bpf filesystem is mounted at {point}", f"mount -t bpf bpf {point}"
        if sys.byteorder != "little":
            return "they are built for little-endian machines only", "pcont/bpf/build.sh"
        try:
            libbpf.libbpf()
        except OSError:
            return (
                f"{libbpf.LIBRARY} is missing",
                "install libbpf1 (Debian), libbpf (Fedora, Arch)",
            )
        return "", ""

    def _modules(self) -> list[str]:
        try:
            with open(f"{self._sys}/kernel/security/lsm", encoding="ascii") as stream:
                return stream.read().strip().split(",")
        except OSError:
            return []

    def trees(self) -> dict[str, str]:
        """Return the tree id that each loaded controller works for; an empty id if that tree no
        longer exists.
        """
        there = [one for one in self._pinned.values() if one.is_there]
        ids = {
            V2_NUMBER if tree.is_unified else tree.number: tree.id
            for tree in (self._trees() if there else ())
            if tree.is_unified or tree.number
        }
        return {one.name: ids.get(one.hierarchy(), "") for one in there}

    def is_bound(self, subsystem: str, root: Place) -> bool:
        """Return whether the programs of a controller are loaded and bound to this container."""
        return self._pinned[subsystem].is_bound(root)

    def start(self, subsystem: str, root: Place) -> None:
        """Bind a controller to one more container; load its programs first if they are not loaded.

        Raises OSError (EBUSY) if they work for another tree.
        """
        there, programs = self.trees().get(subsystem), self._pinned[subsystem]
        if there and there != root.tree:
            refuse(EBUSY, programs.folder)
        if there:
            programs.bind(root)
            return
        # Remove programs of an interrupted start, or of a hierarchy that another program unmounted.
        programs.end()
        programs.load(programs.number(root))
        programs.bind(root)

    def stop(self, subsystem: str, root: Place) -> None:
        """Unbind one container; after the last one, unload the programs. The counters are
        discarded.
        """
        programs = self._pinned[subsystem]
        if not programs.unbind(root):
            programs.end()

    def values(self, place: Place, subsystem: str) -> dict[str, int]:
        """Return the counters and limits of a container, by control file."""
        return self._pinned[subsystem].values(place)

    def set(self, place: Place, file: str, value: int) -> None:
        """Set a limit of a container. Raises OSError if the controller is not bound there."""
        self._pinned[subsys.of(file)].set(place, file, value)

    def uncounted(self) -> dict[str, int]:
        """Return how many opens numfiles refused because it could not count them, by reason."""
        return self._files.uncounted()

    def allowing_removal(self, place: Place) -> AbstractContextManager[None]:
        """In the block, permit the removal of a container that open files are charged to."""
        return self._files.allowing_removal(place)

    def hold(self, place: Place) -> None:
        """Forbid again the removal of a container that open files are charged to."""
        self._files.hold(place)

    def _folder(self, *words: str) -> str:
        return os.path.join(self._sys, _BPF_FS, *words)
