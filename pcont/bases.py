"""Base classes of records and interfaces, which Python defines several times faster than those of
`typing`.

`typing.NamedTuple` compiles code for each class and each field: 0.15 ms for each class, and 1 ms
for the first one. Type checkers see the classes of `typing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
    from typing import Protocol as Protocol
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

    class Protocol:
        """The base of an interface. Only type checkers compare classes with it."""
