"""The errno table of cgroup v2: the refusals that a walk is to meet, and which answer is in which
row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.differential.steps import Step

ERRNO = re.compile(r"\b(E[A-Z0-9]{3,})\b")
INVALID = "exit 7"  # pcont reads the file back
LIMITS = ("memory.max", "memory.high", "memory.low", "memory.min")
SWITCHES = (
    *("cgroup.max.depth", "cgroup.max.descendants", "cgroup.freeze", "cgroup.kill"),
    "cgroup.pressure",
)
LISTS = ("cpuset.cpus", "cpuset.cpus.exclusive")


@dataclass(frozen=True)
class Act:
    """What a step does to a file or a container, with which text."""

    file: str
    text: str = ""


@dataclass(frozen=True)
class Row:
    """A refusal: of which files or acts, with which errno; `holds`: for which texts."""

    files: tuple[str, ...]
    errno: str
    what: str
    holds: Callable[[str], bool] = lambda text: True

    def __str__(self) -> str:
        return f"{self.files[0]} {self.errno}: {self.what}"

    def has(self, act: Act, errno: str) -> bool:
        """Whether an act that was refused with an errno is in this row."""
        return act.file in self.files and errno == self.errno and self.holds(act.text)


def _enables(text: str) -> bool:
    return "+" in text


ROWS = (
    Row(("cgroup.procs",), "EBUSY", "controllers are enabled for the children"),
    Row(("cgroup.procs",), "EOPNOTSUPP", "the target is domain invalid"),
    Row(("cgroup.kill",), "EOPNOTSUPP", "the container is threaded"),
    Row(("cgroup.threads",), "EOPNOTSUPP", "the thread is of another subtree"),
    Row(("cgroup.procs",), "ESRCH", "no such task"),
    Row(("cgroup.procs",), "EINVAL", "a kernel thread, or no number"),
    Row(("cgroup.procs",), "", "a zombie is taken, and does not move"),
    Row(("held",), "ENODEV", "the container was removed"),
    Row(("cgroup.type",), "EOPNOTSUPP", "tasks, controllers or the parent keep it from threads"),
    Row(("cgroup.type",), "EINVAL", "anything but threaded"),
    Row(("cgroup.subtree_control",), "ENOENT", "not in cgroup.controllers", _enables),
    Row(("cgroup.subtree_control",), "EINVAL", "an unknown word"),
    Row(("cgroup.subtree_control",), "EBUSY", "+: tasks are in it, or in a child", _enables),
    Row(("cgroup.subtree_control",), "EOPNOTSUPP", "threads, or an invalid domain", _enables),
    Row(
        ("cgroup.subtree_control",),
        "EBUSY",
        "-: a child enables it",
        lambda text: not _enables(text),
    ),
    Row(("mkdir",), "EAGAIN", "cgroup.max.depth or cgroup.max.descendants"),
    Row(("mkdir",), "EEXIST", "the name is in use"),
    Row(("rmdir",), "EBUSY", "tasks or children"),
    Row(SWITCHES, "ERANGE", "out of range"),
    Row(SWITCHES, "EINVAL", "no number"),
    Row(LISTS, "ERANGE", "a CPU beyond the machine"),
    Row(LISTS, "EINVAL", "no list"),
    Row(("cpuset.mems",), "EINVAL", "an absent node, or no list"),
    Row(("cpuset.cpus", "cpuset.mems"), "ENOSPC", "emptied while tasks are in it or below"),
    Row(("cpuset.cpus.partition",), "EINVAL", "no word of the kernel"),
    Row(("cpuset.cpus.partition",), INVALID, "taken, and cannot be satisfied"),
    Row(("cpu.max",), "EINVAL", "quota or period out of range"),
    Row(("cpu.weight",), "ERANGE", "outside 1 to 10000"),
    Row(("cpu.weight",), "EINVAL", "no number, or cpu.idle is 1"),
    Row(("cpu.weight.nice", "cpu.idle"), "ERANGE", "out of range"),
    Row(("cpu.weight.nice", "cpu.idle"), "EINVAL", "no number"),
    Row(("pids.max",), "EINVAL", "out of range, or no number"),
    Row(("fork",), "EAGAIN", "pids.max is reached"),
    Row(LIMITS, "EINVAL", "negative, MB, or no number"),
    Row(("io.max",), "EINVAL", "no device"),
    Row(("misc.max", "rdma.max"), "EINVAL", "no such resource"),
    Row(("cpu.pressure",), "EINVAL", "the window of a trigger is too short"),
)

# Rows of the table that no walk can meet, with why.
WALKS_AS_ROOT = "a walk is root, and the model does not ask for owners"
OUT_OF_REACH = {
    "cgroup.procs EACCES: the common ancestor cannot be written": WALKS_AS_ROOT,
    "any file EACCES: not the caller's": WALKS_AS_ROOT,
    "cgroup.procs read EOPNOTSUPP: threaded": "the driver reads the threads there, and a walk sees "
    "their processes after each step",
    "mkdir EINVAL: a newline in the name": "pcont and its backends refuse such a name themselves",
    "rename EPERM": "pcont has no command that renames, and no backend has such a call",
    "memory.reclaim EAGAIN": "the model charges no memory, so all can be reclaimed",
    "io.max ENODEV, ERANGE; io.weight EOPNOTSUPP": "the guest of a walk has no disk",
}


def rows_of(step: Step, answer: str, is_zombie: bool) -> Iterator[Row]:
    """Yield the rows that a step has met, given what it answered."""
    acts = list(_acts(step))
    for number in _errnos(step, answer):
        for row in ROWS:
            if any(row.has(act, number) for act in acts) and (number or is_zombie):
                yield row


def _errnos(step: Step, answer: str) -> list[str]:
    if step.verb == "pcont":
        if answer.startswith("exit 0"):
            return []
        found = ERRNO.findall(answer) or ([INVALID] if answer.startswith("exit 7") else [])
        return [_named(one) for one in found[:1]]
    first = answer.partition(" ")[0]
    return [_named(first)] if ERRNO.fullmatch(first) else [""]


def _named(number: str) -> str:
    return "EOPNOTSUPP" if number == "ENOTSUP" else number


def _acts(step: Step) -> Iterator[Act]:
    args = step.args
    if step.verb == "write":
        yield Act(args[1], args[2])
    elif step.verb == "attach":
        yield Act(args[1])
    elif step.verb == "enter":
        yield Act("cgroup.procs")
    elif step.verb in ("hold", "go_on"):
        yield from (Act("held"), Act("cgroup.procs"))
    elif step.verb in ("make", "remove"):
        yield Act("mkdir" if step.verb == "make" else "rmdir")
    elif step.verb in ("fork", "thread"):
        yield Act("fork")
    elif step.verb == "pcont":
        yield from _acts_of_command(args)


def _acts_of_command(words: tuple[str, ...]) -> Iterator[Act]:
    verb = words[0]
    if verb == "create":
        yield Act("mkdir")
    if verb in ("attach", "move"):
        yield Act("cgroup.threads" if "--thread" in words else "cgroup.procs")
    if verb == "rm":
        yield Act("rmdir")
    if verb in ("create", "set"):
        for word in words[1:]:
            key, equals, text = word.partition("=")
            if equals:
                yield Act(key, text)
