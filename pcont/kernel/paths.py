"""Paths of containers: join them, see one from another, refuse what could leave a hierarchy."""

from __future__ import annotations

from pcont.errors import BadWord


def join(base: str, path: str) -> str:
    """`path` below `base`, both as paths of containers."""
    return "/" + "/".join(filter(None, f"{base}/{path}".split("/")))


def below(path: str, base: str) -> str | None:
    """A path as seen from a container at or above it, `/` being that container; None elsewhere."""
    if base == "/":
        return path
    if path == base or path.startswith(f"{base}/"):
        return path[len(base) :] or "/"
    return None


def is_outside(path: str) -> bool:
    """Whether a path leads out of the root of this cgroup namespace (cgroup_namespaces(7))."""
    return path == "/.." or path.startswith("/../")


def check_path(path: str) -> None:
    """Refuse, before anything is touched, what could leave the hierarchy or break a line."""
    if "\n" in path or "\0" in path:
        raise BadWord(f"a container's name must not contain a newline or NUL: {path!r}")
    if not path.startswith("/"):
        raise BadWord(f"a container's path must start with a slash: {path!r}")
    if "/." in path and {".", ".."} & {*path.split("/")}:
        raise BadWord(f"a container's path must not contain '.' or '..': {path!r}")
