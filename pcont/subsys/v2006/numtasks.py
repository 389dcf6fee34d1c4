"""numtasks in 2006 (patch semantics, 4): ResGroups' shares of the number of tasks."""

from __future__ import annotations

from dataclasses import replace

from pcont.subsys import numtasks
from pcont.subsys.numtasks import RULES, SHARES, STATS, Shares, SharesCodec
from pcont.subsys.v2006.core import PAGE
from pcont.subsys.v2006.values import less_than
from pcont.tables.control_file import Subsystem
from pcont.values import TEXT


class _SharesV6(SharesCodec):
    """The same, but that a number ends with its last digit."""

    def parse(self, text: str) -> Shares:
        for word in text.split(","):
            if word.endswith("\n") and not word.startswith("res="):
                raise ValueError(f"{word!r} ends with a newline")
        return super().parse(text)


TABLE = Subsystem(
    name="numtasks",
    help="shares of the number of tasks",
    files=(
        replace(
            numtasks.TABLE.by_name[SHARES],
            type=_SharesV6(),
            rules=RULES,
            longest=less_than(PAGE),
        ),
        replace(
            numtasks.TABLE.by_name[STATS],
            help="the tasks here, and the forks that were refused",
            type=TEXT,
            computed=None,
            longest=less_than(PAGE),
        ),
    ),
)
