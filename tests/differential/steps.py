"""Steps of a walk, and how they are drawn: what is likely to tell, with every rule of every file.

A step names containers by their paths and tasks by labels, so that it means the same in both sides
and still means something where steps before it are left out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from pcont.kernel.types import UNIFIED, Place, words_of
from pcont.values import ID_LIST, Ids
from tests.differential.unsure import is_unsure

SELF, KTHREADD, NO_TASK = "self", "kthreadd", "no-task"
SPECIAL = (SELF, KTHREADD, NO_TASK)
POINTS, FILE = ("m0", "m1", "m2", "m3"), "file"
MOST_TASKS, MOST_CONTAINERS = 14, 14
TRIES = 150
KINDS = (("cpuset.cpus", "cpuset.cpu_exclusive"), ("cpuset.mems", "cpuset.mem_exclusive"))

TASK_ARGUMENTS = {"attach": (2,), "kill": (0,), "hold": (2,), "go_on": (1,), "reap": (0, 1)}
LABEL = re.compile("<([^<>]+)>")  # a task in a word of a command
ABOUT_A_TASK = ("fork", "thread", "exit", "set_affinity", "affinity", "membership", "threads")


@dataclass(frozen=True)
class Step:
    """A verb of a side, and what it is given."""

    verb: str
    args: tuple[Any, ...]

    def __str__(self) -> str:
        if self.verb == "pcont":
            return shlex.join(["pcont", *self.args])
        return f"{self.verb}({', '.join(map(_show, self.args))})"

    @property
    def tasks(self) -> list[str]:
        """The tasks that must be known."""
        if self.verb == "enter":
            return list(self.args[1])
        if self.verb == "pcont":
            return [label for word in self.args for label in LABEL.findall(word)]
        at = (0,) if self.verb in ABOUT_A_TASK else TASK_ARGUMENTS.get(self.verb, ())
        return [self.args[number] for number in at if self.args[number]]

    @property
    def actors(self) -> list[str]:
        """The tasks that must be able to do something."""
        return [self.args[0]] if self.verb in ("fork", "thread", "exit") else []

    @property
    def handles(self) -> list[str]:
        """The handles that must be open."""
        return [self.args[0]] if self.verb in ("go_on", "let_go") else []


def _show(value: Any) -> str:
    if isinstance(value, Place):
        return f"{value.tree}:{value.path!r}"
    if isinstance(value, str) and len(value) > 70:
        return f"{value[:20]!r}...{value[-20:]!r} ({len(value)})"
    return ID_LIST.show(value) if isinstance(value, frozenset) else repr(value)


@dataclass
class Seen:
    """What was seen of a side after the last step."""

    sight: dict[str, Any]

    def text(self, place: Place, file: str) -> str:
        return str(self.sight.get(f"{place.tree}:{place.path} {file}", "")).rstrip("\n")

    def containers(self, tree: str = "") -> list[Place]:
        found = []
        for key in self.sight:
            if key.endswith(" children"):
                id, _, path = key.removesuffix(" children").partition(":")
                if tree in ("", id):
                    found.append(Place(id, path))
        return found

    def admits(self, place: Place) -> bool:
        """Whether there is such a container, and with CPUs and nodes if it is a cpuset."""
        lists = [f"cpuset.{kind}" for kind in ("cpus", "mems") if "cpuset" in place.controllers]
        there = f"{place.tree}:{place.path} children" in self.sight
        return there and all(self.text(place, file) for file in lists)

    def of(self, task: str) -> dict[str, Any]:
        found: dict[str, Any] = self.sight.get(f"task {task}", {"state": "gone"})
        return found

    def can_act(self, task: str) -> bool:
        """Whether it lives and is not frozen: if not, no step may wait for it."""
        at = self.of(task).get("at", {})
        places = [Place(tree, path) for tree, path in at.items()]
        return self.of(task)["state"] == "alive" and not any(map(self.may_be_frozen, places))

    def may_be_frozen(self, place: Place) -> bool:
        """Whether tasks there are frozen, as far as can be seen: unknown where it is unmounted."""
        if place.tree == UNIFIED:
            return not place.is_root and (
                self.text(place, "cgroup.freeze") == "1" or self.may_be_frozen(place.parent)
            )
        has_state = "freezer" in place.controllers and not place.is_root
        return has_state and self.text(place, "freezer.state") != "THAWED"

    def has_self(self, place: Place) -> bool:
        """Whether the process that does the walk is in a container, or below it."""
        at = self.of(SELF).get("at", {}).get(place.tree, "/")
        return f"{at}/".startswith(f"{place.path}/")

    def is_safe(self, step: Step) -> bool:
        """Whether a step can be done without an endless wait, and the kernel's answer is sure."""
        if is_unsure(self, step):
            return False
        if step.verb == "write" and step.args[1] == "freezer.state":
            return not self.has_self(step.args[0])
        if step.verb == "reap":
            return step.args[1] in self.reapers(step.args[0])
        return all(self.can_act(task) for task in step.actors)

    def reapers(self, zombie: str) -> list[str]:
        """The tasks that can wait for a zombie; [""] if its parent is not in the walk."""
        parent = self.of(zombie).get("parent", "")
        labels = [key.removeprefix("task ") for key in self.sight if key.startswith("task ")]
        found = [task for task in labels if self.of(task).get("pid") == parent]
        return [task for task in found if self.can_act(task)] if parent else [""]


@dataclass
class View(Seen):
    """What a step is drawn from: what the model shows, and which tasks can act."""

    random: Random
    tasks: list[str]
    special: list[str]
    handles: dict[str, Place]
    controllers: Sequence[str]
    names: Sequence[str]
    bases: dict[str, str]
    new: Callable[[str], str]
    met: Callable[[Step], int]

    @property
    def trees(self) -> list[str]:
        """Those that can be reached."""
        return [tree for tree in self.sight["trees"] if f"{self.base(tree)} children" in self.sight]

    def base(self, tree: str) -> str:
        return f"{tree}:{self.bases.get(tree, '/')}"

    def place(self) -> Place | None:
        """A container; now and then one that is not there."""
        place = self.there()
        return place.child("absent") if place and self.random.random() < 0.06 else place

    def there(self) -> Place | None:
        """A container, more likely where most rules are."""
        if not self.trees:
            return None
        weights = [3 if "cpuset" in tree.split(",") else 1 for tree in self.trees]
        tree = self.random.choices(self.trees, weights)[0]
        return self.random.choice(self.containers(tree))

    def file(self, place: Place) -> str:
        """A control file of a container, those with rules more often than others."""
        files: list[str] = list(self.sight.get(f"{place.tree}:{place.path} files", {}))
        if not files or self.random.random() < 0.02:
            return "absent.file"
        writable = self.sight[f"{place.tree}:{place.path} files"]
        likely = [LIKELY.get(file, 1) if writable[file] else 0.2 for file in files]
        return self.random.choices(files, likely)[0]

    def active(self) -> list[str]:
        """Tasks that can carry out a command."""
        return [task for task in self.tasks if self.can_act(task)]

    def any_task(self, unknown: float = 0.05) -> str:
        """A task of the walk; with the probability `unknown` an id that no task has."""
        if self.random.random() < unknown or not self.tasks:
            return NO_TASK
        return self.random.choice(self.tasks)


# How likely a file is to be written, beside the others.
LIKELY = {
    "tasks": 0,
    "cgroup.procs": 0,
    "cgroup.event_control": 0,
    "cpuset.cpus": 24,
    "cpuset.mems": 16,
    "cpuset.cpu_exclusive": 8,
    "cpuset.mem_exclusive": 8,
    "cgroup.clone_children": 2,
    "freezer.state": 14,
    "pids.max": 14,
}

# How many levels there are from 0 on is a matter of the machine, and shown nowhere.
RELAX = "cpuset.sched_relax_domain_level"

# What no file, or nearly none, should take for what it looks like.
STRANGE = (
    *("", "\n", " ", "\n\n", "\0", "\0001", "1\0junk", "\t1 ", " 1", "1 ", "1\n\n", "1\n2", "1 2"),
    *("-1", "+1", "-0", "0x1", "0X1", "0x", "01", "08", "1e3", "1.0", "1_0", "١", "é", "\udcff"),
    *("1\xa0", "\udca01", "1\udca0", "\x0b1", "max", " max\n", "MAX", "FROZEN ", "frozen", "N"),
    *("FREEZING", "THAWED\0x", "all", "0-N", "ALL", "0-", "-", ",", "0,,1", "0,", ",0", "0 1"),
    *("0\n1", "1-0", "0-1:1/2", "0-1:0/1", "0-1:2/1", "0-1:1/0", "0-3:1", "0-1:1/2,3", "0--1"),
    *("0-1-2", "0x0", "0\t1", "junk", "#1", "/bin/true", " /bin/true \n", "a\nb", "a\\b"),
)
HUGE = (
    *(
        "7",
        "63",
        "1023",
        "1024",
        "1025",
        "65536",
        "99999",
        "2147483647",
        "2147483648",
        "4294967296",
    ),
    *("4194304", "4194305", "9223372036854775807", "9223372036854775808", "18446744073709551615"),
    *("-9223372036854775808", "-9223372036854775809", "0" * 60 + "1"),
)
BEYOND = ("18446744073709551616", "9" * 40, "18446744073709551616\n", "0x1" + "0" * 16)
LONG = (
    *("1" + " " * 4094, "1" + " " * 4095, " " * 4094 + "1", "x" * 4095, "x" * 4096, "x" * 9000),
    *("1" * 5000, " " * 5000),
    *("0," * 200 + "0", "0," * 90),
)
LONGEST = ("0," * 2000 + "0", "0," * 30000, "1" * 60000, " " * 60000)
BAD = (STRANGE, HUGE, BEYOND, LONG + LONGEST)
# Which of these levels there are is a matter of the machine, and how long a list may be.
BAD_FOR = {
    RELAX: (("", "x"), ("99999", "-9" + "0" * 30), ("9223372036854775808", "-9" * 30), LONG),
    "cpuset.cpus": (STRANGE, HUGE, BEYOND, LONGEST),
}

NAMES = ("a", "b", "c", "d")
ODD_NAMES = (
    *(
        "é",
        "a b",
        "\udcff",
        "-",
        "...",
        "x" * 255,
        "y" * 300,
        "a:b",
        "a,b",
        "tasks",
        "cgroup.procs",
    ),
    *(
        "cpuset.cpus",
        "freezer.state",
        "pids.max",
        "release_agent",
        "name=x",
        "\\012",
        "a\tb",
        "a\rb",
    ),
)

STYLES = ("{id}", "{id}\n", " {id} ", "{id:#x}", "+{id}", "0{id:o}", "{id:d}\n\n")
BAD_STYLES = (
    *("{id}x", "-{id}", "{id}.0", "{id} {id}", "{id}\n{id}", "{id}\0x", "0x", "é{id}", "{id}_0"),
    *("1{id:0>30}", "-1", "\0{id}", "{id:#b}", "0o{id:o}", "{id}\udca0", "4294967296"),
)


def _ids(view: View, place: Place, file: str) -> str:
    """A list, out of what is near: the parent's, the container's own, the children's."""
    near = [place.parent, place, *(view.containers(place.tree))]
    found: set[int] = set()
    for one in view.random.sample(near[:2], 1) + view.random.sample(near, min(1, len(near))):
        found |= ID_LIST.parse(view.text(one, file))
    top = set(ID_LIST.parse(view.text(Place(place.tree, view.bases.get(place.tree, "/")), file)))
    top = top or {0, 1}
    chance = view.random.random()
    if chance < 0.07:
        chosen = set[int]()
    elif chance < 0.35:
        chosen = set(view.random.sample(sorted(found), view.random.randint(0, len(found))))
    elif chance < 0.75:
        chosen = set(view.random.sample(sorted(top), view.random.randint(1, len(top))))
    else:
        chosen = found or top
    return _written(view.random, frozenset(chosen))


def _written(random: Random, ids: Ids) -> str:
    """One of the many ways to write a list."""
    ways: list[Callable[[], str]] = [
        lambda: ID_LIST.show(ids),
        lambda: ID_LIST.show(ids) + "\n",
        lambda: ",".join(map(str, sorted(ids, reverse=True))),
        lambda: " ".join(map(str, ids)),
        lambda: f" {ID_LIST.show(ids)} ",
        lambda: ",".join(f"{one}-{one}" for one in ids),
    ]
    return random.choices(ways, [6, 6, 1, 1, 1, 1])[0]() or "\n"


def _limit(view: View, place: Place, file: str) -> str:
    return view.random.choice(["max", "max\n", "0", "1", "1", "2", "2", "3", "4", "5", "-1"])


def _flag(view: View, place: Place, file: str) -> str:
    return view.random.choice(["0", "1", "0\n", "1\n", "2", "255"])


def _exclusive(view: View, place: Place, file: str) -> str:
    return view.random.choice(["0", "1", "0\n", "1\n", "1", "1", "2"])


GOOD: dict[str, Callable[[View, Place, str], str]] = {
    "cpuset.cpus": _ids,
    "cpuset.mems": _ids,
    "cpuset.cpu_exclusive": _exclusive,
    "cpuset.mem_exclusive": _exclusive,
    "pids.max": _limit,
    "freezer.state": lambda view, place, file: view.random.choice(
        ["FROZEN", "THAWED", "THAWED", "FROZEN\n", "THAWED\n"]
    ),
    RELAX: lambda view, place, file: view.random.choice(["-1", "-1\n", "-2", "6", "7"]),
    "cpuacct.usage": lambda view, place, file: view.random.choice(["0", "0\n", "1"]),
    "release_agent": lambda view, place, file: view.random.choice(["/no/agent", "\n", "/no/x\n"]),
}


# How each kind of step is drawn; None where it makes no sense now.


def _mount(view: View) -> Step | None:
    free = [
        name
        for name in view.controllers
        if not any(name in tree.split(",") for tree in view.sight["trees"])
    ]
    chance = view.random.random()
    name = view.random.choice([*view.names, ""]) if chance < 0.6 or view.bases else ""
    if view.bases:
        bound: tuple[str, ...] = ()
    elif chance < 0.55 and free:
        bound = tuple(view.random.sample(free, view.random.randint(1, len(free))))
    elif chance < 0.8 and view.sight["trees"]:
        bound, _ = words_of(view.random.choice(list(view.sight["trees"])))
    else:
        bound = tuple(view.random.sample(view.controllers, view.random.randint(0, 3)))
    if view.random.random() < 0.03:
        bound = (*bound, "nonesuch")
    point = view.random.choice([*(POINTS * 4), FILE, "absent"])
    there = [tree for tree, points in view.sight["trees"].items() if f"/{point}" in str(points)]
    if point in POINTS and there:
        # The same once more; another one would cover it.
        bound, name = words_of(there[0])
        return Step("mount", (bound, name, (), point))
    return Step("mount", (bound, name, _flags(view, bound), point))


def _flags(view: View, bound: tuple[str, ...]) -> tuple[str, ...]:
    if view.random.random() < 0.7:
        return ()
    return tuple(view.random.sample(["clone_children", "release_agent=/no/agent", "xattr"], 1))


def _umount(view: View) -> Step | None:
    return Step("umount", (view.random.choice(POINTS),))


def _new_name(view: View) -> str:
    return view.random.choice(ODD_NAMES if view.random.random() < 0.15 else NAMES)


def _make(view: View) -> Step | None:
    place = view.place()
    if place is None or len(view.containers()) > MOST_CONTAINERS:
        return None
    return Step("make", (place.child(_new_name(view)),))


def _remove(view: View) -> Step | None:
    place, chance = view.place(), view.random.random()
    if chance < 0.35 and view.handles:
        place = view.random.choice(list(view.handles.values()))
    if place is None or _is_base(view, place):
        return None
    if chance > 0.95:
        place = place.child(view.random.choice(["tasks", "absent"]))
    return Step("remove", (place,))


def _is_base(view: View, place: Place) -> bool:
    return bool(view.bases) and place.path == view.bases.get(place.tree, "/")


def _look_up(verb: str) -> Callable[[View], Step | None]:
    def draw(view: View) -> Step | None:
        place = view.place()
        if place is None:
            return None
        if view.random.random() < 0.5:
            place = place.child(view.random.choice(["absent", "tasks"]))
        return Step(verb, (place,))

    return draw


def _read(view: View) -> Step | None:
    place = view.place()
    if place is None:
        return None
    if view.random.random() < 0.5:
        place = place.child("absent")
    files = ["tasks", "absent.file", "release_agent", "pids.max"]
    if not place.is_root and view.random.random() < 0.4:
        return Step("read", (place.parent, place.name))
    return Step("read", (place, view.random.choice(files)))


def _write(view: View) -> Step | None:
    place = view.place()
    if place is None:
        return None
    file = view.file(place)
    if _is_base(view, place) and file.endswith("_exclusive"):
        return None  # others may be beside it
    if view.random.random() < 0.2:
        text = _bad(view, file, [6, 2, 1, 1])
    else:
        text = GOOD.get(file, _flag)(view, place, file)
    return Step("write", (place, file, text))


def _bad(view: View, file: str, weights: Sequence[float]) -> str:
    texts = view.random.choices(BAD_FOR.get(file, BAD), weights)[0]
    return view.random.choice(texts)


def _write_rarely(view: View) -> Step | None:
    """Of many writes the one that meets what this walk has hardly met."""
    steps = [step for _ in range(TRIES) if (step := _any_write(view)) and view.is_safe(step)]
    return min(steps, key=view.met, default=None)


def _any_write(view: View) -> Step | None:
    place = view.there()
    if place is None:
        return None
    if view.random.random() < 0.3:
        place = Place(place.tree, view.bases.get(place.tree, "/"))
    files: dict[str, bool] = view.sight[f"{place.tree}:{place.path} files"]
    file = view.random.choice([one for one in files if LIKELY.get(one) != 0])
    if _is_base(view, place) and file.endswith("_exclusive"):
        return None  # others may be beside it
    if view.random.random() < 0.5:
        return Step("write", (place, file, _bad(view, file, [1, 1, 1, 1])))
    return Step("write", (place, file, GOOD.get(file, _flag)(view, place, file)))


def _write_among_others(view: View) -> Step | None:
    """A step towards what a cpuset may not do beside others, above them and with tasks in it."""
    places = [one for one in view.containers() if not (one.is_root or _is_base(view, one))]
    cpusets = [one for one in places if "cpuset" in one.controllers]
    if not cpusets:
        return None
    place = view.random.choice(cpusets)
    ids, flag = view.random.choice(KINDS)
    steps = [Step("write", (place, flag, "1"))]
    has_tasks = view.text(place, "tasks") or place in view.handles.values()
    if not view.text(place, ids):
        steps = [Step("write", (place, ids, view.text(place.parent, ids)))]
    elif has_tasks:
        steps += [Step("write", (place, ids, "\n"))] * 3
    for other in cpusets:
        if other.parent == place.parent != other:
            steps.append(Step("write", (other, ids, view.text(place, ids))))
            steps.append(Step("write", (place, flag, "1")))
        if other.parent == place and view.text(other, flag) == "1":
            steps.append(Step("write", (place, flag, "0")))
    return view.random.choice(steps)


def _attach(view: View) -> Step | None:
    place = view.place()
    if place is None:
        return None
    file = view.random.choice(["tasks", "cgroup.procs"])
    if view.random.random() < 0.04:
        if "freezer" in place.tree.split(","):
            return None
        return Step("attach", (place, file, SELF, view.random.choice(["0", "0\n", "-0", "{id}"])))
    if KTHREADD in view.special and view.random.random() < 0.02:
        return Step("attach", (place, file, KTHREADD, "{id}"))
    if view.handles and view.random.random() < 0.25:
        # Once it is empty, the container of a handle can be removed.
        held = view.random.choice(list(view.handles.values()))
        if inside := view.text(held, "tasks").split():
            return Step("attach", (held.parent, "tasks", view.random.choice(inside), "{id}"))
    bad = view.random.random() < 0.07
    style = view.random.choice(BAD_STYLES) if bad else view.random.choice(("{id}",) * 6 + STYLES)
    return Step("attach", (place, file, view.any_task(), style))


def _enter(view: View) -> Step | None:
    place = view.place()
    if place is None or not view.tasks:
        return None
    tasks = [view.any_task() for _ in range(view.random.randint(1, 3))]
    return Step("enter", (place, tuple(tasks)))


def _hold(view: View) -> Step | None:
    place = view.place()
    if place is None or not view.tasks or len(view.handles) > 5:
        return None
    if view.random.random() < 0.1:
        place = place.child("absent")
    return Step("hold", (view.new("h"), place, view.random.choice(view.tasks)))


def go_on(view: View) -> Step | None:
    if not view.handles or not view.tasks:
        return None
    # Containers that were removed, or that admit no task, are rare.
    closed = [one for one, place in view.handles.items() if not view.admits(place)]
    handles = closed if closed and view.random.random() < 0.7 else list(view.handles)
    return Step("go_on", (view.random.choice(handles), view.random.choice(view.tasks)))


def let_go(view: View) -> Step | None:
    return Step("let_go", (view.random.choice(list(view.handles)),)) if view.handles else None


def _attribute(view: View) -> Step | None:
    place = view.place()
    if place is None:
        return None
    text = view.random.choice([None, None, "", "1", "é", "x" * 300])
    return Step("set_attribute", (place, view.random.choice("kl"), text))


def spawn(view: View) -> Step | None:
    return Step("spawn", (view.new("t"),)) if len(view.tasks) < MOST_TASKS else None


def another(verb: str) -> Callable[[View], Step | None]:
    def draw(view: View) -> Step | None:
        if not view.active() or len(view.tasks) >= MOST_TASKS:
            return None
        return Step(verb, (view.random.choice(view.active()), view.new("t")))

    return draw


def exit_one(view: View) -> Step | None:
    active = view.active()
    if not active:
        return None
    return Step("exit", (view.random.choice(active), view.random.random() < 0.5))


def kill_one(view: View) -> Step | None:
    if not view.tasks or not view.trees:
        return None
    task = view.any_task()
    tree = view.random.choice(view.trees)
    at = Place(tree, view.of(task).get("at", {}).get(tree, "/"))
    if view.random.random() < 0.2:
        at = view.place() or at
    leads = task == NO_TASK or view.of(task)["pid"] == task
    return Step("kill", (task, at)) if leads else None


def reap_one(view: View) -> Step | None:
    zombies = [task for task in view.tasks if view.of(task)["state"] == "zombie"]
    whole = [task for task in zombies if view.of(task)["threads"] == [task]]
    ready = [(task, by) for task in whole for by in view.reapers(task)]
    return Step("reap", view.random.choice(ready)) if ready else None


def set_affinity(view: View) -> Step | None:
    if not view.tasks:
        return None
    cpus = frozenset(cpu for cpu in range(5) if view.random.random() < 0.5)
    return Step("set_affinity", (view.any_task(), cpus))


def ask(verb: str) -> Callable[[View], Step | None]:
    return lambda view: Step(verb, (view.any_task(0.25),))


Weights = dict[Callable[[View], Step | None], float]

# What is drawn how often. Mounting is rare where things are to grow on what is mounted.
WEIGHTS: Weights = {
    _make: 14,
    _remove: 9,
    _look_up("children"): 1,
    _look_up("files"): 1,
    _read: 2,
    _write: 14,
    _write_rarely: 32,
    _write_among_others: 24,
    _attach: 18,
    _enter: 4,
    _hold: 5,
    go_on: 11,
    let_go: 0.8,
    _attribute: 3,
    spawn: 4,
    another("fork"): 9,
    another("thread"): 7,
    exit_one: 6,
    kill_one: 3,
    reap_one: 6,
    set_affinity: 5,
    ask("affinity"): 1,
    ask("membership"): 1.3,
    ask("threads"): 1,
    _mount: 4,
    _umount: 2,
}
FIRST = 12  # times as often where there is hardly a hierarchy yet, or hardly a task


def draw(view: View) -> Step:
    """The next step."""
    weights = dict(WEIGHTS)
    if not view.trees or (not view.bases and len(view.sight["trees"]) < 2):
        weights[_mount] *= FIRST
    if len(view.tasks) < 4:
        weights[spawn] *= FIRST
    return pick(view, weights)


def pick(view: View, weights: Weights) -> Step:
    """A step of one of these kinds that can be done now."""
    while True:
        step = view.random.choices(list(weights), list(weights.values()))[0](view)
        if step and view.is_safe(step):
            return step
