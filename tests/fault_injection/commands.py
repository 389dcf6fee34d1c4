"""Every command of several steps, one row each: what is there before, and the words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pcont.kernel.types import Owner, Place
from tests.fault_injection.workspace import Workspace

Prepare = Callable[[Workspace], None]


@dataclass(frozen=True)
class Row:
    """A command; its words and those before it are filled in by `Workspace.words`.

    `kills`: tasks end, and where they were is not put back. `bare`: for a machine on which nothing
    is bound. `v2`: it is about cgroup v2, which the model has in the dialect v2; `hybrid`: in the
    dialect hybrid, because v1 takes controllers from it. `plain`: without
    --backend on the kernel, which would take controllers for v1. `between`: what a command that
    runs another one has done by then, as a command: killed later, it need not get back behind that.
    """

    name: str
    prepare: Prepare
    words: str
    kills: bool = False
    bare: bool = False
    v2: bool = False
    hybrid: bool = False
    plain: bool = False
    between: str = ""

    def __str__(self) -> str:
        return self.name


def nothing(workspace: Workspace) -> None:
    """The machine as it is."""


def tie(workspace: Workspace) -> None:
    """A tie over all that the backend has, and its containers below one of their own."""
    workspace.ok("mount --tie --name {t} -o {subsystems} --at /{t} {dir}/home")


def settled(workspace: Workspace) -> None:
    """A tie with containers that are not like new ones, one of them another user's."""
    tie(workspace)
    workspace.ok("create -p -i {t}:/a/b/c -s cpuset.cpus=0 -s cpuset.mem_hardwall=1 -s {limit}")
    workspace.ok("create -i {t}:/d -s notify_on_release=1 -s cpuset.sched_load_balance=0")
    backend = workspace.pcont.backend()
    for tree, path in (("cpuset", f"/{workspace.name}/a"), (f"name={workspace.name}", "/a/b")):
        place = Place(tree, path)
        backend.set_attribute(place, "note", "kept")
        owners = {"": Owner(65534, 65534, 0o700), "tasks": Owner(0, 65534, 0o664)}
        owners |= {"cgroup.procs": Owner(0, 0, 0), "notify_on_release": Owner(65534, 0, 0o440)}
        backend.set_owners(place, owners)


def scattered(workspace: Workspace) -> None:
    """A process in three containers, one thread with a CPU of its own, and one more process."""
    settled(workspace)
    workspace.ok("create -i {t}:/a/b/e -s cpuset.cpus=1")
    workspace.start(threads=4)
    workspace.start()
    workspace.ok("attach {t}:/a {pids[0]}")
    workspace.ok("attach --thread {t}:/a/b {tasks[0][1]}")
    workspace.ok("attach --thread {t}:/a/b/c {tasks[0][2]}")
    own = workspace.pcont.backend()
    own.set_affinity(list(dict(workspace.threads()).values())[4], frozenset({1}))


def caller_inside(workspace: Workspace) -> None:
    """This process, and so the commands that it starts, is in a container of the tie.

    The model does not know of the commands that are started: they are in the root of a tie of all.
    """
    if workspace.on_model:
        workspace.ok("mount --tie --name {t} -o {subsystems} {dir}/home")
    else:
        settled(workspace)
        workspace.ok("attach {t}:{inside} {self}")


def pinned(workspace: Workspace) -> None:
    """Namespaces that a command has left."""
    caller_inside(workspace)
    workspace.ok("clone --ns uts,net {t} --pin {t} -- true")


def single(workspace: Workspace) -> None:
    workspace.ok("mount -o none --name {t} --release-agent /bin/true {dir}/a/b")


def single_with_containers(workspace: Workspace) -> None:
    single(workspace)
    workspace.ok("create -p {t}:/a/b -s notify_on_release=1")


def lost(workspace: Workspace) -> None:
    """A tie that was unmounted with containers in it."""
    settled(workspace)
    workspace.ok("umount {t}")


def bound_by_a_tie(workspace: Workspace) -> None:
    """A tie that has mounted its members itself."""
    workspace.ok("mount --tie --name {t} -o cpuset,cpuacct --at /{t}/x --no-freezer {dir}/a/b")


def lost_with_members(workspace: Workspace) -> None:
    """The same, which was unmounted with a container in it: its members are not mounted either."""
    bound_by_a_tie(workspace)
    workspace.ok("create -i {t}:/a")
    workspace.ok("umount {t}")


def named(workspace: Workspace) -> None:
    """A hierarchy of its own without controllers, and tasks in its containers."""
    workspace.ok("mount -o none --name {t} {dir}/home")
    workspace.ok("create -p {t}:/{t}/a/b {t}:/{t}/c")
    workspace.start(threads=3)
    workspace.start()
    workspace.ok("attach {t}:/{t}/a/b {pids[0]}")
    workspace.ok("attach --thread {t}:/{t}/c {tasks[0][1]}")
    workspace.ok("attach {t}:/{t}/c {pids[1]}")


def bound(workspace: Workspace) -> None:
    """The same with two more trees."""
    named(workspace)
    workspace.ok("bind {t} cpuset,freezer -i -s /{t}/c:cpuset.cpus=1 -s cgroup.clone_children=1")


def shared(workspace: Workspace) -> None:
    """Shares of the number of tasks; one container has said nothing, and has a limit of its own."""
    workspace.ok("mount --tie --name {t} -o numtasks --at /{t} {dir}/home")
    workspace.ok("create -p {t}:/a/b {t}:/a/c {t}:/d -s numtasks.shares=max_shares=50")
    workspace.ok("create {t}:/own -s pids.max=70")
    workspace.ok("set {t}:/ total_numtasks=1000")


def unshared(workspace: Workspace) -> None:
    """Containers that are in pids, too."""
    named(workspace)
    workspace.ok("bind {t} pids -s /{t}/c:pids.max=70")


def shared_by_binding(workspace: Workspace) -> None:
    unshared(workspace)
    workspace.ok(
        "bind {t} numtasks -s /:total_numtasks=1000 -s /{t}/a:numtasks.shares=max_shares=50"
    )


def halved(workspace: Workspace) -> None:
    """Containers with memory nodes, whose CPUs follow; one has fewer."""
    workspace.ok("mount --tie --name {t} -o memset --at /{t} {dir}/home")
    workspace.ok("create {t}:/a {t}:/a/b {t}:/c -s memset.mems=0")
    workspace.ok("set {t}:/c cpuset.cpus=0")


def unhalved(workspace: Workspace) -> None:
    """A process in a container that is to be in cpuset, too."""
    workspace.ok("mount --tie --name {t} -o cpuacct --at /{t} {dir}/home")
    workspace.ok("create -p {t}:/a/b {t}:/c")
    workspace.start(threads=2)
    workspace.ok("attach {t}:/a/b {pids[0]}")


def halved_by_binding(workspace: Workspace) -> None:
    unhalved(workspace)
    workspace.ok("bind {t} cpuset,memset -i -s /a:memset.mem_hardwall=1")


def agent(workspace: Workspace) -> None:
    """The release agent is pcont's, which runs the user's."""
    tie(workspace)
    workspace.ok("set {t}:/ release_agent=/bin/true auto_delete=1")


def released(workspace: Workspace) -> None:
    """One container with auto_delete, and one with children that have nothing of their own."""
    tie(workspace)
    workspace.ok("create -p {t}:/a/b {t}:/b/c")
    workspace.ok("set {t}:/b auto_delete=1 notify_on_release=1")


def notified(workspace: Workspace) -> None:
    """The user's agent is notified of containers; none of them has auto_delete."""
    tie(workspace)
    workspace.ok("set {t}:/ release_agent=/bin/true")
    workspace.ok("create -p {t}:/b/c {t}:/b/d -s notify_on_release=1")


def counted(workspace: Workspace) -> None:
    """Open files are counted, by what containers may have."""
    workspace.ok("mount -o numfiles --name {t} {dir}/home")
    workspace.ok("create {t}:/a {t}:/a/b {t}:/c -s bc.numfiles.barrier=3 -s bc.numfiles.limit=500")


def charged(workspace: Workspace) -> None:
    """Files are charged to two containers, and the tasks that have them open have left."""
    counted(workspace)
    for path in ("/a/b", "/c"):
        workspace.ok(f"attach {{t}}:{path} {{self}}")
        workspace.open()
        workspace.ok("attach {t}:/ {self}")


def counting(workspace: Workspace) -> None:
    """Open files are to be counted, in no container yet."""
    workspace.ok("mount -o numfiles --name {t} {dir}/home")


def rated(workspace: Workspace) -> None:
    """Forks are counted, and there is a rate for some."""
    workspace.ok("mount -o pids {dir}/pids")
    workspace.ok("mount --tie --name {t} -o numtasks --at /{t} --no-freezer {dir}/home")
    workspace.ok("set {t}:/ forkrate=300 forkrate_interval=7")


def rated_below(workspace: Workspace) -> None:
    """The same with containers that have other ones."""
    rated(workspace)
    workspace.ok("create {t}:/a {t}:/a/b {t}:/c -s forkrate=500")


def unrated(workspace: Workspace) -> None:
    """Containers whose forks are to be counted."""
    named(workspace)
    workspace.ok("mount -o pids {dir}/pids")


def lines(workspace: Workspace) -> None:
    """Containers and tasks as of `scattered`, and a file with the lines of a batch."""
    scattered(workspace)
    (workspace.base / "more").mkdir()
    text = (
        "create {t}:/new {t}:/new/x\ncreate -i {t}:/y -s {limit}\n"
        "set {t}:/a/b/c cpuset.cpus=1 notify_on_release=1\nattach {t}:/d {pids[1]}\n"
        "move {t}:/a/b {t}:/d\nrm {t}:/new/x\nset {t}:/d {limit}\n"
        "mount -o none --name {t}-more {dir}/more\ncreate {t}-more:/a\nrm {t}-more:/a\n"
        "umount {t}-more\nrm {t}:/a/b/e\n"
    )
    (workspace.scratch / "lines").write_text(workspace.filled(text))


def unified(workspace: Workspace) -> None:
    """Containers of cgroup v2 that are not like new ones."""
    workspace.ok("create -p unified:/{t}/a/b unified:/{t}/d -s cgroup.max.depth=7")
    workspace.ok("create unified:/{t}/a/c -s cgroup.freeze=1")
    backend, place = workspace.pcont.backend(), Place("unified", f"/{workspace.name}/a/b")
    backend.set_attribute(place, "note", "kept")
    backend.set_owners(place, {"": Owner(65534, 65534, 0o700)})


def scattered_on_v2(workspace: Workspace) -> None:
    """Processes in two containers of cgroup v2."""
    unified(workspace)
    workspace.start(threads=4)
    workspace.start()
    workspace.ok("attach unified:/{t}/a/b {pids[0]}")
    workspace.ok("attach unified:/{t}/a {pids[1]}")


def threaded(workspace: Workspace) -> None:
    """Threads of a process in two threaded containers, and one process outside."""
    unified(workspace)
    workspace.ok("create unified:/{t}/d/x unified:/{t}/d/y -s cgroup.type=threaded")
    workspace.start(threads=4)
    workspace.start()
    workspace.ok("attach unified:/{t}/d/x {pids[0]}")
    workspace.ok("attach --thread unified:/{t}/d/y {tasks[0][1]}")


def enabling(workspace: Workspace) -> None:
    """A container of cgroup v2 that enables memory for a child, and one with two processes."""
    unified(workspace)
    workspace.ok("create unified:/{t}/a/x -s memory.max=64M")
    workspace.start(threads=4)
    workspace.start()
    workspace.ok("attach unified:/{t}/d {pids[0]} {pids[1]}")


def in_a_leaf(workspace: Workspace) -> None:
    """A process in the container that enables memory."""
    enabling(workspace)
    workspace.ok("attach unified:/{t}/a {pids[0]}")


def foreign(workspace: Workspace) -> None:
    """Containers that another program has made, with settings, one of them beside ours."""
    unified(workspace)
    backend, top = workspace.pcont.backend(), f"/{workspace.name}"
    with backend.exclusive():
        for path in (f"{top}/o", f"{top}/o/p"):
            backend.make(Place("unified", path))
        for path in ("/", top, f"{top}/o"):
            backend.write(Place("unified", path), "cgroup.subtree_control", "+memory +pids")
        for path, file, text in (
            (f"{top}/o", "memory.max", "256M"),
            (f"{top}/o", "cgroup.max.depth", "9"),
            (f"{top}/o/p", "pids.max", "5"),
            (f"{top}/o/p", "memory.max", "32M"),
        ):
            backend.write(Place("unified", path), file, text)


def lines_on_v2(workspace: Workspace) -> None:
    """Containers and tasks as of `enabling`, and a file with the lines of a batch."""
    enabling(workspace)
    text = (
        "create unified:/{t}/new unified:/{t}/new/x\n"
        "create unified:/{t}/d/y -s memory.max=64M\n"  # its processes go into a leaf
        "set unified:/{t}/a/x memory.max=32M pids.max=9\nattach unified:/{t}/a/b {pids[1]}\n"
        "move unified:/{t}/d unified:/{t}/a\nrm unified:/{t}/new/x\nrm -r unified:/{t}/a/c\n"
        "set unified:/{t}/d cpuset.cpus=1 cgroup.max.depth=3\n"
    )
    (workspace.scratch / "lines").write_text(workspace.filled(text))


ON_V2 = (
    Row("v2: create", unified, "create -p unified:/{t}/x/y unified:/{t}/z -s cgroup.max.depth=3"),
    Row("v2: create what exists", unified, "create -p unified:/{t}/a/x -s cgroup.type=threaded"),
    Row("v2: rm -r", unified, "rm -r unified:/{t}/a unified:/{t}/d"),
    Row("v2: chown -r", unified, "chown -r unified:/{t}/a 65534:65533 --tasks-owner 65532"),
    Row("v2: create --owner", unified, "create -p unified:/{t}/x/y --owner 65534:65533"),
    Row("v2: rm -r --evict", scattered_on_v2, "rm -r --evict unified:/{t}/a"),
    Row("v2: rm -r --kill", scattered_on_v2, "rm -r --kill unified:/{t}/a", kills=True),
    Row("v2: set", unified, "set unified:/{t}/a cgroup.max.depth=4 cgroup.freeze=1"),
    Row("v2: attach several", scattered_on_v2, "attach unified:/{t}/d {pids[0]} {pids[1]}"),
    Row("v2: attach --tree", scattered_on_v2, "attach --tree unified:/{t}/d {pids[0]}"),
    Row("v2: move", scattered_on_v2, "move unified:/{t}/a/b unified:/{t}/d"),
    Row("v2: run --create", unified, "run --create unified:/{t}/x/y -- true"),
    Row("v2: attach to a threaded one", threaded, "attach unified:/{t}/d/y {pids[0]} {pids[1]}"),
    Row("v2: move threads", threaded, "move unified:/{t}/d/x unified:/{t}/d/y"),
    Row("v2: rm -r threaded", threaded, "rm -r --evict unified:/{t}/d/y"),
    Row("v2: attach --thread", threaded, "attach --thread unified:/{t}/d/x {tasks[0][1]}"),
    Row(
        "v2: run --create --auto-delete",
        unified,
        "run --create --auto-delete unified:/{t}/x/y -- true",
        between="create -p unified:/{t}/x/y",
    ),
    Row("v2: rm -r --kill threaded", threaded, "rm -r --kill unified:/{t}/d", kills=True),
    Row(
        "v2: create below a container of another program",
        foreign,
        "create -p unified:/{t}/o/n/m unified:/{t}/o/q -s pids.max=7 -s cpuset.cpus=0",
        bare=True,
    ),
    Row(
        "v2: set and enable beside another program",
        foreign,
        "set unified:/{t}/a memory.max=64M cpu.weight=50 cgroup.max.depth=4",
        bare=True,
    ),
    Row("v2: batch --atomic", lines_on_v2, "batch --atomic {scratch}/lines", bare=True),
    Row(
        "v2: create and enable",
        unified,
        "create -p unified:/{t}/x/y unified:/{t}/z -s pids.max=7 -s memory.max=64M",
        bare=True,
    ),
    Row("v2: set and enable", unified, "set unified:/{t}/a pids.max=7 memory.max=64M", bare=True),
    Row("v2: attach and enable", unified, "create memory:/{t}/d/x pids:/{t}/a/x", bare=True),
    Row(
        "v2: attach into a leaf",
        enabling,
        "attach unified:/{t}/a {pids[0]} {pids[1]}",
        bare=True,
    ),
    Row("v2: move into a leaf", enabling, "move unified:/{t}/d unified:/{t}/a", bare=True),
    Row(
        "v2: create a leaf for the tasks above",
        enabling,
        "create unified:/{t}/d/x -s memory.max=64M -s pids.max=7",
        bare=True,
    ),
    Row("v2: rm -r --evict of a leaf", in_a_leaf, "rm -r --evict unified:/{t}/a", bare=True),
    Row(
        "v2: set empty lists",
        enabling,
        "set unified:/{t}/d cpuset.cpus=0 cpuset.mems=0 cgroup.max.depth=4",
        bare=True,
    ),
)


def on_v2(workspace: Workspace) -> None:
    """A hierarchy with a part in cgroup v2, a process in two of its containers, and one outside."""
    workspace.ok("mount --tie --name {t} -o cpuset,pids {dir}/home")
    workspace.ok("create -p {t}:/a/b {t}:/c -s cpuset.cpus=1 -s pids.max=70")
    workspace.start(threads=4)
    workspace.start()
    workspace.ok("attach {t}:/a/b {pids[0]}")
    workspace.ok("attach --thread {t}:/c {tasks[0][1]}")


def pids_on_v1(workspace: Workspace) -> None:
    """v1 has pids, and cgroup v2 all other controllers."""
    workspace.ok("mount -o pids --force")


def empty_of_both(workspace: Workspace) -> None:
    """A hierarchy with pids of v1 and cpuset of cgroup v2."""
    pids_on_v1(workspace)
    empty_on_v2(workspace)


def of_both(workspace: Workspace) -> None:
    """The same with containers and processes."""
    pids_on_v1(workspace)
    on_v2(workspace)


def empty_on_v2(workspace: Workspace) -> None:
    """The same without containers."""
    workspace.ok("mount --tie --name {t} -o cpuset,pids {dir}/home")


def rated_on_v2(workspace: Workspace) -> None:
    """A hierarchy of cgroup v2 with a rate of forks."""
    workspace.ok("mount --tie --name {t} -o numtasks,memset {dir}/home")
    workspace.ok("set {t}:/ forkrate=300 forkrate_interval=7")


def rated_below_on_v2(workspace: Workspace) -> None:
    """The same with containers that have other rates, and memory nodes."""
    rated_on_v2(workspace)
    workspace.ok("create {t}:/a {t}:/a/b {t}:/c -s forkrate=500 -s memset.mems=0")


def lost_on_v2(workspace: Workspace) -> None:
    """The same as `on_v2`, unmounted with its containers."""
    on_v2(workspace)
    workspace.ok("umount {t}")


def whole_on_v2(workspace: Workspace) -> None:
    """A hierarchy that moves whole processes: two of its containers have one each."""
    workspace.ok("mount --tie --name {t} -o memory {dir}/home")
    workspace.ok("create -p {t}:/a/b {t}:/c -s memory.max=64M")
    workspace.start(threads=4)
    workspace.start()
    workspace.ok("attach {t}:/a/b {pids[0]}")
    workspace.ok("attach {t}:/c {pids[1]}")


def processes_of_a_home(workspace: Workspace) -> None:
    """A hierarchy without a part in cgroup v2; two of its containers have a process each."""
    workspace.ok("mount -o none --name {t} {dir}/home")
    workspace.ok("create -p {t}:/a/b {t}:/c")
    workspace.start(threads=3)
    workspace.start()
    workspace.ok("attach {t}:/a {pids[0]}")
    workspace.ok("attach {t}:/c {pids[1]}")


def released_on_v2(workspace: Workspace) -> None:
    """The agent of pcont is installed, and runs that of the user."""
    on_v2(workspace)
    workspace.ok("set {t}:/ release_agent=/bin/true")
    workspace.ok("create -p {t}:/b/d {t}:/b/e -s auto_delete=1 -s pids.max=9")


def agent_on_v2(workspace: Workspace) -> None:
    empty_on_v2(workspace)
    workspace.ok("set {t}:/ release_agent=/bin/true auto_delete=1")


def shares_on_v2(workspace: Workspace) -> None:
    workspace.ok("mount --tie --name {t} -o numtasks {dir}/home")
    workspace.ok("set {t}:/ total_numtasks=1000")
    workspace.ok("create -p {t}:/a/b {t}:/c -s numtasks.shares=max_shares=50")


def caller_on_v2(workspace: Workspace) -> None:
    """This process is in a container; the model does not know of the commands that it starts."""
    empty_on_v2(workspace)
    if not workspace.on_model:
        workspace.ok("create {t}:/d")
        workspace.ok("attach {t}:/d {self}")


HIERARCHIES_ON_V2 = (
    Row("v2: mount", nothing, "mount --tie --name {t} -o cpuset,cpuacct,pids {dir}/home"),
    Row("v2: mount --at", nothing, "mount --tie --name {t} -o memory --at /{t}/x {dir}/home"),
    Row("v2: umount", empty_on_v2, "umount {t}"),
    Row("v2: create in a hierarchy", on_v2, "create -p {t}:/a/b/d {t}:/x -s cpuset.cpus=0"),
    Row("v2: rm -r in a hierarchy", on_v2, "rm -r --evict {t}:/a"),
    Row("v2: attach to a hierarchy", on_v2, "attach {t}:/a {pids[0]} {pids[1]}"),
    Row("v2: move in a hierarchy", on_v2, "move {t}:/a/b {t}:/c"),
    Row("v2: bind to a hierarchy", on_v2, "bind {t} cpu -s /a/b:cpu.weight=50"),
    Row("v2: unbind from a hierarchy", on_v2, "unbind {t} pids --yes"),
    Row("v2: unbind the last", on_v2, "unbind {t} cpuset,pids --yes"),
    Row(
        "v2: mount with a forkrate", nothing, "mount --tie --name {t} -o numtasks,memset {dir}/home"
    ),
    Row(
        "v2: bind with a forkrate",
        on_v2,
        "bind {t} numtasks,memset -s /:forkrate=200 -s /a:forkrate_interval=9 -s /c:memset.mems=1",
    ),
    Row("v2: umount with a forkrate", rated_on_v2, "umount {t}"),
    Row("v2: unbind with a forkrate", rated_below_on_v2, "unbind {t} numtasks,memset --yes"),
    Row("v2: set a forkrate", rated_below_on_v2, "set {t}:/a forkrate=5 memset.mems=1"),
    Row("v2: rm with a forkrate", rated_below_on_v2, "rm -r {t}:/a {t}:/c"),
    Row("v2: mount of whole processes", nothing, "mount --tie --name {t} -o memory,io {dir}/home"),
    Row("v2: mount what was lost", lost_on_v2, "mount --name {t} {dir}/again/home"),
    Row("v2: umount with containers", on_v2, "umount {t}"),
    Row("v2: umount with auto_delete", agent_on_v2, "umount {t}"),
    Row("v2: rm -r --kill in a hierarchy", on_v2, "rm -r --kill {t}:/a {t}:/c", kills=True),
    Row("v2: attach --thread in a hierarchy", on_v2, "attach --thread {t}:/a {tasks[0][2]}"),
    Row("v2: attach --tree to a hierarchy", on_v2, "attach --tree {t}:/c {pids[1]} {pids[0]}"),
    Row(
        "v2: set in a hierarchy",
        on_v2,
        "set {t}:/a/b cpuset.cpus=0 pids.max=50 cgroup.max.depth=4 notify_on_release=1",
    ),
    Row("v2: set empty lists in a hierarchy", on_v2, "set {t}:/c cpuset.mems=0 cpuset.cpus=0"),
    Row("v2: clone --pid", on_v2, "clone {t} --pid {pids[0]}"),
    Row(
        "v2: clone -- command",
        caller_on_v2,
        "clone {t} -- true",
        between="create {t}:{inside}/node_1",
    ),
    Row("v2: run --create in a hierarchy", on_v2, "run --create {t}:/x/y -- true"),
    Row(
        "v2: run --create --auto-delete in a hierarchy",
        on_v2,
        "run --create --auto-delete {t}:/x/y -- true",
        between="create -p {t}:/x/y -s auto_delete=1",
    ),
    Row("v2: set auto_delete", on_v2, "set {t}:/a/b auto_delete=1 notify_on_release=1 pids.max=9"),
    Row("v2: set auto_delete back", released_on_v2, "set {t}:/b/d auto_delete=0 pids.max=8"),
    Row("v2: set release_agent", on_v2, "set {t}:/ release_agent=/bin/true notify_on_release=1"),
    Row(
        "v2: set release_agent with auto_delete", agent_on_v2, "set {t}:/ release_agent=/bin/false"
    ),
    Row(
        "v2: bind memory", processes_of_a_home, "bind {t} memory -s /a/b:memory.max=64M", plain=True
    ),
    Row(
        "v2: bind the first to threads",
        named,
        "bind {t} cpuset,pids -s /{t}/c:cpuset.cpus=1",
        plain=True,
    ),
    Row("v2: bind to whole processes", whole_on_v2, "bind {t} pids -s /a:pids.max=50"),
    Row("v2: unbind from whole processes", whole_on_v2, "unbind {t} memory --yes"),
    Row("v2: create over processes", whole_on_v2, "create {t}:/c/x {t}:/a/b/y -s memory.max=9M"),
    Row("v2: move whole processes into a leaf", whole_on_v2, "move {t}:/c {t}:/a"),
    Row("v2: rm -r --evict into a leaf", whole_on_v2, "rm -r --evict {t}:/a/b"),
    Row("v2: rm -r --kill of whole processes", whole_on_v2, "rm -r --kill {t}:/a", kills=True),
    Row(
        "v2: set shares", shares_on_v2, "set {t}:/ total_numtasks=500 numtasks.shares=max_shares=9"
    ),
    Row("v2: unbind numtasks", shares_on_v2, "unbind {t} numtasks --yes"),
    Row("v2: rm -r with shares", shares_on_v2, "rm -r {t}:/a {t}:/c"),
)

OF_BOTH_KINDS = (
    Row("v2: take a controller for v1", nothing, "mount -o pids --force"),
    Row("v2: return a controller of v1", pids_on_v1, "umount pids"),
    Row("v2: mount of both kinds", pids_on_v1, "mount --tie --name {t} -o cpuset,pids {dir}/home"),
    Row("v2: umount of both kinds", empty_of_both, "umount {t}"),
    Row("v2: create in both kinds", of_both, "create -p {t}:/a/b/d {t}:/x -s pids.max=7"),
    Row("v2: attach to both kinds", of_both, "attach {t}:/a {pids[0]} {pids[1]}"),
    Row("v2: move in both kinds", of_both, "move {t}:/a/b {t}:/c"),
)

ROWS = (
    *(replace(row, v2=True, bare=True) for row in HIERARCHIES_ON_V2),
    *(replace(row, v2=True, bare=True, hybrid=True) for row in OF_BOTH_KINDS),
    *(replace(row, v2=True) for row in ON_V2),
    Row("move", scattered, "move {t}:/a/b {t}:/d"),
    Row("attach --tree", scattered, "attach --tree {t}:/d {pids[0]}"),
    Row("bind", named, "bind {t} cpuset,freezer -i -s /{t}/c:cpuset.cpus=1"),
    Row("bind what is free", named, "bind {t} cpuacct,pids", bare=True),
    Row("unbind", bound, "unbind {t} cpuset,freezer --yes"),
    Row("create several", tie, "create {t}:/a {t}:/b {t}:/a/c"),
    Row("create ad hoc", tie, "create cpuset,cpuacct:/{t}/q cpuset,cpuacct:/{t}/r"),
    Row(
        "create -p -i -s",
        settled,
        "create -p -i {t}:/a/x/y -s cpuset.cpus=0 -s notify_on_release=1 -s {limit}",
    ),
    Row("create what exists -p -s", settled, "create -p {t}:/a/b -s cpuset.cpus=0 -s {limit}"),
    Row("batch --atomic", lines, "batch --atomic {scratch}/lines"),
    Row("rm -r", settled, "rm -r {t}:/a {t}:/d"),
    Row("chown -r", settled, "chown -r {t}:/a 65534:65533 --tasks-owner 65532"),
    Row("create --owner", tie, "create {t}:/a {t}:/b --owner 65534:65533"),
    Row("rm -r --evict", scattered, "rm -r --evict {t}:/a"),
    Row("rm -r --kill", scattered, "rm -r --kill {t}:/a", kills=True),
    Row(
        "set several",
        scattered,
        "set {t}:/a/b/c cpuset.cpus=1 cpuset.memory_migrate=1 {limit} notify_on_release=1",
    ),
    Row("set, and enter", scattered, "set {t}:/d cpuset.mem_hardwall=1 cgroup.procs={pids[0]}"),
    Row("set, the last irreversible", settled, "set {t}:/a/b/c cpuset.cpus=1 cpuacct.usage=0"),
    Row(
        "set shares",
        shared,
        "set {t}:/ total_numtasks=2000 numtasks.shares=child_shares_divisor=200",
    ),
    Row("set the first shares", shared, "set {t}:/own numtasks.shares=max_shares=5 {limit}"),
    Row("rm with shares", shared, "rm -r {t}:/a {t}:/own"),
    Row("umount with shares", shared, "umount {t}"),
    Row(
        "bind numtasks",
        unshared,
        "bind {t} numtasks -s /:total_numtasks=2000 -s numtasks.shares=max_shares=50",
    ),
    Row("unbind numtasks", shared_by_binding, "unbind {t} numtasks --yes"),
    Row("mount with memset", nothing, "mount --tie --name {t} -o memset --at /{t}/x {dir}/a/b"),
    Row("umount with memset", halved, "umount {t}"),
    Row("bind memset", unhalved, "bind {t} memset -i -s memset.mem_hardwall=1"),
    Row("bind both halves", unhalved, "bind {t} cpuset,memset -i -s /a:memset.memory_migrate=1"),
    Row("unbind memset", halved_by_binding, "unbind {t} memset --yes"),
    Row("unbind both halves", halved_by_binding, "unbind {t} cpuset,memset --yes"),
    Row("create with memset", halved, "create -p {t}:/x {t}:/c/y -s memset.mems=0"),
    Row(
        "set memset",
        halved,
        "set {t}:/a/b memset.mems= memset.mem_hardwall=1 cgroup.clone_children=1",
    ),
    Row("set whose the CPUs are", halved, "set {t}:/ memset.cpus_follow=0 cpuset.memory_migrate=1"),
    Row("rm with memset", halved, "rm -r {t}:/a {t}:/c"),
    Row("attach several", scattered, "attach {t}:/d {pids[0]} {pids[1]}"),
    Row("attach a thread", scattered, "attach --thread {t}:/d {tasks[0][1]}"),
    Row("clone --pid", scattered, "clone {t} --pid {pids[0]}"),
    Row(
        "clone -- command",
        caller_inside,
        "clone {t} -- true",
        between="create -i {t}:{inside}/node_1",
    ),
    Row("clone --keep -- command", caller_inside, "clone --keep {t} -- true"),
    Row(
        "clone --ns --pin -- command",
        caller_inside,
        "clone --ns cgroup,mnt,pid {t} --pin {t} -- true",
        between="clone --keep --ns cgroup,mnt,pid {t} --pin {t} -- true",
    ),
    Row("unpin", pinned, "unpin {t}"),
    Row("run --create", settled, "run --create {t}:/x/y -- true"),
    Row(
        "run --create --auto-delete",
        settled,
        "run --create --auto-delete {t}:/x/y -- true",
        between="create -p -i {t}:/x/y -s auto_delete=1",
    ),
    Row("set auto_delete", released, "set {t}:/a auto_delete=1 notify_on_release=1 {limit}"),
    Row("set auto_delete back", released, "set {t}:/b auto_delete=0"),
    Row("set the first auto_delete", notified, "set {t}:/b auto_delete=1 {limit}"),
    Row("set notify_on_release with auto_delete", released, "set {t}:/b notify_on_release=0"),
    Row("set release_agent", tie, "set {t}:/ release_agent=/bin/true notify_on_release=1"),
    Row(
        "set release_agent with auto_delete",
        agent,
        "set {t}:/ release_agent=/bin/false cgroup.clone_children=1",
    ),
    Row("umount with auto_delete", agent, "umount {t}"),
    Row("mount", nothing, "mount -o none --name {t} --release-agent /bin/true {dir}/a/b/c"),
    Row("mount once more", single_with_containers, "mount -o none --name {t} {dir}/c/d"),
    Row("mount --tie", nothing, "mount --tie --name {t} -o {subsystems} --at /{t}/x/y {dir}/a/b"),
    Row(
        "mount --tie and its members",
        nothing,
        "mount --tie --name {t} -o cpuset,cpuacct --at /{t}/x {dir}/a/b",
        bare=True,
    ),
    Row("mount what was lost", lost, "mount --name {t} {dir}/again/home"),
    Row("mount members that were lost", lost_with_members, "mount --name {t} {dir}/b", bare=True),
    Row("umount", single, "umount {t}"),
    Row("umount with containers", single_with_containers, "umount {t}"),
    Row("umount a tie", tie, "umount {t}"),
    Row("umount a tie with containers", settled, "umount {t}"),
    Row("umount a tie and its members", bound_by_a_tie, "umount {t}", bare=True),
    Row("mount with numfiles", nothing, "mount -o numfiles --name {t} {dir}/a/b", bare=True),
    Row("umount with numfiles", counting, "umount {t}", bare=True),
    Row("umount with numfiles and containers", counted, "umount {t}", bare=True),
    Row(
        "bind numfiles",
        named,
        "bind {t} numfiles -s bc.numfiles.limit=300 -s /{t}/a:bc.numfiles.barrier=1",
        bare=True,
    ),
    Row("unbind numfiles", counted, "unbind {t} numfiles --yes", bare=True),
    Row(
        "create with numfiles",
        counted,
        "create {t}:/x {t}:/x/y -s bc.numfiles.limit=600 -s bc.numfiles.barrier=500",
        bare=True,
    ),
    Row(
        "set numfiles",
        counted,
        "set {t}:/a bc.numfiles.barrier=700 bc.numfiles.limit=900 notify_on_release=1",
        bare=True,
    ),
    Row("rm with numfiles", counted, "rm -r {t}:/a {t}:/c", bare=True),
    Row("rm --force with numfiles", charged, "rm -r --force {t}:/a {t}:/c", bare=True),
    Row("umount with a forkrate", rated, "umount {t}", bare=True),
    Row(
        "bind with a forkrate",
        unrated,
        "bind {t} numtasks -s /:forkrate=200 -s /{t}/a:forkrate_interval=9",
        bare=True,
    ),
    Row("unbind with a forkrate", rated_below, "unbind {t} numtasks --yes", bare=True),
    Row("set a forkrate", rated_below, "set {t}:/a forkrate=5 notify_on_release=1", bare=True),
    Row("rm with a forkrate", rated_below, "rm -r {t}:/a {t}:/c", bare=True),
)
