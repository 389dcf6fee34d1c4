"""What has controllers in cgroup v2."""

from __future__ import annotations

import pytest

from pcont.backend_model import SMALL, Model
from pcont.errors import Unseen
from pcont.hierarchy.registry import Registry
from pcont.kernel.types import UNIFIED, Place
from pcont.model.dialects import DIALECTS
from pcont.ops.users_of_v2 import User, cannot_take, users_of

ROOT, CONTROL = Place(UNIFIED), "cgroup.subtree_control"


@pytest.fixture
def model() -> Model:
    """Two containers, of which the first one enables pids for its own children."""
    model = Model(SMALL, dialect=DIALECTS["hybrid"])
    for name in ("a", "b"):
        model.make(ROOT.child(name))
    model.write(ROOT, CONTROL, "+pids +io")
    model.write(ROOT.child("a"), CONTROL, "+pids")
    return model


def found(model: Model, *names: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.name, one.controllers) for one in users_of(Registry(model), names)]


def test_only_what_was_asked_for_is_reported(model: Model) -> None:
    assert found(model, "cpuset") == []
    both = [("unified:/a", ("pids",)), ("unified:/b", ("pids",))]
    assert found(model, "cpuset", "pids") == both


def test_io_has_the_name_of_v1_and_needs_memory(model: Model) -> None:
    users = [("unified:/a", ("io",)), ("unified:/b", ("io",))]
    assert found(model, "blkio") == users
    assert found(model, "memory") == users


def test_the_hint_is_no_command_that_the_kernel_would_refuse(model: Model) -> None:
    first, second = users_of(Registry(model), ["pids"])
    assert first.how_to_end == "find what uses it: pcont tree unified:/a"
    assert second == User("unified:/b", ("pids",), "")
    assert cannot_take([first, second], ["pids"]).hint == first.how_to_end
    model.write(ROOT.child("a"), CONTROL, "-pids")
    command = "pcont set unified:/ cgroup.subtree_control=-pids"
    users = users_of(Registry(model), ["pids"])
    assert [one.how_to_end for one in users] == [command] * 2
    assert cannot_take(users, ["pids"]).hint == command


def test_what_cannot_be_read_is_left_out(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(place: Place) -> list[str]:
        raise Unseen(place.text)

    monkeypatch.setattr(model, "children", refuse)
    assert found(model, "pids") == []
