"""The names of records on disk, which do not change when a class or a field is renamed.

See docs/formats.md for the files that have these names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, TypeVar

from pcont.bases import NamedTuple

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
    """Decorate a class whose objects are written to a file.

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
