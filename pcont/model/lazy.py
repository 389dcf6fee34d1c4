"""Collections that are loaded from the rows of a state, each item when it is first used.

To the other modules, they are a dict and a set. They know which rows they have loaded, and so what
has changed since.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSet
from typing import Any, Generic, Protocol, TypeVar, overload

from pcont.errors import PcontError
from pcont.model.pages import NOT_OURS, StoredRow

K = TypeVar("K")
V = TypeVar("V")
_D = TypeVar("_D")


class Rows(Protocol):
    """The rows of a state, by key."""

    def get(self, key: str) -> StoredRow:
        """Return the row of a key; None if there is none."""

    def near(self, key: str) -> Mapping[str, StoredRow]:
        """Return some rows, among them that of a key if there is one."""

    def scan(self, prefix: str) -> Iterator[tuple[str, StoredRow]]:
        """Yield each row that has a key with this prefix, in the order of the keys."""

    def wrong(self, err: Exception) -> PcontError:
        """Return the error for a row of another shape. `err`: what failed."""


class Section(Generic[K]):
    """A part of the rows: each has a key with the same prefix.

    `spell` and `parse` convert the rest of the key to the key of a dict, and back.
    """

    __slots__ = ("_near", "_parse", "_prefix", "_rows", "_spell")

    def __init__(
        self, rows: Rows, prefix: str, spell: Callable[[K], str], parse: Callable[[str], K]
    ) -> None:
        self._rows, self._prefix = rows, prefix
        self._spell, self._parse = spell, parse
        self._near: Mapping[str, StoredRow] = {}

    def key(self, key: K) -> str:
        """Return the key of a row."""
        return self._prefix + self._spell(key)

    def get(self, key: K) -> StoredRow:
        """Return a row; None if there is none."""
        spelled = self.key(key)
        row = self._near.get(spelled)  # rows are often used in their order
        if row is None:
            self._near = self._rows.near(spelled)
            row = self._near.get(spelled)
        return row

    def scan(self) -> Iterator[tuple[K, StoredRow]]:
        """Yield all rows."""
        length = len(self._prefix)
        return ((self._parse(key[length:]), row) for key, row in self._rows.scan(self._prefix))

    def wrong(self, err: Exception) -> PcontError:
        """Return the error for a row of another shape."""
        return self._rows.wrong(err)


def by_name(rows: Rows, prefix: str) -> Section[str]:
    """Return a section with names as keys."""
    return Section(rows, prefix, str, str)


def by_number(rows: Rows, prefix: str) -> Section[int]:
    """Return a section with numbers as keys."""
    return Section(rows, prefix, "{:012}".format, int)


class LazyDict(dict[K, V]):
    """A dict of rows. `decode` makes a value of a key and its row.

    `size`: the number of rows; without it, all are loaded to count them. `loaded`: the rows that
    were loaded. `dropped`: the items that were removed since.
    """

    __slots__ = ("_decode", "_is_whole", "_section", "_size", "dropped", "loaded")

    def __init__(
        self, section: Section[K], decode: Callable[[K, StoredRow], V], size: int | None = None
    ) -> None:
        super().__init__()
        self._section, self._decode = section, decode
        self._is_whole = size == 0
        self._size = size
        self.loaded: dict[K, StoredRow] = {}
        self.dropped: list[tuple[K, V]] = []

    def _load(self, key: K) -> bool:
        """Load one item; return whether there is one."""
        if self._is_whole or key in self.loaded:
            return False
        row = self._section.get(key)
        if row is None:
            return False
        self._take(key, row)
        return True

    def _take(self, key: K, row: StoredRow) -> None:
        try:
            super().__setitem__(key, self._decode(key, row))
        except NOT_OURS as err:
            raise self._section.wrong(err) from err
        self.loaded[key] = row

    def load_all(self) -> None:
        """Load all items."""
        if not self._is_whole:
            for key, row in self._section.scan():
                if key not in self.loaded:
                    self._take(key, row)
            self._is_whole = True

    def changes(self, encode: Callable[[V], StoredRow]) -> Iterator[tuple[str, StoredRow]]:
        """Yield the rows that differ from those that were loaded; None for a removed row."""
        for key in [key for key in self.loaded if not dict.__contains__(self, key)]:
            yield self._section.key(key), None
        for key, value in self.present():
            row = encode(value)
            if row != self.loaded.get(key):
                yield self._section.key(key), row

    def present(self) -> Iterable[tuple[K, V]]:
        """Return the items that are loaded or new."""
        return dict.items(self)

    def has(self, key: K, value: V) -> bool:
        """Return whether this very value is loaded or new."""
        return dict.get(self, key) is value

    # Of a dict

    def __contains__(self, key: object) -> bool:
        return dict.__contains__(self, key) or self._load(key)  # type: ignore[arg-type]

    def __missing__(self, key: K) -> V:
        if self._load(key):
            return self[key]
        raise KeyError(key)

    @overload
    def get(self, key: K, default: None = None, /) -> V | None: ...
    @overload
    def get(self, key: K, default: V | _D, /) -> V | _D: ...
    def get(self, key: K, default: Any = None, /) -> Any:
        if dict.__contains__(self, key) or self._load(key):
            return dict.__getitem__(self, key)
        return default

    def __setitem__(self, key: K, value: V) -> None:
        if key not in self and self._size is not None:
            self._size += 1
        super().__setitem__(key, value)

    def __delitem__(self, key: K) -> None:
        self.dropped.append((key, self[key]))
        if self._size is not None:
            self._size -= 1
        super().__delitem__(key)

    @overload
    def pop(self, key: K, /) -> V: ...
    @overload
    def pop(self, key: K, default: V | _D, /) -> V | _D: ...
    def pop(self, key: K, /, *default: Any) -> Any:
        if default and key not in self:
            return default[0]
        value = self[key]
        del self[key]
        return value

    def setdefault(self, key: K, default: V, /) -> V:
        if key not in self:
            self[key] = default
        return self[key]

    def __bool__(self) -> bool:
        if self._size is not None:
            return self._size > 0
        if dict.__len__(self):
            return True
        scan = () if self._is_whole else self._section.scan()
        return any(key not in self.loaded for key, _ in scan)

    def __len__(self) -> int:
        if self._size is not None:
            return self._size
        self.load_all()
        return dict.__len__(self)

    def __iter__(self) -> Iterator[K]:
        self.load_all()
        return dict.__iter__(self)

    def keys(self) -> Any:
        self.load_all()
        return dict.keys(self)

    def values(self) -> Any:
        self.load_all()
        return dict.values(self)

    def items(self) -> Any:
        self.load_all()
        return dict.items(self)


class LazySet(MutableSet[int]):
    """A set of numbers, which are the keys of a section. It never loads more than is asked for."""

    __slots__ = ("_added", "_removed", "_section")

    def __init__(self, section: Section[int]) -> None:
        self._section = section
        self._added: set[int] = set()
        self._removed: set[int] = set()

    def __contains__(self, number: object) -> bool:
        if number in self._added:
            return True
        return number not in self._removed and self._section.get(number) is not None  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[int]:
        for number, _ in self._section.scan():
            if number not in self._removed and number not in self._added:
                yield number
        yield from tuple(self._added)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return any(True for _ in self)

    def add(self, number: int) -> None:
        self._removed.discard(number)
        self._added.add(number)

    def discard(self, number: int) -> None:
        self._added.discard(number)
        self._removed.add(number)

    def __and__(self, other: Iterable[int]) -> set[int]:
        return {number for number in other if number in self}

    def changes(self) -> Iterator[tuple[str, StoredRow]]:
        """Yield the rows of the numbers that were added, and None for those that were removed."""
        for number in self._removed:
            if self._section.get(number) is not None:
                yield self._section.key(number), None
        for number in self._added:
            if self._section.get(number) is None:
                yield self._section.key(number), 1


class RowsInMemory:
    """Rows that are in no such file."""

    def __init__(
        self, rows: Mapping[str, StoredRow], wrong: Callable[[Exception], PcontError]
    ) -> None:
        self.all, self.wrong = dict(sorted(rows.items())), wrong
        self._keys = list(self.all)

    def get(self, key: str) -> StoredRow:
        return self.all.get(key)

    def near(self, key: str) -> Mapping[str, StoredRow]:
        return self.all

    def scan(self, prefix: str) -> Iterator[tuple[str, StoredRow]]:
        for number in range(bisect_left(self._keys, prefix), len(self._keys)):
            key = self._keys[number]
            if not key.startswith(prefix):
                return
            yield key, self.all[key]
