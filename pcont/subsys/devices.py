"""devices: which device files the tasks of a container may open and create.

The kernel's admin-guide/cgroup-v1/devices.rst; the rules are those of devcgroup_update_access()
(security/device_cgroup.c). The patch set of 2006 had no such subsystem.

A new container has the list of its parent: everything (`a *:* rwm`), or single devices. If it has
everything, `devices.deny` makes exceptions that the kernel does not show.

The table explains what a kernel refuses; the model does not have the controller.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from errno import EINVAL, EPERM

from pcont.bases import NamedTuple
from pcont.tables.rules import Fix, Rule, Site, Violation
from pcont.values import Codec

ALLOW, DENY, LIST = "devices.allow", "devices.deny", "devices.list"
EVERYTHING = "a *:* rwm"

_READ = r"([bc])\s(\*|[0-9]{1,11}):(\*|[0-9]{1,11})\s([rwm]{1,3})"
_RULE = rf"{_READ}\s*"


class _Devices(NamedTuple):
    """A line of a device list: kind `a` (all), `b` or `c`, the numbers (None for any), and letters
    of rwm.
    """

    kind: str
    major: int | None = None
    minor: int | None = None
    access: str = "rwm"

    def covers(self, other: _Devices) -> bool:
        """Return whether this line permits everything that another line asks for."""
        return self.kind == "a" or (
            self.kind == other.kind
            and self.major in (None, other.major)
            and self.minor in (None, other.minor)
            and set(other.access) <= set(self.access)
        )


class _Rule:
    """The codec of a line of devices.allow or devices.deny."""

    takes = "c|b MAJOR:MINOR and letters of rwm, as in 'c 1:3 rwm', * for any number; or a for all"

    def parse(self, text: str) -> _Devices:
        if text.strip() in ("a", "all", EVERYTHING):
            return _Devices("a")
        found = re.fullmatch(_RULE, text.lstrip(), re.ASCII)
        if not found:
            raise ValueError(_as_read(text))
        major, minor = (None if word == "*" else int(word) for word in found.group(2, 3))
        if max(major or 0, minor or 0) >= 1 << 32:
            raise ValueError("")
        return _Devices(found[1], major, minor, found[4])

    def show(self, value: _Devices) -> str:
        return _line(value)


def _as_read(text: str) -> str:
    """Return how the kernel reads a line that is followed by other characters, which it ignores."""
    if text.lstrip().startswith("a"):
        return f"the kernel reads {text!r} as {EVERYTHING}"
    found = re.match(_READ, text.strip(), re.ASCII)
    return f"the kernel reads {text!r} as {found[0]}" if found else ""


def _line(value: _Devices) -> str:
    """Return a line in the form of devices.list."""
    if value.kind == "a":
        return EVERYTHING
    major, minor = ("*" if one is None else one for one in (value.major, value.minor))
    return f"{value.kind} {major}:{minor} {value.access}"


RULE: Codec = _Rule()


def _listed(text: str) -> Iterator[_Devices]:
    """Yield the parsed lines of devices.list."""
    return (RULE.parse(one) for one in text.splitlines())


def has_everything(text: str) -> bool:
    """Return whether a device list permits everything that was not denied."""
    return text.strip() == EVERYTHING


def all_without_children(file: str) -> Rule:
    """Return the rule that `a` (reset the list) is written only to a container without children."""

    def rule(now: Site, wanted: Site) -> Violation | None:
        children = [child.path for child in now.children()]
        if wanted.value(file).kind != "a" or not children:
            return None
        some = ", ".join(children[:3])
        reason = f"containers are below ({some}), and a (all) can only be set before any exist"
        return Violation(EINVAL, reason, "name the devices one by one")

    return rule


def within_the_parent(now: Site, wanted: Site) -> Violation | None:
    """Check that the parent has the devices that are allowed."""
    parent, asked = now.parent, wanted.value(ALLOW)
    if parent is None:
        return None
    there, fixes = parent.value(LIST), (Fix(parent.path, ((ALLOW, _line(asked)),)),)
    if has_everything(there):
        reason = (
            f"the parent {parent.path} denies some of it (devices.deny), "
            "which the kernel does not list"
        )
        return Violation(EPERM, reason, fixes=fixes, sure=False)
    if any(one.covers(asked) for one in _listed(there)):
        return None
    has = "; ".join(there.split("\n")).strip("; ") or "nothing"
    reason = f"the parent {parent.path} does not have {_line(asked)}; it has: {has}"
    return Violation(EPERM, reason, "or choose from these", fixes)


def rule_meant(site: Site, text: str) -> str:
    """Return the line for the kernel: numbers for `/dev/null`, rwm if no letter was given."""
    words = text.split()
    if words and words[0].startswith("/dev/") and (found := _numbers(words[0])):
        return f"{found} {_letters(words[1:])}"
    if len(words) >= 2 and words[0] in ("b", "c") and re.fullmatch(r"(\*|\d+):(\*|\d+)", words[1]):
        return f"{words[0]} {words[1]} {_letters(words[2:])}"
    return ""


def _letters(words: list[str]) -> str:
    """Return the letters of rwm in the words; all three if there are none."""
    return "".join(letter for letter in "rwm" if letter in "".join(words)) or "rwm"


def _numbers(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError:
        return ""
    kind = "b" if stat.S_ISBLK(found.st_mode) else "c" if stat.S_ISCHR(found.st_mode) else ""
    numbers = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    return f"{kind} {numbers}" if kind else ""
