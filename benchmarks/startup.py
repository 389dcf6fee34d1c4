"""Measure how long one command takes, beside bare Python and `import click`.

Each round runs every command line once, so that all meet the same load. The table has medians of
CPU time (user and system), and their ratios to `import click` in the same run. `set` writes the
value that is there; `create and rm` and `run` leave the model as it was.
"""

from __future__ import annotations

import argparse
import os
import py_compile
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import pcont

PACKAGE = Path(pcont.__file__).parent
PYTHON = [sys.executable]
PCONT = [str(Path(sys.executable).parent / "pcont")]
MODEL = [*PCONT, "--backend", "model", "--state"]


def command_lines(state: str) -> dict[str, list[str]]:
    """The command lines by their names in the table; all work on a new model in a file."""
    model = [*MODEL, state]
    return {
        "python -c pass": [*PYTHON, "-c", "pass"],
        "import click": [*PYTHON, "-c", "import click"],
        "get --help": [*PCONT, "get", "--help"],
        "get": [*model, "get", "jobs:/", "cpuset.cpus"],
        "get, by a subsystem": [*model, "get", "cpuset:/", "cpuset.cpus"],
        "set": [*model, "set", "jobs:/", "notify_on_release=0"],
        "hierarchies": [*model, "hierarchies"],
        "tree": [*model, "tree", "jobs:/"],
        "ps": [*model, "ps", "jobs:/a"],
        "where": [*model, "where", str(os.getpid())],
        "create and rm": ["sh", "-c", '"$@" create jobs:/b && "$@" rm jobs:/b', "sh", *model],
        "run": [*model, "run", "jobs:/a", "--", "true"],
    }


def cpu_time() -> float:
    """The CPU time of all processes that have ended, in milliseconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


def measured(words: list[str]) -> float:
    """Run a command line; its CPU time in milliseconds."""
    before = cpu_time()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return cpu_time() - before


def prepared(state: str) -> None:
    """Compile the package, as an installation does, and make a model with two containers."""
    for file in PACKAGE.rglob("*.py"):
        py_compile.compile(str(file), doraise=True)
    model = [*MODEL, state]
    subprocess.run(
        [*model, "mount", "-o", "cpuset,cpuacct", "--name", "jobs"], check=True, capture_output=True
    )
    subprocess.run([*model, "create", "-i", "jobs:/a"], check=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="(%(default)s)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        state = str(Path(folder, "model.json"))
        prepared(state)
        lines = command_lines(state)
        times: dict[str, list[float]] = {name: [] for name in lines}
        for _ in range(rounds):
            for name, words in lines.items():
                times[name].append(measured(words))
    click = statistics.median(times["import click"])
    print("| command | CPU ms, median | fastest | times `import click` |")
    print("| --- | --- | --- | --- |")
    for name, found in times.items():
        middle = statistics.median(found)
        print(f"| {name} | {middle:.0f} | {min(found):.0f} | {middle / click:.2f} |")


if __name__ == "__main__":
    main()
