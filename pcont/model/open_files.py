"""The open files of the model: which processes hold them, and which containers they are
charged to.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EBADF, ENFILE

from pcont.kernel.refusals import refuse
from pcont.model.cgroups import ModelTree, PlacedTask
from pcont.model.hierarchies import Hierarchies
from pcont.tables.charges import Charges
from pcont.tables.rules import ModelCgroup


class OpenFile:
    """An open file description. It is open while a process holds it.

    `charged`: the charges of the container in which it was opened; None if it is not counted.
    """

    __slots__ = ("charged", "holders")

    def __init__(self, holders: set[int], charged: Charges | None) -> None:
        self.holders, self.charged = holders, charged


class OpenFiles:
    """The open files of all processes, by number.

    `held`: the numbers of the files that a process holds, by process.
    """

    def __init__(self) -> None:
        self.by_number: dict[int, OpenFile] = {}
        self.held: dict[int, set[int]] = {}
        self.next_number = 1

    def open(self, task: int, charged: Charges | None, admin: bool) -> int:
        """Open a file in a process; returns its number. Raises OSError (ENFILE) at the limit of the
        container.
        """
        if charged and not charged.charge(admin):
            refuse(ENFILE, str(task))
        number = self.next_number
        self.next_number += 1
        self.by_number[number] = OpenFile(set(), charged)
        self.share(number, task)
        return number

    def share(self, number: int, task: int) -> None:
        """Let another process hold an open file, as after a fork."""
        self._file(number).holders.add(task)
        self.held.setdefault(task, set()).add(number)

    def close(self, number: int, task: int) -> Charges | None:
        """Close a file in a process. The last close returns the charges of the file. Raises OSError
        (EBADF).
        """
        file = self._file(number)
        if task not in file.holders:
            refuse(EBADF, str(number))
        file.holders.remove(task)
        self.held[task].remove(number)
        if not self.held[task]:
            del self.held[task]
        if file.holders:
            return None
        del self.by_number[number]
        if file.charged:
            file.charged.held -= 1
        return file.charged

    def held_by(self, task: int) -> list[int]:
        """Return the numbers of the files that a process holds."""
        return sorted(self.held.get(task, ()))

    def load(self) -> None:
        """Load all files of a stored state, before the hierarchy changes in which they are charged:
        the state has them by the paths of their containers there.
        """
        for _ in self.by_number.values():
            pass

    def forget(self, charges: Charges | None = None) -> None:
        """Stop charging files: those of one container, or all."""
        for file in self.by_number.values():
            if charges in (None, file.charged):
                file.charged = None

    def _file(self, number: int) -> OpenFile:
        if number not in self.by_number:
            refuse(EBADF, str(number))
        return self.by_number[number]


Account = Callable[[ModelCgroup], Charges | None]


class FileAccounts:
    """Opens and closes files of processes, and charges them to the containers of the processes."""

    def __init__(self, hierarchies: Hierarchies, files: OpenFiles) -> None:
        self._hierarchies, self._files = hierarchies, files

    def _counter(self) -> tuple[Account, ModelTree] | None:
        """Return the hook that finds a file's charges, with its tree; None if no controller counts
        files.
        """
        for name, behaviour in self._hierarchies.kernels():
            if behaviour.account:
                return behaviour.account, self._hierarchies.holding(name)
        return self._enforced()

    def _enforced(self) -> tuple[Account, ModelTree] | None:
        found = self._hierarchies.enforcing()
        return next(((one.account, tree) for one, tree in found if one.account), None)

    def are_enforced(self) -> bool:
        """Return whether files are counted by eBPF programs of pcont, not by the kernel itself."""
        return self._enforced() is not None

    def tree(self) -> ModelTree | None:
        """Return the tree in which open files are charged; None if there is none."""
        found = self._counter()
        return found[1] if found else None

    def _charges(self, task: PlacedTask) -> Charges | None:
        if found := self._counter():
            account, tree = found
            return account(task.nodes.get(tree.number, tree.root))
        return None

    def open(self, task: PlacedTask, admin: bool) -> int:
        """Open a file in a process; returns its number. `admin`: the process has CAP_SYS_ADMIN.
        Raises OSError (ENFILE).
        """
        return self._files.open(task.pid, self._charges(task), admin)

    def inherit(self, parent: int, child: int) -> None:
        """Give a forked process the open files of its parent."""
        for file in self._files.held_by(parent):
            self._files.share(file, child)

    def close_all(self, holder: int) -> None:
        """Close all files of a process that has exited."""
        for file in self._files.held_by(holder):
            self.close(file, holder)

    def close(self, file: int, holder: int) -> None:
        """Close a file in a process. An auto_delete container may be removed with its last file.
        Raises OSError (EBADF).
        """
        charged, tree = self._files.close(file, holder), self.tree()
        on_closed = tree.core.on_closed if tree else None
        if tree and on_closed and charged and not charged.held:
            for node in [node for node in tree.root.all() if node.charges is charged]:
                on_closed(node)

    def forget(self, charges: Charges | None = None) -> None:
        """Stop charging files: those of one container, or all."""
        self._files.forget(charges)
