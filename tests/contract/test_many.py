"""Many at once, and in the middle of it: two shells, signals, and users without permission."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pcont import subsys
from tests.conftest import IN_GUEST
from tests.contract.conftest import Jobs, Pcont, eventually
from tests.contract.test_containers import there

OPERATIONS = 60 if IN_GUEST else 1000
NAMES = [f"/{letter}{rest}" for letter in "abc" for rest in ("", "/x", "/y")]


def shell(jobs: Jobs, seed: int, log: Path, pids: list[int]) -> None:
    """One shell's share: random operations, each written down with its time and its outcome."""
    dice = random.Random(seed)
    with open(log, "w") as stream:
        for _ in range(OPERATIONS):
            path = dice.choice(NAMES)
            words = dice.choices(
                [
                    ["create", "-i", jobs.at(path)],
                    ["rm", jobs.at(path)],
                    ["attach", jobs.at(path), str(dice.choice(pids))],
                    ["attach", jobs.at("/"), str(dice.choice(pids))],
                ],
                weights=[4, 3, 2, 2],
            )[0]
            result = jobs.pcont(*words)
            stream.write(json.dumps([time.monotonic(), words, result.status, result.err]) + "\n")


@pytest.mark.slow
def test_two_shells_at_once_on_the_same_names(
    jobs: Jobs, start: Callable[..., int], tmp_path: Path
) -> None:
    seed = int(os.environ.get("PCONT_SEED", random.SystemRandom().randrange(1 << 32)))
    print("PCONT_SEED", seed)
    pids = [start(), start()]
    jobs.pcont.ok("attach", jobs.at("/"), *map(str, pids))
    shells = []
    for number in range(2):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                shell(jobs, seed + number, tmp_path / f"log{number}", pids)
                status = 0
            finally:
                os._exit(status)
        shells.append(child)
    for child in shells:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    _judge(jobs, tmp_path)


def _judge(jobs: Jobs, tmp_path: Path) -> None:
    """Reasons were true, no tree is out of step, and the last success about a name shows."""
    events = []
    for number in range(2):
        with open(tmp_path / f"log{number}") as stream:
            events += [json.loads(line) for line in stream]
    assert len(events) == 2 * OPERATIONS
    reasons = {3: ("there is no",), 5: ("exists", "tasks are in it", "containers are in it")}
    for _, words, status, err in events:
        assert status in (0, 3, 5), (words, status, err)
        if status:
            assert any(reason in err for reason in reasons[status]), (words, err)
    made, gone = (
        {
            path: sum(
                1
                for _, words, status, _ in events
                if not status and words[:1] == [verb] and words[-1] == jobs.at(path)
            )
            for path in NAMES
        }
        for verb in ("create", "rm")
    )
    left = set(there(jobs))
    for path in NAMES:
        # Creations and removals of a name take turns, so that their numbers tell what is left.
        assert made[path] - gone[path] == (1 if path in left else 0), path
    assert sum(made.values()) > OPERATIONS / 10
    (top,) = json.loads(jobs.pcont.ok("tree", jobs.at("/"), "--json"))["result"]
    assert not any(node["missing"] for node in _flat(top))


def _flat(node: dict[str, object]) -> list[dict[str, object]]:
    children: list[dict[str, object]] = node["children"]  # type: ignore[assignment]
    return [node, *(one for child in children for one in _flat(child))]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_a_signal_in_the_middle_leaves_the_host_as_it_was(
    jobs: Jobs, number: signal.Signals
) -> None:
    count = 150 if IN_GUEST else 3000
    places = [jobs.at(f"/n{number}") for number in range(count)]
    words = [sys.executable, "-m", "pcont", *jobs.pcont.words, "create", "-i", *places]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        if "model" in jobs.pcont.words:
            lock = Path(f"{jobs.pcont.words[3]}.lock")  # it names the process that has it
            assert eventually(lambda: lock.read_text().startswith(f"{process.pid}\n"))
        else:
            assert eventually(lambda: len(there(jobs)) > 20)
        process.send_signal(number)
        _, err = process.communicate()
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        assert process.returncode in (128 + number, -number), err
        assert "Traceback" not in err
        assert there(jobs) == ["/"]
    else:
        assert len(there(jobs)) == count + 1


@pytest.mark.kernel
def test_an_ordinary_user_reads_and_is_refused_with_a_hint(
    kernel: Pcont, name: str, start: Callable[..., int]
) -> None:
    user = Pcont(kernel.words, uid=65534)
    pid = start()
    kernel.ok("mount", "-o", "none", "--name", name)
    try:
        kernel.ok("create", f"{name}:/a")
        kernel.ok("attach", f"{name}:/a", str(pid))
        assert user.get(f"{name}:/a", "notify_on_release") == "0"
        assert "tasks=1" in user.ok("tree", name)
        assert "sleep" in user.ok("ps", f"{name}:/a")
        assert f"{name}\t/a\tin" in user.ok("where", str(pid))
        assert name in user.ok("hierarchies")
        user.ok("subsys")
        user.ok("doctor")
        before = kernel.paths(pid)
        for words in (
            ["create", f"{name}:/b"],
            ["rm", f"{name}:/a"],
            ["rm", "--evict", f"{name}:/a"],
            ["attach", f"{name}:/", str(pid)],
            ["set", f"{name}:/a", "notify_on_release=1"],
            ["mount", "-o", "none", "--name", f"{name}-u", f"/tmp/{name}-u"],
            ["umount", name],
        ):
            said = user.fails(4 if words[0] != "rm" or "--evict" in words else 5, *words)
            if words[0] != "rm":
                assert "sudo" in said, words
                assert "--backend model" in said, words
        assert kernel.paths(pid) == before
        assert kernel.children(name) == ["a"]
    finally:
        kernel.ok("rm", "-r", "--evict", f"{name}:/a")
        kernel.ok("umount", name)
        assert not os.path.exists(f"/tmp/{name}-u")


@pytest.mark.kernel
@pytest.mark.quick
def test_the_host_has_what_pcont_says_it_has(kernel: Pcont) -> None:
    with open("/proc/self/cgroup") as stream:
        trees = {line.split(":")[1] for line in stream if not line.startswith("0:")}
    with open("/proc/self/mountinfo") as stream:
        trees |= {"unified" for line in stream if " - cgroup2 " in line}
    found = json.loads(kernel.ok("hierarchies", "--json"))["result"]
    assert {row["trees"][0]["id"] for row in found} == trees
    with open("/proc/cgroups") as stream:
        names = [line.split()[0] for line in stream if not line.startswith("#")]
    found = json.loads(kernel.ok("subsys", "--json"))["result"]
    assert [one["name"] for one in found] == [*names, *subsys.virtual_names()]
