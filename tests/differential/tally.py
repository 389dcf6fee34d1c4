"""What a walk has hit: each verb, and each rule that an errno came from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from errno import errorcode
from pathlib import Path

from pcont import subsys
from pcont.backend_model import Model
from pcont.kernel.refusals import unreadable
from pcont.kernel.types import Place
from pcont.model.cgroups import Node
from pcont.model.dialects import V1
from pcont.tables.control_file import ControlFile
from pcont.tables.rules import Proposed, Rule
from tests.differential import errno_table
from tests.differential.steps import Step

# What no walk can meet, with why.
NEEDS_HOTPLUG = "without hotplug the lists of a cpuset with tasks are never empty"
OUT_OF_REACH = {
    "write cpuset.cpus: online": "every CPU that the machine may have is online: more is ERANGE",
    "write cpuset.cpu_exclusive: _tasks_keep_some": NEEDS_HOTPLUG,
    "write cpuset.mem_exclusive: _tasks_keep_some": NEEDS_HOTPLUG,
}


def why(model: Model, step: Step) -> str:
    """The errno of a write that the model is going to refuse, and its rule; empty where none."""
    if step.verb != "write":
        return ""
    place, file, text = step.args
    return _broken(model, place, file, text)


@dataclass
class Tally:
    """How often each verb was done, each refusal met, and each row of the errno table of v2.

    `walks`: how many seeds there were.
    """

    verbs: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    walks: int = 0
    has_v2: bool = False

    def count(
        self, step: Step, answer: str, why: str, rows: Iterable[errno_table.Row] = ()
    ) -> None:
        """A step that was done."""
        self.rows.update(map(str, rows))
        if step.verb == "pcont":
            status = answer.partition("\n")[0]
            self.verbs[f"pcont {step.args[0]}"] += 1
            if status != "exit 0":
                self.refusals[f"pcont {step.args[0]}: {status}"] += 1
            return
        self.verbs[step.verb] += 1
        number = answer.partition(" ")[0]
        if number.isupper() and number.startswith("E"):
            what = f"{step.verb} {step.args[1]}" if step.verb == "write" else step.verb
            self.refusals[f"{what}: {why or number}"] += 1

    def missed(self) -> list[str]:
        """The rules of the tables that no write has broken, although one could."""
        met = {f"{what} {rule}" for what, rule in map(_without_errno, self.refusals)}
        met |= OUT_OF_REACH.keys()
        return [rule for rule in _rules() if rule not in met]

    def add(self, other: Tally) -> None:
        """Count what another one has counted."""
        for mine, theirs in zip(self._counters(), other._counters(), strict=True):
            mine.update(theirs)
        self.walks += other.walks
        self.has_v2 |= other.has_v2

    def _counters(self) -> tuple[Counter[str], ...]:
        return self.verbs, self.refusals, self.rows

    def save(self, file: Path) -> None:
        """Write it into a file, from which `load` reads it."""
        counts = [dict(counter) for counter in self._counters()]
        file.write_text(json.dumps([self.walks, self.has_v2, *counts], indent=1) + "\n")

    @classmethod
    def load(cls, file: Path) -> Tally:
        """Read what `save` has written; nothing is counted if there is no file."""
        if not file.exists():
            return cls()
        walks, has_v2, verbs, refusals, rows = json.loads(file.read_text())
        return cls(Counter(verbs), Counter(refusals), Counter(rows), walks, has_v2)

    def __str__(self) -> str:
        lines = [f"{self.verbs.total()} steps in {self.walks} walks"]
        for counts in (self.verbs, self.refusals):
            lines += [f"{count:8} {what}" for what, count in sorted(counts.items())]
        lines += [*self._lines_of_v2()] if self.has_v2 else [*self._lines_of_v1()]
        return "\n".join(lines)

    def _lines_of_v1(self) -> Iterator[str]:
        yield from (f"{0:8} {rule}" for rule in self.missed())
        yield from (f"{'-':>8} {rule}: {reason}" for rule, reason in OUT_OF_REACH.items())

    def _lines_of_v2(self) -> Iterator[str]:
        yield "rows of the errno table:"
        yield from (f"{self.rows[str(row)]:8} {row}" for row in errno_table.ROWS)
        out = errno_table.OUT_OF_REACH.items()
        yield from (f"{'-':>8} {row}: {reason}" for row, reason in out)


def _without_errno(refusal: str) -> tuple[str, str]:
    what, _, reason = refusal.partition(": ")
    return f"{what}:", reason.rpartition(" ")[2]


def _rules() -> Iterator[str]:
    for name in ("", *V1.controllers):
        table = V1.table(name)
        for row in table.files if table else ():
            if not row.virtual.everywhere and row.name not in subsys.TASK_FILES:
                yield from (f"write {row.name}: {rule}" for rule in _rules_of(row))


def _rules_of(row: ControlFile) -> list[str]:
    if not row.access.writable:
        return ["read_only"]
    return ["too_long", *(["root_fixed"] if row.access.root_fixed else []), *map(_name, row.rules)]


def _broken(model: Model, place: Place, file: str, text: str) -> str:
    try:
        node = model.node(place)
        row = node.row(file)
    except (OSError, KeyError):
        return ""
    return _unfit(node, row, text) or _against_rules(node, row, text) if text else ""


def _unfit(node: Node, row: ControlFile, text: str) -> str:
    """What Model.write() asks first: whether the file can be written, and so much."""
    if len(text.encode("utf-8", "surrogateescape")) > row.access.longest(node.machine):
        return "E2BIG too_long"
    if not row.access.writable:
        return f"{errorcode[row.access.read_only]} read_only"
    return "EACCES root_fixed" if row.access.root_fixed and node.parent is None else ""


def _against_rules(node: Node, row: ControlFile, text: str) -> str:
    """Then the text is read, and the rules of the file are asked."""
    if row.name in subsys.TASK_FILES:
        return ""
    try:
        codec = row.access.read_as(node.machine) if row.access.read_as else row.type
        wanted = codec.parse(text.partition("\0")[0])
    except (ValueError, OverflowError) as err:
        return f"{errorcode[unreadable(err)]} {type(err).__name__}"
    for rule in row.rules:
        if violation := rule(node, Proposed(node, row.name, wanted)):
            return f"{errorcode[violation.errno]} {_name(rule)}"
    return ""


def _name(rule: Rule) -> str:
    return rule.__qualname__.partition(".")[0]
