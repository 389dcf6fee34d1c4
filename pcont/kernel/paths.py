"""Functions on the paths of containers: join them, make them relative, and refuse unsafe ones."""

from __future__ import annotations

from pcont.errors import BadWord


def join(base: str, path: str) -> str:
    """Return the path of the container `path` below the container `base`."""
    joined = ("" if base == "/" else base) + (path if path.startswith("/") else f"/{path}")
    if joined.startswith("/") and "//" not in joined and not joined.endswith("/"):
        return joined
    return "/" + "/".join(filter(None, joined.split("/")))


def below(path: str, base: str) -> str | None:
    """Return a path relative to a container at or above it (`/` is that container); None for any
    other.
    """
    if base == "/":
        return path
    if path == base or path.startswith(f"{base}/"):
        return path[len(base) :] or "/"
    return None


def overlap(one: str, other: str) -> bool:
    """Return whether one of two paths is at or below the other."""
    return below(one, other) is not None or below(other, one) is not None


def is_outside(path: str) -> bool:
    """Return whether a path leads out of the cgroup namespace of this process
    (cgroup_namespaces(7)).
    """
    return path == "/.." or path.startswith("/../")


def check_path(path: str) -> None:
    """Raise BadWord for a path that could leave the hierarchy (`..`), or with a newline or NUL."""
    if "\n" in path or "\0" in path:
        raise BadWord(f"a container's name must not contain a newline or NUL: {path!r}")
    if not path.startswith("/"):
        raise BadWord(f"a container's path must start with a slash: {path!r}")
    if "/." in path and {".", ".."} & {*path.split("/")}:
        raise BadWord(f"a container's path must not contain '.' or '..': {path!r}")
