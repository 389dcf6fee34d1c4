"""Tests of cgroup v1 and v2 once more, on the model of a machine that has both: a few of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import Jobs, Pcont, Top, clear, command_line, of_v2
from tests.contract.test_attach import (  # noqa: F401
    test_a_zombie_has_ended,
    test_an_empty_cpuset_admits_no_task_and_says_what_is_missing,
    test_one_of_several_that_is_not_there_moves_none,
    test_one_thread_moves_alone,
)
from tests.contract.test_pids import (  # noqa: F401
    test_a_set_that_is_refused_leaves_the_limit,
    test_the_root_has_no_limit_and_no_count,
)
from tests.contract.test_settings import (  # noqa: F401
    test_a_cpuset_with_tasks_is_not_emptied,
    test_a_refused_set_gives_tasks_their_affinity_back,
    test_an_exclusive_overlap_names_the_sibling,
    test_changed_cpus_reach_the_tasks_at_once,
    test_every_file_of_a_fresh_cpuset_reads_as_the_table_says,
    test_usage_grows_with_a_busy_task_and_only_zero_resets_it,
)
from tests.contract.test_v2 import (  # noqa: F401
    test_a_command_runs_in_a_container,
    test_a_process_is_attached_with_its_threads,
    test_a_single_thread_does_not_leave_its_process,
    test_frozen_tasks_are_not_thawed_by_a_move,
    test_the_hierarchy_is_one_more_row,
    test_the_time_of_a_container_is_shown_in_one_row,
    test_threads_are_apart_in_a_threaded_subtree,
    threaded,
)
from tests.contract.test_v2_controllers import (  # noqa: F401
    bare,
    controlled,
    test_a_controller_selects_v2_and_is_enabled,
    test_a_list_that_cannot_be_emptied_is_what_it_stands_for,
    test_settings_enable_their_controllers_above,
    test_the_affinity_of_tasks_is_restored,
    test_threaded_containers_have_controllers_for_threads_only,
    top,
)


@pytest.fixture
def pcont(tmp_path: Path) -> Pcont:
    return command_line("model", tmp_path, "--dialect", "hybrid")


@pytest.fixture
def jobs(pcont: Pcont, name: str) -> Iterator[Jobs]:
    """A tie over two hierarchies of v1. cgroup v2 has lost cpuset to one of them."""
    both = ("cpuset", "cpuacct")
    for controller in both:
        pcont.ok("mount", "-o", controller, "--force")
    pcont.ok("mount", "--tie", "--name", name, "-o", ",".join(both), "--at", f"/{name}")
    yield Jobs(pcont, name, {one: one for one in both})
    clear(pcont, name)
    pcont.ok("umount", name)


@pytest.fixture
def crowd(pcont: Pcont, name: str) -> Top:
    """A container of v1 whose tasks are counted."""
    pcont.ok("mount", "-o", "pids", "--force")
    pcont.ok("create", f"pids:/{name}")
    return Top(pcont, "pids", f"/{name}")


@pytest.fixture
def v2(request: pytest.FixtureRequest, name: str, tmp_path: Path) -> Iterator[Top]:
    """A container of cgroup v2, where v1 has bound nothing."""
    yield from of_v2(request, name, tmp_path, "hybrid")


@pytest.fixture
def v2_alone(v2: Top) -> Top:
    return v2
