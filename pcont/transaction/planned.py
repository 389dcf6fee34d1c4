"""What a dry run has planned, as dicts that can be set back to how they were before an operation.

The cost of that depends on what the operation has planned, and not on all that was planned before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")

_ABSENT: Any = object()


class ChangeLog:
    """The changes of all `PlannedDict` that use it, since the last `clear`."""

    def __init__(self) -> None:
        self.entries: list[tuple[PlannedDict[Any, Any], Any, Any]] = []

    def clear(self) -> None:
        """Keep all changes; the next operation begins."""
        self.entries.clear()

    def revert(self) -> None:
        """Take back the changes since the last `clear`."""
        while self.entries:
            planned, key, before = self.entries.pop()
            planned.restore(key, before)


class PlannedDict(dict[_K, _V]):
    """A dict that logs its changes. As a set, its values are None.

    Change it by item assignment, `add` and `discard` only: the log has no other changes.
    """

    def __init__(self, log: ChangeLog) -> None:
        super().__init__()
        self._log = log

    def __setitem__(self, key: _K, value: _V) -> None:
        self._note(key)
        super().__setitem__(key, value)

    def add(self, key: _K) -> None:
        """Add an element to the set."""
        if key not in self:
            self[key] = None  # type: ignore[assignment]

    def discard(self, key: _K) -> None:
        """Remove a key, if it is there."""
        if key in self:
            self._note(key)
            del self[key]

    def _note(self, key: _K) -> None:
        self._log.entries.append((self, key, self.get(key, _ABSENT)))

    def restore(self, key: _K, before: Any) -> None:
        """Set a key to its earlier value, without an entry in the log."""
        if before is _ABSENT:
            self.pop(key, None)
        else:
            super().__setitem__(key, before)

    def earlier(self) -> Mapping[_K, _V]:
        """Return a view of the dict before the changes in the log."""
        return _Earlier(self, self._log)


class _Earlier(Mapping[_K, _V]):
    """A `PlannedDict` as it was before the changes in its log. Later changes do not show either.

    Use it until the log is cleared.
    """

    def __init__(self, now: PlannedDict[_K, _V], log: ChangeLog) -> None:
        self._now, self._log = now, log
        self._changed: dict[_K, Any] = {}
        self._read = 0

    def _before(self) -> dict[_K, Any]:
        """Return the earlier value of each key that has changed."""
        entries = self._log.entries
        while self._read < len(entries):
            planned, key, before = entries[self._read]
            if planned is self._now:
                self._changed.setdefault(key, before)
            self._read += 1
        return self._changed

    def __getitem__(self, key: _K) -> _V:
        before = self._before()
        value: _V = before[key] if key in before else self._now[key]
        if value is _ABSENT:
            raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[_K]:
        before = self._before()
        yield from (key for key in self._now if key not in before)
        yield from (key for key, value in before.items() if value is not _ABSENT)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Nested(dict[_K, "PlannedDict[Any, Any]"]):
    """A dict of `PlannedDict`, each of which is made when it is first used."""

    def __init__(self, log: ChangeLog) -> None:
        super().__init__()
        self._log = log

    def __missing__(self, key: _K) -> PlannedDict[Any, Any]:
        found = self[key] = PlannedDict[Any, Any](self._log)
        return found

    def of(self, key: _K) -> Mapping[Any, Any]:
        """Return what is planned for a key, without making it."""
        return self.get(key, {})

    def earlier(self) -> EarlierNested[_K]:
        """Return a view before the changes in the log."""
        return EarlierNested(self)


class EarlierNested(Generic[_K]):
    """A `Nested` as it was before the changes in its log."""

    def __init__(self, now: Nested[_K]) -> None:
        self._now = now

    def of(self, key: _K) -> Mapping[Any, Any]:
        """Return what was planned for a key."""
        return self._now[key].earlier() if key in self._now else {}
