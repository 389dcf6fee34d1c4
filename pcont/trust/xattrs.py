"""The attributes in which pcont keeps its facts about a container, and which of them it believes.

An attribute NAME is an extended attribute of the container's directory, under two names:

* `trusted.pcont.NAME` is the attribute. Only a process with CAP_SYS_ADMIN in the first user
  namespace can read and write it. A reader with that capability believes nothing else.
* `user.pcont.NAME` is a copy, for all other readers. Any user that may write the directory may
  write it. So a reader believes it only if no user but root and the reader may do that.

`security.pcont.NAME` is what pcont had before. Where the BPF security module is active, kernels
such as Debian's 6.1 let every user write `security.*`: it is never written and never believed.
docs/security.md has the attributes, and what each of them makes pcont do.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from errno import ENODATA

from pcont.trust import ownership

TRUSTED, COPY, OLD = "trusted.pcont.", "user.pcont.", "security.pcont."


def read_xattrs(directory: str, privileged: bool) -> dict[str, str]:
    """The attributes of a container that the reader believes, by name.

    `privileged`: the reader has CAP_SYS_ADMIN in the first user namespace.
    """
    prefix = TRUSTED if privileged else COPY
    names = _names(directory, prefix)
    if names and not privileged and not ownership.is_safe(os.stat(directory), os.geteuid()):
        return {}
    return dict(_texts(directory, prefix, names))


def write_xattr(directory: str, name: str, text: str | None) -> None:
    """Keep an attribute, or remove it with None; OSError as the kernel has it.

    The copy follows as far as it can: the owner of the directory may have filled what the kernel
    allows of `user.*`. No copy is better than an old one.
    """
    if text is None:
        os.removexattr(directory, TRUSTED + name)
    else:
        os.setxattr(directory, TRUSTED + name, os.fsencode(text))
    _copy(directory, name, text)


def stray(directory: str, privileged: bool) -> dict[str, str]:
    """Return what no reader should believe, with its text: `security.*`, and differing copies.

    Only a privileged reader can compare the copies.
    """
    found = dict(_full(directory, OLD))
    if privileged:
        kept, copies = read_xattrs(directory, True), dict(_texts(directory, COPY))
        found |= {COPY + name: text for name, text in copies.items() if kept.get(name) != text}
    return found


def mend_xattrs(directory: str) -> None:
    """Remove what is stray, and make the copies like the attributes; for a privileged caller."""
    for name in stray(directory, True):
        with _gone():
            os.removexattr(directory, name)
    copies = dict(_texts(directory, COPY))
    for name, text in read_xattrs(directory, True).items():
        if copies.get(name) != text:
            _copy(directory, name, text)


def _copy(directory: str, name: str, text: str | None) -> None:
    with contextlib.suppress(OSError):
        if text is not None:
            os.setxattr(directory, COPY + name, os.fsencode(text))
            return
    with contextlib.suppress(OSError):
        os.removexattr(directory, COPY + name)


def _names(directory: str, prefix: str) -> list[str]:
    found = os.listxattr(directory)
    return [name.removeprefix(prefix) for name in found if name.startswith(prefix)]


def _texts(
    directory: str, prefix: str, names: list[str] | None = None
) -> Iterator[tuple[str, str]]:
    for name in _names(directory, prefix) if names is None else names:
        with _gone():
            yield name, os.fsdecode(os.getxattr(directory, prefix + name))


def _full(directory: str, prefix: str) -> Iterator[tuple[str, str]]:
    return ((prefix + name, text) for name, text in _texts(directory, prefix))


@contextlib.contextmanager
def _gone() -> Iterator[None]:
    """Another process may remove an attribute that was just listed."""
    try:
        yield
    except OSError as err:
        if err.errno != ENODATA:
            raise
