"""Values that a container has in another file, or in another format, than their KEY says.

The tables have a face for each such KEY (`tables.face`). A write becomes writes of the kernel's own
files, so that undo records and journals have these only.
"""

from __future__ import annotations

import os
from errno import EINVAL, ENOENT
from typing import Any, NoReturn

from pcont import subsys
from pcont.errors import Unsupported
from pcont.kernel.refusals import refuse, refuse_text, unreadable
from pcont.tables.control_file import ControlFile
from pcont.tables.face import Face, KeyFace, NotServed, Translation
from pcont.tables.rules import Proposed
from pcont.virtual.changes import AttributeChange, Change, FileWrite
from pcont.virtual.site import LiveSite


class _Texts:
    """A container as faces read it (tables.face.FaceSource). Each file is read once."""

    def __init__(self, site: LiveSite) -> None:
        self._site = site
        self._texts: dict[str, str] = {}

    def text(self, file: str) -> str:
        if file not in self._texts:
            self._texts[file] = self._site.backend.read(self._site.place, file)
        return self._texts[file]

    def attribute(self, name: str) -> str:
        return self._site.backend.attributes(self._site.place).get(name, "")

    def populated(self) -> bool:
        return self._site.populated()


class TranslatedFile:
    """The value of a KEY that a container has elsewhere (virtual.files.ResolvedFile)."""

    def __init__(self, site: LiveSite, key: str, face: KeyFace) -> None:
        self._site, self._key, self._face = site, key, face
        self._backend, self._place = site.backend, site.place

    @property
    def row(self) -> ControlFile | None:
        """The row of the KEY, with the rules that hold here."""
        row = subsys.row(self._key)
        rules = self._face.rules if isinstance(self._face, Translation) else ()
        return row._replace(rules=rules) if row else None

    def read(self) -> str:
        """Return the whole text. Raises OSError; Unsupported if there is no such value here."""
        face, texts = self._served(), _Texts(self._site)
        text = texts.text(face.file)  # the container has the KEY if it has this file
        return face.read(text) if isinstance(face, Face) else face.show(texts)

    def plan_write(self, text: str) -> tuple[Change, ...]:
        """Return the writes of the kernel's files, and the change of an attribute.

        Raises WriteRefused for a text that is no value of the KEY, or that a rule refuses, with the
        errno of the kernel that has the KEY; Unsupported for a KEY that can only be read here.
        """
        self._check(text)
        return tuple(self._changes(text))

    def writes(self, text: str) -> list[FileWrite]:
        """Return the writes of the kernel's files; empty if the text is no value of the KEY."""
        try:
            return [one for one in self._changes(text) if isinstance(one, FileWrite)]
        except (OSError, Unsupported):
            return []

    def _check(self, text: str) -> None:
        row = self.row
        if row is None:
            return
        try:
            value: Any = row.reader(self._backend.machine()).parse(text)
        except (ValueError, OverflowError) as err:
            refuse_text(unreadable(err), self._where, err)
        for rule in row.rules:
            if violation := rule(self._site, Proposed(self._site, self._key, value)):
                refuse_text(violation.errno, self._where)

    def _changes(self, text: str) -> list[Change]:
        face = self._served()
        try:
            if isinstance(face, Face):
                found = [(face.file, face.written(text))]
            elif face.write is None:
                self._read_only(face)
            else:
                found = face.write(text, _Texts(self._site))
        except ValueError as err:
            refuse_text(EINVAL, self._where, err)
        return [one for name, word in found for one in self._change(name, word)]

    def _read_only(self, face: Translation) -> NoReturn:
        """Raise Unsupported if the KEY can be written elsewhere; otherwise WriteRefused, as the
        kernel that has it would.
        """
        if face.read_only:
            raise self._unsupported(f"set {self._key} of", face.read_only)
        refuse_text(EINVAL, self._where)

    def _change(self, name: str, text: str) -> list[Change]:
        face = self._face
        if not (isinstance(face, Translation) and name == face.kept_as):
            return [FileWrite(self._place, name, text)]
        # Without the attribute, the KEY reads as another text of the same meaning.
        may_store = self._backend.privileged() and self._backend.may_mount()
        return [AttributeChange(self._place, name, text)] if may_store else []

    def _served(self) -> Face | Translation:
        """Return the face. Raises FileNotFoundError if the KEY is not for this container."""
        row = subsys.row(self._key)
        if row and not row.access.where.holds(self._place.is_root):
            refuse(ENOENT, self._where)
        if isinstance(self._face, NotServed):
            raise self._unsupported(f"use {self._key} of", self._face.reason, self._face.hint)
        return self._face

    @property
    def _where(self) -> str:
        return os.path.join(self._backend.show(self._place), self._key)

    def _unsupported(self, action: str, reason: str, hint: str = "") -> Unsupported:
        return Unsupported(f"cannot {action} {self._place.shown}: {reason}", hint=hint)
