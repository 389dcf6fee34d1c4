"""Read and write the extended attributes that pcont stores on container directories, as far as they
are trusted.

An attribute NAME has two forms:

* `trusted.pcont.NAME` is the attribute. Only a process with CAP_SYS_ADMIN in the first user
  namespace can read and write it. A reader with that capability trusts only this form.
* `user.pcont.NAME` is a copy, for all other readers. Any user that may write to the directory may
  write it. So a reader trusts it only if no user but root and the reader may do that.

`security.pcont.NAME` is the form of earlier versions. With the BPF security module active, kernels
such as Debian's 6.1 let every user write `security.*`, so pcont never writes and never trusts it.
docs/security.md lists the attributes and their effects.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from errno import ENODATA

from pcont.trust import ownership

TRUSTED, COPY, OLD = "trusted.pcont.", "user.pcont.", "security.pcont."


def read_xattrs(directory: str | int, privileged: bool) -> dict[str, str]:
    """Return the trusted attributes of a container directory, text by name.

    `directory`: its path, or a descriptor. `privileged`: the reader has CAP_SYS_ADMIN in the first
    user namespace.
    """
    prefix = TRUSTED if privileged else COPY
    names = _names(directory, prefix)
    if names and not privileged and not ownership.is_safe(os.stat(directory), os.geteuid()):
        return {}
    return dict(_texts(directory, prefix, names))


def write_xattr(directory: str, name: str, text: str | None) -> None:
    """Set an attribute of a container directory; None removes it. Raises OSError from setxattr(2)
    or removexattr(2).

    The copy is written if possible, and removed otherwise: the owner of the directory may have used
    up the space that the kernel permits for `user.*`.
    """
    if text is None:
        os.removexattr(directory, TRUSTED + name)
    else:
        os.setxattr(directory, TRUSTED + name, os.fsencode(text))
    _copy(directory, name, text)


def stray(directory: str, privileged: bool) -> dict[str, str]:
    """Return the attributes that no reader should trust, text by full name: `security.*`, and
    copies that differ.

    Copies are compared for a privileged reader only.
    """
    found = dict(_full(directory, OLD))
    if privileged:
        kept, copies = read_xattrs(directory, True), dict(_texts(directory, COPY))
        found |= {COPY + name: text for name, text in copies.items() if kept.get(name) != text}
    return found


def mend_xattrs(directory: str) -> None:
    """Remove stray attributes, and rewrite copies that differ. The caller must be privileged."""
    for name in stray(directory, True):
        with _ignoring_vanished():
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


def _names(directory: str | int, prefix: str) -> list[str]:
    found = os.listxattr(directory)
    return [name.removeprefix(prefix) for name in found if name.startswith(prefix)]


def _texts(
    directory: str | int, prefix: str, names: list[str] | None = None
) -> Iterator[tuple[str, str]]:
    for name in _names(directory, prefix) if names is None else names:
        with _ignoring_vanished():
            yield name, os.fsdecode(os.getxattr(directory, prefix + name))


def _full(directory: str, prefix: str) -> Iterator[tuple[str, str]]:
    return ((prefix + name, text) for name, text in _texts(directory, prefix))


@contextlib.contextmanager
def _ignoring_vanished() -> Iterator[None]:
    """Ignore in the block that another process has removed an attribute that was just listed."""
    try:
        yield
    except OSError as err:
        if err.errno != ENODATA:
            raise
