"""release: a task comes back in the last moment, and what gc does where nothing is to be done."""

from __future__ import annotations

import os
from errno import EBUSY

import pytest

from pcont.backend_model import Model
from pcont.errors import BadValue
from pcont.kernel.interfaces import Backend
from pcont.kernel.types import Place
from pcont.ops import containers, gc
from pcont.ops import mount as ops_mount
from pcont.ops.get import get
from pcont.session import Session
from pcont.steps.reap import attend
from pcont.virtual.auto_delete import check_agent, deletes

HOME = Place("name=jobs", "/a")


class Popular(Model):
    """A model in which a task enters a container while it is being removed from its trees."""

    busy = False

    def remove(self, place: Place, force: bool = False) -> None:
        if self.busy and place == HOME:
            raise OSError(EBUSY, os.strerror(EBUSY), self.show(place))
        super().remove(place, force)


@pytest.fixture
def model() -> Popular:
    return Popular()


@pytest.fixture
def session(model: Popular) -> Session:
    """A tie with a container that is to go, and a release agent."""
    session = Session(model)
    for name in ("cpuset", "cpuacct"):
        ops_mount.mount(session, name)
    ops_mount.mount(
        session, "cpuset,cpuacct", tie=True, name="jobs", release_agent="/bin/true", freezer=False
    )
    flags = ["auto_delete=1", "notify_on_release=1"]
    containers.create(session, ["jobs:/a", "jobs:/a/b"], settings=flags)
    return session


def there(backend: Backend) -> list[list[str]]:
    return [backend.children(Place(tree)) for tree in ("name=jobs", "cpuset", "cpuacct")]


def test_a_task_that_returns_keeps_the_container_in_all_trees(
    model: Popular, session: Session
) -> None:
    containers.remove(session, ["jobs:/a/b"])
    model.busy = True
    get(session, "jobs:/a")
    assert there(model) == [["a"]] * 3
    assert deletes(model, HOME)
    assert model.read(HOME, "notify_on_release") == "1\n"
    model.busy = False
    attend(session, HOME.tree, ["/a"])
    assert there(model) == [[]] * 3


def test_a_container_that_was_removed_needs_nothing(model: Popular, session: Session) -> None:
    attend(session, HOME.tree, ["/no", "/a/no", "/"])
    assert there(model) == [["a"]] * 3
    assert model.simulator.notified == []


def test_an_agent_gets_a_container_with_only_the_kernels_flag(
    model: Popular, session: Session
) -> None:
    containers.create(session, ["jobs:/c"], settings=["auto_delete=0", "notify_on_release=1"])
    attend(session, HOME.tree, ["/c"])
    assert model.simulator.notified == [("/bin/true", "/c")]
    assert there(model) == [["a", "c"]] * 3


def test_gc_has_nothing_to_do_twice(model: Popular, session: Session) -> None:
    found = gc.gc(session)
    assert [(one.done, one.what) for one in found] == [
        ("removed", "jobs:/a/b"),
        ("removed", "jobs:/a"),
    ]
    assert model.simulator.notified == [("/bin/true", "/a/b"), ("/bin/true", "/a")]
    assert gc.gc(session) == []


@pytest.mark.parametrize("program", ["bin/true", "true", "/proc/self/cwd/agent"])
def test_an_agent_is_a_whole_path_that_root_alone_can_change(
    program: str, tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chmod(tmp_path, 0o777)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadValue):
        check_agent(program)


@pytest.mark.parametrize("program", ["", "/bin/true", "/sbin/../bin/./true"])
def test_programs_of_the_system_are_agents(program: str) -> None:
    check_agent(program)
