"""Rows of control files that several tables share: limits in bytes, and counters to reset."""

from __future__ import annotations

from pcont.tables.control_file import Access, Advice, ControlFile, Listed, Undo
from pcont.tables.rules import Rule, Site, any_text
from pcont.values import BYTES, INTEGER, NO_LIMIT, size_meant

ROOT_UNLIMITED = "the root container has no limits: set them below"


def _bytes_meant(site: Site, text: str) -> str:
    return size_meant(text)


def byte_limit(
    name: str, help: str, *rules: Rule, root_fixed: str = "", limit: bool = True
) -> ControlFile:
    """Return the row of a control file with a limit in bytes.

    `name`, `help`: as in ControlFile. `rules`: the rules of a write. `root_fixed`: why the root's
    file cannot be written; empty if it can. `limit`: listings show the value if it is set.
    """
    return ControlFile(
        name,
        help,
        BYTES,
        default=NO_LIMIT,
        rules=rules,
        listed=Listed.IF_SET if limit else Listed.NEVER,
        access=Access(writable=True, root_fixed=root_fixed),
        advice=Advice(strict=True, mend=_bytes_meant),
    )


def _resettable(name: str, help: str) -> ControlFile:
    """Return the row of a counter that any write resets."""
    return ControlFile(
        name,
        help,
        INTEGER,
        default=0,
        access=Access(writable=True, read_as=any_text),
        undo=Undo(lasting=True),
    )


def counters(prefix: str, usage: str, peak: str) -> tuple[ControlFile, ...]:
    """Return the counters that go with a limit; `usage` and `peak` say what they count."""
    return (
        ControlFile(f"{prefix}usage_in_bytes", usage, INTEGER, default=0),
        _resettable(f"{prefix}max_usage_in_bytes", f"maximum of bytes {peak}; any write resets it"),
        _resettable(f"{prefix}failcnt", "how often the limit was reached; any write resets it"),
    )
