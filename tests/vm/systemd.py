"""Guests whose init process is systemd: the image of their root file system, and the machine.

virtme-ng boots the root of this machine, with an init of its own. These guests have a small Debian
in a file instead. The checkout, Python and the result folder come from this machine, as they do
there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from .guests import Guest
from .prepare import QEMU, NotPrepared, cache_folder, install, missing, only_one, run

# What builds an image.
BUILDERS = ("mmdebstrap", "e2fsprogs", "busybox-static")
# What the guests have, beside what systemd and Python need: the packages of the tests, and libbpf1
# for pcont.
INCLUDE = ("systemd", "systemd-sysv", "dbus", "kmod", "procps", "python3", "libbpf1")
SIZE = "900M"
KEPT_FOR = 7 * 86400.0  # seconds; an image that is removed is built again
# The root, the folders of this machine, and what ext4 needs for its checksums.
MODULES = ("virtio_blk", "crc32c_generic", "ext4", "9pnet_virtio", "9p")
CONSOLE = "/dev/ttyS1"  # the kernel's and systemd's; ttyS0 has the output of the command
MASKED = (
    *("getty.target", "serial-getty@.service", "tmp.mount", "systemd-timesyncd.service"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer"),
    *("e2scrub_all.timer", "e2scrub_reap.service", "systemd-networkd-wait-online.service"),
)
UNIT = """\
[Unit]
Description=the command of the guest
After=multi-user.target
ConditionPathExists=/dev/ttyS0

[Service]
Type=exec
ExecStartPre=mkdir -p /run/vm
ExecStartPre=mount -t 9p -o version=9p2000.L,trans=virtio,msize=512000 results /run/vm
ExecStart=bash /run/vm/guest.sh
ExecStopPost=systemctl poweroff -ff
StandardOutput=file:/dev/ttyS0
StandardError=inherit

[Install]
WantedBy=default.target
"""
INIT = """\
#!/bin/busybox sh
/bin/busybox mkdir /new
/bin/busybox mount -t devtmpfs dev /dev
for module in /modules/*; do /bin/busybox insmod $module 2> /dev/null; done
/bin/busybox mount -t ext4 /dev/vda /new
exec /bin/busybox switch_root /new /sbin/init
"""


def prepare(guests: Iterable[Guest], kernels: dict[str, Path]) -> None:
    """Build what is missing of the root file systems of guests that have their own."""
    with only_one():
        for guest in guests:
            if guest.release:
                install(missing(*BUILDERS))
                image(guest.release)
                initramfs(kernels[guest.name])


def image(release: str) -> Path:
    """The root file system of a release of Debian in the cache; built if there is none.

    A change of what goes into it makes another image.
    """
    recipe = repr((release, INCLUDE, SIZE, MASKED, UNIT))
    name = f"{release}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}.ext4"
    images = cache_folder() / "images"
    images.mkdir(exist_ok=True)
    if not (images / name).exists():
        if os.geteuid() != 0:
            raise NotPrepared(
                "building a root file system needs root: python -m tests.vm --prepare"
            )
        _build(release, images / name)
        for old in images.glob("*-*"):  # those that another checkout may be using stay
            if old.stat().st_mtime < time.time() - KEPT_FOR:
                old.unlink()
    return images / name


def _build(release: str, target: Path) -> None:
    """Make an image, whole or not at all."""
    print(f"building {target.name}", flush=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent) as scratch:
        root, new = Path(scratch) / "root", Path(scratch) / "image"
        _bootstrap(release, root)
        _settle(root)
        run("mke2fs", "-q", "-t", "ext4", "-O", "^metadata_csum", "-d", str(root), str(new), SIZE)
        new.rename(target)


def _bootstrap(release: str, root: Path) -> None:
    """Install the packages; once more where that fails, as a download may."""
    include = f"--include={','.join(INCLUDE)}"
    command = ("mmdebstrap", "--variant=essential", "--mode=root", include, release, str(root))
    try:
        run(*command)
    except NotPrepared:
        shutil.rmtree(root, ignore_errors=True)
        run(*command)


def _settle(root: Path) -> None:
    """Make the root one that boots straight to the command."""
    units = root / "etc/systemd/system"
    (root / "etc/fstab").write_text("")
    (root / "etc/machine-id").write_text(f"{'0' * 31}1\n")
    (root / "etc/hostname").write_text("guest\n")
    for name in MASKED:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")
    (units / "vm.service").write_text(UNIT)
    wanted = units / "default.target.wants"
    wanted.mkdir(exist_ok=True)
    (wanted / "vm.service").symlink_to("../vm.service")


def initramfs(kernel: Path) -> Path:
    """The initramfs of a kernel in the cache; built if there is none."""
    script = hashlib.sha256(repr((INIT, MODULES)).encode()).hexdigest()[:12]
    target = cache_folder() / "images" / f"initramfs-{kernel.name}-{script}"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent) as scratch:
        root, new = Path(scratch) / "root", Path(scratch) / "image"
        for folder in ("bin", "modules"):
            (root / folder).mkdir(parents=True)
        shutil.copy("/bin/busybox", root / "bin")
        for number, module in enumerate(_modules(kernel)):
            _unpacked(module, root / "modules" / f"{number:02}-{module.name.split('.')[0]}.ko")
        (root / "init").write_text(INIT)
        (root / "init").chmod(0o755)
        names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
        with new.open("wb") as archive:
            subprocess.run(
                ["busybox", "cpio", "-o", "-H", "newc"],
                cwd=root,
                input=names.encode(),
                stdout=archive,
                stderr=subprocess.DEVNULL,
                check=True,
            )
        new.rename(target)
    return target


def _modules(kernel: Path) -> Iterable[Path]:
    """The files of the modules that the initramfs loads, each after those that it needs."""
    release, base = kernel.name.removeprefix("vmlinuz-"), kernel.parents[1]
    found: dict[Path, None] = {}
    for name in MODULES:
        shown = subprocess.run(
            ["modprobe", "-S", release, "-d", str(base), "--show-depends", name],
            capture_output=True,
            text=True,
            check=True,
        )
        lines = [line.split() for line in shown.stdout.splitlines()]
        found.update({Path(words[1]): None for words in lines if words[0] == "insmod"})
    return found


def _unpacked(module: Path, target: Path) -> None:
    """Copy a module, as busybox's insmod reads it."""
    if module.suffix != ".xz":
        shutil.copy(module, target)
        return
    import lzma

    target.write_bytes(lzma.decompress(module.read_bytes()))


def argv(
    kernel: Path, release: str, results: Path, *, memory: int, append: str, machine: Iterable[str]
) -> list[str]:
    """The command line of QEMU. The changes to the image are lost at the end."""
    shared = "security_model=none,multidevs=remap"
    drive = f"file={image(release)},if=virtio,format=raw,snapshot=on"
    line = f"console={Path(CONSOLE).name} quiet panic=-1 oops=panic mitigations=off {append}"
    return [
        *(QEMU, "-m", f"{memory}M", *machine),
        *("-nodefaults", "-display", "none", "-no-reboot"),
        *("-kernel", str(kernel), "-initrd", str(initramfs(kernel)), "-append", line),
        *("-drive", drive),
        *("-virtfs", f"local,path=/,mount_tag=cached,readonly=on,{shared}"),
        *("-virtfs", f"local,path={results},mount_tag=results,{shared}"),
        *("-chardev", "stdio,id=out,signal=off", "-serial", "chardev:out"),
        *("-chardev", "file,id=log,path=/proc/self/fd/2", "-serial", "chardev:log"),
    ]
