"""bases: records are what those of `typing` are, and no code is compiled for them."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
import typing
from typing import Any

import pytest

from pcont.bases import NamedTuple


class Fast(NamedTuple):
    """Two fields, and one with a default."""

    name: str
    ids: tuple[int, ...]
    state: str = "on"

    @property
    def length(self) -> int:
        return len(self.ids)


class Slow(typing.NamedTuple):
    name: str
    ids: tuple[int, ...]
    state: str = "on"


class Below(Fast):
    """A class that adds no field."""


class Empty(NamedTuple):
    """No field."""


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (("a", (1,)), {}),
        (("a", (1,), "off"), {}),
        ((), {"name": "a", "ids": (1,)}),
        ((), {"ids": (1,), "name": "a", "state": "off"}),
        (("a",), {"ids": ()}),
        ((), {}),
        (("a",), {}),
        (("a", ()), {"name": "b"}),
        (("a", (), "off"), {"state": "on"}),
        (("a", (), "off", 1), {}),
        (("a", ()), {"nope": 1}),
        (("a",), {"state": "off"}),
    ],
)
def test_a_record_takes_what_a_named_tuple_takes(values: Any, named: Any) -> None:
    try:
        expected = Slow(*values, **named)
    except TypeError:
        with pytest.raises(TypeError, match="Fast takes name, ids, state"):
            Fast(*values, **named)
    else:
        found = Fast(*values, **named)
        assert found == tuple(expected)
        assert hash(found) == hash(expected)
        assert repr(found) == repr(expected).replace("Slow", "Fast")
        assert (found.name, found.ids, found.state) == expected


def test_a_record_is_a_tuple_that_cannot_change() -> None:
    one = Fast("a", (1, 2))
    name, ids, state = one
    assert (name, ids, state) == ("a", (1, 2), "on")
    assert one.length == 2
    with pytest.raises(AttributeError):
        one.name = "b"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        one.more = 1  # type: ignore[attr-defined]
    assert not hasattr(one, "__dict__")


def test_a_record_has_the_helpers_of_a_named_tuple() -> None:
    one = Fast("a", (1,))
    assert one._replace(state="off") == ("a", (1,), "off")
    assert type(one._replace(name="b")) is Fast
    with pytest.raises(ValueError, match="Fast takes"):
        one._replace(nope=1)  # type: ignore[call-arg]
    assert one._asdict() == Slow("a", (1,))._asdict()
    assert Fast._fields == Slow._fields == Fast.__match_args__
    assert Fast._field_defaults == Slow._field_defaults
    match one:
        case Fast(name, ids):
            assert (name, ids) == ("a", (1,))
        case _:
            raise AssertionError(one)


@pytest.mark.parametrize("one", [Fast("a", (1,)), Below("a", (1,), "off"), Empty()])
def test_a_record_can_be_copied_and_pickled(one: Any) -> None:
    for other in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert other == one
        assert type(other) is type(one)


def test_the_annotations_and_the_text_of_a_record_are_its_own() -> None:
    assert typing.get_type_hints(Fast) == typing.get_type_hints(Slow)
    assert Fast.__doc__ == "Two fields, and one with a default."
    assert inspect.getmodule(Fast) is sys.modules[__name__]


COMPILES = """
import functools, sys  # functools has a namedtuple
found = []
def note(event, words):
    if event in ("compile", "exec"):
        found.append(words[1] if event == "compile" else words[0].co_filename)
sys.addaudithook(note)
import pcont.records, pcont.kernel.types, pcont.kernel.interfaces
print(found.count("<string>"), len(found) > 0)
"""


def test_no_code_is_compiled_for_a_record() -> None:
    """The first compile() costs a millisecond; typing.NamedTuple calls it for each field."""
    result = subprocess.run(
        [sys.executable, "-c", COMPILES], capture_output=True, text=True, check=True
    )
    assert result.stdout == "0 True\n"
