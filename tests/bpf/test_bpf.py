"""bpf: the objects are those of the sources, and a host that cannot use them gets the reason."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from errno import EOPNOTSUPP
from pathlib import Path

import pytest

from pcont.bpf import libbpf, numtasks
from pcont.bpf import numfiles as bpf_numfiles
from pcont.bpf.enforcer import BpfEnforcer
from pcont.bpf.programs import KEY, OBJECTS, BpfHost, Pinned
from pcont.errors import Denied, Unsupported
from pcont.kernel.types import Place, Tree
from pcont.subsys import numfiles
from tests import user_namespace
from tests.conftest import MUST

FOLDER = Path(OBJECTS)
# What Debian calls what pcont/bpf/build.sh needs.
COMPILER = "clang-14"
PACKAGES = (COMPILER, "llvm-14", "libbpf-dev")


def test_the_objects_are_what_the_sources_make(tmp_path: Path) -> None:
    if (
        not (shutil.which(COMPILER) and Path("/usr/include/bpf/bpf_helpers.h").exists())
        and not MUST
    ):
        pytest.skip(f"no {COMPILER} with libbpf's headers: apt-get install {' '.join(PACKAGES)}")
    subprocess.run([FOLDER / "build.sh", tmp_path], check=True)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {path.name for path in FOLDER.glob("*.bpf.o")} == set(made)
    for name, content in made.items():
        assert (FOLDER / name).read_bytes() == content, f"run pcont/bpf/build.sh: {name} is old"


def test_the_objects_tell_nothing_of_where_they_were_made() -> None:
    for path in FOLDER.glob("*.bpf.o"):
        assert b"/home" not in path.read_bytes()
        assert str(FOLDER.parents[1]).encode() not in path.read_bytes()


@pytest.mark.parametrize("kind", [bpf_numfiles.Files, numtasks.Forks])
def test_the_structs_are_as_large_as_the_programs_have_them(kind: type[Pinned]) -> None:
    found = sizes(FOLDER / f"{kind.name}.bpf.o")
    expected = {STRUCTS.get(name, name): one.size for name, one in kind.layouts.items()}
    assert {name: found[name] for name in expected} == expected
    assert found["key"] == KEY.size


# What the values of a map are, where that is called otherwise.
STRUCTS = {"owners": "key", "rates": "rate"}


def sizes(file: Path) -> dict[str, int]:
    """The sizes of the structs by name, as the BTF section of an object has them (BTF, 2.2)."""
    raw = file.read_bytes()
    at = raw.index(struct.pack("<HBB", 0xEB9F, 1, 0))
    header, types, length, strings = struct.unpack_from("<IIII", raw, at + 4)
    position, end = at + header + types, at + header + types + length
    names = at + header + strings
    # How much follows a type: by its kind, so much at once and so much for each member.
    more = {1: (4, 0), 3: (12, 0), 4: (0, 12), 5: (0, 12), 6: (0, 8), 13: (0, 8), 14: (4, 0)}
    more |= {15: (0, 12), 17: (4, 0), 19: (0, 12)}
    found = {}
    while position < end:
        name, info, size = struct.unpack_from("<III", raw, position)
        kind, members = info >> 24 & 0x1F, info & 0xFFFF
        once, each = more.get(kind, (0, 0))
        position += 12 + once + each * members
        if kind == 4:
            text = raw[names + name : raw.index(b"\0", names + name)].decode()
            found[text] = size
    return found


# Hosts that cannot


@pytest.fixture
def sys_(tmp_path: Path) -> Path:
    """A /sys of a kernel that has all."""
    for folder in ("kernel/security", "kernel/btf", "fs/bpf"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "kernel/security/lsm").write_text("lockdown,capability,yama,bpf")
    (tmp_path / "kernel/btf/vmlinux").touch()
    return tmp_path


def enforcer(sys_: Path) -> BpfEnforcer:
    trees = {"name=f": Tree("name=f", 7, (), "f")}
    return BpfEnforcer(
        *(str(sys_), "/proc"), trees.values, lambda id: trees[id].number, lambda place: str(sys_)
    )


def obstacle(sys_: Path) -> str:
    with pytest.raises(Unsupported) as caught:
        enforcer(sys_).check("numfiles")
    assert caught.value.what.startswith("numfiles is enforced by BPF programs, and ")
    return f"{caught.value.what}: {caught.value.hint}"


def test_without_bpf_among_the_modules_the_command_line_is_named(sys_: Path) -> None:
    (sys_ / "kernel/security/lsm").write_text("lockdown,capability,yama,apparmor\n")
    why = obstacle(sys_)
    assert "no BPF among its security modules (lockdown,yama,apparmor)" in why
    assert "lsm=lockdown,yama,apparmor,bpf on the kernel's command line" in why


def test_without_securityfs_nothing_is_known(sys_: Path) -> None:
    (sys_ / "kernel/security/lsm").unlink()
    why = obstacle(sys_)
    assert "does not say which security modules" in why
    assert "mount -t securityfs" in why
    assert "lsm=bpf" in why


def test_without_types_there_is_no_relocation(sys_: Path) -> None:
    (sys_ / "kernel/btf/vmlinux").unlink()
    assert "BTF" in obstacle(sys_)


def test_without_its_filesystem_nothing_can_be_pinned(sys_: Path) -> None:
    assert f"mount -t bpf bpf {sys_}/fs/bpf" in obstacle(sys_)


def test_without_the_library_its_package_is_named(
    sys_: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: True)
    monkeypatch.setattr(libbpf, "LIBRARY", "libbpf-that-is-not-there.so.1")
    libbpf.libbpf.cache_clear()
    try:
        assert "install libbpf1" in obstacle(sys_)
    finally:
        libbpf.libbpf.cache_clear()


def test_on_another_byte_order_there_are_no_objects(
    sys_: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: True)
    monkeypatch.setattr(sys, "byteorder", "big")
    assert "little-endian" in obstacle(sys_)


def test_where_nothing_is_at_work_nothing_is_known(sys_: Path) -> None:
    assert enforcer(sys_).trees() == {}
    with pytest.raises(OSError, match="no programs count here"):
        enforcer(sys_).values(Place("name=f", "/a"), "numfiles")


def test_what_the_programs_could_not_count_is_called_as_they_do() -> None:
    source = (Path(OBJECTS) / "numfiles.bpf.c").read_text()
    (fields,) = re.findall(r"struct state \{(.*?)\n\};", source, re.DOTALL)
    assert re.findall(r"__u64 (\w+);", fields) == ["hierarchy", *numfiles.IN_THE_WAY]


def test_forks_are_not_counted_where_nothing_is_at_work(sys_: Path) -> None:
    place = Place("name=f", "/a")
    assert enforcer(sys_).values(place, "numtasks") == {}
    assert not enforcer(sys_).is_bound("numtasks", place)
    with pytest.raises(OSError, match="not supported") as caught:
        enforcer(sys_).set(place, "numtasks.forkrate", 3)
    assert caught.value.errno == EOPNOTSUPP


def test_what_is_left_of_a_start_is_found_and_ended(sys_: Path) -> None:
    """pcont was killed before it had said in which hierarchy."""
    (sys_ / "fs/bpf/pcont/numfiles").mkdir(parents=True)
    found = enforcer(sys_)
    assert found.trees() == {"numfiles": ""}
    found.stop("numfiles", Place("name=f"))
    assert found.trees() == {}
    assert not (sys_ / "fs/bpf/pcont/numfiles").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a folder that users cannot read")
def test_in_a_user_namespace_without_the_machines_root_no_folder_is_believed_nor_refused() -> None:
    """All users that the namespace does not map look alike there: root, and any other."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        for name, mode in (("secret", 0o700), ("planted", 0o755)):
            os.makedirs(f"{folder}/{name}/numfiles", mode=mode)
        os.chown(f"{folder}/planted", 4712, 4712)

        def looks(name: str) -> int:
            found = BpfHost(f"{folder}/{name}", "/proc", lambda tree: 0, lambda place: "", {})
            try:
                return int(bpf_numfiles.Files(found).is_there)
            except Denied:
                return 2

        def inside() -> int:
            user_namespace.enter(4711)
            return looks("secret") * 10 + looks("planted")

        assert (looks("secret"), looks("planted")) == (1, 2)
        assert in_a_child(inside) == 12


def in_a_child(act: Callable[[], int]) -> int:
    """What a process that was forked for it returns."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = act()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
