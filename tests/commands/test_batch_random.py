"""batch: random lines have the same effect and the same messages as single commands."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest

from tests.contract.conftest import Pcont, Result, command_line

# A failure prints PCONT_SEED: set it, and run the same test again.
SEEDS = (
    [int(os.environ["PCONT_SEED"])]
    if "PCONT_SEED" in os.environ
    else [*range(8), *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(8, 80))]
)
LINES = 40
PATHS = ("/a", "/b", "/a/x", "/a/y", "/b/x", "/a/x/deep", "/c d")
KEYS = ("pids.max=7", "pids.max=max", "pids.max=no", "notify_on_release=1", "cpuset.cpus=0")
BEFORE = (
    "mount -o pids,cpuset --name jobs",
    "sim fork --count 3",
    "create -i jobs:/a jobs:/b",
)


def quoted(place: str) -> str:
    return f"'{place}'" if " " in place else place


def a_line(draw: random.Random) -> str:
    """A command that changes or shows something; it often fails."""
    place, other = (quoted(f"jobs:{draw.choice(PATHS)}") for _ in range(2))
    task = 5_000_000 + draw.randrange(4)
    return draw.choice(
        (
            *(f"create {place}", f"create -p {place} {other}", f"create -i {place}"),
            *(f"create {place} -s {draw.choice(KEYS)}", f"create -i {place} -s pids.max=5"),
            *(f"rm {place}", f"rm -r {place}", f"rm -f {place} {other}", f"rm -r --evict {place}"),
            *(f"set {place} {draw.choice(KEYS)}", f"set {place} auto_delete=1"),
            *(f"attach {place} {task}", f"attach --thread {place} {task}"),
            *(f"move {place} {other}", f"get {place} pids.max", f"ps {place}", f"tree {place}"),
            *("mount -o freezer --name ice", "umount ice", "create ice:/f", f"where {task}"),
            *("bind ice cpuacct", "unbind ice cpuacct --yes", "hierarchies", "rm -r --kill ice:/f"),
            *("sim fork", f"sim exit {task}", "mount --tie --name tied -o pids", "umount tied"),
        )
    )


def lines_of(seed: int, count: int = LINES) -> list[str]:
    """Random lines; some are repeated as people do, with other places."""
    draw = random.Random(seed)
    found: list[str] = []
    while len(found) < count:
        line = a_line(draw)
        found += [line.replace("/x", name) for name in ("/x", "/y", "/x")[: draw.choice((1, 1, 3))]]
    return found[:count]


def without_times(text: str) -> str:
    """The text without how long a move took."""
    return re.sub(r"[0-9.]+ s$", "", text, flags=re.MULTILINE)


def model(folder: Path, name: str) -> Pcont:
    (folder / name).mkdir()
    pcont = command_line("model", folder / name)
    for line in BEFORE:
        pcont.ok(*words(line))
    return pcont


def words(line: str) -> list[str]:
    import shlex

    return shlex.split(line)


def single(pcont: Pcont, lines: list[str], keep_going: bool, *, dry: bool = False) -> Result:
    """The lines as commands of their own, with the messages that a batch would print."""
    out, err, status, failed = "", "", 0, 0
    for number, line in enumerate(lines, 1):
        option = ["--dry-run"] if dry and _changes(line) else []
        found = pcont(*words(line), *option)
        if dry and _changes(line):
            out += found.out
            found = Result(found.status, "", found.err)
            if not found.status:
                pcont(*words(line))
        elif not dry:
            out += found.out
        err += re.sub("^pcont: (note: |)", rf"pcont: \1lines:{number}: ", found.err, flags=re.M)
        if found.status:
            status, failed = status or found.status, failed + 1
            if not keep_going:
                return Result(status, out, err)
    if failed:
        err += f"pcont: note: lines: {failed} of {len(lines)} lines failed\n"
    return Result(status, out, err)


def _changes(line: str) -> bool:
    return words(line)[0] not in ("get", "ps", "tree", "where", "hierarchies")


def batch(pcont: Pcont, folder: Path, lines: list[str], *options: str) -> Result:
    file = folder / "lines"
    file.write_text("\n".join(lines) + "\n")
    found = pcont("batch", *options, str(file))
    return Result(found.status, found.out, found.err.replace(str(file), "lines"))


def by_line(text: str) -> list[str]:
    """Notes of a group have the numbers of its first and last line."""
    return [re.sub(r"note: lines:[0-9-]+", "note: lines", one) for one in text.splitlines()]


def state(pcont: Pcont) -> str:
    shown = pcont.ok("tree", "--json") + pcont.ok("hierarchies", "--json")
    return shown + "".join(
        pcont("sim", "proc", f"{task}/cgroup").out for task in range(5_000_000, 5_000_020)
    )


def without_counts(text: str) -> str:
    """The state without the number of tasks in root containers, which real tasks change."""
    return re.sub(r'("path": "/", [^{}\[\]]*?"tasks": )[0-9]+', r"\1N", text)


def at_the_mount(text: str) -> str:
    """The text with paths in place of `TREE:`, for hierarchies that are not mounted yet.

    A dry run of one command does not know the path there; one of a batch does.
    """
    # The dry run of one `bind` also plans the root of a tree that it would mount.
    text = re.sub(r"^mkdir [a-z]+:\n", "", text, flags=re.MULTILINE)
    return re.sub(r"(?<= )(?:[a-z,]+,)?(?:name=)?([a-z]+):(?=[\s/]|$)", r"/sys/fs/cgroup/\1", text)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("keep_going", [True, False], ids=["keep-going", "stop"])
def test_random_lines_do_what_the_single_commands_do(
    seed: int, keep_going: bool, tmp_path: Path
) -> None:
    print(f"PCONT_SEED={seed}")
    lines = lines_of(seed)
    one, other = model(tmp_path, "single"), model(tmp_path, "batch")
    wanted = single(one, lines, keep_going)
    found = batch(other, tmp_path, lines, *["--keep-going"] * keep_going)
    print("\n".join(f"{number}: {line}" for number, line in enumerate(lines, 1)))
    assert by_line(found.err) == by_line(wanted.err)
    assert without_times(found.out) == without_times(wanted.out)
    assert found.status == wanted.status
    assert without_counts(state(other)) == without_counts(state(one))


@pytest.mark.parametrize("seed", SEEDS)
def test_an_atomic_batch_of_random_lines_does_all_or_nothing(seed: int, tmp_path: Path) -> None:
    print(f"PCONT_SEED={seed}")
    lines = [line for line in lines_of(seed) if not line.startswith("sim") and "kill" not in line]
    lines = lines[: random.Random(seed).randint(2, 14)]
    one, other = model(tmp_path, "single"), model(tmp_path, "batch")
    before = state(other)
    wanted, found = single(one, lines, False), batch(other, tmp_path, lines, "--atomic")
    print("\n".join(lines))
    assert found.status == wanted.status
    after = state(one) if not wanted.status else before
    assert without_counts(state(other)) == without_counts(after)


def test_a_dry_run_reports_the_tasks_that_would_leave_a_tie_as_a_single_one_does(
    tmp_path: Path,
) -> None:
    lines = ["mount --tie --name tied -o pids", "create -i jobs:/a/x", "attach jobs:/b 5000000"]
    one, other = model(tmp_path, "single"), model(tmp_path, "batch")
    wanted = single(one, lines, False, dry=True)
    assert "task 5000000 would be outside of tied" in wanted.err
    assert batch(other, tmp_path, lines, "--dry-run").err == wanted.err


@pytest.mark.parametrize("seed", SEEDS)
def test_a_dry_run_of_random_lines_takes_earlier_lines_into_account(
    seed: int, tmp_path: Path
) -> None:
    print(f"PCONT_SEED={seed}")
    # A dry run does not know which containers auto_delete removes.
    lines = [line for line in lines_of(seed) if not re.match("sim|.*auto_delete", line)]
    one, other = model(tmp_path, "single"), model(tmp_path, "batch")
    before = state(other)
    wanted = single(one, lines, True, dry=True)
    found = batch(other, tmp_path, lines, "--dry-run", "--keep-going")
    print("\n".join(f"{number}: {line}" for number, line in enumerate(lines, 1)))
    # The dry run of one command cannot look into a container that it would make.
    unseen = re.compile("pcont: note: .* a task may enter only")
    messages = [one for one in by_line(found.err) if not unseen.match(one)]
    assert at_the_mount("\n".join(messages)) == at_the_mount("\n".join(by_line(wanted.err)))
    assert at_the_mount(found.out) == at_the_mount(wanted.out)
    assert without_counts(state(other)) == without_counts(before)
