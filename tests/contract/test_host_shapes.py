"""Hosts as they are: mounts that others made, with and without prefixes, beside cgroup v2."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import Pcont, eventually

pytestmark = pytest.mark.guest


class Host:
    """mount(8) as an administrator uses it; everything is unmounted after the test."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.points: list[str] = []

    def mount(self, name: str, *words: str) -> str:
        point = self.base / name
        point.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", *words, str(point)], check=True)
        self.points.append(str(point))
        return str(point)

    def close(self) -> None:
        """Unmount; what was removed shortly before keeps a hierarchy active, until once more."""
        for point in reversed(self.points):
            subprocess.run(["umount", point], check=True)
        assert eventually(self._has_ended), f"still bound: {bound()}"

    def _has_ended(self) -> bool:
        """Whether nothing is bound any more; else what is bound is mounted and unmounted again."""
        if eventually(nothing_bound, 0.5):
            return True
        again = self.base / "again"
        again.mkdir(exist_ok=True)
        for controllers in bound():
            words = ["-t", "cgroup", "-o", controllers, "cgroup", str(again)]
            if subprocess.run(["mount", *words], check=False).returncode == 0:
                subprocess.run(["umount", str(again)], check=True)
        return nothing_bound()


def bound() -> list[str]:
    """The hierarchies that are active, mounted or not."""
    with open("/proc/self/cgroup") as stream:
        return [line.split(":")[1] for line in stream if not line.startswith("0:")]


def nothing_bound() -> bool:
    return not bound()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.close()


@pytest.fixture
def plain() -> Pcont:
    """The command line without a word about the backend."""
    return Pcont(())


def test_a_cpuset_without_prefixes(host: Host, plain: Pcont) -> None:
    point = host.mount("dev/cpuset", "-t", "cpuset", "cpuset")
    assert (Path(point) / "cpus").exists()
    plain.ok("create", "-i", "cpuset:/a", "-s", "cpuset.cpus=1")
    assert plain.get("cpuset:/a", "cpus") == "1"
    assert plain.get("cpuset:/a", "cpuset.cpus") == "1"
    assert "cpuset.memory_migrate=0" in plain.ok("get", "cpuset:/a").splitlines()
    assert plain.get("cpuset:/", "release_agent") == "/sbin/cpuset_release_agent"
    assert "cpuset.cpus=1" in plain.ok("tree", "cpuset")
    said = plain.fails(7, "set", "cpuset:/a", "cpus=9")
    assert f"{point}/a/cpus" in said
    plain.ok("rm", f"{point}/a")


def test_a_pair_that_is_mounted_together(host: Host, plain: Pcont) -> None:
    host.mount("cpu,cpuacct", "-t", "cgroup", "-o", "cpuacct,cpu", "cgroup")
    plain.ok("create", "cpu:/a")
    plain.ok("set", "cpuacct:/a", "cpu.shares=512")
    assert plain.get("cpu,cpuacct:/a", "cpu.shares") == "512"
    said = plain.fails(5, "mount", "-o", "cpuacct")
    assert "cpu,cpuacct" in said
    plain.ok("mount", "--tie", "--name", "jobs", "-o", "cpuacct", "--no-freezer")
    assert plain.get("jobs:/a", "cpu.shares") if plain("create", "jobs:/a").status == 0 else False
    plain.ok("rm", "jobs:/a")
    plain.ok("umount", "jobs")


def test_names_with_blanks_several_views_and_binds(host: Host, plain: Pcont) -> None:
    first = host.mount("with blank\tand tab", "-t", "cgroup", "-o", "cpuset", "cgroup")
    plain.ok("create", "-p", "-i", "cpuset:/a/b", "-s", "cpus=0-1")
    view = host.mount("second", "-t", "cgroup", "-o", "cpuset", "cgroup")
    below = host.mount("bound", "--bind", f"{first}/a")
    for place in (f"{first}/a/b", f"{view}/a/b", f"{below}/b"):
        assert plain.get(place, "cpus") == "0-1"
    plain.ok("set", f"{below}/b", "cpus=1")
    assert plain.get("cpuset:/a/b", "cpus") == "1"
    (row,) = json.loads(plain.ok("hierarchies", "--json"))["result"]
    assert sorted(row["trees"][0]["mounts"]) == sorted([first, view, below])
    host.points.remove(below)
    subprocess.run(["umount", below], check=True)
    plain.ok("rm", "-r", "cpuset:/a")


def test_only_a_part_of_a_hierarchy_can_be_seen(host: Host, plain: Pcont) -> None:
    first = host.mount("first", "-t", "cgroup", "-o", "cpuset", "cgroup")
    plain.ok("create", "-p", "-i", "cpuset:/a/b", "-s", "cpus=1")
    host.mount("bound", "--bind", f"{first}/a")
    subprocess.run(["umount", first], check=True)
    assert plain.get("cpuset:/a/b", "cpus") == "1"
    plain.fails(3, "get", "cpuset:/", "cpus")
    subprocess.run(["mount", "-t", "cgroup", "-o", "cpuset", "cgroup", first], check=True)
    host.points.reverse()
    subprocess.run(["umount", host.points.pop(0)], check=True)
    plain.ok("rm", "-r", "cpuset:/a")


def test_a_mount_that_another_one_hides(host: Host, plain: Pcont) -> None:
    point = host.mount("m", "-t", "cgroup", "-o", "cpuset", "cgroup")
    host.mount("m", "-t", "tmpfs", "tmpfs")
    (row,) = json.loads(plain.ok("hierarchies", "--json"))["result"]
    assert (row["mounted"], row["mountpoint"]) == (False, None)
    assert "not mounted" in plain.fails(3, "get", "cpuset:/", "cpus")
    plain.fails(3, "get", point, "cpus")


def test_what_v2_has_is_not_taken_unasked(host: Host, plain: Pcont) -> None:
    unified = host.mount("unified", "-t", "cgroup2", "cgroup2")
    controllers = (Path(unified) / "cgroup.controllers").read_text().split()
    assert "cpuset" in controllers
    said = plain.fails(6, "mount", "-o", "cpuset")
    assert "cgroup v2" in said
    assert "--backend model" in said
    plain.ok("create", "cpuset:/a", "-s", "cpuset.cpus=1")
    assert plain.get("unified:/a", "cpuset.cpus") == "1"
    plain.ok("rm", "cpuset:/a")
    plain.ok("set", "unified:/", "cgroup.subtree_control=-cpuset")
    assert "in use by v2: cpuset" in plain.ok("doctor")
    assert {row["bound"] for row in json.loads(plain.ok("subsys", "--json"))["result"]} == {None}
    assert [line.split("\t")[0] for line in plain.ok("hierarchies").splitlines()] == ["unified"]
    assert "cpuset" in (Path(unified) / "cgroup.controllers").read_text().split()


def test_a_controller_of_v2_is_taken_on_request_with_a_warning(host: Host, plain: Pcont) -> None:
    unified = host.mount("unified", "-t", "cgroup2", "cgroup2")
    kernel = Pcont(("--backend", "cgroupfs"))
    result = kernel("mount", "-o", "cpuset")
    assert result.status == 0
    assert "takes cpuset from cgroup v2 for v1" in result.err
    assert "cpuset" not in (Path(unified) / "cgroup.controllers").read_text().split()
    assert plain.get("cpuset:/", "cpus") == "0-3"
    kernel.ok("umount", "cpuset")


def test_controllers_without_a_table_are_set_and_got(host: Host, plain: Pcont) -> None:
    host.mount("pids", "-t", "cgroup", "-o", "pids", "cgroup")
    host.mount("memory", "-t", "cgroup", "-o", "memory", "cgroup")
    plain.ok("create", "pids,memory:/a", "-s", "pids.max=10", "-s", "memory.swappiness=10")
    assert plain.get("pids:/a", "pids.max") == "10"
    said = plain.fails(7, "set", "pids:/a", "pids.max=4194305")
    assert "'10'" in said
    assert "EINVAL" in said
    limits = ["memory.limit_in_bytes=64M", "memory.soft_limit_in_bytes=32M"]
    plain.ok("set", "memory:/a", *limits)
    assert plain.get("memory:/a", "memory.limit_in_bytes") == str(64 << 20)
    before = plain.ok("get", "memory:/a", "memory.limit_in_bytes", "memory.swappiness")
    plain.fails(7, "set", "memory:/a", "memory.limit_in_bytes=32M", "memory.swappiness=1000")
    assert plain.ok("get", "memory:/a", "memory.limit_in_bytes", "memory.swappiness") == before
    plain.fails(2, "set", "memory:/a", "memory.failcnt=0", "memory.force_empty=0")
    plain.ok("rm", "pids,memory:/a")


def test_a_fork_that_is_refused_for_now_is_no_business_of_an_attach(
    host: Host, plain: Pcont
) -> None:
    """pids lets a task in beyond the limit (admin-guide/cgroup-v1/pids.rst)."""
    host.mount("pids", "-t", "cgroup", "-o", "pids", "cgroup")
    plain.ok("create", "pids:/a", "-s", "pids.max=0")
    process = subprocess.Popen(["sleep", "600"])
    plain.ok("attach", "pids:/a", str(process.pid))
    assert plain.get("pids:/a", "pids.current") == "1"
    plain.ok("rm", "--kill", "pids:/a")
    process.wait()


def test_a_lingering_hierarchy_is_shown_and_reported(host: Host, plain: Pcont) -> None:
    """One that an administrator unmounted with a container in it."""
    point = host.base / "m"
    host.mount("m", "-t", "cgroup", "-o", "cpuacct", "cgroup")
    plain.ok("create", "cpuacct:/a")
    host.points.clear()
    subprocess.run(["umount", str(point)], check=True)
    assert "active, not mounted" in plain.ok("hierarchies")
    assert "cpuacct is active but not mounted" in plain.ok("doctor")
    assert "pcont mount -o cpuacct" in plain.fails(3, "rm", "cpuacct:/a")
    plain.ok("mount", "-o", "cpuacct", str(point))
    plain.ok("rm", "cpuacct:/a")
    plain.ok("umount", str(point))


def test_what_does_not_read_as_it_is_written_comes_back_all_the_same(
    host: Host, plain: Pcont
) -> None:
    host.mount("memory", "-t", "cgroup", "-o", "memory", "cgroup")
    plain.ok("create", "memory:/a")
    keys = ["memory.limit_in_bytes", "memory.oom_control", "memory.soft_limit_in_bytes"]
    before = plain.ok("get", "memory:/a", *keys)
    values = ["memory.limit_in_bytes=64M", "memory.oom_control=1", "memory.swappiness=9999"]
    said = plain.fails(7, "set", "memory:/a", *values, "memory.soft_limit_in_bytes=32M")
    assert "undone" in said
    assert plain.ok("get", "memory:/a", *keys) == before
    plain.ok("rm", "memory:/a")


def test_files_of_many_lines_are_written_one_at_a_time(host: Host, plain: Pcont) -> None:
    host.mount("net_prio", "-t", "cgroup", "-o", "net_prio", "cgroup")
    plain.ok("create", "net_prio:/a")
    plain.ok("set", "net_prio:/a", "net_prio.ifpriomap=lo 5")
    assert "lo 5" in plain.ok("get", "net_prio:/a", "net_prio.ifpriomap")
    plain.fails(7, "set", "net_prio:/a", "net_prio.ifpriomap=lo 7", "notify_on_release=x")
    assert "lo 5" in plain.ok("get", "net_prio:/a", "net_prio.ifpriomap")
    plain.ok("rm", "net_prio:/a")


def test_a_removal_that_is_undone_gives_no_more_rights_than_before(
    host: Host, plain: Pcont
) -> None:
    from pcont.errors import Busy
    from pcont.hierarchy.presence import present
    from pcont.hierarchy.registry import Registry
    from pcont.steps.removal import removals
    from pcont.transaction.step import carry_out

    point = host.mount("devices", "-t", "cgroup", "-o", "devices", "cgroup")
    plain.ok("create", "devices:/a", "-s", "devices.deny=a", "-s", "devices.allow=c 1:3 rwm")
    plain.ok("create", "devices:/b")
    os.chown(f"{point}/a", 65534, 65534)
    os.chmod(f"{point}/a", 0o700)
    os.chown(f"{point}/a/tasks", 65534, 65534)
    process = subprocess.Popen(["sleep", "600"])
    plain.ok("attach", "devices:/b", str(process.pid))
    backend = plain.backend()
    with backend.exclusive():
        registry = Registry(backend)
        doomed = [registry.place("devices:/a"), registry.place("devices:/b")]
        with pytest.raises(Busy) as caught:
            carry_out(backend, removals({one: present(backend, one) for one in doomed}))
    assert caught.value.left == []
    assert plain.get("devices:/a", "devices.list") == "c 1:3 rwm"
    found = os.stat(f"{point}/a")
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (65534, 65534, 0o700)
    assert os.stat(f"{point}/a/tasks").st_uid == 65534
    plain.ok("rm", "--kill", "devices:/a", "devices:/b")
    process.wait()


def test_a_reset_comes_after_everything_that_may_fail(host: Host, plain: Pcont) -> None:
    host.mount("cpuset", "-t", "cgroup", "-o", "cpuset", "cgroup")
    host.mount("cpuacct", "-t", "cgroup", "-o", "cpuacct", "cgroup")
    plain.ok("create", "cpuset,cpuacct:/a")
    burning = subprocess.Popen(["sh", "-c", "while :; do :; done"])
    plain.ok("attach", "cpuacct:/a", str(burning.pid))
    assert eventually(lambda: int(plain.get("cpuacct:/a", "cpuacct.usage")) > 10_000_000)
    said = plain.fails(
        7, "set", "cpuset,cpuacct:/a", "cpuacct.usage=0", f"cgroup.procs={burning.pid}"
    )
    assert "cpuset.cpus" in said
    assert int(plain.get("cpuacct:/a", "cpuacct.usage")) > 10_000_000
    plain.ok("rm", "--kill", "cpuset,cpuacct:/a")
    burning.wait()
