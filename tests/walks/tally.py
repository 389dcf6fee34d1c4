"""What a walk has hit: each verb, and each rule that an errno came from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from pcont import subsys
from pcont.backend import Place
from pcont.backend_model import Model
from pcont.tables import Rule, Wanted
from tests.walks.steps import Step


@dataclass
class Tally:
    """How often each verb was done, and each refusal met."""

    verbs: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)

    def why(self, model: Model, step: Step) -> str:
        """The rule of the tables that a write is going to break in the model; empty where none."""
        if step.verb != "write":
            return ""
        place, file, text = step.args
        return _broken(model, place, file, text)

    def count(self, step: Step, answer: str, why: str) -> None:
        """A step that was done."""
        self.verbs[step.verb] += 1
        number = answer.partition(" ")[0]
        if number.isupper() and number.startswith("E"):
            what = f"{step.verb} {step.args[1]}" if step.verb == "write" else step.verb
            self.refusals[f"{what}: {number} {why}".rstrip()] += 1

    def __str__(self) -> str:
        lines = [f"{self.verbs.total()} steps"]
        for counts in (self.verbs, self.refusals):
            lines += [f"{count:8} {what}" for what, count in sorted(counts.items())]
        return "\n".join(lines)


def _broken(model: Model, place: Place, file: str, text: str) -> str:
    row = subsys.row(file)
    if not row or not row.rules or not text:
        return ""
    try:
        node = model.node(place)
        codec = row.read_as(node.machine) if row.read_as else row.type
        wanted = codec.parse(text.partition("\0")[0])
        for rule in row.rules:
            if rule(node, Wanted(node, file, wanted)):
                return _name(rule)
    except (ValueError, OverflowError) as err:
        return type(err).__name__
    except (OSError, KeyError):
        pass
    return ""


def _name(rule: Rule) -> str:
    return rule.__qualname__.partition(".")[0]
