"""library.py NUMBER: what verbs of the library cost on a model in memory with so many containers.

Each line that it prints has three numbers and what was done: the microseconds of the CPU and of the
clock for each item, and the largest size of the process in KiB. A verb for all containers is
called once; a verb for one container is called for some of them, in a batch.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Callable

import pcont

CALLS = 1000
CHILDREN = 10


def path(number: int) -> str:
    """The path of a container: ten are below each."""
    words: list[str] = []
    while number:
        number, last = divmod(number - 1, CHILDREN)
        words.append(f"c{last}")
    return "/".join(["/top", *reversed(words)])


def timed(what: str, items: int, run: Callable[[], object]) -> None:
    """Run something, and print what each of the items cost."""
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(cpu / items * 1e6, wall / items * 1e6, peak, what, flush=True)


def single(model: pcont.Pcont, places: list[str]) -> None:
    """Verbs for one container, for some of them."""
    some = random.Random(1).sample(places, min(CALLS, len(places)))
    (task,) = model.sim.fork()

    def each(what: str, verb: Callable[[str], object]) -> None:
        timed(what, len(some), lambda: [verb(place) for place in some])

    with model.batch():
        each("set one value", lambda place: model.set(place, {"pids.max": 100}))
        each("get one value", lambda place: model.value(place, "pids.max"))
        each("attach a task", lambda place: model.attach(place, task))
        each("where", lambda place: model.where(task))
        each("ps", lambda place: model.ps(place))
        each("create one", lambda place: model.create(f"{place}/new"))
        each("rm one", lambda place: model.rm(f"{place}/new"))
        model.attach("jobs:/", task)


def main() -> None:
    """Build the model, and measure."""
    number = int(sys.argv[1])
    with pcont.open("model") as model:
        model.mount("pids", name="jobs")
        places = [f"jobs:{path(one)}" for one in range(number)]
        timed("create all", number, lambda: model.create(*places))
        single(model, places)
        timed("tree of all", number, lambda: model.tree("jobs"))
        timed("hierarchies", 1, model.hierarchies)
        timed("rm -r of all", number, lambda: model.rm("jobs:/top", recursive=True))


if __name__ == "__main__":
    main()
