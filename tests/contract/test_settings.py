"""get and set: what was asked for, or the rule that forbids it; all of several, or none."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

from tests.contract.conftest import Jobs, eventually


@pytest.mark.quick
def test_get_prints_one_bare_value_or_lines_of_all(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"), "-s", "cpuset.cpus=0-1")
    assert jobs.pcont.ok("get", jobs.at("/a"), "cpuset.cpus") == "0-1\n"
    assert jobs.pcont.ok("get", jobs.at("/a"), "cpus", "cpu_exclusive") == (
        "cpuset.cpus=0-1\ncpuset.cpu_exclusive=0\n"
    )
    lines = jobs.pcont.ok("get", jobs.at("/a")).splitlines()
    assert "cpuset.cpus=0-1" in lines
    assert "notify_on_release=0" in lines
    assert any(line.startswith("cpuacct.usage=") for line in lines)
    assert not any(line.startswith(("tasks=", "release_agent=")) for line in lines)


def test_json_has_the_backend_and_numbers_as_numbers(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    answer = json.loads(jobs.pcont.ok("get", "--json", jobs.at("/a"), "cpuacct.usage", "cpus"))
    assert answer["backend"] == jobs.pcont.words[1]
    assert answer["result"]["cpuacct.usage"] == 0
    assert isinstance(answer["result"]["cpuset.cpus"], str)


def test_an_unknown_key_names_the_nearest(jobs: Jobs) -> None:
    jobs.pcont.ok("create", jobs.at("/a"))
    assert "cpuset.cpus" in jobs.pcont.fails(3, "get", jobs.at("/a"), "cpuset.cpu")
    assert "cpuset.mems" in jobs.pcont.fails(3, "set", jobs.at("/a"), "cpuset.mem=0")
    # A file of the root only is none of a child's.
    jobs.pcont.fails(3, "set", jobs.at("/a"), "release_agent=/bin/true")


def test_a_key_is_the_name_of_a_file_and_no_path(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-p", jobs.at("/a/cpuset.b"))
    for key in ("cpuset.b", "cpuset.b/tasks", "cpuset.b/cpuset.cpus", "cpuset.b/../tasks"):
        assert "has no file" in jobs.pcont.fails(3, "get", jobs.at("/a"), key)
        assert "has no file" in jobs.pcont.fails(3, "set", jobs.at("/a"), f"{key}=0")


def test_lists_are_read_back_in_the_kernels_form_and_can_be_emptied(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    jobs.pcont.ok("set", jobs.at("/a"), "cpus=1,0,0")
    assert jobs.pcont.get(jobs.at("/a"), "cpuset.cpus") == "0-1"
    jobs.pcont.ok("set", jobs.at("/a"), "cpus=")
    assert jobs.pcont.get(jobs.at("/a"), "cpuset.cpus") == ""
    assert jobs.pcont.get(jobs.at("/a"), "cpuset.effective_cpus") == ""


@pytest.mark.quick
def test_outside_the_parent_names_the_cpus_that_it_lacks(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-p", "-i", jobs.at("/a/b"), "-s", "cpus=0")
    jobs.pcont.ok("set", jobs.at("/a"), "cpus=0")
    said = jobs.pcont.fails(7, "set", jobs.at("/a/b"), "cpus=0-1")
    assert "lacks the CPUs 1" in said
    assert "'0'" in said
    assert "'0-1'" in said
    assert "cpuset.cpus" in said
    assert "EACCES" in said


def test_outside_the_parent_proposes_what_the_parent_has(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-p", "-i", jobs.at("/a/b"), "-s", "cpus=0")
    jobs.pcont.ok("set", jobs.at("/a"), "cpus=0")
    said = jobs.pcont.fails(7, "set", jobs.at("/a/b"), "cpus=0-1")
    assert said.endswith(f" set {jobs.at('/a/b')} cpuset.cpus=0\n")
    said = jobs.pcont.fails(7, "set", jobs.at("/a/b"), "cpus=1")
    assert "hint: set cpuset.cpus of /" in said
    assert said.endswith("/a first\n")


def test_what_the_machine_does_not_have_is_refused(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    said = jobs.pcont.fails(7, "set", jobs.at("/a"), "cpus=5000")
    assert "this machine has no CPUs 5000" in said
    assert "ERANGE" in said
    said = jobs.pcont.fails(7, "set", jobs.at("/a"), "mems=63")
    assert "this machine has no memory nodes 63" in said
    assert "EINVAL" in said


def test_an_exclusive_overlap_names_the_sibling(jobs: Jobs) -> None:
    exclusive_parent(jobs)
    jobs.pcont.ok("create", jobs.at("/p/a"), "-s", "cpus=0", "-s", "mems=0")
    jobs.pcont.ok("create", jobs.at("/p/b"), "-s", "cpus=0", "-s", "mems=0")
    said = jobs.pcont.fails(7, "set", jobs.at("/p/a"), "cpu_exclusive=1")
    assert "/p/b overlaps in the CPUs 0, and this container has cpuset.cpu_exclusive=1" in said
    assert "EINVAL" in said
    jobs.pcont.ok("set", jobs.at("/p/b"), "cpus=1")
    jobs.pcont.ok("set", jobs.at("/p/a"), "cpu_exclusive=1")
    said = jobs.pcont.fails(7, "set", jobs.at("/p/b"), "cpus=0-1")
    assert "/p/a overlaps in the CPUs 0, and " in said
    assert "/p/a has cpuset.cpu_exclusive=1" in said


def exclusive_parent(jobs: Jobs) -> None:
    """A container under which CPUs may be exclusive: everything above must be so, too."""
    if jobs.pcont.get(jobs.at("/"), "cpu_exclusive") == "0":
        jobs.pcont.ok("set", jobs.at("/"), "cpu_exclusive=1")
    jobs.pcont.ok("create", "-i", jobs.at("/p"), "-s", "cpu_exclusive=1")


def test_exclusive_under_one_that_is_not_is_refused(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-p", "-i", jobs.at("/a/b"))
    said = jobs.pcont.fails(7, "set", jobs.at("/a/b"), "cpu_exclusive=1")
    assert "/a is not exclusive itself" in said
    assert "EACCES" in said
    assert f"pcont set {jobs.at('/a')} cpuset.cpu_exclusive=1" in said


def test_shrinking_below_a_child_is_busy_and_names_it(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-p", "-i", jobs.at("/a/b"), "-s", "cpus=1")
    said = jobs.pcont.fails(5, "set", jobs.at("/a"), "cpus=0")
    assert "/a/b still uses the CPUs 1" in said
    assert "EBUSY" in said


def test_a_cpuset_with_tasks_is_not_emptied(jobs: Jobs, start: Callable[..., int]) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    jobs.pcont.ok("attach", jobs.at("/a"), str(start()))
    for key in ("cpus", "mems"):
        said = jobs.pcont.fails(7, "set", jobs.at("/a"), f"{key}=")
        assert "ENOSPC" in said
        assert f"cpuset.{key} would have no" in said
        assert "space" not in said


@pytest.mark.parametrize("text", ["x", "0-", "1-0", "0;1", "-1", "0x1"])
def test_what_is_no_list_is_refused_with_what_the_file_takes(jobs: Jobs, text: str) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    before = jobs.pcont.get(jobs.at("/a"), "cpus")
    said = jobs.pcont.fails(7, "set", jobs.at("/a"), f"cpus={text}")
    assert "as in 0-3,8" in said
    assert jobs.pcont.get(jobs.at("/a"), "cpus") == before


@pytest.mark.quick
def test_set_of_three_keys_with_the_third_refused_changes_none(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    before = jobs.pcont.ok("get", jobs.at("/a"))
    said = jobs.pcont.fails(
        7, "set", jobs.at("/a"), "cpus=0", "memory_migrate=1", "cpuset.sched_relax_domain_level=77"
    )
    assert "cpuset.sched_relax_domain_level" in said
    assert "'-1'" in said
    assert "'77'" in said
    assert "undone" in said
    assert jobs.pcont.ok("get", jobs.at("/a")) == before


def test_the_order_of_the_keys_does_not_matter(jobs: Jobs) -> None:
    """Exclusive first or lists first: one of the two is refused, depending on the old values."""
    exclusive_parent(jobs)
    jobs.pcont.ok("create", jobs.at("/p/a"), jobs.at("/p/b"), "-s", "cpus=0-1", "-s", "mems=0")
    jobs.pcont.ok("set", jobs.at("/p/b"), "cpus=0")
    jobs.pcont.ok("set", jobs.at("/p/a"), "cpu_exclusive=1", "cpus=1")
    jobs.pcont.ok("set", jobs.at("/p/a"), "cpus=0-1", "cpu_exclusive=0")
    assert jobs.pcont.get(jobs.at("/p/a"), "cpus") == "0-1"


@pytest.mark.quick
def test_a_refused_set_gives_tasks_their_affinity_back(
    jobs: Jobs, start: Callable[..., int]
) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    pid = start()
    jobs.pcont.ok("attach", jobs.at("/a"), str(pid))
    jobs.pcont.backend().set_affinity(pid, frozenset({1}))
    before = jobs.pcont.affinity(pid)
    jobs.pcont.fails(7, "set", jobs.at("/a"), "cpus=0", "cpuset.sched_relax_domain_level=77")
    assert jobs.pcont.affinity(pid) == before


def test_changed_cpus_reach_the_tasks_at_once(jobs: Jobs, start: Callable[..., int]) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    pid = start()
    jobs.pcont.ok("attach", jobs.at("/a"), str(pid))
    jobs.pcont.ok("set", jobs.at("/a"), "cpus=1")
    assert jobs.pcont.affinity(pid) == "1"


def test_usage_grows_with_a_busy_task_and_only_zero_resets_it(jobs: Jobs) -> None:
    def usage(path: str) -> int:
        return int(jobs.pcont.get(jobs.at(path), "cpuacct.usage"))

    jobs.pcont.ok("create", "-p", "-i", jobs.at("/a/b"))
    busy = subprocess.Popen(["sh", "-c", "while :; do :; done"])
    try:
        jobs.pcont.ok("attach", jobs.at("/a/b"), str(busy.pid))
        assert eventually(lambda: usage("/a/b") > 50_000_000)
        assert usage("/a") >= 50_000_000
        said = jobs.pcont.fails(7, "set", jobs.at("/a/b"), "cpuacct.usage=5")
        assert "only 0" in said
    finally:
        busy.kill()
        busy.wait()
    before = usage("/a")
    jobs.pcont.ok("set", jobs.at("/a/b"), "cpuacct.usage=0")
    assert usage("/a/b") < 50_000_000
    assert usage("/a") >= before


def test_what_cannot_be_undone_is_written_last_or_not_at_all(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    jobs.pcont.fails(7, "set", jobs.at("/a"), "cpuacct.usage=0", "cpus=nonsense")
    jobs.pcont.ok("set", jobs.at("/a"), "cpuacct.usage=0", "cpus=0")
    said = jobs.pcont.fails(7, "set", jobs.at("/a"), "cpuacct.usage=1", "cpus=0-1")
    assert "undone" in said
    assert jobs.pcont.get(jobs.at("/a"), "cpus") == "0"


def test_usage_errors_of_set(jobs: Jobs) -> None:
    jobs.pcont.ok("create", jobs.at("/a"))
    jobs.pcont.fails(2, "set", jobs.at("/a"))
    jobs.pcont.fails(2, "set", jobs.at("/a"), "cpus")
    jobs.pcont.fails(2, "set", jobs.at("/a"), "=1")
    jobs.pcont.fails(2, "set", jobs.at("/a"), "cpus=0", "cpus=1")


def test_a_read_only_file_says_so(jobs: Jobs) -> None:
    jobs.pcont.ok("create", jobs.at("/a"))
    jobs.pcont.fails(7, "set", jobs.at("/a"), "cpuset.effective_cpus=0")


def test_the_core_files_and_the_release_agent_of_the_root(jobs: Jobs) -> None:
    jobs.pcont.ok("create", jobs.at("/a"))
    jobs.pcont.ok("set", jobs.at("/a"), "notify_on_release=1", "cgroup.clone_children=1")
    assert jobs.pcont.get(jobs.at("/a"), "notify_on_release") == "1"
    jobs.pcont.ok("create", jobs.at("/a/b"))
    assert jobs.pcont.get(jobs.at("/a/b"), "notify_on_release") == "1"
    assert jobs.pcont.get(jobs.at("/a/b"), "cgroup.clone_children") == "1"
    jobs.pcont.ok("set", jobs.at("/"), "release_agent=/bin/true")
    assert jobs.pcont.get(jobs.at("/"), "release_agent") == "/bin/true"
    jobs.pcont.ok("set", jobs.at("/"), "release_agent=")
    assert jobs.pcont.get(jobs.at("/"), "release_agent") == ""


def test_clone_children_gives_a_new_cpuset_its_parents_lists(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"), "-s", "cpus=1", "-s", "cgroup.clone_children=1")
    jobs.pcont.ok("create", jobs.at("/a/b"))
    assert jobs.pcont.get(jobs.at("/a/b"), "cpus") == "1"


def test_tasks_can_be_set_as_with_echo(jobs: Jobs, start: Callable[..., int]) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    pid = start()
    jobs.pcont.ok("set", jobs.at("/a"), f"tasks={pid}")
    assert jobs.pcont.get(jobs.at("/a"), "tasks") == str(pid)
    jobs.pcont.fails(2, "set", jobs.at("/a"), "tasks=self")
    jobs.pcont.fails(2, "create", jobs.at("/b"), "-s", f"tasks={pid}")


def test_a_dry_run_of_set_writes_nothing(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    before = jobs.pcont.ok("get", jobs.at("/a"))
    reported = jobs.pcont.ok("set", "-n", jobs.at("/a"), "cpus=0", "notify_on_release=1")
    assert "echo 0 > " in reported
    assert jobs.pcont.ok("get", jobs.at("/a")) == before


def test_every_file_of_a_fresh_cpuset_reads_as_the_table_says(jobs: Jobs) -> None:
    from pcont import subsys
    from pcont.subsys.model import load_behaviour
    from pcont.tables.interface import Interface

    table = subsys.by_key("cpuset")
    assert table
    jobs.pcont.ok("create", jobs.at("/a"))
    found = json.loads(jobs.pcont.ok("get", "--json", jobs.at("/a")))["result"]
    names = {row.name for row in table.files if row.access.where.holds(is_root=False)}
    assert {key for key in found if key.startswith("cpuset.")} == names
    derived = load_behaviour("cpuset", Interface.V1).files
    for row in table.files:
        if row.name in names and row.name not in derived:
            assert str(found[row.name]) == row.type.show(row.default), row.name


def test_every_file_of_cpuacct_is_there_and_has_the_tables_shape(jobs: Jobs) -> None:
    from pcont import subsys

    table = subsys.by_key("cpuacct")
    assert table
    jobs.pcont.ok("create", jobs.at("/a"))
    found = json.loads(jobs.pcont.ok("get", "--json", jobs.at("/a")))["result"]
    assert {key for key in found if key.startswith("cpuacct.")} == {row.name for row in table.files}
    assert found["cpuacct.stat"].split() == ["user", "0", "system", "0"]
    assert found["cpuacct.usage_all"].startswith("cpu user system\n0 0 0\n1 0 0")
    assert found["cpuacct.usage_percpu"].startswith("0 0 ")
