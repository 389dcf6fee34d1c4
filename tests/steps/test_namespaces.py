"""What unshare(2), setns(2), clone(2) and a map of ids answer, and what pcont prints."""

from __future__ import annotations

import errno
import os

import pytest

from pcont.errors import BadValue, Denied, LimitReached, NotFound, PcontError, Unsupported
from pcont.steps.namespaces import NONE, NamespaceRequest, namespace_refusal

NET = NamespaceRequest(("net",))
USER = NamespaceRequest(("user", "net"))
PIN = NamespaceRequest(joined="box")


@pytest.mark.parametrize(
    ("number", "file", "wanted", "kind", "said", "hint"),
    [
        (errno.EPERM, "namespaces net", NET, Denied, "namespaces net: Operation", "--ns user,net"),
        (errno.EPERM, "namespaces user", USER, Denied, "user: Operation", "unprivileged_userns"),
        (errno.ENOSPC, "namespaces net", NET, LimitReached, "net: No space", "/proc/sys/user"),
        (errno.EINVAL, "namespaces time", NET, Unsupported, "namespaces time: Invalid", ""),
        (errno.EAGAIN, "", NONE, LimitReached, "temporarily unavailable", "ulimit -u"),
        (errno.EAGAIN, "fork", PIN, LimitReached, "temporarily unavailable", "ulimit -u"),
        (errno.ENOMEM, "fork", PIN, NotFound, "pid 1 of this pid namespace", "pcont unpin box"),
        (errno.EPERM, "/pins/box/net", PIN, Denied, "belong to another user", "sudo"),
        (errno.EACCES, "/pins/box/net", PIN, Denied, "belong to another user", "sudo"),
        (errno.EINVAL, "/pins/box/pid", PIN, Unsupported, "joined only by", ""),
        (errno.EPERM, "/proc/7/uid_map", USER, Denied, "may not map", f"0:{os.geteuid()}:1"),
        (errno.EINVAL, "/proc/7/gid_map", USER, BadValue, "overlap", f"0:{os.getegid()}:1"),
    ],
)
def test_a_refusal_says_what_was_refused_and_what_helps(
    number: int, file: str, wanted: NamespaceRequest, kind: type[PcontError], said: str, hint: str
) -> None:
    err = namespace_refusal(
        OSError(number, os.strerror(number), file or None), "start true", wanted
    )
    assert type(err) is kind
    assert err.what.startswith("cannot start true: ")
    assert said in err.what
    assert err.what.endswith(f"({errno.errorcode[number]})")
    assert hint in err.hint
    assert bool(hint) == bool(err.hint)
