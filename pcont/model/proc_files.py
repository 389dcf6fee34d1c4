"""The files of /proc that show hierarchies, as the simulated kernel prints them."""

from __future__ import annotations

import re
from errno import ENOENT

from pcont.kernel.refusals import refuse
from pcont.model.cgroups import ModelTree
from pcont.model.config import ModelConfig
from pcont.model.dialects import Slot
from pcont.model.hierarchies import Hierarchies
from pcont.model.placement import TaskPlacement

TASK = r"[0-9]{1,10}"  # the name of its directory


class ProcFiles:
    """Prints /proc/cgroups and /proc/PID/cgroup, or the files that the dialect has instead."""

    def __init__(
        self, config: ModelConfig, hierarchies: Hierarchies, placement: TaskPlacement
    ) -> None:
        self._config, self._hierarchies, self._placement = config, hierarchies, placement

    def proc_file(self, file: str) -> str:
        """Return the text of a file, given its path below /proc. Raises OSError (ENOENT, ESRCH)."""
        dialect = self._config.dialect
        task, _, name = file.partition("/")
        listing, show_all = dialect.listing
        if file == listing:
            return show_all(self._slots(), dialect.listed)
        membership, show = dialect.membership
        legacy = [one for one, behaviour in self._hierarchies.kernels() if behaviour.legacy_agent]
        if not re.fullmatch(TASK, task) or name not in (membership, *legacy):
            refuse(ENOENT, f"/proc/{file}")
        if name == membership:
            return show(self._paths(int(task)))
        return self._path_with(name, int(task)) + "\n"

    def _path_with(self, controller: str, task: int) -> str:
        """Return the path of the container in which a task has a controller. In cgroup v2, that is
        the nearest container above that has it. Raises ProcessLookupError.
        """
        self._placement.task(task)
        tree = self._hierarchies.holding(controller)
        if not tree.kind.has:
            return self._placement.path_of(task, tree)
        node = self._placement.nodes_of(task).get(tree.number, tree.root).remaining()
        return next(one.path for one in node.upwards() if tree.kind.has(one, controller))

    def _paths(self, task: int) -> list[tuple[Slot, str]]:
        """Return every hierarchy with the path of a task's container, sorted by number. Raises
        ProcessLookupError.
        """
        placement = self._placement
        placement.task(task)
        active = self._hierarchies.active
        paths = [(self._slot(tree), placement.path_of(task, tree)) for tree in active]
        return sorted(paths, key=lambda pair: pair[0].number)

    def _slots(self) -> list[Slot]:
        """Return every hierarchy; in a dialect with few slots, also the free ones and that of
        unbound controllers.
        """
        active = self._hierarchies.active
        found = {tree.number: self._slot(tree) for tree in active}
        dialect = self._config.dialect
        if dialect.slots:
            bound = {name for tree in active for name in tree.controllers}
            unbound = tuple(name for name in dialect.controllers if name not in bound)
            found[0] = Slot(0, unbound, "", 1, 0, None)
            for number in dialect.slot_numbers:
                found.setdefault(number, Slot(number, (), "", 1, 0, None))
        return [found[number] for number in sorted(found)]

    def _slot(self, tree: ModelTree) -> Slot:
        # Only kernels with slots show it, and it takes a look at every task.
        inside = tree.root.inside() if self._config.dialect.slots else 0
        if tree.is_unified:
            return Slot(0, (), "", tree.size, inside, len(tree.mounts))
        return Slot(tree.number, tree.controllers, tree.name, tree.size, inside, len(tree.mounts))
