"""The open files of the model: who has them open, and which container they are charged to."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from errno import EBADF, ENFILE

from pcont.subsys.numfiles import Charges


@dataclass
class OpenFile:
    """An open file description: open for as long as a task holds it.

    `charged`: the charges of the container that it was opened in, None where nothing is counted.
    """

    holders: set[int]
    charged: Charges | None


@dataclass
class OpenFiles:
    """Those of all tasks, by number."""

    by_number: dict[int, OpenFile] = field(default_factory=dict)
    next_number: int = 1

    def open(self, task: int, charged: Charges | None, admin: bool) -> int:
        """A task opens a file; ENFILE where its container may have no more."""
        if charged and not charged.charge(admin):
            raise OSError(ENFILE, os.strerror(ENFILE), str(task))
        number = self.next_number
        self.next_number += 1
        self.by_number[number] = OpenFile({task}, charged)
        return number

    def share(self, number: int, task: int) -> None:
        """One more task holds it, as after a fork, or once it was passed on."""
        self._file(number).holders.add(task)

    def close(self, number: int, task: int) -> Charges | None:
        """A task holds it no more; with the last one the file goes: what it was charged to."""
        file = self._file(number)
        if task not in file.holders:
            raise OSError(EBADF, os.strerror(EBADF), str(number))
        file.holders.remove(task)
        if file.holders:
            return None
        del self.by_number[number]
        if file.charged:
            file.charged.held -= 1
        return file.charged

    def held_by(self, task: int) -> list[int]:
        """The numbers of those that a task holds."""
        return [number for number, file in self.by_number.items() if task in file.holders]

    def forget(self, charges: Charges | None = None) -> None:
        """They are charged no more: those of a container, or all."""
        for file in self.by_number.values():
            if charges in (None, file.charged):
                file.charged = None

    def _file(self, number: int) -> OpenFile:
        if number not in self.by_number:
            raise OSError(EBADF, os.strerror(EBADF), str(number))
        return self.by_number[number]
