"""On a terminal: what is printed fits into its lines, and a command that takes time shows that."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from rich.cells import cell_len

from pcont.output.columns import COLUMNS, FOLDING, NARROWEST, column_widths
from pcont.output.terminal import GAP

WIDTHS = (40, 80, 120, 200)
PAST = "name-of-a-container-that-is-long"
LONG = ["sleep", "600", "--with", "x" * 150, "and more " * 10]


def on_terminal(words: Sequence[str], columns: int = 80, patience: float = 60) -> str:
    """What a command prints to a terminal of so many columns, all three streams being that."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {key: text for key, text in os.environ.items() if key not in ("COLUMNS", "LINES")}
    environment |= {"TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        words, env=environment, start_new_session=True, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    found, end = b"", time.monotonic() + patience
    while select.select([master], [], [], max(0.0, end - time.monotonic()))[0]:
        try:
            found += os.read(master, 1 << 16)
        except OSError:  # EIO: the command has ended
            break
    os.close(master)
    assert process.wait(10) == 0, found
    return found.decode()


def plain(text: str) -> list[str]:
    """The lines without their colours."""
    return re.sub(r"\x1b\[[0-9;]*[mK]", "", text).replace("\r\n", "\n").splitlines()


@pytest.fixture
def model(tmp_path: Path) -> list[str]:
    """A model with much to show, as the words of a command line."""
    words = ["--backend", "model", "--state", str(tmp_path / "model.json")]
    pcont = [sys.executable, "-m", "pcont", *words]

    def run(*more: str) -> None:
        subprocess.run([*pcont, *more], check=True, stdout=subprocess.DEVNULL)

    run("mount", "-o", "cpuset,cpuacct,pids,numfiles", "--name", "jobs")
    for mountpoint in ("/dev/one", f"/srv/{PAST}/{PAST}/{PAST}"):
        run("mount", "-o", "cpuset,cpuacct,pids,numfiles", "--name", "jobs", mountpoint)
    run("create", "-p", "-i", f"jobs:/a/{PAST}/b/{PAST}/c")
    return pcont


@pytest.fixture
def pid() -> Iterator[int]:
    """A process with a long command line."""
    with subprocess.Popen(["sh", "-c", "read x; exit", *LONG], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.slow
def test_no_line_of_a_table_or_a_tree_is_longer_than_the_terminal(
    model: list[str], pid: int, columns: int
) -> None:
    subprocess.run([*model, "attach", f"jobs:/a/{PAST}", str(pid)], check=True)
    for words in (
        ("subsys",),
        ("hierarchies",),
        ("tree",),
        ("ps", f"jobs:/a/{PAST}"),
        ("where", str(pid)),
        ("stat", "jobs:/"),
        ("beancounters",),
        ("doctor",),
    ):
        lines = plain(on_terminal([*model, *words], columns))
        assert lines, words
        for line in lines:
            if not (words == ("tree",) and line.startswith("jobs:")):  # see the next test
                assert cell_len(line) <= columns, words
            assert line == line.rstrip(), words


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.slow
def test_folded_columns_keep_all_of_their_text(model: list[str], pid: int, columns: int) -> None:
    subprocess.run([*model, "attach", "jobs:/a", str(pid)], check=True)
    shown = "".join(plain(on_terminal([*model, "ps", "jobs:/a"], columns)))
    assert "".join(LONG).replace(" ", "") in shown.replace(" ", "")
    shown = "".join(plain(on_terminal([*model, "tree", "jobs:/a"], columns))).replace(" ", "")
    assert re.sub("[│├└─]", "", shown).count(PAST) >= 2


@pytest.mark.slow
def test_a_tree_that_is_too_deep_for_the_terminal_is_printed_by_path(model: list[str]) -> None:
    place = "jobs:/" + "/".join(f"d{number}" for number in range(12))
    subprocess.run([*model, "create", "-p", "-i", place], check=True)
    lines = plain(on_terminal([*model, "tree", "jobs:/d0"], 60))
    assert lines[-1].startswith(f"{place}  tasks=0")


@pytest.mark.parametrize(
    ("needed", "folds", "width", "wanted"),
    [
        ([5, 30], [False, True], 80, [5, 30]),
        ([5, 30], [False, True], 30, [5, 23]),
        ([5, 30], [False, False], 30, []),
        ([5, 30, 100], [False, True, True], 80, [5, 30, 41]),
        ([5, 60, 100], [False, True, True], 80, [5, 35, 36]),
        ([100, 5, 60], [True, False, True], 80, [36, 5, 35]),
        ([30, 30], [False, True], 30 + GAP + NARROWEST, [30, NARROWEST]),
        ([30, 30], [False, True], 30 + GAP + NARROWEST - 1, []),
        ([30, 4], [False, True], 30 + GAP + 4, [30, 4]),
    ],
)
def test_the_longest_columns_are_folded_first(
    needed: list[int], folds: list[bool], width: int, wanted: list[int]
) -> None:
    assert column_widths(needed, folds, width) == wanted


def test_every_column_that_may_be_folded_is_one_of_a_table() -> None:
    assert {title for columns in COLUMNS.values() for title, _ in columns} >= FOLDING


# Waiting


@pytest.mark.slow
def test_stat_measures_the_load_only_with_a_window(model: list[str]) -> None:
    def load(*words: str) -> object:
        out = subprocess.run(
            [*model, "stat", "jobs:/", "--json", *words], capture_output=True, check=True
        ).stdout
        return json.loads(out)["result"][0]["load"]

    began = time.monotonic()
    assert load() is None
    assert time.monotonic() - began < 8  # the old window had ten seconds
    assert isinstance(load("--window", "0.05"), float)


@pytest.mark.parametrize(
    "words", [("stat", "jobs:/"), ("get", "jobs:/", "cpuacct.load")], ids=lambda words: words[0]
)
@pytest.mark.slow
def test_a_command_that_takes_more_than_a_second_shows_progress(
    model: list[str], words: tuple[str, ...]
) -> None:
    text = on_terminal([*model, *words, "--window", "1.6"])
    assert re.search(r"\r\x1b\[Kworking: 1 s", text)
    _, wiped, after = text.rpartition("\r\x1b[K")
    assert wiped
    assert "working" not in after
    assert after.strip()


def test_a_step_that_takes_more_than_a_second_shows_progress() -> None:
    script = """
import time
from pcont import signals
from pcont.output.progress import ProgressBar
progress = ProgressBar()
signals.at_each_check(progress.beat)
progress(0, 2)
end = time.monotonic() + 1.5
while time.monotonic() < end:
    signals.check()
    time.sleep(0.01)
progress.close()
"""
    text = on_terminal([sys.executable, "-c", script])
    assert "step 1 of 2: 1 s" in text
    assert 2 <= text.count("step 1 of 2") <= 5
    assert text.endswith("\r\x1b[K")


def test_a_batch_shows_how_many_lines_are_done(model: list[str], tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    lines.write_text("get jobs:/ notify_on_release\nstat jobs:/ --window 1.6\ntree jobs:/\n")
    text = on_terminal([*model, "batch", str(lines)])
    assert re.search(r"\r\x1b\[Kline 2 of 3: 1 s", text)
    assert text.startswith("0\r\n"), "a result is printed at once"
    assert "line" not in text.rpartition("\r\x1b[K")[2]


@pytest.mark.slow
def test_a_command_that_is_quick_shows_no_progress(model: list[str]) -> None:
    script = "from pcont.output.progress import ProgressBar; ProgressBar()(0, 9)"
    text = on_terminal([sys.executable, "-c", script])
    assert text == ""


@pytest.mark.slow
def test_in_a_pipe_there_is_no_progress(model: list[str]) -> None:
    words = [*model, "stat", "jobs:/", "--window", "1.2"]
    assert subprocess.run(words, capture_output=True, check=True).stderr == b""


@pytest.mark.parametrize("goal", ["demo", "test"])
def test_make_shows_what_pip_does_on_a_terminal_and_a_line_in_a_pipe(
    tmp_path: Path, goal: str
) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "ran $*"\n')
    python.chmod(0o755)
    (tmp_path / "pip").touch()
    here = Path(__file__).parents[2]
    words = ["make", "-C", str(here), f"VENV={tmp_path}", f"PYTHON={python}", f"{tmp_path}/{goal}"]
    shown = on_terminal(words)
    assert "installing pcont" in shown
    assert "ran -m pip install --disable" in shown
    (tmp_path / goal).unlink()
    quiet = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "installing pcont" in quiet
    assert "ran -m pip install --quiet --disable" in quiet
