"""Invalid partitions of cpuset: every reason of the kernel is explained, with what to do."""

from __future__ import annotations

import pytest

from pcont import subsys
from pcont.backend_model import SMALL, Model
from pcont.kernel.types import UNIFIED, Place
from pcont.model.dialects import DIALECTS
from pcont.subsys import partitions
from pcont.subsys.invalid_partitions import explain
from pcont.subsys.v2.cpuset import invalid_partition
from pcont.tables.rules import Fix, Site
from pcont.virtual.files import ControlFiles

# The texts of kernels (kernel/cgroup/cpuset.c), 6.1 to 6.18.
REASONS = (
    "Invalid cpu list in cpuset.cpus.exclusive",
    "Parent is an invalid partition root",
    "Parent is not a partition root",
    "Cpu list in cpuset.cpus not exclusive",
    "Parent unable to distribute cpu downstream",
    "No cpu available due to hotplug",
    "cpuset.cpus and cpuset.cpus.exclusive are empty",
    "partition config conflicts with housekeeping setup",
    "Enable partition not permitted",
    "Have remote partition underneath",
    "Invalid cpu list in cpuset.cpus",
    "cpuset.cpus is empty",
)


def site(*lines: str, path: str = "/a/c") -> Site:
    """A container of a machine with four CPUs and these settings: /a, /b and /a/c have cpuset."""
    model = Model(SMALL, dialect=DIALECTS["v2"])
    model.write(Place(UNIFIED, "/"), "cgroup.subtree_control", "+cpuset")
    for one in ("/a", "/b", "/a/c"):
        model.make(Place(UNIFIED, one))
    model.write(Place(UNIFIED, "/a"), "cgroup.subtree_control", "+cpuset")
    for line in lines:
        place, file, text = (*line.split(), "\n")[:3]
        model.write(Place(UNIFIED, place), file, text)
    return ControlFiles(model).site(Place(UNIFIED, path), subsys.PARTITION)


def test_every_reason_of_the_module_is_known() -> None:
    names = {name: text for name, text in vars(partitions).items() if name.isupper()}
    known = {text for text in names.values() if isinstance(text, str) and " " in text}
    assert known <= set(REASONS)


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_words_and_a_remedy(reason: str) -> None:
    found = explain(site("/a/c cpuset.cpus 2-3", "/b cpuset.cpus 3"), f"root invalid ({reason})")
    assert found
    words = found.reason.removesuffix(f" ({reason})")
    assert words != found.reason, "the kernel's words come last"
    assert len(words) > 10
    if "siblings" not in words and "a sibling has" not in words and "container below" not in words:
        assert found.fixes or found.hint, words


@pytest.mark.parametrize("text", ["root", "isolated", "member"])
def test_a_valid_partition_needs_no_explanation(text: str) -> None:
    assert explain(site(), text) is None
    assert invalid_partition(text) == ""


def test_a_reason_that_pcont_does_not_know_is_the_kernels() -> None:
    found = explain(site(), "isolated invalid (Moon in the wrong phase)")
    assert found
    assert "(Moon in the wrong phase)" in found.reason


def remedy(now: Site, text: str) -> tuple[str, tuple[Fix, ...], str]:
    found = explain(now, text)
    assert found
    return found.reason, found.fixes, found.hint


def test_a_lost_reason_is_found_again() -> None:
    now = site("/a cpuset.cpus 2-3", "/a cpuset.cpus.partition root", "/b cpuset.cpus 3", path="/a")
    assert now.value("cpuset.cpus.partition") == "root invalid"
    reason, fixes, _ = remedy(now, "root invalid")
    assert reason.endswith(":/b has the CPU 3 in cpuset.cpus, too")
    assert fixes == (Fix("/a", (("cpuset.cpus", "2"), ("cpuset.cpus.partition", "root"))),), (
        "/b has no other CPU"
    )


def test_a_partition_that_can_be_valid_again_is_to_be_written_again() -> None:
    now = site(
        *("/a cpuset.cpus 2-3", "/a cpuset.cpus.partition root", "/b cpuset.cpus 3"),
        *("/b cpuset.cpus 0",),
        path="/a",
    )
    _, fixes, _ = remedy(now, "root invalid")
    kinds = [fix.values for fix in fixes]
    assert kinds == [(("cpuset.cpus.partition", one),) for one in ("member", "root")]


def test_the_reason_of_the_parent_is_that_of_the_child() -> None:
    now = site(
        *("/a cpuset.cpus 1-3", "/a cpuset.cpus.partition root", "/a/c cpuset.cpus 2"),
        *("/a/c cpuset.cpus.partition root", "/a cpuset.cpus 0-3"),
    )
    text = now.value("cpuset.cpus.partition")
    assert text == "root invalid (Parent is an invalid partition root)"
    reason, fixes, _ = remedy(now, text)
    assert "its parent unified:/a is invalid: no CPU would be left for the tasks in" in reason
    assert fixes == (Fix("/a", (("cpuset.cpus", "1-3"), ("cpuset.cpus.partition", "root"))),)


def test_each_container_above_gets_the_exclusive_cpus_that_it_lacks() -> None:
    now = site("/a cpuset.cpus.exclusive 1", "/a/c cpuset.cpus 2-3")
    _, fixes, _ = remedy(now, f"root invalid ({partitions.INVALID_CPUS})")
    assert fixes == (Fix("/a", (("cpuset.cpus.exclusive", "1-3"),)),)


def test_cpus_of_another_partition_are_named() -> None:
    now = site(
        *("/b cpuset.cpus 3", "/b cpuset.cpus.partition root"),
        *("/a cpuset.cpus.exclusive 1-2", "/a/c cpuset.cpus 2-3"),
    )
    reason, fixes, _ = remedy(now, f"root invalid ({partitions.INVALID_CPUS})")
    assert fixes
    assert "CPUs 2-3" in reason
