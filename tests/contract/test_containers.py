"""create and rm: in every tree or in none, with a reason."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable

import pytest

from pcont.kernel.types import Place
from tests.conftest import IN_GUEST, elsewhere
from tests.contract.conftest import Jobs, eventually, threads_of


def there(jobs: Jobs) -> list[str]:
    """The paths of all containers of the hierarchy that are in any of its trees."""
    (top,) = json.loads(jobs.pcont.ok("tree", jobs.at("/"), "--json"))["result"]

    def paths(node: dict[str, list[dict[str, object]]]) -> list[str]:
        below = [path for child in node["children"] for path in paths(child)]  # type: ignore[arg-type]
        return [str(node["path"]), *below]

    return paths(top)


@pytest.mark.quick
def test_a_container_is_made_in_every_tree_and_says_nothing(jobs: Jobs) -> None:
    assert jobs.pcont.ok("create", jobs.at("/a")) == ""
    (top,) = json.loads(jobs.pcont.ok("tree", jobs.at("/"), "--json"))["result"]
    (child,) = top["children"]
    assert (child["path"], child["missing"], child["tasks"]) == ("/a", [], 0)


def test_one_that_exists_is_busy_and_p_makes_only_what_is_missing(jobs: Jobs) -> None:
    jobs.pcont.ok("create", jobs.at("/a"))
    said = jobs.pcont.fails(5, "create", jobs.at("/a"))
    assert "exists" in said
    assert "EEXIST" in said
    jobs.pcont.ok("create", "-p", jobs.at("/a"), jobs.at("/a/b/c"))
    assert there(jobs) == ["/", "/a", "/a/b", "/a/b/c"]


def test_a_missing_parent_is_not_found(jobs: Jobs) -> None:
    said = jobs.pcont.fails(3, "create", jobs.at("/no/child"))
    assert "ENOENT" in said
    assert "create -p" in said
    assert there(jobs) == ["/"]


@pytest.mark.quick
def test_several_are_made_or_none(jobs: Jobs) -> None:
    jobs.pcont.ok("create", jobs.at("/old"))
    jobs.pcont.fails(5, "create", jobs.at("/a"), jobs.at("/b"), jobs.at("/old"))
    assert there(jobs) == ["/", "/old"]


@pytest.mark.parametrize(("others", "new"), [(0, 30), (40, 2)], ids=["many", "few"])
def test_one_that_exists_among_new_ones_is_named_before_anything(
    jobs: Jobs, others: int, new: int
) -> None:
    existing = [jobs.at(f"/old{number}") for number in range(others)] + [jobs.at("/c1")]
    jobs.pcont.ok("create", *existing)
    before = there(jobs)
    said = jobs.pcont.fails(5, "create", *(jobs.at(f"/c{number}") for number in range(new)))
    assert f"create {jobs.at('/c1')}" in said
    assert "EEXIST" in said
    assert "undone" not in said
    assert there(jobs) == before


def test_one_that_is_named_twice_is_busy_and_not_made(jobs: Jobs) -> None:
    assert "EEXIST" in jobs.pcont.fails(5, "create", *map(jobs.at, ("/a", "/b", "/a")))
    assert there(jobs) == ["/"]


def test_a_parent_and_its_children_are_made_in_one_command(jobs: Jobs) -> None:
    places = [jobs.at(path) for path in ("/a", "/a/b", "/c", "/a/b/d")]
    jobs.pcont.ok("create", *places, "-s", "memory_migrate=1", "-s", "notify_on_release=1")
    for place in places:
        assert jobs.pcont.get(place, "cpuset.memory_migrate") == "1"
        assert jobs.pcont.get(place, "notify_on_release") == "1"


def test_a_refused_setting_of_new_containers_is_that_of_the_first(jobs: Jobs) -> None:
    said = jobs.pcont.fails(
        7, "create", *map(jobs.at, ("/a", "/b")), "-s", "memory_spread_page=1", "-s", "cpus=999"
    )
    assert jobs.at("/a") in said
    assert "cpuset.cpus" in said
    assert there(jobs) == ["/"]
    said = jobs.pcont.fails(7, "create", *map(jobs.at, ("/a", "/b")), "-s", "memory_migrate=x")
    assert jobs.at("/a") in said
    assert "cpuset.memory_migrate" in said
    assert there(jobs) == ["/"]


def test_auto_delete_of_a_new_parent_holds_for_its_new_child(jobs: Jobs) -> None:
    given = ["-s", "auto_delete=1", "-s", "notify_on_release=1"]
    answer = jobs.pcont("create", *map(jobs.at, ("/a", "/a/b")), *given)
    if answer.status:  # pcont did not mount the hierarchy
        assert there(jobs) == ["/"]
        return
    for path in ("/a", "/a/b"):
        assert jobs.pcont.get(jobs.at(path), "auto_delete") == "1"
        assert jobs.pcont.get(jobs.at(path), "notify_on_release") == "1"


def test_a_refused_setting_takes_the_new_containers_away_again(jobs: Jobs) -> None:
    said = jobs.pcont.fails(
        7, "create", "-p", "-i", jobs.at("/a"), jobs.at("/b/c"), "-s", "cpuset.cpus=nonsense"
    )
    assert "undone" in said
    assert there(jobs) == ["/"]


@pytest.mark.quick
def test_settings_and_inheritance_apply_to_what_was_made(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-p", "-i", jobs.at("/a/b"), "-s", "cpus=1", "-s", "memory_migrate=1")
    root = jobs.pcont.get(jobs.at("/"), "cpuset.mems")
    assert jobs.pcont.get(jobs.at("/a"), "cpuset.mems") == root
    assert jobs.pcont.get(jobs.at("/a/b"), "cpuset.mems") == root
    assert jobs.pcont.get(jobs.at("/a/b"), "cpuset.cpus") == "1"
    assert jobs.pcont.get(jobs.at("/a/b"), "cpuset.memory_migrate") == "1"


def test_without_inheritance_a_cpuset_begins_empty(jobs: Jobs) -> None:
    jobs.pcont.ok("create", jobs.at("/a"))
    assert jobs.pcont.get(jobs.at("/a"), "cpuset.cpus") == ""


def test_an_unknown_key_makes_nothing(jobs: Jobs) -> None:
    said = jobs.pcont.fails(3, "create", jobs.at("/a"), "-s", "cpuset.cpsu=1")
    assert "cpuset.cpus" in said
    assert there(jobs) == ["/"]


@pytest.mark.parametrize("path", ["/../x", "/a/../../x", "/./x", "/a\nb"])
def test_names_that_could_escape_are_refused_before_anything(jobs: Jobs, path: str) -> None:
    jobs.pcont.fails(7, "create", jobs.at("/ok"), jobs.at(path))
    assert there(jobs) == ["/"]


def test_a_name_may_hold_blanks_colons_commas_and_letters_of_any_script(jobs: Jobs) -> None:
    for path in ("/with blank", "/with:colon", "/with,comma", "/größe", "/back\\slash"):
        jobs.pcont.ok("create", jobs.at(path))
        assert path in there(jobs)
        jobs.pcont.ok("rm", jobs.at(path))


def test_only_a_path_that_the_kernel_does_not_take_is_too_long(jobs: Jobs) -> None:
    jobs.pcont.ok("create", jobs.at("/" + "x" * 300))
    said = jobs.pcont.fails(7, "create", jobs.at("/" + "y" * 4096))
    assert "ENAMETOOLONG" in said
    assert there(jobs) == ["/", "/" + "x" * 300]


def test_a_dry_run_prints_its_steps_and_changes_nothing(jobs: Jobs) -> None:
    reported = jobs.pcont.ok("create", "-n", "-p", "-i", jobs.at("/a/b"), "-s", "cpus=0")
    assert "mkdir " in reported
    assert "echo 0 > " in reported
    assert reported.count("/a/b/cpuset.cpus") == 1
    assert there(jobs) == ["/"]
    would = json.loads(jobs.pcont.ok("--json", "create", "--dry-run", jobs.at("/a")))
    assert all(line.startswith("mkdir ") for line in would["would"])


def test_the_root_always_exists(jobs: Jobs) -> None:
    below = f"pcont create {jobs.at('/NAME')}"
    for words in (("--dry-run", "create"), ("create",)):
        said = jobs.pcont.fails(5, *words, jobs.name)
        assert f"cannot create {jobs.name}: it is the root of the hierarchy" in said
        assert f"hint: {below}\n" in said
    done = jobs.pcont("create", "-p", jobs.name)
    assert done.status == 0
    assert f"{jobs.name} is the root of a hierarchy, and always exists" in done.err
    assert done.err.endswith(f": {below}\n")
    assert jobs.pcont("create", "-p", jobs.at("/"), "-s", "notify_on_release=0").err == ""


def test_a_partial_container_is_shown_completed_and_removed(jobs: Jobs) -> None:
    tree = jobs.tree("cpuset")
    if tree == jobs.tree("cpuacct"):
        return
    pcont = jobs.pcont
    noted = pcont("create", f"cpuset:/{jobs.name}/part")
    assert noted.status == 0
    lacking = [jobs.tree("cpuacct"), f"name={jobs.name}"]
    assert f"{jobs.at('/part')} is partial now" in noted.err
    assert f"; cpuset:/{jobs.name}/part is its part in one tree" in noted.err
    assert all(tree in noted.err for tree in lacking)
    (top,) = json.loads(pcont.ok("tree", jobs.at("/"), "--json"))["result"]
    assert "cpuacct" in top["children"][0]["missing"]
    said = pcont.fails(3, "get", jobs.at("/part"))
    assert "partial" in said
    pcont.ok("create", jobs.at("/part"))
    (top,) = json.loads(pcont.ok("tree", jobs.at("/"), "--json"))["result"]
    assert top["children"][0]["missing"] == []
    pcont.ok("rm", f"cpuacct:/{jobs.name}/part")
    pcont.ok("rm", jobs.at("/part"))
    assert there(jobs) == ["/"]


def test_rm_of_what_is_not_there_is_not_found(jobs: Jobs) -> None:
    jobs.pcont.fails(3, "rm", jobs.at("/no"))


def test_rm_of_the_root_is_denied(jobs: Jobs) -> None:
    assert "umount" in jobs.pcont.fails(4, "rm", jobs.at("/"))


def test_rm_of_a_container_with_children_names_them(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-p", jobs.at("/a/b"), jobs.at("/a/c"))
    said = jobs.pcont.fails(5, "rm", jobs.at("/a"))
    assert "b, c" in said
    jobs.pcont.ok("rm", "-r", jobs.at("/a"))
    assert there(jobs) == ["/"]


@pytest.mark.quick
def test_rm_of_several_removes_all_or_none(jobs: Jobs, start: Callable[..., int]) -> None:
    jobs.pcont.ok("create", "-i", *(jobs.at(f"/{one}") for one in "abc"))
    pid = start()
    jobs.pcont.ok("attach", jobs.at("/c"), str(pid))
    said = jobs.pcont.fails(5, "rm", *(jobs.at(f"/{one}") for one in "abc"))
    assert str(pid) in said
    assert there(jobs) == ["/", "/a", "/b", "/c"]


@pytest.mark.quick
def test_a_removal_that_fails_half_way_brings_back_settings(
    jobs: Jobs, start: Callable[..., int]
) -> None:
    """The second of two steps fails behind the check that comes before: through the library."""
    from pcont.errors import Busy
    from pcont.hierarchy.presence import present
    from pcont.hierarchy.registry import Registry
    from pcont.steps.removal import removals
    from pcont.transaction.step import carry_out

    jobs.pcont.ok("create", "-i", jobs.at("/a"), jobs.at("/b"), "-s", "cpus=1")
    jobs.pcont.ok("set", jobs.at("/a"), "notify_on_release=1")
    jobs.pcont.ok("attach", jobs.at("/b"), str(start()))
    backend = jobs.pcont.backend()
    before = jobs.pcont.ok("get", jobs.at("/a"))
    with backend.exclusive():
        registry = Registry(backend)
        doomed = [registry.place(jobs.at("/a")), registry.place(jobs.at("/b"))]
        with pytest.raises(Busy):
            carry_out(backend, removals({one: present(backend, one) for one in doomed}))
    assert there(jobs) == ["/", "/a", "/b"]
    assert jobs.pcont.ok("get", jobs.at("/a")) == before


@pytest.mark.quick
def test_evict_moves_every_task_to_the_parent(jobs: Jobs, start: Callable[..., int]) -> None:
    jobs.pcont.ok("create", "-p", "-i", jobs.at("/a/b"))
    first, second = start(threads=5), start()
    jobs.pcont.ok("attach", jobs.at("/a/b"), str(first))
    jobs.pcont.ok("attach", jobs.at("/a"), str(second))
    jobs.pcont.ok("rm", "-r", "--evict", jobs.at("/a"))
    assert there(jobs) == ["/"]
    for task in [*threads_of(first), second]:
        rows = json.loads(jobs.pcont.ok("where", str(task), "--json"))["result"]
        assert next(row for row in rows if row["hierarchy"] == jobs.name)["container"] == "/"


@pytest.mark.quick
def test_kill_ends_every_task(jobs: Jobs, start: Callable[..., int]) -> None:
    jobs.pcont.ok("create", "-p", "-i", jobs.at("/a/b"))
    pids = [start(threads=3), start()]
    jobs.pcont.ok("attach", jobs.at("/a/b"), *map(str, pids))
    jobs.pcont.ok("rm", "-r", "--kill", jobs.at("/a"))
    assert there(jobs) == ["/"]
    for pid in pids:
        if "model" in jobs.pcont.words:
            # There it has ended; the live process is none of the model's business.
            jobs.pcont.fails(3, "where", str(pid))
            assert not _ended(pid)
        else:
            assert eventually(lambda pid=pid: _ended(pid))  # type: ignore[misc]


def _ended(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as stream:
        return stream.read().rpartition(") ")[2].startswith("Z")


def test_kill_refuses_what_runs_pcont_itself(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    command = ["sh", "-c", '"$@"; echo $?; exit 0', "sh", *_pcont(jobs), "rm", "--kill"]
    out = jobs.pcont.ok("run", jobs.at("/a"), "--auto-delete", "--", *command, jobs.at("/a"))
    assert out == "4\n"


def _pcont(jobs: Jobs) -> list[str]:
    import sys

    return [sys.executable, "-m", "pcont", *jobs.pcont.words]


def test_kill_and_evict_exclude_each_other(jobs: Jobs) -> None:
    jobs.pcont.fails(2, "rm", "--kill", "--evict", jobs.at("/a"))


def test_a_place_can_be_a_directory_below_a_mount(jobs: Jobs) -> None:
    jobs.pcont.ok("create", jobs.at("/a"))
    backend = jobs.pcont.backend()
    backend.trees()
    base = "/" if jobs.tree("cpuset") != "cpuset" else f"/{jobs.name}"
    directory = backend.show(Place(jobs.tree("cpuset"), base))
    assert jobs.pcont.get(os.path.join(directory, "a"), "cpuset.cpus") == ""
    jobs.pcont.fails(3, "get", "/proc", "cpuset.cpus")


@pytest.mark.parametrize(
    "called", ["a\fb", "a\rb", "u\u2028v", "t\tt", "\x1b[31mred", "x (deleted)", "a b'c", "\udcff"]
)
def test_a_container_may_be_called_anything(
    jobs: Jobs, start: Callable[..., int], called: str
) -> None:
    pid = start()
    jobs.pcont.ok("create", "-i", jobs.at(f"/{called}"), "-s", "cpus=1")
    jobs.pcont.ok("attach", jobs.at(f"/{called}"), str(pid))
    (row,) = [
        row
        for row in json.loads(jobs.pcont.ok("where", str(pid), "--json"))["result"]
        if row["hierarchy"] == jobs.name
    ]
    assert row["container"] == f"/{called}"
    assert len(jobs.pcont.ok("tree", jobs.name).splitlines()) == 2
    assert "\x1b" not in jobs.pcont.ok("tree", jobs.name)
    jobs.pcont.ok("rm", "--evict", jobs.at(f"/{called}"))
    assert there(jobs) == ["/"]


@pytest.mark.slow
def test_containers_may_be_nested_as_deep_as_a_path_is_long(jobs: Jobs) -> None:
    # The kernel frees a chain of removed containers one after the other, some in a millisecond.
    deep = "/d" * (1500 if "model" in jobs.pcont.words else 60 if IN_GUEST else 200)
    jobs.pcont.ok("create", "-p", jobs.at(deep))
    assert jobs.pcont.ok("tree", jobs.name).count("\n") == deep.count("/") + 1
    jobs.pcont.ok("tree", "--json", jobs.name)
    jobs.pcont.ok("hierarchies")
    jobs.pcont.ok("rm", "-r", jobs.at("/d"))
    assert there(jobs) == ["/"]


# Names


@pytest.mark.parametrize("options", [(), ("-p",), ("-n",), ("-n", "-p")])
@pytest.mark.parametrize("word", ["tasks", "cgroup.procs", "cgroup.clone_children"])
def test_a_container_cannot_be_called_like_a_control_file(
    jobs: Jobs, word: str, options: tuple[str, ...]
) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    said = jobs.pcont.fails(5, "create", *options, jobs.at(f"/a/{word}"))
    assert f"the kernel has a control file '{word}' in" in said
    assert "choose another name" in said
    assert "create -p" not in said
    assert jobs.pcont.ok("tree", jobs.at("/")).count("\n") == 2


@pytest.mark.parametrize("options", [("-p",), ("-n", "-p")])
def test_nor_can_one_that_has_yet_to_be_made_above_it(jobs: Jobs, options: tuple[str, ...]) -> None:
    for place in ("/a/tasks", "/a/tasks/b", "/tasks/b"):
        said = jobs.pcont.fails(5, "create", *options, jobs.at(place))
        assert "the kernel has a control file 'tasks' in" in said
        assert jobs.pcont.ok("tree", jobs.at("/")).count("\n") == 1
    assert "control file 'tasks'" in jobs.pcont.fails(3, "create", jobs.at("/tasks/b"))


@pytest.mark.parametrize("option", [(), ("-n",)])
@pytest.mark.parametrize("above", ["", "/new"])
def test_nor_can_one_of_several_containers(jobs: Jobs, above: str, option: tuple[str, ...]) -> None:
    paths = [above, f"{above}/a", f"{above}/tasks"] if above else ["/a", "/tasks"]
    said = jobs.pcont.fails(5, "create", *option, *map(jobs.at, paths))
    assert "the kernel has a control file 'tasks' in" in said
    assert jobs.pcont.ok("tree", jobs.at("/")).count("\n") == 1


def test_nor_in_one_tree_of_several(jobs: Jobs) -> None:
    if "cpuset" not in jobs.controllers:
        elsewhere("it has no cpuset on v1")
    said = jobs.pcont.fails(5, "create", jobs.at("/cpuset.cpus"))
    assert "the kernel has a control file 'cpuset.cpus' in" in said
    assert jobs.pcont.ok("tree", jobs.at("/")).count("\n") == 1


def test_a_command_for_what_is_a_control_file_says_so(jobs: Jobs) -> None:
    jobs.pcont.ok("create", "-i", jobs.at("/a"))
    for command in ("get", "rm", "ps"):
        said = jobs.pcont.fails(3, command, jobs.at("/a/tasks"))
        assert f"pcont get {jobs.at('/a')} tasks" in said
    (hint,) = re.findall(r"pcont (get .*)", said)
    jobs.pcont.ok(*hint.split())


@pytest.mark.parametrize(
    "word",
    ["cgroup.foo", "release_agent", "auto_delete", "a.", ".a", " ", "tasks2", "x" * 300, "ü" * 200],
    ids=lambda word: word[:12],
)
def test_other_names_are_taken_as_the_kernel_takes_them(jobs: Jobs, word: str) -> None:
    jobs.pcont.ok("create", "-p", "-i", jobs.at(f"/a/{word}/b"))
    assert jobs.at(f"/a/{word}/b") in jobs.pcont.ok("tree", jobs.at("/a"))
    jobs.pcont.ok("rm", jobs.at(f"/a/{word}/b"))
    assert "it exists already" in jobs.pcont.fails(5, "create", jobs.at(f"/a/{word}"))


def test_a_path_that_no_directory_can_have_is_a_bad_value_and_nothing_there(jobs: Jobs) -> None:
    place = jobs.at("/" + "x" * 5000)
    for options in ((), ("-p",)):
        said = jobs.pcont.fails(7, "create", *options, place)
        assert "cannot create" in said
        assert "too long" in said
        assert "ENAMETOOLONG" in said
    assert "there is no container" in jobs.pcont.fails(3, "get", place)
