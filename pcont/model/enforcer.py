"""The part of the model that does what pcont's eBPF programs do in a kernel."""

from __future__ import annotations

import contextlib
from errno import EBUSY, EOPNOTSUPP

from pcont import subsys
from pcont.kernel.refusals import refuse
from pcont.kernel.types import Place
from pcont.model.cgroups import ModelTree
from pcont.model.config import ModelConfig
from pcont.model.hierarchies import Hierarchies
from pcont.model.lifetimes import Lifetimes
from pcont.model.open_files import FileAccounts
from pcont.tables.behaviour import Enforcement


class ModelEnforcer:
    """The Enforcer of the model (kernel/interfaces.py). It is always available."""

    def __init__(
        self,
        config: ModelConfig,
        hierarchies: Hierarchies,
        lifetimes: Lifetimes,
        files: FileAccounts,
    ) -> None:
        self._config, self._hierarchies = config, hierarchies
        self._lifetimes, self._files = lifetimes, files

    def check(self, label: str) -> None:
        """Do nothing: the model can enforce everything."""

    def trees(self) -> dict[str, str]:
        return {name: tree.id for name, tree in self._hierarchies.enforced.items()}

    def is_bound(self, subsystem: str, root: Place) -> bool:
        there = self.trees().get(subsystem) == root.tree
        is_bound = self._how(subsystem).is_bound
        return there and (is_bound is None or is_bound(self._hierarchies.node(root)))

    def start(self, subsystem: str, root: Place) -> None:
        node = self._hierarchies.node(root)
        if self._hierarchies.enforced.setdefault(subsystem, node.tree) is not node.tree:
            refuse(EBUSY, root.tree)
        self._how(subsystem).bind(node)

    def stop(self, subsystem: str, root: Place) -> None:
        tree, how = self._hierarchies.enforced.get(subsystem), self._how(subsystem)
        if tree and how.is_bound:
            with contextlib.suppress(FileNotFoundError):
                node = self._hierarchies.node(root)
                if how.is_bound(node):
                    how.unbind(node)
            if any(map(how.is_bound, tree.root.all())):
                return
        self._end(subsystem)

    def stop_tree(self, tree: ModelTree) -> None:
        """Stop all enforcement in a tree whose hierarchy is removed."""
        for name in [name for name, one in self._hierarchies.enforced.items() if one is tree]:
            self._end(name)

    def _end(self, subsystem: str) -> None:
        behaviour = self._config.dialect.behaviour(subsystem)
        if tree := self._hierarchies.enforced.pop(subsystem, None):
            if behaviour.account:
                self._files.forget()
            for node in tree.root.all():
                behaviour.enforcement.end(node)

    def values(self, place: Place, subsystem: str) -> dict[str, int]:
        node = self._hierarchies.node(place)
        self._lifetimes.remove_exited()
        return self._how(subsystem).values(node)

    def set(self, place: Place, file: str, value: int) -> None:
        node = self._hierarchies.node(place)
        if not self._how(subsys.of(file)).set(node, file, value):
            refuse(EOPNOTSUPP, self._hierarchies.show(place, file))

    def _how(self, subsystem: str) -> Enforcement:
        return self._config.dialect.behaviour(subsystem).enforcement

    def hold(self, place: Place) -> None:
        """Do nothing: a removal in the model is never left half done."""

    def uncounted(self) -> dict[str, int]:
        """Return no reasons: the model counts every open."""
        return {}
