"""Carry out the lines of a batch, and report what fails with the number of its line."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pcont.commands.common import App, problem_of
from pcont.commands.line_groups import SET, groups_of, merged, shares_of
from pcont.commands.lines import Line, Parser
from pcont.errors import FAILURES, FORCE, PcontError, UsageProblem, from_oserror
from pcont.ops.batch import Batch
from pcont.signals import Interrupted

if TYPE_CHECKING:
    from pcont.session import Session

STANDARD_INPUT = "standard input"


def run_batch(app: App, file: str, *, keep_going: bool, atomic: bool, dry_run: bool) -> int:
    """Carry out the lines of a file; returns the exit status."""
    if keep_going and atomic:
        raise UsageProblem("--keep-going and --atomic cannot be combined")
    name = STANDARD_INPUT if file == "-" else file
    lines = Parser(app.table, atomic, dry_run).parse(_text(file), name)
    app.acts = not dry_run and any(line.changes for line in lines)
    runner = _Runner(app, name, lines, keep_going, dry_run)
    runner.run(atomic)
    return runner.status


def _text(file: str) -> str:
    if file != "-":
        try:
            with open(file, "rb") as stream:
                return os.fsdecode(stream.read())
        except OSError as err:
            raise from_oserror(err, f"read {file}") from err
    if sys.stdin is None:
        raise UsageProblem("standard input is closed: name a FILE")
    binary = getattr(sys.stdin, "buffer", None)
    return os.fsdecode(binary.read()) if binary else sys.stdin.read()


class _Runner:
    """Carries out lines with one session. `status`: the exit status of the first that failed."""

    def __init__(
        self, app: App, name: str, lines: Sequence[Line], keep_going: bool, dry_run: bool
    ) -> None:
        self.app, self.name, self.lines = app, name, lines
        self.keep_going, self.dry_run = keep_going, dry_run
        self.status = 0
        self.failed: list[int] = []
        self.session: Session = app.session(dry_run)
        self.session.warn, self.session.progress = self._warn, self._progress
        if app.progress:
            app.progress.unit = "line"
        self._done = 0
        self._group: Sequence[Line] = ()
        self._notes: list[str] | None = None
        self._results: list[Callable[[], None]] | None = None

    def run(self, atomic: bool) -> None:
        """Carry out all lines. Raises the error of the first one that fails, unless the others
        are carried out after it.
        """
        results = self._results = [] if atomic else None
        locks = any(line.changes for line in self.lines)
        with Batch(self.session, atomic=atomic, locks=locks) as batch:
            for group in self._groups():
                self._progress(0, 1)
                begun = self._done
                if len(group) == 1 or not self._together(batch, group):
                    self._done = begun
                    for line in group:
                        self._alone(batch, line)
                self._done = begun + len(group)
        self.app.close_progress()
        self._group = ()
        for show in results or ():
            show()
        if self.failed:
            self._warn(f"{len(self.failed)} of {len(self.lines)} lines failed")

    def _groups(self) -> Iterator[list[Line]]:
        # A dry run shows the commands of each line.
        if self.dry_run:
            return ([line] for line in self.lines)
        return groups_of(self.lines, apart=self.app.json)

    def _together(self, batch: Batch, group: Sequence[Line]) -> bool:
        """Carry out a group as one command; returns False if it failed, and was undone."""
        outer, self._notes, self._results = self._results, [], []
        try:
            if group[0].verb == SET:
                self._carry_out_each(batch, group)
            else:
                self._carry_out(batch, group)
        except (PcontError, *FAILURES) as err:
            if getattr(err, "left", None):
                raise self._failure(err, self._group[0]) from err
            return False  # without the notes and results
        finally:
            notes, self._notes = self._notes, None
            results, self._results = self._results, outer
        for text in notes:
            self.app.warn(text)
        for show in results:
            self.show(show)
        return True

    def _carry_out_each(self, batch: Batch, group: Sequence[Line]) -> None:
        """Carry out lines as commands of their own, but as one operation."""
        self._group = group
        with self._located(), batch.operation(group[0].verb) as session, session.all_or_none():
            for line in group:
                self._group = [line]
                line.command.run(_LineApp(self, [line]), line.values)
                self._done += 1
                self._progress(0, 1)

    def _alone(self, batch: Batch, line: Line) -> None:
        try:
            self._carry_out(batch, [line])
        except (PcontError, *FAILURES) as err:
            problem = self._failure(err, line)
            if not self.keep_going:
                raise problem from err
            self._report(problem)

    def _carry_out(self, batch: Batch, group: Sequence[Line]) -> None:
        self._group, line = group, group[0]
        with self._located(), batch.operation(line.verb, slow=line.slow):
            line.command.run(_LineApp(self, group), merged(group))

    @contextlib.contextmanager
    def _located(self) -> Iterator[None]:
        """Add the number of the line to the message if a signal ends the batch in the block."""
        try:
            yield
        except Interrupted as err:
            err.args = (f"{self._where()}: {err}",)
            raise
        except KeyboardInterrupt:
            found = Interrupted(signal.SIGINT)
            found.args = (f"{self._where()}: {found}",)
            raise found from None

    def _where(self) -> str:
        """Return FILE:LINE, or FILE:LINE-LINE for a group."""
        if not self._group:
            return self.name
        first, last = self._group[0].number, self._group[-1].number
        return f"{self.name}:{first}" + (f"-{last}" if last > first else "")

    def _failure(self, err: Exception, line: Line) -> PcontError:
        problem = problem_of(err, line.verb)
        if problem.hint == FORCE:
            words = list(line.words)
            words.insert(words.index(line.command.name) + 1, "--force")
            problem.hint = shlex.join(["pcont", *words])
        problem.what, problem.line = f"{self.name}:{line.number}: {problem.what}", line.number
        return problem

    def _report(self, problem: PcontError) -> None:
        from pcont.commands.hints import ready
        from pcont.output import messages

        self.status = self.status or problem.exit_code
        self.failed.append(problem.line or 0)
        self.app.wipe_progress()
        problem.hint = ready(problem.hint, Parser(self.app.table).top, self.app.words)
        messages.error(problem, self.app.json)

    def _warn(self, text: str) -> None:
        text = f"{self._where()}: {text}"
        if self._notes is None:
            self.app.warn(text)
        else:
            self._notes.append(text)

    def _progress(self, done: int, of: int) -> None:
        if self.app.progress:
            part = len(self._group) * done // max(of, 1)
            self.app.progress(self._done + part, len(self.lines))

    def show(self, show: Callable[[], None]) -> None:
        """Print a result now, or after an atomic batch is done."""
        if self._results is None:
            self.app.wipe_progress()
            show()
        else:
            self._results.append(show)


class _LineApp(App):
    """The `App` of a line or a group: it uses the session of the batch."""

    def __init__(self, runner: _Runner, group: Sequence[Line]) -> None:
        super().__init__(group[0].words)
        self._runner, self._group = runner, group
        self.json, self.verbose = runner.app.json, group[0].verbose
        self._begun = 0

    def session(self, dry_run: bool = False, force: bool = False, acts: bool = False) -> Any:
        session = self._runner.session
        session.force, self._begun = force, len(session.planned)
        return session

    def wipe_progress(self) -> None:
        self._runner.app.wipe_progress()

    def close_progress(self) -> None:
        """Do nothing: the progress line is that of the whole batch."""

    def show(self, session: Any, result: Any, text: Callable[[], None] = lambda: None) -> None:
        if session.dry_run:
            result, text = session.planned[self._begun :], lambda: None
            if not self.json:
                self._runner.show(lambda: _print_lines(result))
        if self.json:
            self._runner.show(lambda: self._show_json(session, result))
        else:
            self._runner.show(text)

    def _show_json(self, session: Any, result: Any) -> None:
        from pcont.output import json_lines

        key, name = "would" if session.dry_run else "result", session.backend.name
        for line, part in shares_of(self._group, result):
            json_lines.line_answer(name, line.number, line.verb, key, part)


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        print(line)
