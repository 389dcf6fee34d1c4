"""rehearsal: what the backend of a dry run plans, refuses, and says that it does not know."""

from __future__ import annotations

import inspect
from errno import EBUSY, EINVAL

import pytest

from pcont.backend_model import Model
from pcont.errors import BadValue
from pcont.kernel.interfaces import Backend
from pcont.kernel.refusals import WriteRefused
from pcont.kernel.types import Place, TreeRequest
from pcont.ops import settings
from pcont.session import Session
from pcont.subsys import pids
from pcont.subsys.v1.pids import TABLE
from pcont.tables.rules import Violation
from pcont.transaction import rehearsal
from pcont.transaction.rehearsal import NOT_REHEARSED, Rehearsal, notes_of, rehearsing

A = Place("pids", "/a")

# What only looks: a dry run asks the kernel itself.
LOOKING = {
    *(
        "controllers",
        "virtual_subsystems",
        "table",
        "trees",
        "machine",
        "privileged",
        "environment",
        "releases",
    ),
    *("occupied", "in_the_way", "copies", "default_directory", "resolve", "owners", "stray"),
    *("relied_on", "spelled", "show", "task", "threads", "family", "journals", "workplace"),
    *(
        "namespaces",
        "separate",
        "join",
        "pins",
        "pin_path",
        "affinity",
        "assigned_ids",
        "may_mount",
        "has_systemd",
        "delegated",
        "may_join",
        "may_change",
        "may_move",
    ),
}


@pytest.fixture
def model() -> Model:
    model = Model()
    model.make_directory("/cg")
    model.mount(TreeRequest(("pids",)), "/cg", "pcont")
    model.make(A)
    return model


def test_every_verb_of_a_backend_is_planned_or_forbidden_or_only_looks() -> None:
    verbs = {name for name, _ in inspect.getmembers(Backend) if not name.startswith("_")}
    planned = {name for name in vars(Rehearsal) if not name.startswith("_")} | {"enforcer"}
    assert verbs <= planned | set(NOT_REHEARSED) | LOOKING
    assert not set(NOT_REHEARSED) & (planned | LOOKING)


def test_a_verb_that_changes_something_is_not_there(model: Model) -> None:
    for verb in NOT_REHEARSED:
        with pytest.raises(AttributeError):
            getattr(rehearsing(model), verb)


def test_what_is_planned_is_read_again_and_the_kernel_is_as_before(model: Model) -> None:
    dry = rehearsing(model)
    dry.make(A.child("b"))
    dry.write(A.child("b"), pids.PIDS_MAX, "5")
    dry.write(A, "notify_on_release", "1")
    dry.make(A.child("c"))
    assert dry.read(A.child("b"), pids.PIDS_MAX) == "5\n"
    assert dry.read(A.child("c"), "notify_on_release") == "1\n"
    assert dry.read(A.child("c"), pids.PIDS_MAX) == "max\n"
    assert dry.children(A) == ["b", "c"]
    dry.remove(A.child("b"))
    assert dry.children(A) == ["c"]
    assert (model.children(A), model.read(A, "notify_on_release")) == ([], "0\n")
    assert notes_of(dry) == []


def test_a_file_without_rules_is_said_to_be_unchecked(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "row_of", lambda backend, file, tree: None)
    session = Session(model, dry_run=True)
    settings.assign(session, "pids:/a", ["pids.max=5"])
    assert session.planned == [
        "echo 5 > /cg/a/pids.max",
        "# not checked: whether the kernel takes pids.max=5 in pids:/a",
    ]


@pytest.mark.parametrize(("number", "exact"), [(EBUSY, False), (EINVAL, False), (EBUSY, True)])
def test_a_refusal_that_depends_on_more_than_the_rules_is_said_to_be_possible(
    model: Model, monkeypatch: pytest.MonkeyPatch, number: int, exact: bool
) -> None:
    """The kernel may be able to free memory, say, before it refuses a limit."""
    row = TABLE.by_name[pids.PIDS_MAX]._replace(rules=(lambda *_: Violation(number, "it is full"),))
    monkeypatch.setattr(rehearsal, "row_of", lambda backend, file, tree: row)
    monkeypatch.setattr(rehearsal, "EXACT", ("pids",) if exact else ())
    dry = rehearsing(model)
    if exact or number == EINVAL:
        with pytest.raises(WriteRefused):
            dry.write(A, pids.PIDS_MAX, "5")
    else:
        dry.write(A, pids.PIDS_MAX, "5")
        assert notes_of(dry) == ["# not known: pids.max=5 in pids:/a may be refused: it is full"]


def test_the_library_has_the_refusal_of_the_real_call(model: Model) -> None:
    for dry_run in (True, False):
        with pytest.raises(BadValue, match=r"pids\.max of pids:/a from 'max' to 'lots'"):
            settings.assign(Session(model, dry_run=dry_run), "pids:/a", ["pids.max=lots"])
