"""The state files that earlier versions of pcont wrote, one JSON object each, converted to rows.

Version 1 had no freezer and no pids, and counted no tasks. Versions 1 and 2 nested containers, and
had no simulated tasks and no open files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pcont.kernel.paths import join
from pcont.model.dialects import DIALECTS, V1
from pcont.model.pages import StoredRow
from pcont.model.rows import (
    ENDED,
    HEAD,
    HOLDERS,
    LIVE,
    NOTIFIED,
    OPEN_FILES,
    PLACED,
    PLAYED,
    THREADS,
    container_key,
    inside_prefix,
)
from pcont.model.tasks import FIRST_SIMULATED_ID

READABLE = (1, 2, 3)
_SAME = ("values", "attributes", "times", "most", "refused", "facts", "charges")
_Containers = dict[int, dict[str, dict[str, Any]]]  # by number of the tree, and path


def converted(state: dict[str, Any]) -> dict[str, StoredRow]:
    """Return the rows of a state. Raises ValueError, LookupError and others for another shape."""
    found: dict[str, StoredRow] = {}
    trees = state["trees"]
    containers = {0: {"/": _container(state.get("unbound", {}))}}
    for facts in trees:
        nested = "containers" not in facts
        some = _nested("/", facts["root"]) if nested else facts["containers"]
        containers[facts["number"]] = _listed(some)
    played = {int(id): facts for id, facts in state.get("played", {}).items()}
    for facts in state["tasks"]:
        found.update(_task(facts, played.get(facts["id"]), containers))
    found.update(_simulated(played))
    found.update(_numbered(ENDED, {int(id): int(one) for id, one in state["ended"].items()}))
    found.update(_numbered(NOTIFIED, dict(enumerate(state.get("notified", ())))))
    found.update(_files(state.get("files", ())))
    for number, by_path in containers.items():
        found.update((container_key(number, path), row) for path, row in by_path.items())
    head = _head(state, containers)
    head["threads"] = sum(key.startswith(THREADS) for key in found)
    return {**found, HEAD: head}


def _numbered(section: str, rows: dict[int, StoredRow]) -> Iterator[tuple[str, StoredRow]]:
    return ((f"{section}{number:012}", row) for number, row in rows.items())


def _head(state: dict[str, Any], containers: _Containers) -> dict[str, StoredRow]:
    dialect = state.get("dialect", V1.name)
    trees = [
        {
            "number": facts["number"],
            "controllers": facts["controllers"],
            "name": facts["name"],
            "bare": bool(facts.get("bare", DIALECTS[dialect].bare)),
            "size": len(containers[facts["number"]]),
            "mounts": facts["mounts"],
            "emptied": [str(path) for path in facts.get("emptied", ())],
        }
        for facts in state["trees"]
    ]
    return {
        "dialect": dialect,
        "machine": state["machine"],
        "next_number": int(state["next_number"]),
        "directories": state["directories"],
        "stacks": list((state.get("stacks") or _stacks(state["trees"])).items()),
        "trees": trees,
        "parameters": state.get("parameters", {}),
        "notified": len(state.get("notified", ())),
        "ended": len(state["ended"]),
        "pinned": state.get("pinned", {}),
        "played": len(state.get("played", ())),
        "next_id": int(state.get("next_id", FIRST_SIMULATED_ID)),
        "dying": state.get("dying", []),
        "metered": state.get("metered", {}),
        "next_file": int(state.get("next_file", 1)),
    }


def _stacks(trees: Iterable[dict[str, Any]]) -> dict[str, list[int]]:
    """Return the mounts of each point, from a state without their order."""
    found: dict[str, list[int]] = {}
    for tree in trees:
        for mount in tree["mounts"]:
            found.setdefault(mount["point"], []).append(tree["number"])
    return found


def _nested(path: str, facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a container and its descendants from the nested form of versions 1 and 2."""
    yield {**facts, "path": path}
    for name, below in facts["children"].items():
        yield from _nested(join(path, name), below)


def _container(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: facts[key] for key in _SAME if facts.get(key)}


def _listed(containers: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the containers of a tree by path. Raises ValueError if a parent is missing."""
    found: dict[str, dict[str, Any]] = {"/": {}}
    for facts in containers:
        path = facts["path"]
        above, _, name = path.rpartition("/")
        if path != "/" and (not name or path in found or (above or "/") not in found):
            raise ValueError(f"{path!r} is no container")
        found[path] = _container(facts)
    return found


def _task(
    facts: dict[str, Any], played: list[Any] | None, containers: _Containers
) -> Iterator[tuple[str, StoredRow]]:
    """Yield the rows of a task, and count it in its containers."""
    zombie = played is not None and bool(played[4])
    for number, path in facts["paths"].items():
        _count(containers[int(number)], path, zombie)
        if not zombie:
            yield f"{inside_prefix(int(number), path)}{facts['id']:012}", 1
    requested = facts.get("wish") or None
    if played is None:
        charged = [facts["charged"][name] for name in ("user", "system", "cpu")]
        row = [facts["pid"], facts["start"], facts["cpus"], charged, facts["paths"], requested]
    else:
        row = [played[0], 0, facts["cpus"], [0, 0, 0], facts["paths"], requested]
    yield from _numbered(LIVE if played is None else PLACED, {facts["id"]: row})


def _count(containers: dict[str, dict[str, Any]], path: str, zombie: bool) -> None:
    """Count a task in its container and in every parent."""
    while True:
        one = containers[path]
        one["count"] = one.get("count", 0) + 1
        one["most"] = max(one.get("most", 0), one["count"])
        one["zombies"] = one.get("zombies", 0) + zombie
        if path == "/":
            return
        path = path.rpartition("/")[0] or "/"


def _simulated(played: dict[int, list[Any]]) -> Iterator[tuple[str, StoredRow]]:
    yield from _numbered(PLAYED, played)
    threads: dict[int, list[int]] = {}
    for id, (pid, *_) in sorted(played.items()):
        if id != pid:
            threads.setdefault(pid, [pid]).append(id)
    yield from _numbered(THREADS, {pid: sorted(ids) for pid, ids in threads.items()})


def _files(files: Iterable[dict[str, Any]]) -> Iterator[tuple[str, StoredRow]]:
    held: dict[int, list[int]] = {}
    for facts in files:
        number, holders = facts["number"], sorted(facts["holders"])
        yield from _numbered(OPEN_FILES, {number: [holders, facts["charged"]]})
        for holder in holders:
            held.setdefault(holder, []).append(number)
    yield from _numbered(HOLDERS, {holder: sorted(numbers) for holder, numbers in held.items()})
