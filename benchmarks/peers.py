"""The tools that pcont is measured beside: libcgroup's, cset, and the Python library cgroupspy.

`install` installs them, and every function returns what is installed. cset knows only cpuset, so
it works in the hierarchy of cpuset. It does one container in each process, and cgroupspy compares
each new container with all others: they do fewer items. What cset does with a thread takes longer,
the more threads there are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib import metadata, util
from pathlib import Path

from benchmarks import kernel
from benchmarks.kernel import Tree
from benchmarks.measure import Contender, python_loop
from benchmarks.startup import TRIES
from tests.vm.prepare import NotPrepared, missing
from tests.vm.prepare import install as install_packages

PACKAGES = {"cgroup-tools": "cgcreate", "cpuset": "cset"}
LIBRARY = "cgroupspy"
SLOW, QUADRATIC = 5, 200  # the most containers of cset, and of cgroupspy
MOST_THREADS = 1000  # of cset, which takes 10 s for 4,000 threads

Contenders = dict[str, Contender]


def install() -> None:
    """Install the Debian packages that are missing. Raises NotPrepared if that is not possible.

    cgroupspy is one of the dependencies `bench` of pcont.
    """
    lacking = [package for package, tool in PACKAGES.items() if not shutil.which(tool)]
    if lacking and shutil.which("dpkg-query") is None:
        raise NotPrepared("the peers are packages of Debian; --no-peers measures without them")
    install_packages(missing(*lacking) if lacking else [])


def begin() -> None:
    """Begin a benchmark on the kernel, with the peers: `kernel.begin`, then `install`."""
    kernel.begin()
    try:
        install()
    except NotPrepared as err:
        sys.exit(str(err))


def versions() -> dict[str, str]:
    """The version of each peer that is installed."""
    found = {}
    for package, tool in PACKAGES.items():
        if shutil.which(tool):
            words = ["dpkg-query", "--show", "--showformat=${Version}", package]
            shown = subprocess.run(words, capture_output=True, text=True)
            found[package] = shown.stdout or "unknown"
    if util.find_spec(LIBRARY):
        found[LIBRARY] = metadata.version(LIBRARY)
    return found


def _if_installed(tool: str, name: str, contender: Contender) -> Contenders:
    there = util.find_spec(LIBRARY) if tool == LIBRARY else shutil.which(tool)
    return {name: replace(contender, tries=TRIES)} if there else {}


def _cgroupspy(
    name: str, given: Sequence[str], *words: str, items: int | None = None
) -> Contenders:
    loop = python_loop(LIBRARY + "_loop", name, *words, packages=True)
    return _if_installed(LIBRARY, LIBRARY, Contender(loop, "\n".join(given), items=items))


def create(tree: Tree, cpuset: Tree, number: int, values: Sequence[str]) -> Contenders:
    """Create so many containers with two values each."""
    groups = [f"-g{tree.controller}:{tree.path}/c{one}" for one in range(number)]
    settings = " ".join(f"-r {value}" for value in values)
    script = f'cgcreate "$@" && cgset {settings} "${{@#-g{tree.controller}:}}"'
    some, few = min(number, QUADRATIC), min(number, SLOW)
    return {
        **_if_installed(
            "cgcreate", "cgcreate, cgset", Contender(["bash", "-c", script, "bash", *groups])
        ),
        **_cgroupspy(
            "create", [f"c{one}" for one in range(some)], *_node(tree), *values, items=some
        ),
        **_if_installed("cset", "cset set", _cset_create(cpuset, few)),
    }


def _cset_create(cpuset: Tree, number: int) -> Contender:
    script = 'for one in "$@"; do cset set --cpu=0 --mem=0 --set="$one" || exit; done'
    names = [f"{cpuset.path}/c{one}" for one in range(number)]
    words = ["bash", "-c", script, "bash", *names]
    return Contender(words, before=cpuset.clear, after=cpuset.clear, items=number)


def remove(tree: Tree, cpuset: Tree, number: int) -> Contenders:
    """Remove the container `top` with so many others below it."""
    some, few = min(number, QUADRATIC), min(number, SLOW)
    names = [f"c{one}" for one in range(some)]
    found = {
        **_if_installed(
            "cgdelete",
            "cgdelete -r",
            Contender(["cgdelete", "-r", "-g", f"{tree.controller}:{tree.path}/top"]),
        ),
        **_cgroupspy("remove", names, *_node(tree), items=some),
        **_if_installed("cset", "cset set --destroy", _cset_remove(cpuset, few)),
    }
    if LIBRARY in found:
        before = partial(make_below, f"{tree.directory}/top", some)
        found[LIBRARY] = replace(found[LIBRARY], before=before, after=tree.clear)
    return found


def _cset_remove(cpuset: Tree, number: int) -> Contender:
    top = f"{cpuset.path}/top"
    words = ["cset", "set", "--destroy", "--recurse", "--force", f"--set={top}"]
    before = partial(make_below, f"{cpuset.directory}/top", number)
    return Contender(words, before=before, after=cpuset.clear, items=number)


def make_below(top: str, number: int) -> None:
    """Make a container with so many below it."""
    os.mkdir(top)
    for one in range(number):
        os.mkdir(f"{top}/c{one}")


def show(tree: Tree) -> Contenders:
    """Show all containers below one."""
    return {
        **_if_installed(
            "lscgroup", "lscgroup", Contender(["lscgroup", f"{tree.controller}:{tree.path}"])
        ),
        **_cgroupspy("walk", [], *_node(tree)),
    }


def attach(trees: Sequence[Tree], cpuset: Tree, pids: Sequence[int], number: int) -> Contenders:
    """Attach processes with so many tasks to the container of each tree."""
    words = list(map(str, pids))
    groups = [word for tree in trees for word in ("-g", f"{tree.controller}:{tree.path}")]
    found = _if_installed("cgclassify", "cgclassify", Contender(["cgclassify", *groups, *words]))
    if len(trees) == 1:
        found |= _cgroupspy("attach", words, *_node(trees[0]))
    if len(trees) == 1 and number <= MOST_THREADS:
        to = f"--toset={cpuset.path}/to"
        move = ["cset", "proc", "--move", "--threads", f"--pid={','.join(words)}", to]
        found |= _if_installed("cset", "cset proc", Contender(move, before=_back(cpuset, pids)))
    return found


def move(cpuset: Tree, pids: Sequence[int]) -> Contenders:
    """Move the tasks of a container of cpuset to another one."""
    source, target = f"{cpuset.path}/from", f"{cpuset.path}/to"
    words = ["cset", "proc", "--move", f"--fromset={source}", f"--toset={target}"]
    before = _back(cpuset, pids, "/from")
    return _if_installed("cset", "cset proc", Contender(words, before=before))


def _back(cpuset: Tree, pids: Sequence[int], path: str = "") -> partial[None]:
    directory = f"{cpuset.directory}{path}" if path else cpuset.root
    return partial(put, [directory], pids)


def put(directories: Sequence[str], pids: Sequence[int]) -> None:
    """Write the processes to the containers of these directories."""
    for directory in directories:
        with Path(directory, "cgroup.procs").open("w") as file:
            for pid in pids:
                file.write(str(pid))
                file.flush()


def _node(tree: Tree) -> tuple[str, str, str]:
    """The words by which the program of cgroupspy finds a container."""
    return str(Path(tree.root).parent), Path(tree.root).name, tree.path
