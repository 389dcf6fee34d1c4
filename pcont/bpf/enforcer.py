"""The Meter of the real kernel: BPF programs at the hooks of its security modules.

They are pinned below /sys/fs/bpf/pcont, with what they count, and so go on when pcont has ended.
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
from pcont.bpf.programs import BpfHost, Pinned
from pcont.errors import Unsupported
from pcont.kernel.types import Place, Tree

PINNED = "fs/bpf"
OURS = "pcont"


class BpfEnforcer:
    """What is at work is found where it is pinned; `sys` and `proc` are where those are mounted.

    `trees`: what there is. `directory`: where a container is. `sizes`: how many entries maps have
    room for that are not to have the usual number.
    """

    def __init__(
        self,
        sys: str,
        proc: str,
        trees: Callable[[], Iterable[Tree]],
        directory: Callable[[Place], str],
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        self._sys, self._trees = sys, trees
        host = BpfHost(self._folder(OURS), proc, trees, directory, sizes or {})
        self._files = Files(host)
        kinds: list[Pinned] = [self._files, Forks(host)]
        self._pinned = {one.name: one for one in kinds}

    def check(self, what: str) -> None:
        """Unsupported where the kernel takes no such programs, with what would help."""
        reason, hint = self._obstacle()
        if reason:
            raise Unsupported(f"{what} is enforced by BPF programs, and {reason}", hint=hint)

    def _obstacle(self) -> tuple[str, str]:
        """What is missing, and what to do about it."""
        modules = self._modules()
        if "bpf" not in modules:
            own = [name for name in modules if name != "capability"]  # which is always there
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
        """The id of the tree in which they are at work, by the subsystem; empty if it is gone."""
        there = [one for one in self._pinned.values() if one.is_there]
        ids = {tree.number: tree.id for tree in self._trees()} if there else {}
        return {one.name: ids.get(one.hierarchy(), "") for one in there}

    def is_bound(self, subsystem: str, root: Place) -> bool:
        """Whether they are at work for a container that it is bound to."""
        return self._pinned[subsystem].is_bound(root)

    def start(self, subsystem: str, root: Place) -> None:
        """Have them work for one more; EBUSY where they do in another tree."""
        there, programs = self.trees().get(subsystem), self._pinned[subsystem]
        if there and there != root.tree:
            raise OSError(EBUSY, os.strerror(EBUSY), programs.folder)
        if there:
            programs.bind(root)
            return
        # What is left of a start that did not get so far, or of a hierarchy that others unmounted.
        programs.end()
        programs.load(programs.number(root))
        programs.bind(root)

    def stop(self, subsystem: str, root: Place) -> None:
        """For one less, and end them all or none with the last; what they counted is forgotten."""
        programs = self._pinned[subsystem]
        if not programs.unbind(root):
            programs.end()

    def values(self, place: Place, subsystem: str) -> dict[str, int]:
        """What they have counted for a container, and what it may have."""
        return self._pinned[subsystem].values(place)

    def set(self, place: Place, file: str, value: int) -> None:
        """What it may have from now on."""
        self._pinned[subsys.of(file)].set(place, file, value)

    def uncounted(self) -> dict[str, int]:
        """How often a file was refused that could not be counted, by what stood in the way."""
        return self._files.uncounted()

    def letting_go(self, place: Place) -> AbstractContextManager[None]:
        """Meanwhile a container may be removed, though files are charged to it."""
        return self._files.letting_go(place)

    def hold(self, place: Place) -> None:
        """It is to be removed no more, while files are charged to it."""
        self._files.hold(place)

    def _folder(self, *words: str) -> str:
        return os.path.join(self._sys, PINNED, *words)
