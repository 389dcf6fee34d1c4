"""The tool: its changes are changes, its seeds draw the same, and it notices which test fails."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from tests.mutation.__main__ import drawn
from tests.mutation.changes import CHECKOUT, MODULES, every, file_of
from tests.mutation.equivalent import EQUIVALENT
from tests.mutation.runner import Known


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.slow
def test_each_change_is_one_that_python_understands(module: str) -> None:
    before = ast.unparse(ast.parse((CHECKOUT / file_of(module)).read_text(encoding="utf-8")))
    changes = every(module)
    assert changes
    for change in changes[::25]:
        after = change.applied()
        compile(after, file_of(module), "exec")
        assert ast.unparse(after) != before, str(change)


def test_a_seed_draws_the_same_again() -> None:
    assert drawn(50, 1) == drawn(50, 1) != drawn(50, 2)
    assert len(set(drawn(50, 1))) == 50


def test_what_is_explained_is_there() -> None:
    keys = {change.key for module in MODULES for change in every(module)}
    assert set(EQUIVALENT) - keys == set()


def test_the_contract_comes_first_then_what_found_the_like_then_what_is_quick() -> None:
    change = next(one for one in drawn(50, 1) if not one.at_import)
    line = (file_of(change.module), change.line)
    quick, slow, like = (f"tests/contract/test_x.py::test_{name}" for name in "abc")
    own, other = "tests/test_backend_model.py::test_own", "tests/contract/test_x.py::test_elsewhere"
    seconds = {own: 0.1, slow: 0.9, quick: 0.2, like: 0.5, other: 0.1}
    known = Known(seconds, {name: {line} for name in (own, slow, quick, like)} | {other: set()})
    assert known.order(change, Counter({like: 1}), longest=2) == [like, quick, slow, own]
    assert known.order(change, Counter(), longest=0.3) == [quick, own]


def test_a_change_when_the_module_is_loaded_is_for_all_tests_those_of_the_module_first() -> None:
    change = next(one for one in drawn(50, 1) if one.at_import)
    file = file_of(change.module)
    loader, user, other = (f"tests/contract/test_x.py::test_{name}" for name in "abc")
    lines = {loader: {(file, change.line)}, user: {(file, change.line + 1)}, other: set()}
    known = Known({loader: 0.3, user: 0.2, other: 0.1}, lines)
    assert known.order(change, Counter(), longest=2) == [user, loader, other]
