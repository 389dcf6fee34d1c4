"""One command under faults: the state before and after it, and whether a fault leads to another."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from pcont.cli import cli
from pcont.kernel import open as kernel_open
from tests.contract.conftest import Result
from tests.fault_injection.commands import Row
from tests.fault_injection.state import State, nearest, observe, with_directory, without_programs
from tests.fault_injection.workspace import Workspace
from tests.fault_injection.wrapper import Fault, FaultyBackend
from tests.waiting import until

RECOVERS = "recover" in cli().commands
STILLNESS = 1.0  # seconds after a death after which no task may be frozen
PATIENCE = 10.0
FALLEN = 70


@dataclass
class FaultyCommand:
    """A row on a workspace: done once as it should be, and then again and again."""

    workspace: Workspace
    row: Row
    problems: list[str] = field(default_factory=list)
    between: list[State] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.log = self.workspace.scratch / "changes"
        if self.row.between:
            self.before = self.anew()
            self.workspace.ok(self.row.between)
            self.between = [self.look()]
        self.before = self.anew()
        result = self.run()
        assert result.status == 0, result.err
        self.changes = [verb for verb, *_ in self.done()]
        self.after = self.look()
        self.anew_as_before()

    def anew(self) -> State:
        """Everything is as it is before the command."""
        self.workspace.again()
        self.row.prepare(self.workspace)
        return self.look()

    def anew_as_before(self) -> None:
        if difference := nearest([self.before], self.anew()):
            raise AssertionError(
                "\n".join(["anew it is not as before:", difference, *self.problems])
            )

    def look(self) -> State:
        return observe(self.workspace, tasks=not self.row.kills)

    def words(self) -> list[str]:
        """The command line as it is typed."""
        return [*self.workspace.pcont.words, *self.workspace.words(self.row.words)]

    def done(self) -> list[list[str]]:
        """The changes of the last run: the verb of each, and the words with it."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def listings(self) -> int:
        """How many listings of the last run had the task that one of them left out."""
        return int(self.log.with_suffix(".listings").read_text() or 0)

    def reached(self, at: int) -> tuple[str, list[str]]:
        """The change of that number, and its words; nothing where it has fewer."""
        found = self.done()[at - 1 : at]
        return (found[0][0], found[0][1:]) if found else ("", [])

    def run(
        self, at: int = 0, fault: Fault | None = None, left_out: int = 0, short: int = 0
    ) -> Result:
        """The command with a fault at its change number `at`, in a process of its own.

        `left_out`, `short`: as of FaultyBackend.
        """
        self.log.write_text("")
        self.log.with_suffix(".listings").write_text("")

        def opened(name: str = "cgroupfs", *words: str | None) -> FaultyBackend:
            faulty = FaultyBackend(open_backend(name, *words), self.log, at, fault, left_out, short)
            faulty.reach_libbpf(patch)
            return faulty

        open_backend = kernel_open.open_backend
        with pytest.MonkeyPatch.context() as patch, lifeline():
            patch.setattr(kernel_open, "open_backend", opened)
            result = self.workspace.pcont.forked(self.workspace.words(self.row.words))
            if fault and fault.fatal:
                self.thaws(f"{fault} at {at}")
            return result

    def come_to(self, allowed: Sequence[State]) -> tuple[State, str]:
        """What it is in the end, and how that differs from the nearest of these states."""

        def look() -> tuple[State, str]:
            found = self.look()
            return found, nearest(allowed, found)

        return until(look, PATIENCE, good=lambda seen: not seen[1])

    def judge(
        self,
        case: str,
        result: Result,
        *,
        done: bool = False,
        fatal: bool = False,
        directory: str = "",
    ) -> None:
        """Note what is wrong: nothing may be in between, and a failure leaves all as it was.

        `done`: it had the right to fail after all was done. `fatal`: it was killed. `directory`:
        one that could not be removed, and may stay. Then all is as before again.
        """
        if fatal:
            what, found, difference = "is in between", *self._judge_death()
        else:
            what, found, difference = self._judge(result, done, directory)
        if difference:
            self.problems.append(f"{self.row}, {case}: {what}:\n{difference}\n{result.err}")
        if found != self.before or self.row.kills:
            self.anew_as_before()

    def _judge(self, result: Result, done: bool, directory: str) -> tuple[str, State, str]:
        if "Traceback" in result.err or result.status == FALLEN:
            return "has fallen", {}, "there is a traceback"
        if result.status == 0:
            kept = self.between if " is kept: " in result.err else []
            left = with_directory(self.after, self.before, directory)
            for name in re.findall(r"(\w+) does without its programs", result.err):
                left = without_programs(left, name)
            return ("succeeds, and is not as after", *self.come_to([self.after, left, *kept]))
        allowed = [self.before, self.after] if done else [self.before]
        return (f"exit {result.status}, and is not as before", *self.come_to(allowed))

    def _judge_death(self) -> tuple[State, str]:
        if RECOVERS and not self.workspace.on_model:
            recovered = self.workspace.pcont("recover")
            if recovered.status:
                return {}, f"pcont recover fails: {recovered}"
        return self.come_to([self.before, self.after, *self.between])

    def thaws(self, case: str) -> None:
        """Note if a task is frozen a second after a death that is so neither before nor after."""
        allowed = _frozen(self.before) | _frozen(self.after)
        frozen = until(
            lambda: _frozen(self.look()) - allowed,
            STILLNESS,
            good=lambda seen: not seen,
        )
        if frozen:
            self.problems.append(f"{self.row}, {case}: {frozen} a second later")


@contextlib.contextmanager
def lifeline() -> Iterator[None]:
    """Wait in the end for all processes that were started within, and for those that they start."""
    hear, held = os.pipe()
    os.set_inheritable(held, True)
    try:
        yield
    finally:
        os.close(held)
        os.read(hear, 1)
        os.close(hear)


THAWED = {"freezer.state": "THAWED", "cgroup.freeze": "0"}


def _frozen(state: State) -> set[str]:
    """The files of containers that are not as they are while no task is frozen."""
    files = [(key, THAWED.get(key.rpartition(" ")[2])) for key in state if "owner of" not in key]
    return {key for key, wanted in files if wanted and state[key].strip() != wanted}
