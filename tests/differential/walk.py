"""A walk: steps done in both sides, and compared; where they differ, the fewest that show it."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from tests.differential import steps as v1_steps
from tests.differential import unified_steps
from tests.differential.errno_table import rows_of
from tests.differential.sides import Ground, KernelSide, ModelSide, Side, Sight
from tests.differential.steps import SPECIAL, Seen, Step, View
from tests.differential.tally import Tally, why
from tests.waiting import eventually

SHRINKING = 120.0  # seconds
PATIENCE, LESS_PATIENCE = 10.0, 1.0  # seconds: with a new difference, and while one is shrunk


@dataclass(frozen=True)
class Difference:
    """Where the model did not answer as the kernel did, after which steps."""

    steps: tuple[Step, ...]
    facts: tuple[str, ...]

    @property
    def last(self) -> str:
        """The step after which it showed, and how."""
        return "\n".join((str(self.steps[-1]), *self.facts))

    def __str__(self) -> str:
        steps = "\n".join(f"  {step}" for step in self.steps)
        return f"{steps}\n" + "\n".join(self.facts)


class Walk:
    """Both sides, from the beginning; `take` does a step in each."""

    def __init__(self, kernel: Side, model: ModelSide, tally: Tally, patience: float) -> None:
        self.ground = model.ground
        self.patience = patience
        self.tally = tally
        self.kernel = kernel
        self.model = model
        self.done: list[Step] = []
        self.met: Counter[tuple[str, str]] = Counter()  # by writes: the file, and why it refused
        self.had_zombies = False
        self.sight = self.model.look()

    def take(self, step: Step) -> Difference | None:
        """Do it in both, and compare all that there is to see."""
        if not (self.model.knows(step) and Seen(self.sight).is_safe(step)):
            return None
        self.done.append(step)
        reason = why(self.model.backend, step)
        is_zombie = any(Seen(self.sight).of(task)["state"] == "zombie" for task in step.tasks)
        really, modelled = self.kernel.do(step), self.model.do(step)
        rows = rows_of(step, really, is_zombie) if self.ground.has_v2 else ()
        self.tally.count(step, really, reason, rows)
        if step.verb == "write":
            self.met[step.args[1], reason] += 1
        if really != modelled:
            return self._differ([f"{step}: the kernel answers {really}, the model {modelled}"])
        self.sight = self._compared(self.model.look())
        seen: list[Sight] = [{}]

        def agree() -> bool:
            seen[0] = self._compared(self.kernel.look())
            return seen[0] == self.sight

        if not eventually(agree, self.patience):
            return self._differ(list(_unlike(seen[0], self.sight)))
        self._forget()
        return None

    def _compared(self, sight: Sight) -> Sight:
        """What is compared: pids.peak of cgroup v2 until there is the first zombie.

        A zombie keeps the containers of its controllers. If those are others by now, the kernel
        counts each task twice for a moment when it enables or disables any controller
        (cgroup_migrate_prepare_dst(), pids_can_attach()). The model does not.
        """
        if not self.had_zombies:
            states = [one["state"] for key, one in sight.items() if key.startswith("task ")]
            self.had_zombies = "zombie" in states
        if not (self.had_zombies and self.ground.has_v2):
            return sight
        return {key: one for key, one in sight.items() if not key.endswith(" pids.peak")}

    def _differ(self, facts: list[str]) -> Difference:
        return Difference(tuple(self.done), tuple(facts))

    def _forget(self) -> None:
        for label in list(self.model.ids):
            if label not in SPECIAL and self.sight[f"task {label}"]["state"] == "gone":
                for side in (self.kernel, self.model):
                    side.forget(label)

    def view(self, random: Random, new: Callable[[str], str]) -> View:
        """What the next step is drawn from."""
        return View(
            random=random,
            sight=self.sight,
            tasks=[label for label in self.model.ids if label not in SPECIAL],
            special=[label for label in self.model.ids if label in SPECIAL],
            handles=self.model.places,
            controllers=self.ground.controllers,
            names=self.ground.names,
            bases=self.ground.bases,
            new=new,
            met=lambda step: self.met[step.args[1], why(self.model.backend, step)],
        )


def _unlike(kernel: Sight, model: Sight) -> Iterator[str]:
    for key in sorted({*kernel, *model}):
        really, modelled = kernel.get(key, "nothing"), model.get(key, "nothing")
        if really != modelled:
            yield f"{key}: {really!r} in the kernel, {modelled!r} in the model"


Sides = Callable[[Ground], tuple[Side, ModelSide]]


def both(ground: Ground) -> tuple[Side, ModelSide]:
    """The kernel, and the model that is to answer like it."""
    return KernelSide(ground), ModelSide(ground)


@contextmanager
def walking(walk: Walk) -> Iterator[Walk]:
    """The kernel is as it was afterwards."""
    try:
        yield walk
    finally:
        walk.kernel.close()


def walk(
    ground: Ground, seed: int, steps: int, tally: Tally, sides: Sides = both
) -> Difference | None:
    """So many random steps."""
    tally.walks += 1
    tally.has_v2 |= ground.has_v2
    random, numbers = Random(seed), itertools.count()
    draw = unified_steps.draw if ground.has_v2 else v1_steps.draw
    with walking(Walk(*sides(ground), tally, PATIENCE)) as going:
        for _ in range(steps):
            view = going.view(random, lambda kind: f"{kind}{next(numbers)}")
            if difference := going.take(draw(view)):
                return difference
    return None


def replay(ground: Ground, steps: Iterable[Step], sides: Sides = both) -> Difference | None:
    """The same steps again, as far as they still mean something."""
    with walking(Walk(*sides(ground), Tally(), LESS_PATIENCE)) as going:
        for step in steps:
            if difference := going.take(step):
                return difference
    return None


def shrink(
    ground: Ground, found: Difference, sides: Sides = both, seconds: float = SHRINKING
) -> Difference:
    """As few of the steps as still show a difference (delta debugging, Zeller 2002)."""
    limit, size = time.monotonic() + seconds, max(1, len(found.steps) // 2)
    while size:
        before = len(found.steps)
        for start in range(before - size, -1, -size):
            if time.monotonic() > limit:
                return found
            rest = found.steps[:start] + found.steps[start + size :]
            again = replay(ground, rest, sides)
            # Not another difference, by a step that has lost what it was about.
            if again and again.steps[-1] == found.steps[-1]:
                found = again
        if len(found.steps) == before:
            size //= 2
        size = min(size, len(found.steps) // 2 or 1)
    return found
