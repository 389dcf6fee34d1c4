"""Write the settings of new containers, of which many get the same texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pcont import subsys
from pcont.kernel.refusals import WriteRefused
from pcont.steps.write import Setting, WriteFiles, is_one_write
from pcont.transaction.undo_log import UndoLog

if TYPE_CHECKING:
    from pcont.errors import PcontError
    from pcont.kernel.interfaces import CgroupState
    from pcont.kernel.types import Place
    from pcont.virtual.files import ControlFiles


class SettingsPattern:
    """What all containers of a command get: in which tree, by its index in the hierarchy, which
    file, and which text. In the order of writing.

    `guarded`: pcont checks some of them for each container before it writes them.
    """

    def __init__(self, lines: Iterable[tuple[int, str, str]], guarded: bool) -> None:
        self.guarded = guarded
        self.lines = sorted(lines, key=lambda one: subsys.order(one[1]))
        self.files = frozenset(file for _, file, _ in self.lines)
        self._writes = [(index, file, text or "\n") for index, file, text in self.lines]
        self._plain: dict[str, bool] = {}

    def settings(self, places: Sequence[Place]) -> list[Setting]:
        """Return the settings of one container, given its place in each tree."""
        return [Setting(places[index], file, text) for index, file, text in self.lines]

    def writes(
        self, files: ControlFiles, places: Sequence[Place]
    ) -> list[tuple[int, str, str]] | None:
        """Return the index, the file and the text of each write(2); None if a setting of the
        container needs more than one write(2).

        New containers below one parent need the same.
        """
        above = places[0].path.rpartition("/")[0]
        if above not in self._plain:
            found = self.settings(places)
            self._plain[above] = all(is_one_write(files, one) for one in found)
        return self._writes if self._plain[above] else None


class NewSettings:
    """The settings of one new container, as a part of the step that creates it.

    It does what `WriteFiles` does, and makes one only where a setting needs more than a write(2),
    or is refused.
    """

    final = False

    def __init__(self, places: Sequence[Place], pattern: SettingsPattern, action: str) -> None:
        self.places, self.pattern, self.action = places, pattern, action
        self._writer: WriteFiles | None = None

    @property
    def writer(self) -> WriteFiles:
        """The step that writes the same settings."""
        if self._writer is None:
            self._writer = self._writing(self.pattern.settings(self.places))
        return self._writer

    def _writing(self, settings: Sequence[Setting]) -> WriteFiles:
        return WriteFiles(settings, self.action, created=True)

    def write_all(self, files: ControlFiles, undo_log: UndoLog) -> None:
        """Write the settings with the control files of the operation."""
        writes = self.pattern.writes(files, self.places)
        if writes is None:
            self.writer.write_all(files, undo_log)
            return
        refused: list[tuple[Setting, WriteRefused]] = []
        for index, file, text in writes:
            try:
                files.backend.write(self.places[index], file, text)
            except WriteRefused as err:
                refused.append((Setting(self.places[index], file, text), err))
            except OSError:
                self.writer.refused = Setting(self.places[index], file, text)
                raise
        if refused:
            self._write_again(files, undo_log, refused)

    def _write_again(
        self,
        files: ControlFiles,
        undo_log: UndoLog,
        refused: Sequence[tuple[Setting, WriteRefused]],
    ) -> None:
        """Write refused settings after the others. If all were refused, raise the first refusal."""
        if len(refused) == len(self.pattern.lines):
            self.writer.refused, err = refused[0]
            raise err
        self._writer = self._writing([one for one, _ in refused])
        self._writer.write_all(files, undo_log)

    def dry_run_lines(self, backend: CgroupState) -> list[str]:
        return self.writer.dry_run_lines(backend)

    def rehearse(self, backend: CgroupState) -> None:
        self.writer.rehearse(backend)

    def refusal(self, backend: CgroupState, err: OSError) -> PcontError:
        return self.writer.refusal(backend, err)

    def notes(self) -> list[str]:
        return self.writer.notes() if subsys.AGENT in self.pattern.files else []
