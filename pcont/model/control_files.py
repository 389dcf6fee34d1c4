"""Control files of the model: read and written as in the kernel, by the tables."""

from __future__ import annotations

from collections.abc import Callable
from errno import E2BIG, EACCES, EINVAL, EISDIR, ENOENT
from typing import TYPE_CHECKING, Any

from pcont import subsys
from pcont.kernel.refusals import refuse, refuse_text, unreadable
from pcont.kernel.types import Place
from pcont.model.cgroups import Node, shared
from pcont.model.config import ModelConfig
from pcont.model.hierarchies import Hierarchies
from pcont.model.lifetimes import Lifetimes
from pcont.model.placement import TaskPlacement
from pcont.tables.behaviour import FileBehaviour
from pcont.tables.control_file import ControlFile
from pcont.tables.rules import Proposed

if TYPE_CHECKING:
    from pcont.model.affinity import Affinity
    from pcont.model.attach import Attaching


# What a driver reads and writes of a container and its leaf together.
_WITH_LEAF = ("tasks", "cgroup.procs")
STORED = FileBehaviour()  # of a file without a behaviour: a write is stored


class ModelControlFiles:
    """Reads and writes control files.

    `attaching`, `affinity`: return what only writes need.
    """

    def __init__(
        self,
        config: ModelConfig,
        hierarchies: Hierarchies,
        placement: TaskPlacement,
        lifetimes: Lifetimes,
        attaching: Callable[[], Attaching],
        affinity: Callable[[], Affinity],
    ) -> None:
        self._config, self._hierarchies, self._affinity = config, hierarchies, affinity
        self._placement, self._lifetimes = placement, lifetimes
        self._attaching = attaching

    def files(self, place: Place) -> dict[str, bool]:
        """Return the control files of a container, and whether each is writable."""
        node = self._hierarchies.node(place)
        rows = node.tree.rows
        return {file: rows[file].access.writable for file in sorted(rows) if node.has(file)}

    def _row(self, place: Place, file: str) -> tuple[Node, ControlFile]:
        try:
            node = self._hierarchies.node(place)
        except OSError as err:
            refuse(err.errno or ENOENT, self._hierarchies.show(place, file))
        if file in node.nodes and file not in node.tree.aliases:
            refuse(EISDIR, self._hierarchies.show(place, file))
        try:
            return node, node.row(file)
        except KeyError:
            refuse(ENOENT, self._hierarchies.show(place, file))

    def read(self, place: Place, file: str) -> str:
        """Return the text of a control file. Raises OSError."""
        node, row = self._row(place, file)
        how = node.tree.file_behaviours.get(file)
        if how and how.hidden:
            refuse(EINVAL, self._hierarchies.show(place, file))
        if file in subsys.TASK_FILES or (how and how.derived):
            self._lifetimes.remove_exited_of(self._placement.live_below(node))
        if file in subsys.TASK_FILES:
            text = self._placement.listed(node, file)
            if node.tree.leaf_name and file in _WITH_LEAF and (leaf := node.leaf):
                text += self._placement.listed(leaf, file)
            return text
        text = row.type.show(node.value(file))
        return "" if how and how.lines and not text else text + row.access.end

    def write(self, place: Place, file: str, text: str) -> None:
        """Write a control file. Raises WriteRefused if the kernel would refuse the text."""
        node, row = self._row(place, file)
        if not (text or self._config.dialect.empty):
            return
        where = self._hierarchies.shown_in(node.tree, place.path, file)
        text = self._taken(row, text, where)
        if not row.access.writable:
            refuse_text(row.access.read_only, where)
        if file in subsys.TASK_FILES:
            self._lifetimes.remove_exited()
            self._attaching().put(node, text, file, where)
        else:
            self._assign(node, row, text, where)

    def _taken(self, row: ControlFile, text: str, where: str) -> str:
        """Return the part of a text that the kernel reads: up to the first NUL (fs/kernfs/file.c).

        Raises WriteRefused (E2BIG) if it is too long.
        """
        bytes = text.encode("utf-8", "surrogateescape")
        if len(bytes) > row.access.longest(self._config.machine):
            refuse_text(E2BIG, where)
        return bytes.partition(b"\0")[0].decode("utf-8", "surrogateescape")

    def _assign(self, node: Node, row: ControlFile, text: str, where: str) -> None:
        if row.access.root_fixed and node.parent is None:
            refuse_text(EACCES, where)
        wanted = shared(self._parsed(node, row, text, where))
        self._lifetimes.remove_exited_of(self._placement.live_below(node))
        how = node.tree.file_behaviours.get(row.name, STORED)
        for rule in row.rules:
            if violation := rule(node, Proposed(node, row.name, wanted)):
                if how.refused:
                    how.refused(node, wanted)
                refuse_text(violation.errno, where)
        if how.refuses and (number := how.refuses(node, wanted)):
            refuse_text(number, where)
        if how.confines:
            top = how.confines(node)
            assert isinstance(top, Node)
            with self._affinity().kept(top, node if how.moves else None):
                self._carry_out(node, row, wanted, how)
        else:
            self._carry_out(node, row, wanted, how)

    def _carry_out(self, node: Node, row: ControlFile, wanted: Any, how: FileBehaviour) -> None:
        """Change what a write changes: no rule refuses it."""
        if how.kills:
            self._lifetimes.kill_below(node)
        if how.write:
            how.write(node, wanted)
            return
        # The kernel does nothing for an unchanged list (cpuset.c, update_cpumask()).
        moves = row.undo.moves_affinity and not how.confines and wanted != node.value(row.name)
        node.values[row.name] = wanted
        if how.effect:
            how.effect(node)
        if moves:
            self._affinity().changed(node, wanted)

    @staticmethod
    def _parsed(node: Node, row: ControlFile, text: str, where: str) -> object:
        """Return the value that a text means. Raises WriteRefused if it cannot be parsed."""
        try:
            wanted = row.reader(node.machine).parse(text)
            return row.merged(node, wanted)
        except (ValueError, OverflowError) as err:
            refuse_text(unreadable(err), where, err)
