"""Read and write the state of the model as a file.

A command reads the rows of the containers and tasks that it uses, and writes those that it has
changed (`pages`, `rows`). A file of an earlier version is converted when a command changes
something. A file that cannot be parsed is refused and not changed.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
from collections.abc import Callable, Iterator
from typing import NoReturn

from pcont.errors import PcontError, Unsupported, from_oserror
from pcont.model.dialects import DIALECTS, V1
from pcont.model.lazy import Rows, RowsInMemory
from pcont.model.pages import ANOTHER, MAGIC, NOT_OURS, PageFile, create_file, damaged, open_regular
from pcont.model.rows import HEAD, Loader, State, all_rows

VERSION = 4  # of the rows; earlier versions are in old_states


def default_file() -> str:
    """Return the default path of the state file (XDG base directories)."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(base, "pcont", "model.json")


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Turn garbage collection off for the block, which creates many objects that are all kept."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class Store:
    """The state of a model in a file.

    `begin`: returns a new model of a dialect, for a file that does not exist. `dialect`: the one
    that the caller wants; None for that of the file.
    """

    def __init__(self, file: str, dialect: str | None, begin: Callable[[str], State]) -> None:
        self.file, self._dialect, self._begin = file, dialect, begin
        self._rows: Rows | None = None
        self._loader: Loader | None = None

    def load(self, model: State) -> None:
        """Fill a model with the present state. Raises PcontError if it cannot be read."""
        with undisturbed():
            self._rows = self._read(model)
            self._loader = self._loaded(model, self._rows)

    def save(self) -> None:
        """Write what the model has changed since it was loaded. Raises PcontError if that fails;
        the file has the old state then.
        """
        assert self._loader
        if not (changes := self._loader.changes()):
            return
        if isinstance(self._rows, PageFile):
            self._rows.commit(changes)
        else:
            assert isinstance(self._rows, RowsInMemory)
            create_file(self.file, str(VERSION), {**self._rows.all, **changes})

    def _loaded(self, model: State, rows: Rows) -> Loader:
        try:
            self._check_dialect(str(rows.get(HEAD)["dialect"]))
            return Loader(model, rows)
        except NOT_OURS as err:
            raise rows.wrong(err) from err

    def _read(self, model: State) -> Rows:
        try:
            descriptor = open_regular(self.file)
        except FileNotFoundError:
            return RowsInMemory(all_rows(self._begin(self._dialect or V1.name)), self._wrong)
        except OSError as err:
            raise from_oserror(err, "read the model's state", hint=ANOTHER) from err
        try:
            is_ours = os.pread(descriptor, len(MAGIC), 0) == MAGIC
        except OSError as err:
            os.close(descriptor)
            raise from_oserror(err, "read the model's state", hint=ANOTHER) from err
        if is_ours:
            return self._pages(descriptor)
        with open(descriptor, encoding="utf-8", errors="surrogateescape") as stream:
            return self._converted(model, stream.read())

    def _pages(self, descriptor: int) -> PageFile:
        before = self._rows if isinstance(self._rows, PageFile) else None
        pages = PageFile(self.file, descriptor, before)
        if pages.version != str(VERSION):
            number = pages.version
            self._refuse_version(int(number) if number.isdecimal() else number)
        return pages

    def _converted(self, model: State, text: str) -> Rows:
        """Return the rows of a state of an earlier version."""
        from pcont.model import old_states

        try:
            state = json.loads(text)
            if (version := state["version"]) not in old_states.READABLE:
                self._refuse_version(version)
            self._check_dialect(str(state.get("dialect", V1.name)))
            rows = RowsInMemory(old_states.converted(state), self._wrong)
            self._loaded(model, rows)
            return RowsInMemory(all_rows(model), self._wrong)  # which loads everything
        except NOT_OURS as err:
            raise self._wrong(err) from err

    def _wrong(self, err: Exception) -> PcontError:
        return damaged(self.file, f"{type(err).__name__}: {err}")

    def _refuse_version(self, version: object) -> NoReturn:
        raise Unsupported(
            f"the model's state has version {version!r}, and this pcont knows {VERSION}",
            path=self.file,
            hint="use the pcont that wrote it, or another --state FILE",
        )

    def _check_dialect(self, name: str) -> None:
        if name not in DIALECTS or name != (self._dialect or name):
            raise Unsupported(
                f"the model's state has dialect {name}, not "
                f"{self._dialect or ' or '.join(DIALECTS)}",
                path=self.file,
                hint=f"leave out --dialect, or {ANOTHER}",
            )
