"""The guests that the kernel part of the suite runs in, one row each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Layout = Literal["v1", "hybrid", "v2", "systemd"]


@dataclass(frozen=True)
class Guest:
    """A machine to boot; memory and CPUs are split evenly over the NUMA nodes."""

    name: str
    kernel: str  # matches the whole name of a Debian package; the newest match is booted
    layout: Layout  # what guest.sh leaves at /sys/fs/cgroup; systemd leaves it to systemd
    cpus: int = 4
    nodes: int = 2
    memory: int = 1024  # MiB
    tests: tuple[str, ...] = ("tests/contract", "tests/differential")  # words for pytest
    marks: str = "(guest or (kernel and not host)) and not nightly"
    machines: int = 1  # that share the tests; as many at a time as this machine has CPUs
    append: str = "lsm=landlock,lockdown,yama,integrity,bpf"  # to the kernel's command line
    release: str = ""  # of Debian, of which the guest has a root and systemd; else this machine's


ATTACKS = ("tests/contract/test_attacker.py", "tests/contract/test_attributes.py")
# The last test of a machine: emulated CPUs that went offline have hung what came afterwards.
HOTPLUG = "tests/contract/test_hotplug.py"
HYBRID = "tests/contract/test_hybrid.py"
FAULTS = "tests/fault_injection/test_faults.py"

# Files with tests that are marked quick, in one short guest.
QUICK_TESTS = (
    *("tests/contract/test_attach.py", "tests/contract/test_mounting.py"),
    *("tests/contract/test_numfiles.py", "tests/contract/test_settings.py"),
)

NEWER = r"linux-image-6\.12\.\d+\+deb12-amd64"
# The newer kernel is there for what hangs on the kernel's own structures: BPF programs.
GUESTS = (
    Guest(
        "6.1-v1",
        kernel=r"linux-image-6\.1\.0-\d+-amd64",
        layout="v1",
        tests=("tests/contract", "tests/differential", f"--ignore={HOTPLUG}", f"--ignore={HYBRID}"),
        machines=3,
    ),
    # Whether users may write security.* attributes hangs on the BPF security module.
    Guest(
        "6.1-without-bpf",
        kernel=r"linux-image-6\.1\.0-\d+-amd64",
        layout="v1",
        # Of the faults, those of commands for a machine on which nothing is bound.
        tests=(
            *(*ATTACKS, FAULTS, HOTPLUG),
            *("-k", "attacker or attributes or hotplug or free or members"),
        ),
        append="lsm=landlock,lockdown,yama,integrity",
    ),
    Guest(
        "6.12-v2",
        kernel=NEWER,
        layout="v2",
        tests=(
            *("tests/contract/test_numfiles.py", "tests/contract/test_forkrate.py"),
            *ATTACKS,
            *("tests/contract/test_v2.py", "tests/contract/test_v2_controllers.py"),
            *("tests/contract/test_v2_leaf.py", "tests/contract/test_same_script.py"),
            *("tests/contract/test_v2_names.py", "tests/contract/test_v2_hierarchies.py"),
            *("tests/contract/test_v2_kernel.py", "tests/contract/test_v2_partitions.py"),
            *("tests/contract/test_v2_memory.py", "tests/contract/test_chown.py"),
            *("tests/subsys/test_v2_tables.py", "tests/differential/test_walks.py", FAULTS),
            *("-k", "numfiles or forkrate or attacker or attributes or v2"),
        ),
    ),
    Guest(
        "6.1-hybrid",
        kernel=r"linux-image-6\.1\.0-\d+-amd64",
        layout="hybrid",
        tests=(HYBRID,),
    ),
    Guest(
        "systemd-252",
        kernel=NEWER,
        layout="systemd",
        tests=("tests/systemd",),
        release="bookworm",
    ),
)
QUICK = replace(
    GUESTS[0],
    name="6.1-v1-quick",
    tests=QUICK_TESTS,
    marks=f"quick and {GUESTS[0].marks}",
    machines=1,
)
