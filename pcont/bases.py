"""What classes of records share: a base that Python defines quickly, and names on disk that do not
change when a class or a field is renamed.

`typing.NamedTuple` compiles code for each class and each field: 0.15 ms for each class, and 1 ms
for the first one. Type checkers see the class of `typing`. docs/formats.md has the files with the
names on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    from _collections import _tuplegetter  # as `collections` does

    _NO_DEFAULT = object()

    class _Record(tuple):
        """What all records have, as those of typing.NamedTuple."""

        __slots__ = ()

        def __new__(cls, *values: Any, **named: Any) -> _Record:
            fields = cls._fields
            if named or len(values) != len(fields):
                for name in fields[len(values) :]:
                    default = cls._field_defaults.get(name, _NO_DEFAULT)
                    values += (named.pop(name, default),)
                if named or len(values) != len(fields) or _NO_DEFAULT in values:
                    raise TypeError(f"{cls.__name__} takes {', '.join(fields)}")
            return tuple.__new__(cls, values)

        def __repr__(self) -> str:
            fields = [f"{name}={value!r}" for name, value in self._asdict().items()]
            return f"{type(self).__name__}({', '.join(fields)})"

        def __getnewargs__(self) -> tuple[Any, ...]:
            return tuple(self)

        def _asdict(self) -> dict[str, Any]:
            """Return the values by the names of the fields."""
            return dict(zip(self._fields, self, strict=True))

        def _replace(self, **named: Any) -> _Record:
            """Return a record with other values of these fields."""
            values = tuple(map(named.pop, self._fields, self))
            if named:
                raise ValueError(f"{type(self).__name__} takes {', '.join(self._fields)}")
            return tuple.__new__(type(self), values)

    class _RecordMaker(type):
        """Makes a subclass of `_Record`, with a property for each annotation of a class body."""

        def __new__(
            maker, name: str, bases: tuple[type, ...], body: dict[str, Any]
        ) -> type[_Record]:
            fields = tuple(body.get("__annotations__", ()))
            body["_fields"] = body["__match_args__"] = fields
            body["_field_defaults"] = {field: body[field] for field in fields if field in body}
            body.update({field: _tuplegetter(n, "") for n, field in enumerate(fields)})
            body["__slots__"] = ()
            return type(name, (_Record,), body)

    # A class with this base is made by _RecordMaker, and has the base _Record.
    NamedTuple = type.__new__(_RecordMaker, "NamedTuple", (), {})


_T = TypeVar("_T")


class Format(NamedTuple):
    """The tag of a class on disk, and the attributes of the class by their names on disk.

    `added`: the names that are left out while their value is empty.
    """

    tag: str
    attributes: Mapping[str, str]
    values: Callable[[Any], tuple[Any, ...]]
    added: frozenset[str] = frozenset()


FORMATS: dict[type, Format] = {}


def on_disk(tag: str, *fields: str, **renamed: str) -> Callable[[type[_T]], type[_T]]:
    """Return a decorator for a class of which pcont writes objects to a file.

    `tag` and `fields` are names on disk. Never change them: to rename a field in the class only,
    replace `"old"` by `old="new"`. Add a field with a `?` at its end: it is not written while its
    value is empty, so that other records stay as earlier versions wrote them.
    """
    added = frozenset(name[:-1] for name in fields if name.endswith("?"))
    attributes = {**{name.rstrip("?"): name.rstrip("?") for name in fields}, **renamed}

    def decorated(kind: type[_T]) -> type[_T]:
        FORMATS[kind] = Format(tag, attributes, _getter(list(attributes.values())), added)
        return kind

    return decorated


def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that returns these attributes of an object as a tuple, also for a single
    attribute.
    """
    if len(names) == 1:
        one = attrgetter(names[0])
        return lambda value: (one(value),)
    return attrgetter(*names)


def fields_of(value: object) -> dict[str, Any]:
    """Return the values of a record's fields by their names on disk. The class must have a tag."""
    found = FORMATS[type(value)]
    named = dict(zip(found.attributes, found.values(value), strict=True))
    for name in found.added:
        if not named[name]:
            del named[name]
    return named


def made(kind: type[_T], fields: Mapping[str, Any]) -> _T:
    """Return a record of class `kind` with fields by their names on disk, the reverse of
    `fields_of`.

    Raises KeyError for an unknown name, and TypeError if one is missing.
    """
    return kind(**attributes_of(kind, fields))


def attributes_of(kind: type, fields: Mapping[str, _T]) -> dict[str, _T]:
    """Convert names on disk to attribute names of the class `kind`. Raises KeyError for an unknown
    name.
    """
    attributes = FORMATS[kind].attributes
    return {attributes[name]: value for name, value in fields.items()}


def names_of(kind: type, values: Mapping[str, _T]) -> dict[str, _T]:
    """Convert attribute names of the class `kind` to names on disk, the reverse of
    `attributes_of`.
    """
    names = {attribute: name for name, attribute in FORMATS[kind].attributes.items()}
    return {names[attribute]: value for attribute, value in values.items()}
