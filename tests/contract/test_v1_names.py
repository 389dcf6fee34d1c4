"""Names of cgroup v2 on controllers of v1.

In a guest these tests come before those of cgroup v2: as long as v2 has removed containers with
memory, v1 cannot have it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import elsewhere
from tests.contract.conftest import Pcont, Top
from tests.contract.test_refusals import own  # noqa: F401  a fixture

Own = Callable[[str], Top]


@pytest.mark.kernel
def test_cpu_weight_and_cpu_max_on_v1(own: Own) -> None:  # noqa: F811
    top = own("cpu")
    get, at = top.pcont.get, top.at()
    assert get(at, "cpu.weight") == "100"
    assert get(at, "cpu.max") == "max 100000"
    top.pcont.ok("set", at, "cpu.weight=174", "cpu.max=50000 200000")
    assert (get(at, "cpu.weight"), get(at, "cpu.shares")) == ("174", "2059")
    assert (get(at, "cpu.cfs_quota_us"), get(at, "cpu.cfs_period_us")) == ("50000", "200000")
    assert get(at, "cpu.max") == "50000 200000"
    top.pcont.ok("set", at, "cpu.max=60000")
    assert get(at, "cpu.max") == "60000 200000"
    top.pcont.ok("set", at, "cpu.max=max")
    assert get(at, "cpu.max") == "max 200000"
    assert "(ERANGE)" in top.pcont.fails(7, "set", at, "cpu.weight=0")
    assert "cpu.max=max" in top.pcont.fails(7, "set", at, "cpu.max=-1")
    said = top.pcont.fails(7, "set", at, "cpu.max=30000 100000", "cpu.weight=10001")
    assert "everything before it was undone" in said
    assert (get(at, "cpu.max"), get(at, "cpu.weight")) == ("max 200000", "174")


@pytest.mark.kernel
def test_quota_and_period_change_together_below_a_quota(own: Own) -> None:  # noqa: F811
    top = own("cpu")
    top.pcont.ok("create", top.at("/b"))
    top.pcont.ok("set", top.at(), "cpu.max=50000 100000")
    top.pcont.ok("set", top.at("/b"), "cpu.max=50000")
    for text in ("100000 200000", "25000 50000", "80000 100000", "50000 100000"):
        top.pcont.ok("set", top.at(), f"cpu.max={text}")
        assert top.pcont.get(top.at(), "cpu.max") == text
    said = top.pcont.fails(7, "set", top.at(), "cpu.max=40000 200000")
    assert "less than" in said
    assert top.pcont.get(top.at(), "cpu.max") == "50000 100000"


@pytest.mark.kernel
def test_memory_max_on_v1(own: Own, kernel: Pcont) -> None:  # noqa: F811
    known = {one.name: one for one in kernel.library().subsys()}
    if known["memory"].unified and known["memory"].bound is None:
        elsewhere("its memory may be in cgroup v2 only")
    top = own("memory")
    get, at = top.pcont.get, top.at()
    assert get(at, "memory.max") == "max"
    top.pcont.ok("set", at, "memory.max=64M")
    assert get(at, "memory.limit_in_bytes") == get(at, "memory.max") == str(64 << 20)
    top.pcont.ok("set", at, "memory.max=max")
    assert get(at, "memory.max") == "max"
    assert get(at, "memory.current") == get(at, "memory.usage_in_bytes")
    assert get(at, "memory.peak") == get(at, "memory.max_usage_in_bytes")
    assert "memory.max=max" in top.pcont.fails(7, "set", at, "memory.max=-1")
    assert "can be reset" in top.pcont.fails(6, "set", at, "memory.peak=0")
    for key in ("memory.high", "memory.low", "memory.swap.max", "memory.events"):
        assert "cgroup v1" in top.pcont.fails(6, "get", at, key)


@pytest.mark.kernel
def test_io_max_on_v1(own: Own) -> None:  # noqa: F811
    top = own("blkio")
    get, at = top.pcont.get, top.at()
    disk = _a_disk()
    top.pcont.ok("set", at, f"io.max={disk} rbps=1048576 wiops=100")
    assert get(at, "io.max") == f"{disk} rbps=1048576 wbps=max riops=max wiops=100"
    assert get(at, "blkio.throttle.read_bps_device") == f"{disk} 1048576"
    top.pcont.ok("set", at, f"io.max={disk} rbps=max")
    assert get(at, "io.max") == f"{disk} rbps=max wbps=max riops=max wiops=100"
    assert "(ERANGE)" in top.pcont.fails(7, "set", at, f"io.max={disk} rbps=0")
    assert "no block device" in top.pcont.fails(3, "set", at, "io.max=99:99 rbps=10")
    top.pcont.ok("set", at, f"io.max={disk} wiops=max")
    assert get(at, "io.max") == ""


def _a_disk() -> str:
    """MAJOR:MINOR of a disk of this machine."""
    found = sorted(Path("/sys/block").glob("*/dev"))
    if not found:
        elsewhere("it has no disk")
    return found[0].read_text().strip()
