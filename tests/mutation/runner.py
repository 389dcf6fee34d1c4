"""One change at a time: a process with the changed module runs the tests until one fails."""

from __future__ import annotations

import ast
import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from coverage import Coverage

from tests.mutation.changes import CHECKOUT, Change, file_of

CONTRACT = "tests/contract"
# What no kernel can be asked here: 2006, tasks that are played, ids that come again, open files.
OWN = (
    "tests/test_backend_model.py",
    *(f"tests/model/test_{name}.py" for name in ("simulator", "open_files", "v2", "v6")),
)
LOADED_BEFORE = "ignore::pytest.PytestAssertRewriteWarning"  # what every process would load
QUIET = ("-q", "-x", "-p", "no:cacheprovider", "-W", LOADED_BEFORE)
MEMORY = 2 << 30
LONGEST = 30  # seconds, for a test: the signal then ends them all
# Their many commands take most of the time, and ask nothing of the rules that others do not.
LEFT_OUT = ("job_control", "two_shells", "umount_at_once", "nested_as_deep", "demo", "example")
HERE = ("-m", "not kernel and not guest", "-k", f"not ({' or '.join(LEFT_OUT)})")
WORDS = (*QUIET, *HERE, CONTRACT, *OWN)
# Then the model walks beside the kernel of this machine, if it may.
WALKS = "tests/differential"
WALKING = (*QUIET, "-m", "kernel and not guest", WALKS)
LONGEST_WALK = 300  # seconds, with the search for the fewest steps
# What acts for cgroup v2 only: the walks on this machine are those of v1.
WITHOUT_WALKS = "pcont.subsys.model.v2."
# It looks at the host, which other programs change, and the model changes nothing there.
HOST = "nothing_is_left"


@dataclass
class Known:
    """What the tests do without a change: how long each takes, and which lines it comes by."""

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, set[tuple[str, int]]] = field(default_factory=lambda: defaultdict(set))

    def order(self, change: Change, found: Counter[str], longest: float) -> list[str]:
        """The tests that execute the line of a change, or all if none does; the contract's first.

        Before others come those that noticed changes of the same module, then the quick ones.
        For a change that takes effect when the module is loaded, all tests: only the first test
        that loads the module executes its line. Those that execute another line of it come first.
        """
        file = file_of(change.module)
        tests = [name for name, time in self.seconds.items() if time <= longest]
        if change.at_import:
            near = {name for name in tests if any(file == one for one, _ in self.lines[name])}
        else:
            # What is done in a process that a test starts is not seen.
            line = (file, change.line)
            tests = [name for name in tests if line in self.lines[name]] or tests
            near = set()

        def rank(one: str) -> tuple[bool, int, bool, float]:
            return one.startswith(OWN), -found[one], one not in near, self.seconds[one]

        return sorted(tests, key=rank)


@dataclass(frozen=True)
class Outcome:
    """What came of a change; `noticed`: by which test, or how else; empty if by none.

    The tests of the contract come first, then the walks, then the model's own tests.
    """

    change: Change
    noticed: str
    seconds: float

    @property
    def by(self) -> str:
        """The tests that have noticed it: `contract`, `walk`, `own` (the model's), or `none`."""
        if not self.noticed:
            return "none"
        if self.noticed.startswith(WALKS):
            return "walk"
        return "own" if self.noticed.startswith(OWN) else "contract"


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from another source than its file's."""

    def __init__(self, module: str, tree: ast.Module) -> None:
        self.module, self.tree = module, tree

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self.module:
            return None
        return importlib.util.spec_from_loader(name, self, origin=file_of(name))

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.tree, str(CHECKOUT / file_of(self.module)), "exec"), module.__dict__)


class _Listener:
    """What pytest tells: the order is ours, and the first failure is kept."""

    def __init__(self, order: Sequence[str], longest: int = LONGEST) -> None:
        self.longest = longest
        self.order = {name: number for number, name in enumerate(order)}
        self.failed = ""
        self.seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        signal.alarm(self.longest)

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        for item in items:
            item.fixturenames[:] = [name for name in item.fixturenames if name != HOST]
        if self.order:
            items[:] = [item for item in items if item.nodeid in self.order]
            items.sort(key=lambda item: self.order[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed and not self.failed:
            self.failed = report.nodeid


class _Tracer(_Listener):
    """Which lines of some files each test comes by."""

    def __init__(self, modules: Sequence[str]) -> None:
        super().__init__([])
        self.files = {str(CHECKOUT / file_of(one)): file_of(one) for one in modules}
        self.coverage = Coverage(data_file=None, config_file=False, include=list(self.files))
        self.coverage.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.coverage.switch_context(nodeid)

    def lines(self) -> dict[str, list[tuple[str, int]]]:
        """The lines of each test, after the last of them."""
        self.coverage.stop()
        found: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for path, file in self.files.items():
            for line, tests in self.coverage.get_data().contexts_by_lineno(path).items():
                for test in tests:
                    found[test].append((file, line))
        return found


def known(modules: Sequence[str], file: Path | None = None) -> Known:
    """Run the tests as they are; or read from a file what was seen then, and keep it there.

    Raises RuntimeError where one of them fails.
    """
    seen = json.loads(file.read_text()) if file and file.exists() else _looked(modules)
    if file:
        file.write_text(json.dumps(seen))
    lines = {test: {(file, line) for file, line in found} for test, found in seen["lines"].items()}
    return Known(seen["seconds"], defaultdict(set, lines))


def _looked(modules: Sequence[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        child = _Child(Path(scratch) / "base", _look, modules)
        os.waitpid(child.pid, 0)
        answer = child.answered()
        output = child.output.read_text()[-2000:]
    if answer.get("status") != 0:
        raise RuntimeError(f"the tests fail as it is: {answer.get('failed')}\n{output}")
    return answer


def _look(modules: Sequence[str]) -> dict[str, Any]:
    tracer = _Tracer(modules)
    status = pytest.main(list(WORDS), plugins=[tracer])
    return {
        "status": int(status),
        "failed": tracer.failed,
        "seconds": dict(tracer.seconds),
        "lines": tracer.lines(),
    }


def _try(change: Change, order: Sequence[str]) -> dict[str, Any]:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.meta_path.insert(0, _Changed(change.module, change.applied()))
    listener = _Listener(order)
    status = pytest.main(list(WORDS), plugins=[listener])
    noticed = listener.failed or ("the import" if status else "")
    walks = not change.module.startswith(WITHOUT_WALKS)
    if walks and (not noticed or noticed.startswith(OWN)):
        noticed = _walked() or noticed
    return {"failed": noticed}


def _walked() -> str:
    """The walk that finds a difference, if one does."""
    walker = _Listener([], LONGEST_WALK)
    # As an exception: whatever it takes, the kernel is put back as it was.
    signal.signal(signal.SIGALRM, _too_long)
    pytest.main(list(WALKING), plugins=[walker])
    signal.alarm(0)
    return walker.failed


def _too_long(number: int, _: object) -> None:
    raise TimeoutError(f"a walk of more than {LONGEST_WALK} s")


class _Child:
    """A process with a session of its own that writes the result of its work into a file."""

    def __init__(self, scratch: Path, work: Callable[..., object], *words: object) -> None:
        scratch.mkdir()
        self.answer, self.output = scratch / "answer", scratch / "output"
        self.began = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            self._be(work, *words)

    def _be(self, work: Callable[..., object], *words: object) -> None:
        """In the child: the work, and nothing after it."""
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.setsid()
            handle = os.open(self.output, os.O_WRONLY | os.O_CREAT, 0o600)
            for number in (1, 2):
                os.dup2(handle, number)
            os.chdir(CHECKOUT)
            self.answer.write_text(json.dumps(work(*words)))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)

    def answered(self) -> dict[str, Any]:
        """The answer that it has written; empty if it has written none."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            answer = json.loads(self.answer.read_text())
            assert isinstance(answer, dict)
            return answer
        return {}

    def noticed(self, status: int) -> str:
        """Once it has ended: what went wrong in it, as one line."""
        self.kill()
        if answer := self.answered():
            return str(answer["failed"])
        lines = self.output.read_text(errors="replace").splitlines()
        return f"ends with {os.waitstatus_to_exitcode(status)}: {''.join(lines[-1:])}"

    def kill(self) -> None:
        """It, and whatever it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def outcomes(
    changes: Sequence[Change], base: Known, at_once: int, longest: float
) -> Iterator[Outcome]:
    """What comes of each change, as they end."""
    waiting, found = list(changes), defaultdict[str, Counter[str]](Counter)
    running: dict[int, tuple[_Child, Change]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    change = waiting.pop(0)
                    order = base.order(change, found[change.module], longest)
                    child = _Child(Path(scratch) / str(len(waiting)), _try, change, order)
                    running[child.pid] = child, change
                pid, status = os.waitpid(-1, 0)
                child, change = running.pop(pid)
                noticed = child.noticed(status)
                found[change.module][noticed] += 1
                yield Outcome(change, noticed, time.monotonic() - child.began)
        finally:
            for child, _ in running.values():
                child.kill()
