"""What pcont's BPF programs do in a kernel, done by the model itself."""

from __future__ import annotations

import contextlib
from errno import EBUSY, EOPNOTSUPP

from pcont import subsys
from pcont.kernel.refusals import refuse
from pcont.kernel.types import Place
from pcont.model.cgroups import ModelTree
from pcont.model.hierarchies import Hierarchies
from pcont.model.lifetimes import Lifetimes
from pcont.model.open_files import FileAccounts
from pcont.subsys import numfiles
from pcont.subsys.model import numtasks
from pcont.subsys.numfiles import BARRIER, LIMIT, Charges
from pcont.subsys.numtasks import NUMTASKS


class ModelEnforcer:
    """The Enforcer of the model, which can always count."""

    def __init__(self, hierarchies: Hierarchies, lifetimes: Lifetimes, files: FileAccounts) -> None:
        self._hierarchies, self._lifetimes, self._files = hierarchies, lifetimes, files

    def check(self, what: str) -> None:
        """The model lacks nothing."""

    def trees(self) -> dict[str, str]:
        return {name: tree.id for name, tree in self._hierarchies.enforced.items()}

    def is_bound(self, subsystem: str, root: Place) -> bool:
        there = self.trees().get(subsystem) == root.tree
        return there and (subsystem != NUMTASKS or numtasks.is_bound(self._hierarchies.node(root)))

    def start(self, subsystem: str, root: Place) -> None:
        node = self._hierarchies.node(root)
        if self._hierarchies.enforced.setdefault(subsystem, node.tree) is not node.tree:
            refuse(EBUSY, root.tree)
        if subsystem == NUMTASKS:
            numtasks.bind(node)

    def stop(self, subsystem: str, root: Place) -> None:
        tree = self._hierarchies.enforced.get(subsystem)
        if tree and subsystem == NUMTASKS:
            with contextlib.suppress(FileNotFoundError):
                node = self._hierarchies.node(root)
                if numtasks.is_bound(node):
                    numtasks.unbind(node)
            if any(map(numtasks.is_bound, tree.root.all())):
                return
        self._end(subsystem)

    def end_with(self, tree: ModelTree) -> None:
        """Stop all that is enforced in a tree whose hierarchy ends."""
        for name in [name for name, one in self._hierarchies.enforced.items() if one is tree]:
            self._end(name)

    def _end(self, subsystem: str) -> None:
        tree = self._hierarchies.enforced.pop(subsystem, None)
        if tree and subsystem == numfiles.NUMFILES:
            self._files.forget()
            for node in tree.root.all():
                node.charges = Charges()

    def values(self, place: Place, subsystem: str) -> dict[str, int]:
        node = self._hierarchies.node(place)
        if subsystem == NUMTASKS:
            return numtasks.counted(node)
        self._lifetimes.look()
        return node.charges.values()

    def set(self, place: Place, file: str, value: int) -> None:
        node = self._hierarchies.node(place)
        if subsys.of(file) == NUMTASKS:
            if not any(map(numtasks.is_bound, node.upwards())):
                refuse(EOPNOTSUPP, self._hierarchies.show(place, file))
            numtasks.say(node, file, value)
        else:
            setattr(node.charges, {BARRIER: "barrier", LIMIT: "limit"}[file], value)

    def hold(self, place: Place) -> None:
        """No removal is ever half done in the model."""

    def uncounted(self) -> dict[str, int]:
        """Return nothing: the model has room for all."""
        return {}
