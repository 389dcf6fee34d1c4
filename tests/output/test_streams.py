"""streams: output that cannot be written or encoded changes no answer, of any command."""

from __future__ import annotations

import importlib
import io
import os
import pkgutil
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import pcont
from pcont.cli import main
from tests.model_states import rows_in
from tests.test_cli import (
    BEFORE,
    DONE,
    FIRST,
    LOOKING,
    REFUSED,
    THEN,
    every_command,
)

FULL = "/dev/full"
PIPE, CLOSED, BROKEN = "pipe", "closed", "broken"
NAME = "ä…×\udcff"  # not ASCII, and not even text
SHOWING = LOOKING | {"sim proc", "sim notified", "sim param", "recover"}


# Else each of the processes below would import what the first command imports.
for module in pkgutil.walk_packages(pcont.__path__, "pcont."):
    if module.name != "pcont.__main__":
        importlib.import_module(module.name)


@dataclass(frozen=True)
class Answer:
    """What a command answered on the streams that could be read."""

    status: int
    out: bytes
    err: bytes


def _stream(number: int, kind: str, encoding: str) -> None:
    """In the child: standard output or error as the shell would give it."""
    name = "stdout" if number == 1 else "stderr"
    if kind == CLOSED:
        os.close(number)
        setattr(sys, name, None)
        return
    if kind == FULL:
        os.dup2(os.open(FULL, os.O_WRONLY), number)
    elif kind == BROKEN:
        ends = os.pipe()
        os.dup2(ends[1], number)
        os.close(ends[0])
        os.close(ends[1])
    raw = io.FileIO(number, "w", closefd=False)
    buffered = io.BufferedWriter(raw)
    setattr(sys, name, io.TextIOWrapper(buffered, encoding, line_buffering=number == 2))


def answer(
    state: Path, *words: str, out: str = PIPE, err: str = PIPE, encoding: str = "utf-8"
) -> Answer:
    """One command in a process of its own."""
    files = [os.memfd_create(name) for name in ("out", "err")]
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            for number, kind in enumerate((out, err), 1):
                os.dup2(files[number - 1], number)
                _stream(number, kind, encoding)
            status = main(["--backend", "model", "--state", str(state), *words])
        except BaseException as caught:
            os.write(files[1], f"Traceback {caught!r}".encode())
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    texts = []
    for descriptor in files:
        size = os.fstat(descriptor).st_size
        texts.append(os.pread(descriptor, size, 0))
        os.close(descriptor)
    assert b"Traceback" not in texts[1], texts[1].decode(errors="replace")
    return Answer(status, *texts)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PCONT_BACKEND", raising=False)
    monkeypatch.delenv("PCONT_STATE", raising=False)
    file = tmp_path / "model.json"
    for words in (
        ("mount", "-o", "cpuset,cpuacct", "--name", "jobs"),
        ("create", "-i", "jobs:/a"),
    ):
        assert answer(file, *words).status == 0
    return file


Try = Callable[..., Answer]


@pytest.fixture
def attempt(state: Path, request: pytest.FixtureRequest) -> Try:
    """A command from the table, each time on the same state."""

    def ready(name: str, *words: str, **streams: str) -> Answer:
        if not (before := state.with_suffix(".before")).exists():
            for table in (FIRST, BEFORE, THEN):
                if name in table:
                    assert answer(state, *table[name]).status == 0
            shutil.copy(state, before)
        shutil.copy(before, state)
        return answer(state, *name.split(), *words, **streams)

    return ready


@pytest.mark.parametrize("json", [(), ("--json",)], ids=["text", "json"])
@every_command
def test_a_change_is_kept_if_standard_output_is_full(
    attempt: Try, name: str, json: tuple[str, ...]
) -> None:
    words = (*json, *DONE[name])
    wanted = attempt(name, *words)
    assert wanted.status == 0, wanted.err
    for kind in (FULL, BROKEN) if wanted.out or not json else ():
        found = attempt(name, *words, out=kind)
        said = found.err.decode()
        if not wanted.out:
            assert found == wanted
        elif name in SHOWING and name != "recover":
            assert found.status == (1 if kind == FULL else 141), said
            assert ("cannot write to standard output" in said) is (kind == FULL)
        else:
            assert found.status == 0, said
            assert "cannot write to standard output" in said
            assert "the command was carried out" in said


@every_command
def test_the_exit_status_is_kept_if_standard_error_cannot_be_written(
    attempt: Try, name: str
) -> None:
    for table in (DONE, REFUSED):
        if name not in table:
            continue
        wanted = attempt(name, *table[name])
        for kind in (FULL, CLOSED):
            found = attempt(name, *table[name], err=kind)
            assert found.status == wanted.status, (table[name], kind)
            assert bool(found.out) is bool(wanted.out)


@every_command
def test_a_closed_standard_output_changes_no_exit_status(attempt: Try, name: str) -> None:
    assert attempt(name, *DONE[name], out=CLOSED, err=CLOSED).status == 0


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (3, ("rm", "jobs:/nope")),
        (2, ("rm",)),
        (125, ("run", "jobs:/nope", "--", "true")),
        (127, ("run", "jobs:/a", "--", "/no/such/command")),
        (126, ("run", "jobs:/a", "--", "/etc/passwd")),
        (42, ("run", "jobs:/a", "--", "sh", "-c", "exit 42")),
        (42, ("clone", "jobs", "--", "sh", "-c", "exit 42")),
        (0, ("--help",)),
    ],
)
@pytest.mark.parametrize("kind", [FULL, BROKEN, CLOSED])
def test_the_exit_status_is_kept_if_no_stream_can_be_written(
    state: Path, status: int, words: tuple[str, ...], kind: str
) -> None:
    assert answer(state, *words, err=kind).status == status
    if status:
        assert answer(state, *words, out=kind, err=kind).status == status


def test_mount_keeps_the_hierarchy_if_its_name_cannot_be_printed(state: Path) -> None:
    found = answer(state, "mount", "-o", "pids", "/dev/pids", out=FULL)
    assert found.status == 0
    assert b"ENOSPC" in found.err
    assert b"cannot mount" not in found.err
    assert b"/dev/pids" in answer(state, "hierarchies").out


def test_a_full_disk_keeps_no_command_from_its_end(state: Path) -> None:
    """More is written than a buffer holds."""
    places = [f"jobs:/{number:0200}" for number in range(200)]
    assert answer(state, "create", "--json", *places, out=FULL).status == 0
    assert answer(state, "tree", "jobs:/", out=FULL).status == 1
    assert answer(state, "tree", "jobs:/", out=BROKEN).status == 141
    assert answer(state, "tree", "jobs:/").out.count(b"\n") == 202


# Names and signs that a stream cannot encode


@pytest.mark.parametrize("encoding", ["ascii"])
@every_command
def test_nothing_that_can_be_printed_raises(attempt: Try, name: str, encoding: str) -> None:
    for table in (DONE, REFUSED):
        if name in table:
            wanted = attempt(name, *table[name])
            found = attempt(name, *table[name], encoding=encoding)
            assert found.status == wanted.status
    if encoding == "ascii":
        assert found.out.isascii()
        assert found.err.isascii()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_names_that_are_no_text_are_shown_and_selected(state: Path, encoding: str) -> None:
    place = f"jobs:/{NAME}"

    def ok(*words: str) -> bytes:
        found = answer(state, *words, encoding=encoding)
        assert found.status == 0, found.err
        return found.out + found.err

    ok("create", "-i", place, f"{place}/{NAME}")
    ok("attach", place, str(os.getpid()))
    for words in (
        ("tree", "jobs:/"),
        ("get", place),
        ("ps", place),
        ("where", str(os.getpid())),
        ("create", "-n", f"{place}/b"),
        ("rm", "-n", "-r", "--evict", place),
        ("move", "-v", place, f"{place}/{NAME}"),
        ("doctor",),
    ):
        assert ok(*words) or words[0] == "ps"
    for status, words in ((5, ("create", place)), (3, ("rm", f"{place}…"))):
        found = answer(state, *words, encoding=encoding)
        assert found.status == status
        assert b"\\udcff" in found.err
    ok("rm", "-r", "--evict", place)


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""},
    ],
    ids=["ascii streams", "C", "POSIX"],
)
@pytest.mark.slow
def test_the_installed_command_copes_with_any_locale(
    state: Path, environment: dict[str, str]
) -> None:
    """And means the same containers as in another locale."""
    place = os.fsencode(f"jobs:/{NAME}")
    assert answer(state, "create", "-i", f"jobs:/{NAME}").status == 0
    program = [sys.executable, "-m", "pcont", "--backend", "model", "--state", str(state)]
    for status, words in (
        (0, [b"tree", b"jobs:/"]),
        (0, [b"get", place, b"cpuset.cpus"]),
        (3, [b"get", place, b"cpuset.cpu"]),
        (5, [b"create", place]),
        (0, [b"create", place + b"/\xe2\x80\xa6"]),
        (0, [b"run", place, b"--", b"echo", b"\xe2\x80\xa6"]),
        (0, [b"rm", b"-r", place]),
        (3, [b"rm", place]),
    ):
        done = subprocess.run(
            [*program, *words], env={**os.environ, **environment}, capture_output=True, check=False
        )
        assert done.returncode == status, done
        assert b"Traceback" not in done.stderr
        if b"echo" in words:
            assert done.stdout == b"\xe2\x80\xa6\n"


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.slow
def test_the_installed_command_copes_with_a_full_disk(state: Path, unbuffered: str) -> None:
    """PYTHONUNBUFFERED leaves out the buffer of the stream."""
    program = [sys.executable, "-m", "pcont", "--backend", "model", "--state", str(state)]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    for words, status in (
        (["mount", "-o", "pids", "/dev/pids"], 0),
        (["tree"], 1),
        (["--help"], 1),
        (["rm", "jobs:/nope"], 3),
        (["run", "jobs:/a", "--", "sh", "-c", "exit 42"], 42),
    ):
        with open(FULL, "w") as full:
            done = subprocess.run(
                [*program, *words], stdout=full, stderr=-1, text=True, env=environment, check=False
            )
        assert done.returncode == status, done
        assert "Traceback" not in done.stderr
        assert "cannot mount" not in done.stderr
        with open(FULL, "w") as full:
            again = subprocess.run(
                [*program, *words], stdout=full, stderr=full, env=environment, check=False
            )
        assert again.returncode == status, again


def test_a_full_stream_that_another_program_has_made_non_blocking_is_waited_for(
    state: Path,
) -> None:
    places = [f"jobs:/{number:0200}" for number in range(400)]
    assert answer(state, "create", *places).status == 0
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    program = [sys.executable, "-m", "pcont", "--backend", "model", "--state", str(state)]
    with subprocess.Popen([*program, "tree", "jobs:/"], stdout=writing) as process:
        os.close(writing)
        with open(reading, "rb") as stream:
            assert stream.read().count(b"\n") == 402
    assert process.returncode == 0


def test_no_file_of_pcont_gets_the_number_of_a_closed_stream(state: Path) -> None:
    """What is written to it would be written to that file."""
    words = ["--backend", "model", "--state", str(state), "run", "jobs:/a", "--"]
    script = "ls -l /proc/self/fd | grep -c model"
    shell = f"{sys.executable} -m pcont {' '.join(words)} sh -c '{script}' <&- 2>&-"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False)
    assert done.stdout == "0\n"
    assert rows_in(state)["head"]


def test_a_question_whose_answer_is_no_text_is_answered_with_no(state: Path) -> None:
    words = ["--backend", "model", "--state", str(state), "unbind", "jobs", "freezer"]
    for given in (b"\xff\xfe\n", b""):
        done = subprocess.run(
            [sys.executable, "-m", "pcont", *words], input=given, capture_output=True, check=False
        )
        assert done.returncode != 0
        assert b"Traceback" not in done.stderr
