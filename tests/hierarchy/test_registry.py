"""hierarchy: what selects a hierarchy, which container a place means, and what a tie remembers."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from pcont.backend_model import Model
from pcont.errors import BadValue, NotFound, PcontError, Unsupported, UsageProblem
from pcont.hierarchy.container import (
    MODE_DOMAIN,
    MODE_THREADED,
    TIE,
    Container,
    Hierarchy,
    Member,
    Tie,
)
from pcont.hierarchy.presence import present, reachable, required
from pcont.hierarchy.registry import Registry
from pcont.kernel.paths import check_path, join
from pcont.kernel.refusals import exists
from pcont.kernel.types import UNIFIED, Controller, Mount, Place, Tree, TreeRequest, source
from pcont.transaction.journal import encode


def mount(model: Model, point: str, *controllers: str, name: str = "", by: str = "") -> None:
    """A hierarchy of the model, by pcont or by another program."""
    model.make_directory(point)
    model.mount(TreeRequest(controllers, name), point, by or source(point, 1))


@pytest.fixture
def model() -> Model:
    """cpuset and cpuacct bound each on its own by the host, as most hosts have it."""
    model = Model()
    mount(model, "/cg/cpuset", "cpuset", by="cgroup")
    mount(model, "/cg/cpuacct", "cpuacct", by="cgroup")
    return model


def tie(model: Model, name: str = "jobs", at: str = "/", subsystems: str = "cpuset,cpuacct") -> Tie:
    """A tie over both, as mount --tie makes it."""
    mount(model, f"/cg/{name}", name=name)
    made = Tie(tuple(subsystems.split(",")), ("cpuset", "cpuacct"), at)
    model.set_attribute(Place(f"name={name}"), TIE, made.dump())
    if at != "/":
        for tree in made.trees:
            model.make(Place(tree, at))
    return made


def trees(hierarchy: Hierarchy) -> list[str]:
    return [member.tree.id for member in hierarchy.members]


def places(container: Container) -> list[str]:
    return [f"{place.tree}:{place.path}" for place in container.places]


# Selectors


def test_a_subsystem_selects_the_hierarchy_that_has_it(model: Model) -> None:
    found = Registry(model).find("cpuacct")
    assert (found.name, found.subsystems, trees(found)) == ("cpuacct", ("cpuacct",), ["cpuacct"])


def test_each_of_several_subsystems_in_one_hierarchy_selects_it() -> None:
    model = Model()
    mount(model, "/cg/both", "cpuset", "cpuacct")
    registry = Registry(model)
    wanted = registry.find("cpuset")
    assert wanted.name == "cpuset,cpuacct"
    for selector in ("cpuacct", "cpuset,cpuacct", "cpuacct,cpuset", "cpuset,cpuset"):
        assert registry.find(selector) == wanted


def test_a_name_of_pconts_selects_and_so_does_the_kernels_spelling(model: Model) -> None:
    mount(model, "/cg/own", name="own")
    mount(model, "/cg/systemd", name="systemd", by="cgroup")
    registry = Registry(model)
    assert registry.find("own") == registry.find("name=own")
    assert registry.find("name=systemd").name == "name=systemd"
    assert registry.find("systemd") == registry.find("name=systemd")


def test_a_name_on_controllers_is_a_name_too() -> None:
    model = Model()
    mount(model, "/cg/jobs", "cpuset", name="jobs")
    registry = Registry(model)
    assert registry.find("jobs") == registry.find("cpuset") == registry.find("name=jobs")
    assert registry.find("cpuset").name == "jobs"


def test_without_a_name_name_selects_nothing(model: Model) -> None:
    with pytest.raises(PcontError):
        Registry(model).find("name=")


def test_a_list_is_that_path_in_each_and_repeats_do_not_count(model: Model) -> None:
    found = Registry(model).find("cpuset,cpuacct,cpuset")
    assert (found.name, trees(found)) == ("cpuset,cpuacct", ["cpuset", "cpuacct"])
    assert found.subsystems == ("cpuset", "cpuacct")
    assert found.tie is None
    assert places(found.container("/a")) == ["cpuset:/a", "cpuacct:/a"]


def test_the_order_of_a_list_is_kept(model: Model) -> None:
    assert trees(Registry(model).find("cpuacct,cpuset")) == ["cpuacct", "cpuset"]


@pytest.mark.parametrize("selector", ["cpuset:", "cpuset,cpuacct:"])
def test_a_trailing_colon_is_allowed(model: Model, selector: str) -> None:
    registry = Registry(model)
    assert registry.find(selector) == registry.find(selector.removesuffix(":"))


@pytest.mark.parametrize("selector", ["", ":", ",", "cpuset,", ",cpuset", "cpuset,,cpuacct"])
def test_an_empty_word_is_a_bad_value(model: Model, selector: str) -> None:
    with pytest.raises(BadValue, match="empty word"):
        Registry(model).find(selector)


def test_what_is_unknown_is_refused_with_what_is_known(model: Model) -> None:
    mount(model, "/cg/own", name="own")
    with pytest.raises(NotFound, match="no hierarchy 'nope'") as caught:
        Registry(model).find("cpuset,nope")
    assert caught.value.hint == "known: own, cpuset, cpuacct"


def test_where_no_hierarchy_is_known_the_hint_is_how_to_make_one() -> None:
    with pytest.raises(NotFound) as caught:
        Registry(Model()).find("nope")
    assert caught.value.hint == "there is none yet: pcont mount --name nope -o cpuset,cpuacct"


def test_a_free_subsystem_and_an_unknown_one_have_different_messages() -> None:
    with pytest.raises(NotFound, match="cpuset is bound to no hierarchy") as caught:
        Registry(Model()).find("cpuset")
    assert caught.value.hint == "pcont mount -o cpuset"


def test_a_hierarchy_that_is_not_mounted_says_how_to_bring_it_back(model: Model) -> None:
    mount(model, "/cg/own", name="own")
    model.make(Place("name=own", "/a"))
    model.umount("/cg/own")
    registry = Registry(model)
    with pytest.raises(NotFound, match="own is active but not mounted") as caught:
        registry.find("own")
    assert "pcont mount --name own" in caught.value.hint
    with pytest.raises(NotFound, match="active but not mounted"):
        required(model, registry.find("name=own").container("/a"))


def test_where_v2_has_everything_pcont_says_that_it_cannot_yet() -> None:
    class Unified(Model):
        """A host whose controllers are all v2's."""

        def controllers(self) -> tuple[Controller, ...]:
            return tuple(one._replace(unified=True) for one in super().controllers())

    with pytest.raises(Unsupported, match="cpuset: cgroup v2 is mounted and has it"):
        Registry(Unified()).find("cpuset")


# Places


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cpuset:/", "cpuset:/"),
        ("cpuset:/a/b", "cpuset:/a/b"),
        ("cpuset://a///b/", "cpuset:/a/b"),
        ("cpuset:/a:/b", "cpuset:/a:/b"),
        ("cpuset:/a,b:c", "cpuset:/a,b:c"),
        ("cpuset:/...", "cpuset:/..."),
        ("cpuset:/a ..b", "cpuset:/a ..b"),
        ("cpuset,cpuacct:/a", "cpuset,cpuacct:/a"),
        ("name=x:/a", "name=x:/a"),
    ],
)
def test_the_first_colon_slash_splits_a_place(model: Model, text: str, name: str) -> None:
    mount(model, "/cg/x", name="x", by="cgroup")
    assert Registry(model).place(text).canonical == name


@pytest.mark.parametrize("text", [":/a", ":", "", "a/b", "cpuset/a", "cpuset:a"])
def test_what_is_no_place_is_a_usage_problem(model: Model, text: str) -> None:
    with pytest.raises(UsageProblem, match=r"not a place: .*Write HIERARCHY:/path"):
        Registry(model).place(text)


@pytest.mark.parametrize("text", ["cpuset", "cpuset:", "cpuset:/", "cpuset,cpuacct", "name=x"])
def test_a_selector_alone_is_its_root_for_a_place_and_for_a_hierarchy(
    model: Model, text: str
) -> None:
    mount(model, "/cg/x", name="x", by="cgroup")
    registry = Registry(model)
    bare = text.removesuffix("/").removesuffix(":")
    assert registry.place(text).is_root
    assert registry.place(text) == registry.place(f"{bare}:/")
    assert registry.find(text) == registry.find(bare)


def test_an_unknown_selector_is_not_found_as_a_place_either(model: Model) -> None:
    for text in ("cpuse", "cpuse:", "cpuse:/"):
        with pytest.raises(NotFound, match="'cpuse'") as caught:
            Registry(model).place(text)
        assert "cpuset" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("cpuset/a/b", "cpuset:/a/b"),
        ("cpuset:a", "cpuset:/a"),
    ],
)
def test_a_forgotten_colon_or_slash_gets_a_hint_with_the_place(
    model: Model, text: str, meant: str
) -> None:
    with pytest.raises(UsageProblem) as caught:
        Registry(model).place(text)
    assert caught.value.hint == f"did you mean {meant}"


def test_a_place_is_no_hierarchy(model: Model) -> None:
    with pytest.raises(UsageProblem, match="a HIERARCHY has no path"):
        Registry(model).find("cpuset:/a")


@pytest.mark.parametrize("path", ["/..", "/a/../b", "/.", "/a/.", "/a\nb", "/a\0b", "/a/..//b"])
@pytest.mark.parametrize("before", ["cpuset:", "/cg/cpuset"])
def test_what_could_leave_the_hierarchy_is_refused(model: Model, before: str, path: str) -> None:
    with pytest.raises(BadValue, match="a container's"):
        Registry(model).place(before + path)


def test_a_place_refuses_such_a_path_from_any_caller() -> None:
    for path in ("a", "", "/a/..", "/\n", "/a\0"):
        with pytest.raises(BadValue):
            Place("cpuset", path)
        with pytest.raises(BadValue):
            check_path(path)


def test_a_directory_below_a_mount_is_a_place(model: Model) -> None:
    registry = Registry(model)
    assert registry.place("/cg/cpuset").canonical == "cpuset:/"
    assert registry.place("/cg/cpuset/").canonical == "cpuset:/"
    assert registry.place("/cg/cpuset/a/b").canonical == "cpuset:/a/b"
    assert registry.place("/cg/cpuacct/a:/b").canonical == "cpuacct:/a:/b"


@pytest.fixture
def below_a_mount(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory: /a/b of a hierarchy that is mounted at a real directory."""
    here = tmp_path / "cg" / "a" / "b"
    here.mkdir(parents=True)
    mount(model, str(tmp_path / "cg"), name="x", by="cgroup")
    monkeypatch.chdir(here)
    return here


@pytest.mark.parametrize(
    ("text", "path"),
    [
        *((".", "/a/b"), ("./", "/a/b"), ("./c", "/a/b/c"), ("c", "/a/b/c"), ("c/d", "/a/b/c/d")),
        *(("..", "/a"), ("../y", "/a/y"), ("../..", "/"), ("./cpuset", "/a/b/cpuset")),
    ],
)
@pytest.mark.usefixtures("below_a_mount")
def test_a_relative_directory_below_a_mount_is_a_place(model: Model, text: str, path: str) -> None:
    container = Registry(model).place(text)
    assert container.canonical == f"name=x:{path}"
    assert container.name == text


@pytest.mark.usefixtures("below_a_mount")
def test_a_selector_counts_for_more_than_a_directory(model: Model) -> None:
    assert Registry(model).place("cpuset").canonical == "cpuset:/"
    with pytest.raises(NotFound, match="'c'"):
        Registry(model).place("c:")
    with pytest.raises(UsageProblem):
        Registry(model).place("c:d")


def test_a_relative_directory_below_no_mount_is_not_found(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match=r"'./a' is below no mounted hierarchy"):
        Registry(model).place("./a")
    with pytest.raises(NotFound, match="no hierarchy 'a'"):
        Registry(model).place("a")


def test_a_current_directory_that_was_removed_is_not_found(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(NotFound, match="current directory"):
        Registry(model).place(".")


@pytest.mark.parametrize(
    ("text", "parent", "child"),
    [
        ("cpuset:/a", "cpuset:/", "cpuset:/a/c"),
        ("cpuset://a/", "cpuset:/", "cpuset:/a/c"),
        ("cpuset", "cpuset", "cpuset:/c"),
        ("cpuset,cpuacct:/a", "cpuset,cpuacct:/", "cpuset,cpuacct:/a/c"),
        ("/cg/cpuset/a/", "/cg/cpuset", "/cg/cpuset/a/c"),
        ("/cg/cpuset", "/cg/cpuset", "/cg/cpuset/c"),
        (".", "..", "./c"),
        ("./", "..", "./c"),
        ("c", ".", "c/c"),
        ("..", "../..", "../c"),
        ("../y", "..", "../y/c"),
    ],
)
@pytest.mark.usefixtures("below_a_mount")
def test_messages_name_a_place_and_those_around_it_as_it_was_typed(
    model: Model, text: str, parent: str, child: str
) -> None:
    container = Registry(model).place(text)
    assert (container.name, container.parent.name) == (text, parent)
    assert container.child("c").name == child
    (place, *_) = container.child("c").places
    assert place.shown == child


def test_the_tree_of_a_tie_is_named_by_the_place_of_the_tie(model: Model) -> None:
    tie(model, at="/in")
    home, *members = Registry(model).place("jobs:/a").places
    assert [one.shown for one in (home, *members)] == ["jobs:/a"] * (1 + len(members))
    assert members[0].parent.parent.shown == f"{members[0].tree}:/"


def test_a_hint_has_one_word_for_a_place(model: Model) -> None:
    container = Registry(model).place("cpuset:/a b")
    assert shlex.split(f"pcont rm {container.word}") == ["pcont", "rm", "cpuset:/a b"]
    assert shlex.split(container.places[0].word) == ["cpuset:/a b"]


def test_the_spelling_makes_no_difference_between_containers(model: Model) -> None:
    one, other = (Registry(model).place(text) for text in ("cpuset:/a", "/cg/cpuset/a"))
    assert (one, one.places) == (other, other.places)
    assert len({*one.places, *other.places}) == 1
    assert encode(one.places[0]) == encode(Place("cpuset", "/a"))


def test_the_deepest_mount_has_a_directory(model: Model) -> None:
    mount(model, "/cg/cpuset/in", name="in")
    assert Registry(model).place("/cg/cpuset/in/x").canonical == "in:/x"
    assert Registry(model).place("/cg/cpuset/inn/x").canonical == "cpuset:/inn/x"


@pytest.mark.parametrize("text", ["/", "/cg", "/cg/cpusets", "/tmp/a"])
def test_a_directory_elsewhere_is_not_found(model: Model, text: str) -> None:
    with pytest.raises(NotFound, match="below no mounted hierarchy") as caught:
        Registry(model).place(text)
    assert caught.value.path == text


def test_a_directory_of_a_home_is_the_tie_and_one_of_a_member_that_tree(model: Model) -> None:
    tie(model)
    registry = Registry(model)
    assert registry.place("/cg/jobs/a") == registry.place("jobs:/a")
    assert places(registry.place("/cg/cpuset/a")) == ["cpuset:/a"]


@pytest.mark.parametrize(
    ("base", "path", "joined"),
    [("/", "/", "/"), ("/a", "/", "/a"), ("/", "b", "/b"), ("/a/", "//b/", "/a/b")],
)
def test_paths_are_joined_with_one_slash(base: str, path: str, joined: str) -> None:
    assert join(base, path) == joined


def test_a_place_knows_its_parent_its_name_and_its_children() -> None:
    place = Place("cpuset", "/a/b")
    assert (place.name, place.parent, place.child("c")) == (
        "b",
        Place("cpuset", "/a"),
        Place("cpuset", "/a/b/c"),
    )
    assert place.parent.parent.is_root
    assert place.parent.parent.parent == Place("cpuset")


def test_the_lineage_of_a_container_begins_below_the_root(model: Model) -> None:
    registry = Registry(model)
    assert [one.path for one in registry.place("cpuset:/a/b/c").lineage()] == [
        "/a",
        "/a/b",
        "/a/b/c",
    ]
    assert registry.place("cpuset:/").lineage() == []


# Ties


def test_a_tie_has_its_home_first_and_hides_nothing_of_the_kernel(model: Model) -> None:
    tie(model)
    registry = Registry(model)
    jobs = registry.find("jobs")
    assert trees(jobs) == ["name=jobs", "cpuset", "cpuacct"]
    assert jobs.subsystems == jobs.controllers == ("cpuset", "cpuacct")
    assert registry.ties == [jobs]
    assert trees(registry.find("cpuset")) == ["cpuset"]
    assert trees(registry.find("name=jobs")) == ["name=jobs"]


def test_a_tie_at_a_container_is_rooted_there_in_its_members_only(model: Model) -> None:
    tie(model, at="/jobs")
    assert places(Registry(model).place("jobs:/a")) == [
        "name=jobs:/a",
        "cpuset:/jobs/a",
        "cpuacct:/jobs/a",
    ]
    assert places(Registry(model).place("jobs:/")) == [
        "name=jobs:/",
        "cpuset:/jobs",
        "cpuacct:/jobs",
    ]


@pytest.mark.parametrize(
    ("path", "inside"),
    [("/jobs", "/"), ("/jobs/a", "/a"), ("/", None), ("/jobs2", None), ("/a/jobs", None)],
)
def test_a_member_knows_what_is_inside_of_it(path: str, inside: str | None) -> None:
    assert Member(Tree("cpuset", 1, ("cpuset",)), "/jobs").inside(path) == inside
    assert Member(Tree("cpuset", 1, ("cpuset",))).inside(path) == path


def test_a_tie_is_remembered_as_it_was() -> None:
    made = Tie(("cpuset",), ("cpuset", "freezer"), "/jobs", ("cpuset:/jobs",), ("freezer",))
    assert Tie.load(made.dump()) == made
    assert "mode" not in made.dump(), "earlier versions read it"


@pytest.mark.parametrize(
    ("at", "unified_at", "root"), [("/", "/pcont/jobs", "/pcont/jobs"), ("/jobs", "", "/jobs")]
)
def test_a_tie_has_a_root_of_its_own_in_cgroup_v2(at: str, unified_at: str, root: str) -> None:
    trees = ("devices", UNIFIED)
    made = Tie(("cpuset",), trees, at, unified_at=unified_at, mode=MODE_THREADED)
    assert Tie.load(made.dump()) == made
    assert [made.root_in(tree) for tree in trees] == [at, root]


@pytest.mark.parametrize(
    "made",
    [
        Tie(("cpuset",), (UNIFIED,)),
        Tie(("cpuset",), ("cpuset",), mode=MODE_DOMAIN),
        Tie(("cpuset",), (UNIFIED,), mode="other"),
        Tie(("cpuset",), (UNIFIED,), unified_at="a/../..", mode=MODE_DOMAIN),
    ],
)
def test_a_tie_with_a_part_of_cgroup_v2_is_whole_or_no_tie(made: Tie) -> None:
    assert Tie.load(made.dump()) is None


class Offered(Model):
    """The model, with a cgroup v2 that has some controllers."""

    def trees(self) -> tuple[Tree, ...]:
        names = ("cpuset", "memory", "pids")
        return (*super().trees(), Tree(UNIFIED, 0, names, "", (Mount("/cg/unified"),)))


def test_the_part_in_cgroup_v2_is_last_and_has_the_subsystems_of_the_tie() -> None:
    model = Offered()
    mount(model, "/cg/jobs", name="jobs")
    subsystems, trees = ("cpuset", "cpuacct", "pids"), (UNIFIED, "name=late")
    made = Tie(subsystems, trees, unified_at="/pcont/jobs", mode=MODE_THREADED)
    model.set_attribute(Place("name=jobs"), TIE, made.dump())
    jobs = Registry(model).find("jobs")
    assert [member.tree.id for member in jobs.members] == ["name=jobs", "name=late", UNIFIED]
    assert jobs.unified_member == jobs.members[-1]
    assert jobs.needed == jobs.members[-1].tree.controllers == ("cpuset", "pids")
    assert set(jobs.controllers) == set(subsystems), "CPU time needs no controller"
    assert jobs.container("/a").places[-1] == Place(UNIFIED, "/pcont/jobs/a")
    assert Registry(model).find(UNIFIED).unified_member is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "{}", "[]", "5", '"at"', '{"at": "/"}'),
        '{"at": "/", "subsystems": 5, "trees": []}',
        '{"at": "/", "subsystems": [], "trees": [], "later": []}',
    ],
)
def test_an_attribute_of_another_program_makes_no_tie(model: Model, text: str) -> None:
    assert Tie.load(text) is None
    mount(model, "/cg/own", name="own")
    model.set_attribute(Place("name=own"), TIE, text)
    assert Registry(model).ties == []
    assert trees(Registry(model).find("own")) == ["name=own"]


def test_a_member_that_others_unmounted_is_still_named(model: Model) -> None:
    tie(model)
    model.umount("/cg/cpuacct")
    jobs = Registry(model).find("jobs")
    assert trees(jobs) == ["name=jobs", "cpuset", "cpuacct"]
    assert not jobs.mounted
    with pytest.raises(NotFound, match="cpuacct is active but not mounted") as caught:
        reachable(model, jobs.members[2].tree)
    assert "pcont mount -o cpuacct" in caught.value.hint


def test_a_tie_and_a_part_of_it_at_another_container_do_not_mix(model: Model) -> None:
    tie(model, at="/jobs")
    with pytest.raises(BadValue, match="one tree twice"):
        Registry(model).find("jobs,cpuset")


def test_a_container_below_one_tree_of_a_tie_is_around_it(model: Model) -> None:
    tie(model, at="/jobs")
    registry = Registry(model)

    def around(text: str) -> list[str]:
        return [one.hierarchy.name for one in registry.seen_in_ties(registry.place(text))]

    assert around("cpuset:/jobs/a") == ["jobs"]
    assert around("cpuset:/jobs") == ["jobs"]
    assert around("name=jobs:/a") == ["jobs"]
    assert around("/cg/jobs/a") == []
    assert around("cpuset:/other") == []
    assert around("jobs:/a") == []
    assert around("cpuset,cpuacct:/jobs/a") == []


def test_a_container_is_required_in_every_tree(model: Model) -> None:
    tie(model)
    container = Registry(model).place("jobs:/a")
    with pytest.raises(NotFound, match="there is no container jobs:/a") as caught:
        required(model, container)
    assert caught.value.hint == "pcont tree jobs"
    model.make(Place("cpuset", "/a"))
    assert present(model, container) == [Place("cpuset", "/a")]
    with pytest.raises(NotFound, match="partial: it is missing in name=jobs, cpuacct") as caught:
        required(model, container)
    assert "complete it: pcont create jobs:/a;" in caught.value.hint
    for tree in ("name=jobs", "cpuacct"):
        model.make(Place(tree, "/a"))
    assert required(model, container) is container


def test_containers_of_similar_names_are_in_the_hint(model: Model) -> None:
    for name in ("batch", "night"):
        model.make(Place("cpuset", f"/{name}"))
    with pytest.raises(NotFound) as caught:
        required(model, Registry(model).place("cpuset:/bacth"))
    assert caught.value.hint == "near: cpuset:/batch"


def test_hierarchies_of_similar_names_are_in_the_hint(model: Model) -> None:
    with pytest.raises(NotFound) as caught:
        Registry(model).find("cpusets")
    assert caught.value.hint == "near: cpuset"


def test_a_file_is_no_container(model: Model) -> None:
    assert exists(model, Place("cpuset"))
    assert not exists(model, Place("cpuset", "/tasks"))


def test_what_a_tie_remembers_is_json_that_others_can_read(model: Model) -> None:
    tie(model, at="/jobs")
    text = model.attributes(Place("name=jobs"))[TIE]
    assert json.loads(text)["trees"] == ["cpuset", "cpuacct"]
    assert "\n" not in text
