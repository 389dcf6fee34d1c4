"""Boots one guest, shows what it says, and tells how it ended."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import termios
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from . import systemd
from .guests import Guest
from .prepare import NotPrepared, cache_folder

CHECKOUT = Path(__file__).resolve().parents[2]
SHARED = Path("/run/vm")  # the result folder as the guest sees it
JUNIT = "junit.xml"
TAIL = 40  # lines of the console to show of a lost guest
KEPT_RUNS = 20
# Variables of the tests, which a guest gets from the environment of this process.
PASSED_ON = ("PCONT_MUST", "PCONT_SEED", "PCONT_FAULTS", "PCONT_STORMS", "PCONT_SPILLS")
GRACE = 15.0  # seconds to power off once the status is there

# Without these features of the CPU the guest loads fewer drivers and TCG emulates less.
EMULATED = "-cpu qemu64,-svm"
# With a thread for each CPU one may run a breakpoint that another has taken away: the guest panics.
ONE_THREAD = "-accel tcg,thread=single"


class Lost(Exception):
    """The guest hung or died: no status of its command, hence no verdict on any test."""


@dataclass(frozen=True)
class Boot:
    """One boot of a guest: which kernel, how, what to run there, and where the results go."""

    guest: Guest
    kernel: Path
    results: Path
    kvm: bool
    command: str = ""  # none is a shell
    share: int = 1  # the number of this machine, where several share the tests of a guest
    threads: bool = False  # to emulate it: one for each CPU
    port: str = ""  # of virtio, which the guest calls so and `socket` leads to

    @property
    def name(self) -> str:
        several = self.guest.machines > 1
        return f"{self.guest.name}-{self.share}" if several else self.guest.name

    @property
    def log(self) -> Path:
        return self.results / "console.log"

    @property
    def socket(self) -> Path:
        return self.results / "port"

    def result(self, name: str) -> str | None:
        """What the guest left under a name in the result folder."""
        try:
            return (self.results / name).read_text().strip()
        except FileNotFoundError:
            return None


def new_results(guest: Guest, where: Path | None = None) -> Path:
    """A fresh folder for one run; of those in the cache only the newest stay."""
    runs = where or cache_folder() / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    if not where:
        for old in sorted(runs.iterdir())[: -KEPT_RUNS + 1]:
            shutil.rmtree(old, ignore_errors=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return Path(tempfile.mkdtemp(prefix=f"{stamp}-{guest.name}-", dir=runs.resolve()))


def argv(boot: Boot) -> list[str]:
    """The command line that boots a guest."""
    return qemu_argv(boot) if boot.guest.release else [vng(), *vng_argv(boot)]


def qemu_argv(boot: Boot) -> list[str]:
    """The command line for a guest with a root file system of its own."""
    guest = boot.guest
    nodes = []
    for node, cpus in enumerate(node_cpus(guest)):
        nodes += ["-object", f"memory-backend-ram,id=m{node},size={node_memory(guest)}"]
        nodes += ["-numa", f"node,nodeid={node},memdev=m{node},cpus={cpus}"]
    how = "-accel kvm -cpu host" if boot.kvm else emulated(boot)
    machine = ["-machine", "q35", "-smp", str(guest.cpus), *nodes, *how.split()]
    return systemd.argv(
        boot.kernel,
        guest.release,
        boot.results,
        memory=guest.memory,
        append=guest.append,
        machine=machine,
    )


def vng_argv(boot: Boot) -> list[str]:
    """The words for virtme-ng, which boots the root of this machine."""
    guest = boot.guest
    root = "local,path=/,mount_tag=cached,security_model=none,readonly=on,multidevs=remap"
    opts = f"-no-reboot -virtfs {root}"
    if not boot.kvm:
        opts += f" {emulated(boot)}"
    if boot.port:
        opts += f" -chardev socket,id=port,path={boot.socket},server=on,wait=off"
        opts += f" -device virtserialport,chardev=port,name={boot.port}"
    argv = [
        *("--run", str(boot.kernel), "--name", f"pcont-{boot.name}", "--user", "root"),
        *("--cpus", str(guest.cpus), "--memory", f"{guest.memory}M", *numa_options(guest)),
        *("--force-9p", f"--rwdir={SHARED}={boot.results}"),
        *("--append", "panic=-1", "--append", "oops=panic", "--append", guest.append),
        f"--qemu-opts={opts}",
    ]
    if not boot.kvm:
        argv.append("--disable-kvm")
    script = str(SHARED / "guest.sh")
    return [*argv, "--verbose", "--exec", script] if boot.command else [*argv, "--shell", script]


def numa_options(guest: Guest) -> list[str]:
    nodes = [f"{node_memory(guest)},cpus={cpus}" for cpus in node_cpus(guest)]
    return [word for node in nodes for word in ("--numa", node)]


def node_memory(guest: Guest) -> str:
    """The memory of each NUMA node, for QEMU."""
    return f"{guest.memory // guest.nodes}M"


def node_cpus(guest: Guest) -> list[str]:
    """The list of CPUs of each NUMA node."""
    count = guest.cpus // guest.nodes
    return [f"{first}-{first + count - 1}" for first in range(0, guest.nodes * count, count)]


def emulated(boot: Boot) -> str:
    """The words for QEMU on a machine without KVM."""
    return EMULATED if boot.threads else f"{EMULATED} {ONE_THREAD}"


def guest_env(boot: Boot) -> str:
    """What guest.sh reads first: variables of its own, then the environment of the command."""
    environment = {
        "HOME": "/run/home",
        "TMPDIR": "/run/tmp/pcont",
        "PATH": f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin"
        ":/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # they take as long as pytest itself
        "PCONT_KERNEL_TESTS": "1",
        "PCONT_GUEST": boot.guest.name,
    }
    environment |= {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}
    own = boot.guest.release
    folders = own_folders() if own else cached_folders(shell=not boot.command)
    lines = [
        f"LAYOUT={boot.guest.layout}",
        f"CHECKOUT={shlex.quote(str(CHECKOUT))}",
        f"CACHED=({shlex.join(folders)})",
        f"COMMAND={shlex.quote(boot.command)}",
        *(f"export {name}={shlex.quote(value)}" for name, value in environment.items()),
    ]
    return "\n".join(lines) + "\n"


def cached_folders(shell: bool) -> list[str]:
    """Folders to look at through the cache; not the checkout, which a person may edit."""
    folders = [] if shell else [str(CHECKOUT)]
    folders += [sys.prefix, sysconfig.get_path("stdlib"), "/usr/bin"]
    multiarch = sysconfig.get_config_var("MULTIARCH")
    return [*folders, f"/usr/lib/{multiarch}"]


def own_folders() -> list[str]:
    """Folders of this machine that a guest with a root of its own has, too: it has its own /usr."""
    folders = dict.fromkeys((sys.base_prefix, sys.prefix, str(CHECKOUT)))
    # A Python in /usr must be the version that the guest has there.
    return [folder for folder in folders if folder != "/usr"]


def vng() -> str:
    """The virtme-ng of this environment, or the one in PATH."""
    beside = Path(sys.executable).with_name("vng")
    found = str(beside) if beside.exists() else shutil.which("vng")
    if found is None:
        raise NotPrepared("virtme-ng is missing: pip install -e '.[test]'")
    return found


def lay_out(boot: Boot) -> None:
    """Fills the result folder with what the guest starts from; enough to replay it by hand."""
    shutil.copy(Path(__file__).with_name("guest.sh"), boot.results)
    (boot.results / "guest.sh").chmod(0o755)  # an archive of the sources may lose it
    (boot.results / "guest.env").write_text(guest_env(boot))
    (boot.results / "tmp").mkdir()


def host_env(boot: Boot) -> dict[str, str]:
    """virtme-ng leaves temporary files behind when it is killed: they go with the results."""
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    return {**os.environ, "TMPDIR": str(boot.results / "tmp"), "PATH": path}


class Console:
    """All that a guest and its kernel say, in a file; some of it is shown as it comes."""

    def __init__(self, path: Path, name: str) -> None:
        self._name = name
        self.tail: deque[str] = deque(maxlen=TAIL)
        self._file = path.open("w", encoding="utf-8")
        self._lock = threading.Lock()
        self._readers: list[threading.Thread] = []

    def follow(self, stream: IO[bytes], show: bool) -> None:
        reader = threading.Thread(target=self._read, args=(stream, show), daemon=True)
        self._readers.append(reader)
        reader.start()

    def _read(self, stream: IO[bytes], show: bool) -> None:
        for raw in stream:
            line = raw.decode(errors="replace").rstrip("\r\n")
            with self._lock:
                self.tail.append(line)
                print(line, file=self._file, flush=True)
                if show:
                    print(f"{self._name}: {line}", flush=True)

    def close(self) -> None:
        for reader in self._readers:
            reader.join(timeout=5)
        with self._lock:
            self._file.close()


def run(boot: Boot, timeout: float, stopping: threading.Event) -> int:
    """Runs the command in the guest; its exit status, or Lost when there is none."""
    lay_out(boot)
    console = Console(boot.log, boot.name)
    # The guest's output and the kernel's console arrive on two pipes. QEMU opens them by name and
    # would truncate a file.
    process = subprocess.Popen(
        argv(boot),
        cwd=CHECKOUT,
        env=host_env(boot),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        console.follow(process.stdout, show=True)
        console.follow(process.stderr, show=False)
        ended = wait(process, boot, timeout, stopping)
    finally:
        kill(process)
        console.close()
        shutil.rmtree(boot.results / "tmp", ignore_errors=True)
    status = boot.result("status")
    if status is None:
        raise Lost(lost(boot, console, "died" if ended else f"hung for {timeout:g} s"))
    return int(status)


def wait(
    process: subprocess.Popen[bytes], boot: Boot, timeout: float, stopping: threading.Event
) -> bool:
    """Until the machine ends by itself (True) or its time is over (False)."""
    deadline = time.monotonic() + timeout
    finishing = False
    while time.monotonic() < deadline and not stopping.is_set():
        if process.poll() is not None:
            return True
        if not finishing and boot.result("status") is not None:
            finishing, deadline = True, time.monotonic() + GRACE
        stopping.wait(0.1)
    return False


def kill(process: subprocess.Popen[bytes]) -> None:
    """Ends virtme-ng and its QEMU; the group outlives its leader."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def lost(boot: Boot, console: Console, how: str) -> str:
    shown = "\n".join(f"  | {line}" for line in console.tail)
    return (
        f"VM lost: guest {boot.name} {how}; the end of its console:\n{shown}\n"
        f"the whole console: {boot.log}"
    )


def shell(boot: Boot) -> int:
    """Gives the terminal to a shell in the guest."""
    if not sys.stdin.isatty():
        raise NotPrepared("a shell needs a terminal: --run runs a command without one")
    lay_out(boot)
    process = subprocess.Popen(argv(boot), cwd=CHECKOUT, env=host_env(boot), preexec_fn=os.setpgrp)
    try:
        with foreground(process.pid):
            process.wait()
    finally:
        kill(process)
        shutil.rmtree(boot.results / "tmp", ignore_errors=True)
    status = boot.result("status")
    if status is None:
        raise Lost(f"VM lost: guest {boot.guest.name} ended before its shell did")
    return int(status)


@contextmanager
def foreground(group: int) -> Iterator[None]:
    """Lends the terminal to a process group; it comes back in the mode it was in."""
    terminal = sys.stdin.fileno()
    mode = termios.tcgetattr(terminal)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # or taking it back would stop this process
    os.tcsetpgrp(terminal, group)
    try:
        yield
    finally:
        os.tcsetpgrp(terminal, os.getpgrp())
        termios.tcsetattr(terminal, termios.TCSADRAIN, mode)
