"""What it costs to start one command, beside bare Python, `import click`, and other tools.

The commands run on the kernel and on a model in a file. What they change is restored between them.
"""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pcont
from benchmarks.kernel import Tree, containers, remove_directory, sleepers
from benchmarks.measure import Contender
from benchmarks.results import Bench, Row

KERNEL, MODEL = "start-up on the kernel", "start-up on the model"
PCONT = [str(Path(sys.executable).parent / "pcont")]
TRIES = 5  # of other tools
REFERENCES = {
    "python -c pass": Contender([sys.executable, "-c", "pass"]),
    "import click": Contender([sys.executable, "-c", "import click"]),
}
# Of these, the shell asks for a word: `pcont get pids:/ pids.m` and the tabulator.
COMPLETION = {
    "_PCONT_COMPLETE": "bash_complete",
    "COMP_WORDS": "pcont hier",
    "COMP_CWORD": "1",
}
WITHOUT_WORK = {
    **REFERENCES,
    "get --help": Contender([*PCONT, "get", "--help"]),
    "completion of a word": Contender(PCONT, environment=COMPLETION),
}


def compile_modules() -> None:
    """Compile the package, as an installation does."""
    compileall.compile_dir(Path(pcont.__file__).parent, quiet=2)


def on_the_kernel(bench: Bench) -> Iterator[Row]:
    """Commands on a container of pids, and the tools of libcgroup and cset that do the same."""
    compile_modules()
    with containers("pids") as (tree,), sleepers(1) as (pid,):
        os.mkdir(f"{tree.directory}/a")
        found = {**WITHOUT_WORK, **commands_of_pcont(tree, pid), **commands_of_others(tree, pid)}
        yield from bench.whole(KERNEL, found)


def commands_of_pcont(tree: Tree, pid: int, file: str = "pids.max") -> dict[str, Contender]:
    """The commands by their names in the table. `file`: what is read and set."""
    place, new = f"{tree.place}/a", f"{tree.directory}/new"

    def command(*words: str) -> Contender:
        return Contender([*PCONT, *words])

    return {
        "get": command("get", place, file),
        "get of a container": command("get", place),
        "set": command("set", place, f"{file}=100"),
        "create": Contender(
            [*PCONT, "create", f"{tree.place}/new"], after=partial(remove_directory, new)
        ),
        "rm": Contender([*PCONT, "rm", f"{tree.place}/new"], before=partial(os.mkdir, new)),
        "attach": Contender([*PCONT, "attach", place, str(pid)], before=partial(away, tree, pid)),
        "run -- true": command("run", place, "--", "true"),
        "where": command("where", str(pid)),
        "ps": command("ps", place),
        "tree": command("tree", tree.place),
        "hierarchies": command("hierarchies"),
    }


def commands_of_others(tree: Tree, pid: int) -> dict[str, Contender]:
    """What other tools have for the same, as far as they are installed."""
    group, new = f"pids:{tree.path}/a", f"{tree.directory}/new"
    found = {
        "cgget": Contender(["cgget", "-r", "pids.max", f"{tree.path}/a"]),
        "cgset": Contender(["cgset", "-r", "pids.max=100", f"{tree.path}/a"]),
        "cgcreate": Contender(
            ["cgcreate", "-g", f"pids:{tree.path}/new"], after=partial(remove_directory, new)
        ),
        "cgclassify": Contender(
            ["cgclassify", "-g", group, str(pid)], before=partial(away, tree, pid)
        ),
        "cgexec true": Contender(["cgexec", "-g", group, "true"]),
        "lscgroup": Contender(["lscgroup", group]),
        "cset set --list": Contender(["cset", "set", "--list"]),
    }
    return {
        name: replace(one, tries=TRIES) for name, one in found.items() if shutil.which(one.words[0])
    }


def away(tree: Tree, pid: int) -> None:
    """Put a process back into the root container."""
    Path(tree.root, "cgroup.procs").write_text(str(pid))


def on_the_model(bench: Bench) -> Iterator[Row]:
    """Commands on a small model in a file."""
    compile_modules()
    state = str(Path(bench.folder, "start.json"))
    model = [*PCONT, "--backend", "model", "--state", state]

    def run(*words: str) -> None:
        subprocess.run([*model, *words], check=True, capture_output=True)

    run("mount", "-o", "cpuset,cpuacct", "--name", "jobs")
    run("create", "-i", "jobs:/a")
    lines = {
        "get": "get jobs:/ cpuset.cpus",
        "get, by a subsystem": "get cpuset:/ cpuset.cpus",
        "set": "set jobs:/ notify_on_release=0",
        "attach": f"attach jobs:/a {os.getpid()}",
        "run -- true": "run jobs:/a -- true",
        "where": f"where {os.getpid()}",
        "ps": "ps jobs:/a",
        "tree": "tree jobs:/",
        "hierarchies": "hierarchies",
    }
    found = {name: Contender([*model, *line.split()]) for name, line in lines.items()}
    found["create"] = Contender(
        [*model, "create", "jobs:/new"], after=partial(run, "rm", "jobs:/new")
    )
    yield from bench.whole(MODEL, {**REFERENCES, **found})
