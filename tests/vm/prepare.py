"""What a guest needs before it boots: Debian packages, a kernel in the cache, a word on KVM."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import stress

from .guests import Guest

# virtme-ng needs a static busybox for its initramfs, and udev for the output of the guest.
# The guests see the libraries of this machine: libbpf1 is what pcont needs in them.
PACKAGES = ("qemu-system-x86", "kmod", "udev", "busybox-static", "file", "libbpf1")
QEMU = "qemu-system-x86_64"
CHECKOUT = Path(__file__).resolve().parents[2]
KVM_PATIENCE = 30.0  # seconds; a kernel that cannot find its root is off within three


class NotPrepared(Exception):
    """Something is missing on this machine, and the message says what to do."""


def cache_folder() -> Path:
    """Where kernels and results are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pcont" / "vm"


def prepare(guests: Iterable[Guest]) -> dict[str, Path]:
    """Installs and downloads what is missing; the kernel image to boot for each guest's name.

    A guest cannot write to the checkout: it would compile all modules again for each command.
    """
    with only_one():
        install(missing(*PACKAGES, *stress.PACKAGES))
        run(sys.executable, "-m", "compileall", "-q", "pcont", "tests", folder=CHECKOUT)
        return {guest.name: kernel_image(guest.kernel) for guest in guests}


@contextmanager
def only_one() -> Iterator[None]:
    """Two runners prepare one after the other; the second finds all there."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def missing(*packages: str) -> list[str]:
    return [package for package in packages if not installed(package)]


def installed(package: str) -> bool:
    command = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout == "installed"
    except FileNotFoundError:
        raise NotPrepared("guests boot Debian kernels: run this on a Debian machine") from None


def install(packages: list[str]) -> None:
    if not packages:
        return
    if os.geteuid() != 0:
        raise NotPrepared(f"as root, install: apt-get install {' '.join(packages)}")
    apt_get("install", "--yes", "--no-install-recommends", *packages)


def kernel_image(pattern: str) -> Path:
    """The image of the newest kernel of the pattern in the cache, downloaded when there is none."""
    kernels = cache_folder() / "kernels"
    kernels.mkdir(exist_ok=True)
    package = newest(pattern, (path.name for path in kernels.iterdir()))
    if package is None:
        package = known_package(pattern)
        download(package, kernels)
    return kernels / package / "boot" / package.replace("linux-image", "vmlinuz", 1)


def newest(pattern: str, names: Iterable[str]) -> str | None:
    """The name of the highest version among those that the pattern matches as a whole."""
    fitting = [name for name in names if re.fullmatch(pattern, name)]
    return max(fitting, key=version_in, default=None)


def version_in(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]


def known_package(pattern: str) -> str:
    for refresh in (False, True):
        if refresh:
            update()
        names = subprocess.run(
            ["apt-cache", "pkgnames", "linux-image-"], capture_output=True, text=True, check=True
        )
        package = newest(pattern, names.stdout.split())
        if package is not None:
            return package
    raise NotPrepared(f"apt knows no package {pattern}")


def download(package: str, kernels: Path) -> None:
    """Puts a package's files in the folder of its name, whole or not at all."""
    print(f"downloading {package}", flush=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=kernels) as name:
        new = Path(name)
        apt_get("download", package, folder=new)
        (archive,) = new.glob("*.deb")
        release = package.removeprefix("linux-image-")
        run("dpkg-deb", "--extract", str(archive), str(new / "files"))
        run("depmod", "--basedir", str(new / "files"), release)
        (new / "files").rename(kernels / package)


def apt_get(*words: str, folder: Path | None = None) -> None:
    """Runs apt-get, once more with fresh package lists when it fails."""
    command = ("apt-get", "--quiet", "--option=DPkg::Lock::Timeout=300", *words)
    if os.geteuid() == 0:  # no other user may write to the folder of a download
        command = (*command, "--option=APT::Sandbox::User=root")
    try:
        run(*command, folder=folder)
    except NotPrepared:
        update()
        run(*command, folder=folder)


def update() -> None:
    if os.geteuid() != 0:
        raise NotPrepared("apt has no fresh package lists: as root, run apt-get update")
    run("apt-get", "--quiet", "update")


def run(*command: str, folder: Path | None = None) -> None:
    """Runs a tool that only speaks when it fails."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    program = shutil.which(command[0], path=path)
    if program is None:
        raise NotPrepared(f"{command[0]} is missing")
    result = subprocess.run(
        [program, *command[1:]],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if result.returncode != 0:
        raise NotPrepared(f"{' '.join(command)}: exit {result.returncode}\n{result.stdout.strip()}")


def kvm_works(kernel: Path) -> bool:
    """Whether KVM runs the kernel: tried once after each boot of this machine."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with only_one():
        answer = cache_folder() / f"kvm-{kernel.name}"
        known = answer.read_text().split() if answer.exists() else []
        if known[:1] != [boot]:
            known = [boot, "works" if _kvm_boots(kernel) else "hangs"]
            answer.write_text(" ".join(known))
    return known[1:] == ["works"]


def _kvm_boots(kernel: Path) -> bool:
    """Whether a kernel panics under KVM within seconds, as it has no root file system.

    Nested, KVM may be there, take the CPU, and hang.
    """
    machine = [QEMU, "-accel", "kvm", "-machine", "q35", "-cpu", "host", "-m", "512"]
    boot = ["-kernel", str(kernel), "-append", "panic=-1", "-no-reboot"]
    try:
        result = subprocess.run(
            [*machine, *boot, "-nodefaults", "-display", "none"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=KVM_PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0
