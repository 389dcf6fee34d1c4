"""errors: codes and exit codes are an interface, and one table reads the errno."""

from __future__ import annotations

import errno
import inspect
import json
import os

import pytest

from pcont import errors
from pcont.errors import (
    BY_ERRNO,
    BY_WRITTEN,
    BadValue,
    Busy,
    Cancelled,
    CommandNotFound,
    Denied,
    LimitReached,
    NotExecutable,
    NotFound,
    PcontError,
    Unsupported,
    UsageProblem,
    from_failure,
    from_oserror,
)

# The list of the design, 4.
STATUSES = {
    PcontError: ("failed", 1),
    Cancelled: ("cancelled", 1),
    UsageProblem: ("usage", 2),
    NotFound: ("not-found", 3),
    Denied: ("denied", 4),
    Busy: ("busy", 5),
    Unsupported: ("unsupported", 6),
    BadValue: ("bad-value", 7),
    LimitReached: ("limit-reached", 8),
    NotExecutable: ("not-executable", 126),
    CommandNotFound: ("command-not-found", 127),
}


def classes() -> list[type[PcontError]]:
    """Every error class of the module that has a code of its own."""
    found = [one for _, one in inspect.getmembers(errors, inspect.isclass)]
    return [one for one in found if issubclass(one, PcontError) and "code" in vars(one)]


def test_every_class_has_its_code_and_its_exit_status() -> None:
    assert {one: (one.code, one.exit_code) for one in classes()} == STATUSES


def test_codes_and_exit_statuses_are_unique() -> None:
    assert len({one.code for one in classes()}) == len(classes())
    others = [one for one in classes() if one is not Cancelled]  # it is a failure, too
    assert len({one.exit_code for one in others}) == len(others)


def test_statuses_stay_clear_of_those_that_run_passes_on() -> None:
    assert all(one.exit_code < 9 or one.exit_code in (126, 127) for one in classes())


def test_every_class_says_in_a_sentence_what_it_is() -> None:
    assert all((one.__doc__ or "").split("\n")[0].endswith(".") for one in classes())


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, NotFound),
        (errno.ESRCH, NotFound),
        (errno.ENODEV, NotFound),
        (errno.ENOTDIR, NotFound),
        (errno.EPERM, Denied),
        (errno.EACCES, Denied),
        (errno.EROFS, Denied),
        (errno.EBUSY, Busy),
        (errno.EEXIST, Busy),
        (errno.ENOTEMPTY, Busy),
        (errno.ENOSYS, Unsupported),
        (errno.EOPNOTSUPP, Unsupported),
        (errno.EINVAL, BadValue),
        (errno.ERANGE, BadValue),
        (errno.EAGAIN, LimitReached),
        (errno.EIO, PcontError),
        (errno.ENOSPC, PcontError),
    ],
)
def test_an_errno_means_a_class(number: int, kind: type[PcontError]) -> None:
    err = from_oserror(OSError(number, os.strerror(number), "/x"), "do it")
    assert type(err) is kind
    assert err.errno == number


def test_a_written_value_makes_some_errnos_mean_the_value() -> None:
    changed = {number for number in BY_WRITTEN if BY_WRITTEN[number] is not BY_ERRNO.get(number)}
    assert changed == {errno.EACCES, errno.ENOSPC, errno.EOVERFLOW}
    assert {BY_WRITTEN[number] for number in changed} == {BadValue}
    assert set(BY_ERRNO) <= set(BY_WRITTEN)


def test_a_refusal_says_what_was_attempted_where_and_the_errnos_name() -> None:
    err = from_oserror(OSError(errno.EBUSY, "whatever", "/cg/a"), "create jobs:/a")
    assert err.what == "cannot create jobs:/a: Device or resource busy (EBUSY)"
    assert (err.path, err.errno, err.errno_name) == ("/cg/a", errno.EBUSY, "EBUSY")


def test_a_known_reason_stands_in_place_of_the_general_words() -> None:
    err = from_oserror(OSError(errno.EBUSY, "", "/cg/a"), "remove a", "tasks are in it", "evict")
    assert err.what == "cannot remove a: tasks are in it (EBUSY)"
    assert err.hint == "evict"


def test_a_refused_user_gets_a_hint_of_sudo_unless_there_is_a_better_one() -> None:
    denied = PermissionError(errno.EACCES, "", "/cg")
    assert "sudo" in from_oserror(denied, "x").hint
    assert "--backend model" in from_oserror(denied, "x").hint
    assert from_oserror(denied, "x", hint="ask").hint == "ask"
    assert from_oserror(denied, "x", kinds=BY_WRITTEN).hint == ""
    assert from_oserror(OSError(errno.EBUSY, "", "/cg"), "x").hint == ""


def test_an_oserror_without_a_name_has_no_path() -> None:
    assert from_oserror(OSError(errno.EIO, "x"), "read").path == ""
    assert from_oserror(OSError("odd"), "read").exit_code == 1


def test_a_number_that_has_no_name_is_shown_as_it_is() -> None:
    assert PcontError("x", errno=4095).errno_name == "4095"
    assert "(4095)" in from_oserror(OSError(4095, "x"), "read").what
    assert PcontError("x").errno_name is None


def test_the_message_says_what_happened_to_the_rest() -> None:
    err = Busy("cannot")
    assert err.message == str(err) == "cannot"
    err.undone = True
    assert err.message == "cannot; everything before it was undone"
    err.left += ["a stays", "b stays"]
    assert err.message == "cannot; NOT RESTORED: a stays; b stays"


def test_two_errors_do_not_share_what_they_left() -> None:
    one, other = Busy("a"), Busy("b")
    one.left.append("x")
    assert other.left == []


def test_as_json_an_error_has_five_facts() -> None:
    err = NotFound("no a", path="/cg/a", errno=errno.ENOENT, hint="create it")
    err.undone = True
    assert json.loads(json.dumps(err.as_dict())) == {
        "code": "not-found",
        "errno": "ENOENT",
        "message": "no a; everything before it was undone",
        "path": "/cg/a",
        "hint": "create it",
    }
    assert BadValue("x").as_dict()["errno"] is None


@pytest.mark.parametrize(
    ("failure", "kind", "hint"),
    [
        (FileNotFoundError(errno.ENOENT, "", "/x"), NotFound, ""),
        (RecursionError(), PcontError, "deeper"),
        (UnicodeEncodeError("ascii", "ü", 0, 1, "no"), PcontError, "encoding"),
    ],
)
def test_what_no_operation_translates_has_a_class_and_a_hint(
    failure: OSError | RecursionError | UnicodeError, kind: type[PcontError], hint: str
) -> None:
    failure.left = ["jobs:/a"]  # type: ignore[union-attr]
    problem = from_failure(failure, "get", deeper="deeper", encoding="encoding")
    assert (type(problem), problem.hint) == (kind, hint)
    assert problem.left == (["jobs:/a"] if isinstance(failure, OSError) else [])
