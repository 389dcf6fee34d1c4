"""Steps of a walk on cgroup v2: commands of pcont, and what other programs do beside them.

A command names its tasks as <LABEL>, so that it means the same in both sides.
"""

from __future__ import annotations

from collections.abc import Callable

from pcont.kernel.types import UNIFIED, Place
from tests.differential import steps
from tests.differential.steps import MOST_CONTAINERS, Step, View, Weights

NAMES = ("a", "b", "c")
UMBRELLA = "/pcont"
POINT = "/sys/fs/cgroup"  # where the model has cgroup v2, and a guest

CONTROLLERS = ("cpuset", "cpu", "memory", "pids")
# What mount -o names: threaded hierarchies, those that move whole processes, and refused ones.
SETS = (
    *("cpuset,pids", "cpuset,cpuacct", "cpu,pids", "pids", "memory,pids", "memory,cpuset"),
    *("cpuset,cpu,memory,pids", "pids", "freezer,pids", "none", "nonesuch", "cpuset,nonesuch"),
)
BOUND = ("pids", "cpu", "cpuset", "memory", "pids,cpu", "nonesuch", "freezer")

# Writes to files of the kernel, by any program, and settings of `pcont set` and `create -s`.
CORE = (
    *[("cgroup.type", "threaded")] * 8,
    *[("cgroup.type", text) for text in ("domain", "thread", "domain threaded")],
    *[("cgroup.freeze", text) for text in ("0", "0", "0", "1", "1", "2", "-1", "x")],
    *[("cgroup.max.depth", text) for text in ("0", "1", "2", "max", "max", "-1", "x")],
    *[("cgroup.max.descendants", text) for text in ("0", "1", "3", "max", "max", "-1", "many")],
    *[("cgroup.pressure", text) for text in ("0", "1", "1", "2", "x")],
    *[("cgroup.kill", text) for text in ("0", "x", "2")],
)
CONTROL = (
    *[f"{sign}{name}" for name in CONTROLLERS for sign in "+++-"],
    *("+pids +cpu", "-pids -memory", "+cpu -cpu", "-cpu -cpuset", "+cpuset +pids", "+memory -pids"),
    *("+perf_event", "-perf_event", "+nope", "pids", "+cpuacct", "+"),
)
SETTINGS = (
    *[("cpuset.cpus", text) for text in ("0-1", "1", "2-3", "0,2", "0-3", "\n", "\n", "9", "64")],
    *[("cpuset.cpus", text) for text in ("a", "1-0", "0-1:1/2", "99999")],
    *[("cpuset.mems", text) for text in ("0", "1", "0-1", "\n", "\n", "7", "x", "99999")],
    *[("cpuset.cpus.exclusive", text) for text in ("9", "x", "99999")],
    *[("cpuset.cpus.partition", text) for text in ("member", "roots")],
    *[("cpu.weight", text) for text in ("50", "100", "10000", "0", "10001", "x", "-1")],
    *[("cpu.weight.nice", text) for text in ("5", "-20", "19", "20", "-21", "x")],
    *[("cpu.idle", text) for text in ("1", "0", "0", "2", "x")],
    *[("cpu.max", text) for text in ("50000", "max 20000", "max", "500000 1000000", "40000 50000")],
    *[("cpu.max", text) for text in ("999", "max 999", "50000 1000001", "-1", "x")],
    *[("cpu.max.burst", text) for text in ("0", "20000", "60000", "-1")],
    *[("memory.max", text) for text in ("64M", "max", "128M", "0x8000000", "-1", "64MB", "x")],
    *[("memory.low", text) for text in ("4K", "max", "0", "-1", "4KB")],
    *[("memory.min", "4K"), ("memory.high", "64M"), ("memory.high", "max"), ("memory.high", "y")],
    *[("memory.oom.group", text) for text in ("0", "1", "2")],
    *[("pids.max", text) for text in ("1", "2", "3", "5", "50", "max", "max", "max", "0")],
    *[("pids.max", text) for text in ("-1", "x", "4194305")],
    *[("cpu.pressure", text) for text in ("some 2000000 1000000", "x")],
)
PARTITIONS = ("root", "root", "isolated", "member", "member")
# Names of v1, and what is refused with a reason.
NAMES_OF_V1 = (
    *[("cpu.shares", text) for text in ("512", "1024", "2048", "1", "x")],
    *[("cpu.cfs_quota_us", text) for text in ("50000", "-1", "999")],
    *[("cpu.cfs_period_us", text) for text in ("100000", "50000", "10")],
    *[("memory.limit_in_bytes", text) for text in ("64M", "-1", "x")],
    *[("freezer.state", text) for text in ("FROZEN", "THAWED", "THAWED", "FREEZING")],
    *[("cpuset.memory_migrate", text) for text in ("1", "0")],
    *[("cpuset.cpu_exclusive", "1"), ("cpuacct.usage", "0"), ("memory.memsw.limit_in_bytes", "1G")],
    *[("notify_on_release", text) for text in ("0", "1", "2")],
    *[("nonesuch", "1"), ("memory.swappiness", "10")],
)
READ = (
    *("cgroup.type", "cgroup.freeze", "cgroup.subtree_control", "cgroup.controllers", "pids.max"),
    *(
        "cpu.weight",
        "cpu.max",
        "cpuset.cpus",
        "cpuset.cpus.effective",
        "memory.max",
        "freezer.state",
    ),
    *("cpu.shares", "cpu.cfs_quota_us", "memory.limit_in_bytes", "pids.current", "nonesuch"),
    *("cpuset.cpu_exclusive", "notify_on_release", "cgroup.events", "tasks", "cgroup.procs"),
)

Drawn = Step | None


def command(*words: str) -> Step:
    """A command of pcont as a step."""
    return Step("pcont", words)


# Places


def _has_hierarchies(view: View) -> bool:
    """Whether pcont may mount: the walk has all of cgroup v2."""
    return view.bases.get(UNIFIED) == "/"


def _hierarchies(view: View) -> list[str]:
    """The names of the hierarchies that are mounted."""
    there = [tree.removeprefix("name=") for tree, points in view.sight["trees"].items() if points]
    return [name for name in there if name in view.names]


def _there(view: View) -> Place:
    """A container of cgroup v2, seldom the base."""
    places = view.containers(UNIFIED)
    base = Place(UNIFIED, view.bases[UNIFIED])
    below = [place for place in places if place.path not in (base.path, UMBRELLA)]
    return view.random.choice(below) if below and view.random.random() < 0.9 else base


def _new(view: View) -> Place | None:
    """A container that may not be there yet."""
    if len(view.containers(UNIFIED)) > MOST_CONTAINERS:
        return None
    place = _there(view)
    if view.random.random() < 0.3:
        place = Place(UNIFIED, view.bases[UNIFIED])
    return place.child(view.random.choice(NAMES))


def _spelled(view: View, place: Place) -> str:
    """The container as a PLACE of a command: one of several that mean it."""
    for name in _hierarchies(view):
        below = place.path.removeprefix(f"{UMBRELLA}/{name}")
        if below != place.path and view.random.random() < 0.85:
            return f"{name}:{below or '/'}"
    if not _has_hierarchies(view) or view.random.random() < 0.4:
        return f"{UNIFIED}:{place.path}"
    if view.random.random() < 0.15:
        return f"{POINT}{place.path.rstrip('/')}"
    words = view.random.sample(CONTROLLERS, view.random.choice([1, 1, 1, 2]))
    return f"{','.join(words)}:{place.path}"


def _place(view: View) -> str:
    """A PLACE, now and then one that is not there."""
    place = _there(view)
    if view.random.random() < 0.05:
        place = place.child("absent")
    if view.random.random() < 0.15 and (names := _hierarchies(view)):
        return f"{view.random.choice(names)}:/"
    return _spelled(view, place)


def _setting(view: View) -> str:
    """A KEY=VALUE."""
    chance = view.random.random()
    if chance < 0.15:
        key, text = "cgroup.subtree_control", view.random.choice(CONTROL)
    elif chance < 0.35:
        key, text = view.random.choice(CORE)
    elif chance < 0.75:
        key, text = view.random.choice(SETTINGS)
    else:
        key, text = view.random.choice(NAMES_OF_V1)
    return f"{key}={text.strip()}"


def _some_settings(view: View, most: int) -> list[str]:
    return [_setting(view) for _ in range(view.random.randint(1, most))]


def _task(view: View) -> str:
    """A task, most often one that lives."""
    alive = [task for task in view.tasks if view.of(task)["state"] == "alive"]
    if alive and view.random.random() < 0.85:
        return view.random.choice(alive)
    return view.any_task()


# Commands


def _mount(view: View) -> Drawn:
    if not _has_hierarchies(view):
        return None
    words = ["mount", "-o", view.random.choice(SETS), "--name", view.random.choice(view.names)]
    if view.random.random() < 0.3:
        words += ["--at", f"/{view.random.choice(NAMES)}"]
    return command(*words)


def _umount(view: View) -> Drawn:
    return command("umount", view.random.choice(view.names)) if _has_hierarchies(view) else None


def _bind(view: View) -> Drawn:
    if not _has_hierarchies(view):
        return None
    name, subsystems = view.random.choice(view.names), view.random.choice(BOUND)
    if view.random.random() < 0.3:
        return command("unbind", name, subsystems, "--yes")
    more = ["-s", "pids.max=50"] if subsystems == "pids" and view.random.random() < 0.3 else []
    return command("bind", name, subsystems, *more)


def _create(view: View) -> Drawn:
    place = _new(view)
    if place is None:
        return None
    words = ["create", _spelled(view, place)]
    if view.random.random() < 0.2:
        words = ["create", f"{words[1]}/{view.random.choice(NAMES)}"]
    if view.random.random() < 0.15 and (more := _new(view)):
        words.append(_spelled(view, more))
    words += [flag for flag in ("-p", "-i") if view.random.random() < 0.25]
    if view.random.random() < 0.35:
        words += [word for one in _some_settings(view, 2) for word in ("-s", one)]
    return command(*words)


def _rm(view: View) -> Drawn:
    place = _child(view) if view.random.random() < 0.95 else _there(view).child("absent")
    words = ["rm", _spelled(view, place)]
    words += [flag for flag in ("-r", "-f") if view.random.random() < 0.3]
    if view.random.random() < 0.5:
        words.append(view.random.choice(["--evict", "--evict", "--kill"]))
    return command(*words)


def _set(view: View) -> Drawn:
    return command("set", _place(view), *_some_settings(view, 3))


def _thaw(view: View) -> Drawn:
    """Thaw what is frozen, since frozen tasks carry out nothing."""
    frozen = [one for one in view.containers(UNIFIED) if view.text(one, "cgroup.freeze") == "1"]
    if not frozen:
        return None
    return command("set", f"{UNIFIED}:{view.random.choice(frozen).path}", "cgroup.freeze=0")


def _get(view: View) -> Drawn:
    keys = view.random.sample(READ, view.random.randint(1, 2))
    place = _place(view)
    if place.endswith((":/", POINT)):  # every task of the machine may be there
        keys = [key for key in keys if key not in ("tasks", "cgroup.procs")]
    return command("get", place, *keys) if keys else None


def _attach(view: View) -> Drawn:
    tasks = [_task(view) for _ in range(view.random.choice([1, 1, 1, 2, 3]))]
    flags = ["--thread"] if view.random.random() < 0.3 else []
    return command("attach", *flags, _place(view), *(f"<{task}>" for task in tasks))


def _move(view: View) -> Drawn:
    source = _there(view)
    # Everything else of the machine is in the base, too.
    if source.path == view.bases[UNIFIED]:
        return None
    target = f"{UNIFIED}:{source.parent.path}" if view.random.random() < 0.3 else _place(view)
    return command("move", _spelled(view, source), target)


def _show(view: View) -> Drawn:
    if view.random.random() < 0.3 and view.tasks and _has_hierarchies(view):
        return command("where", f"<{view.any_task()}>")
    shown = _child(view)
    spelled = _spelled(view, shown)
    if spelled.endswith(":/"):  # a hierarchy without a part in cgroup v2 has all tasks there
        spelled = f"{UNIFIED}:{shown.path}"
    return command(view.random.choice(["tree", "ps"]), spelled)


def _child(view: View) -> Place:
    """A container that is not the base, which has the tasks of the whole machine."""
    places = view.containers(UNIFIED)
    below = [place for place in places if place.path != view.bases[UNIFIED]]
    return view.random.choice(below) if below else places[0].child("absent")


# What other programs do


def _set_affinity(view: View) -> Drawn:
    """Not of a zombie: the kernel asks the cpuset that it had when it exited, removed or not."""
    step = steps.set_affinity(view)
    return step if step and view.of(step.tasks[0])["state"] != "zombie" else None


def _mkdir(view: View) -> Drawn:
    place = _new(view)
    if place is None:
        return None
    if view.random.random() < 0.1:
        place = place.parent.child(view.random.choice(["cgroup.procs", "pids.max"]))
    return Step("make", (place,))


def _rmdir(view: View) -> Drawn:
    place, chance = _there(view), view.random.random()
    if chance < 0.3 and view.handles:
        place = view.random.choice(list(view.handles.values()))
    if place.path in (view.bases[UNIFIED], UMBRELLA):
        return None
    return Step("remove", (place,))


def _write(view: View) -> Drawn:
    place, chance = _there(view), view.random.random()
    if not _has_hierarchies(view) or chance < 0.35:
        file, text = view.random.choice(CORE)
    elif chance < 0.65:
        file, text = "cgroup.subtree_control", view.random.choice(CONTROL)
    else:
        file, text = view.random.choice(SETTINGS)
    if file == "cgroup.kill" and view.random.random() < 0.3:
        text = "1"
    if place.is_root and file != "cgroup.subtree_control":
        return None
    return Step("write", (place, file, text))


def _put(view: View) -> Drawn:
    """A task id, written by hand."""
    file = view.random.choice(["cgroup.procs", "cgroup.procs", "cgroup.threads"])
    style = "{id}" if view.random.random() < 0.9 else view.random.choice(steps.BAD_STYLES)
    task = _task(view)
    place = _there(view) if view.random.random() < 0.85 else Place(UNIFIED, view.bases[UNIFIED])
    return Step("attach", (place, file, task, style))


def _put_zombie(view: View) -> Drawn:
    zombies = [task for task in view.tasks if view.of(task)["state"] == "zombie"]
    if not zombies:
        return None
    return Step("attach", (_there(view), "cgroup.procs", view.random.choice(zombies), "{id}"))


def _hold(view: View) -> Drawn:
    if not view.tasks or len(view.handles) > 3:
        return None
    return Step("hold", (view.new("h"), _there(view), view.random.choice(view.tasks)))


def _rarely_refused(file: str, texts: tuple[str, ...]) -> Callable[[View], Drawn]:
    """A write to a file where the file is, to meet what refuses it."""

    def draw(view: View) -> Drawn:
        places = [one for one in view.containers(UNIFIED) if view.text(one, file)[:1] != "["]
        places = [one for one in places if not one.is_root]
        if not places:
            return None
        return Step("write", (view.random.choice(places), file, view.random.choice(texts)))

    return draw


def _unread(file: str, controller: str) -> Callable[[View], Drawn]:
    """A text that no kernel takes, into a file that is not compared; or the controller is enabled,
    so that the file is there later.
    """

    def draw(view: View) -> Drawn:
        if not _has_hierarchies(view):
            return None
        there = [
            one
            for one in view.containers(UNIFIED)
            if controller in view.text(one, "cgroup.controllers").split() and not one.is_root
        ]
        if there:
            return Step("write", (view.random.choice(there), file, "nope 1"))
        return Step("write", (Place(UNIFIED), "cgroup.subtree_control", f"+{controller}"))

    return draw


def _partition(view: View) -> Drawn:
    """A step towards a partition, or away from it, by a command or by hand."""
    files = ("cpuset.cpus.partition", "cpuset.cpus.exclusive", "cpuset.cpus")
    places = view.containers(UNIFIED)
    places = [one for one in places if view.text(one, files[0])[:1] != "[" and not one.is_root]
    if not places:
        return None
    place, file = view.random.choice(places), view.random.choices(files, [5, 2, 1])[0]
    texts = PARTITIONS if file == files[0] else ("0-1", "1", "2-3", "3", "\n")
    text = view.random.choice(texts)
    if view.random.random() < 0.5:
        return command("set", _spelled(view, place), f"{file}={text.strip()}")
    return Step("write", (place, file, text))


def _beside_tasks(view: View) -> Drawn:
    """A write that tasks in the container forbid: controllers for its children, or no CPUs."""
    places = [one for one in view.containers(UNIFIED) if not one.is_root]
    places = [one for one in places if view.text(one, "cgroup.threads")]
    steps = []
    for place in places:
        if view.text(place, "cgroup.type") == "domain":
            offered = view.text(place, "cgroup.controllers").split()
            steps += [
                Step("write", (place, "cgroup.subtree_control", f"+{one}")) for one in offered
            ]
        for file in ("cpuset.cpus", "cpuset.mems"):
            if view.text(place, file)[:1] not in ("", "["):
                steps.append(Step("write", (place, file, "\n")))
    return view.random.choice(steps) if steps else None


def _kill_threaded(view: View) -> Drawn:
    places = view.containers(UNIFIED)
    threaded = [one for one in places if view.text(one, "cgroup.type") == "threaded"]
    return Step("write", (view.random.choice(threaded), "cgroup.kill", "1")) if threaded else None


WEIGHTS: Weights = {
    _create: 14,
    _rm: 7,
    _set: 14,
    _thaw: 4,
    _get: 3,
    _attach: 14,
    _move: 5,
    _show: 4,
    _mount: 2.5,
    _umount: 1.2,
    _bind: 2.5,
    _mkdir: 8,
    _rmdir: 6,
    _write: 16,
    _put: 9,
    _put_zombie: 1.5,
    _hold: 3,
    steps.go_on: 5,
    steps.let_go: 0.8,
    _rarely_refused("cpuset.cpus", ("\n", "\n", "0-1", "9", "x", "99999")): 2.5,
    _rarely_refused("cpuset.mems", ("\n", "\n", "0", "7", "x")): 1.5,
    _rarely_refused("cpuset.cpus.exclusive", ("x", "99999")): 0.5,
    _rarely_refused("cpuset.cpus.partition", ("roots", "member")): 0.5,
    _rarely_refused("memory.oom.group", ("0", "1", "2")): 0.3,
    _unread("misc.max", "misc"): 0.6,
    _unread("rdma.max", "rdma"): 0.6,
    _unread("io.max", "io"): 0.6,
    _kill_threaded: 0.7,
    _beside_tasks: 3,
    _partition: 3,
    _rarely_refused("cpu.weight", ("0", "10001", "x", "50")): 1.5,
    _rarely_refused("cpu.weight.nice", ("20", "-21", "x", "3")): 1,
    _rarely_refused("cpu.idle", ("1", "0", "2", "x")): 1,
    _rarely_refused("cpu.max", ("999", "max 999", "50000 1000001", "-1", "60000 90000")): 1,
    _rarely_refused("memory.max", ("-1", "64MB", "x", "64M", "max")): 1,
    _rarely_refused("pids.max", ("-1", "4194305", "x", "1", "2", "max")): 2,
    steps.spawn: 4,
    steps.another("fork"): 6,
    steps.another("thread"): 6,
    steps.exit_one: 5,
    steps.kill_one: 2,
    steps.reap_one: 4,
    _set_affinity: 2,
    steps.ask("affinity"): 0.5,
    steps.ask("membership"): 0.5,
    steps.ask("threads"): 0.5,
}


def draw(view: View) -> Step:
    """The next step."""
    weights = dict(WEIGHTS)
    if _has_hierarchies(view) and not _hierarchies(view):
        weights[_mount] *= steps.FIRST
    if len(view.tasks) < 4:
        weights[steps.spawn] *= steps.FIRST
    return steps.pick(view, weights)
