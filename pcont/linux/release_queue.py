"""The release agents that pcont installs, and the queue of the empty containers that they report.

Each hierarchy has its own program, a small shell script. The kernel starts it for each container
that becomes empty, maybe a thousand at once. The script only appends the path to a queue, and then
becomes a pcont process that processes the queue, unless one does so already. If that process is
killed, or its Python no longer exists, the queue remains: the next event, or `pcont gc`, processes
it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from shlex import quote, split

from pcont import errors
from pcont.errors import Busy, Denied
from pcont.kernel.retry import Retry
from pcont.linux import priority
from pcont.trust import ownership

# A directory from which programs can be executed (/run may be noexec), and writable by root only.
PROGRAMS = "/var/lib/pcont/agents"
QUEUES = "/run/pcont/released"
LOCK, TAKEN, MADE = "@lock", "@taken", "@made"  # no hierarchy has such a character in its name

# The kernel starts the script with PATH and HOME, and without open files. A process that unlocks
# the queue reads it again afterwards, so it finds what was added during the unlock.
SCRIPT = """\
#!/bin/sh
# The release agent of pcont for one hierarchy, whose name is this file's. Made anew by pcont gc.
exec </dev/null >/dev/null 2>&1
umask 077
queue={queue}
[ -d {queues} ] || mkdir -p {queues}
printf '%s\\0' "$1" >>"$queue" || exit 1
exec 9>>"$queue{lock}" || exit 1
flock -n 9 || exit 0
exec {python} -I -c 'import sys
sys.path.insert(0, sys.argv[1])
from pcont.agent import main
main(sys.argv[2], 9)' {package} {tree}
"""

RELIED_ON = {PROGRAMS: "release agents", QUEUES: "reports of release agents"}
LEASE_PAUSE = 0.001
USER_AGENT_PATIENCE = 60.0  # seconds until a user's agent is killed
ENVIRONMENT = {"HOME": "/", "PATH": "/sbin:/bin:/usr/sbin:/usr/bin"}  # the kernel's (patch, 1.9)


class KernelQueue:
    """The ReleaseQueue interface (kernel/interfaces.py) on the running kernel."""

    attended = True

    def program(self, tree: str) -> str:
        return os.path.join(PROGRAMS, tree)

    def programs(self) -> dict[str, bool]:
        with contextlib.suppress(FileNotFoundError):
            names = [name for name in sorted(os.listdir(PROGRAMS)) if not name.endswith(MADE)]
            return {tree: self._works(tree) for tree in names}
        return {}

    def keeper(self, tree: str) -> str:
        # The file is only compared. Nothing in it is run.
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(self.program(tree), encoding="utf-8", errors="surrogateescape") as stream:
                words = split(stream.read(), comments=True)
            python, package = words[words.index("-I") - 1], words[-2]
            known = os.path.join(package, "pcont", "agent.py")
            if package != _package() and os.path.exists(python) and os.path.exists(known):
                return package
        return ""

    def follow(self, tree: str, agent: str) -> None:
        """Install the program of a hierarchy if `agent`, the text of its release_agent, names it;
        otherwise remove it.
        """
        if agent.strip() == self.program(tree):
            self._install(tree)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.program(tree))

    def forget(self, tree: str) -> None:
        for file in (self.program(tree), _queue(tree), _taken(tree), _lock(tree)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(file)

    def reported(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            _check(QUEUES)
            names = [name for name in os.listdir(QUEUES) if not name.endswith(LOCK)]
            return sorted({name.removesuffix(TAKEN) for name in names})
        return []

    @contextlib.contextmanager
    def taken(self, tree: str) -> Iterator[list[str]]:
        with _locked(tree):
            file = _taken(tree)
            # A taken queue that exists already is from a process that was killed.
            if not os.path.exists(file):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(_queue(tree), file)
            paths: list[str] = []
            with contextlib.suppress(FileNotFoundError):
                paths = _whole(file)
            yield paths
            if paths:
                with open(_queue(tree), "ab") as stream:
                    stream.write(b"".join(os.fsencode(path) + b"\0" for path in paths))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(file)

    def notify(self, program: str, path: str) -> None:
        import subprocess

        # pcont waits, unlike the kernel: the container may be removed after the agent has run.
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                [program, os.fsencode(path)],
                env=ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                umask=0o022,
                timeout=USER_AGENT_PATIENCE,
                check=False,
                preexec_fn=priority.for_others(),
            )

    def _works(self, tree: str) -> bool:
        with contextlib.suppress(OSError, Denied):
            _check(PROGRAMS)
            with open(ownership.open_file(self.program(tree), uid=os.geteuid()), "rb") as stream:
                return stream.read() == _script(tree)
        return False

    def _install(self, tree: str) -> None:
        """Write the program of a hierarchy, completely or not at all."""
        os.makedirs(PROGRAMS, mode=0o755, exist_ok=True)
        _check(PROGRAMS)
        if self._works(tree):
            return
        made = f"{self.program(tree)}{MADE}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(made, flags, 0o700), "wb") as stream:
            stream.write(_script(tree))
        os.chmod(made, 0o755)
        os.rename(made, self.program(tree))


def code() -> list[str]:
    """Return the paths that a release agent runs: the Python interpreter, and the directory with
    pcont.
    """
    return [sys.executable, _package()]


def _package() -> str:
    """Return the directory that contains the package pcont. The scripts import pcont.agent from
    there.
    """
    return os.path.dirname(os.path.dirname(os.path.abspath(errors.__file__)))


def _check(directory: str) -> None:
    """Raise Denied if another user could add programs or paths in a directory."""
    ownership.require_safe(
        directory,
        f"what is below {directory} is not used",
        "chown root:root {0}; chmod go-w {0}",
    )


def _script(tree: str) -> bytes:
    words = {
        "queue": _queue(tree),
        "queues": QUEUES,
        "python": sys.executable,
        "package": _package(),
        "tree": tree,
        "lock": LOCK,
    }
    return os.fsencode(SCRIPT.format_map({name: quote(word) for name, word in words.items()}))


def _queue(tree: str) -> str:
    return os.path.join(QUEUES, tree)


def _taken(tree: str) -> str:
    return _queue(tree) + TAKEN


def _lock(tree: str) -> str:
    return _queue(tree) + LOCK


@contextlib.contextmanager
def _locked(tree: str) -> Iterator[None]:
    """Hold the lock of a queue for the block. Raises Busy if another process has it."""
    os.makedirs(QUEUES, mode=0o700, exist_ok=True)
    _check(QUEUES)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(_lock(tree), flags, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            message = "another process handles the reports of the release agent"
            raise Busy(message, path=_lock(tree)) from err
        yield
    finally:
        os.close(descriptor)


def _whole(file: str) -> list[str]:
    """Return the paths in a taken queue, after every script that has it open has finished
    writing.
    """
    with open(ownership.open_file(file, uid=os.geteuid()), "rb") as stream:
        retry = Retry(pause=LEASE_PAUSE)
        while True:
            try:
                # A lease is granted only if no process has the file open for writing (fcntl(2)).
                fcntl.fcntl(stream, fcntl.F_SETLEASE, fcntl.F_RDLCK)
                break
            except BlockingIOError:
                retry.wait()
        return [os.fsdecode(path) for path in stream.read().split(b"\0") if path]
