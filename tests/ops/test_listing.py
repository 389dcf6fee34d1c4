"""hierarchies: how many containers there are, and what it costs to know."""

from __future__ import annotations

from collections import Counter

import pytest

from pcont.backend_model import Model
from pcont.kernel.types import Place
from pcont.ops import containers, listing, mount
from pcont.session import Session


class Counting(Model):
    """A model that counts how often containers are listed, or their children counted."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def children(self, place: Place) -> list[str]:
        self.calls["children"] += 1
        return super().children(place)

    def count_children(self, place: Place) -> int:
        self.calls["count"] += 1
        return super().count_children(place)


def made(model: Model, hierarchy: str, *paths: str) -> None:
    containers.create(Session(model), [f"{hierarchy}:{path}" for path in paths], parents=True)


def number(model: Counting, name: str) -> int | None:
    model.calls.clear()
    return next(row.containers for row in listing.hierarchies(Session(model)) if row.name == name)


@pytest.mark.parametrize("many", [5, 50])
def test_the_containers_of_a_controller_are_counted_in_one_look(many: int) -> None:
    model = Counting()
    mount.mount(Session(model), "pids")
    made(model, "pids", *(f"/{number}" for number in range(many)))
    assert number(model, "pids") == many + 1
    assert model.calls == {"count": 1}


def test_the_count_goes_as_deep_as_there_are_containers() -> None:
    model = Counting()
    mount.mount(Session(model), "pids")
    made(model, "pids", "/a/b/c", "/a/b/d", "/e")
    assert number(model, "pids") == 6
    mount.mount(Session(model), "none", name="jobs")
    made(model, "jobs", "/a/b", "/c")
    assert number(model, "jobs") == 4, (
        "the kernel has no number for a hierarchy without controllers"
    )


def test_removed_containers_that_the_kernel_still_counts_are_not_counted() -> None:
    """memory has such: /proc/cgroups shows more than there are."""

    class Late(Counting):
        def controllers(self):  # type: ignore[no-untyped-def]
            return tuple(
                one._replace(containers=one.containers + 7) for one in super().controllers()
            )

    model = Late()
    mount.mount(Session(model), "pids")
    made(model, "pids", "/a/b", "/c")
    assert number(model, "pids") == 4
