"""clone --ns: a command in namespaces of its own, pinned and joined; nothing of it is left."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcont.kernel.types import NAMESPACES
from tests.contract.conftest import Pcont, Result, eventually, only_kernel, starts_empty
from tests.contract.test_ns import Cells

SEVERAL = "net,pid,mnt,uts,ipc,cgroup"
ALL = ",".join(NAMESPACES)


def own(pcont: Pcont, *words: str) -> list[str]:
    """The command line that a command would use to ask pcont itself."""
    return [sys.executable, "-m", "pcont", *pcont.words, *words]


@pytest.fixture
def cells(pcont: Pcont, name: str) -> Iterator[Cells]:
    """A hierarchy with ns; after the test no task is in it, and nothing is pinned by its name."""
    pcont.ok("mount", "-o", "ns", "--name", name)
    cells = Cells(pcont, name)
    yield cells
    if name in pcont.ok("pins"):
        pcont.ok("unpin", name)
    for path in reversed(cells.below()[1:]):
        pcont.ok("rm", "--kill", cells.at(path))
    assert eventually(lambda: pcont("umount", name).status == 0)


@pytest.fixture
def tied(pcont: Pcont, name: str) -> Iterator[Cells]:
    """A tie over pids, with ns."""
    if free := starts_empty(pcont):
        pcont.ok("mount", "-o", "pids")
    pcont.ok("mount", "--tie", "--name", name, "-o", "ns,pids", "--at", f"/{name}")
    cells = Cells(pcont, name)
    yield cells
    for path in reversed(cells.below()[1:]):
        pcont.ok("rm", "--kill", cells.at(path))
    pcont.ok("umount", name)
    if free:
        pcont.ok("umount", "pids")


def clone(cells: Cells, kinds: str, *words: str) -> Result:
    """A command in these namespaces; options of clone stand before `--`, the words behind it."""
    at = words.index("--") if "--" in words else 0
    options, command = words[:at], words[at + 1 :] if "--" in words else words
    return cells.pcont("clone", cells.name, "--ns", kinds, *options, "--", *command)


def shell(cells: Cells, kinds: str, script: str) -> Result:
    return clone(cells, kinds, "sh", "-c", script)


def namespace(kind: str) -> str:
    return os.readlink(f"/proc/self/ns/{kind}")


@contextlib.contextmanager
def started(cells: Cells, kinds: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A clone that goes on, in a process group of its own, and has said its first line."""
    line = own(cells.pcont, "clone", cells.name, "--ns", kinds, *words)
    pipe = subprocess.PIPE
    with subprocess.Popen(
        line, stdin=pipe, stdout=pipe, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() in ("on\n", "1\n")
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


# On both backends


def test_the_container_is_there_for_the_command_and_gone_after_it(cells: Cells) -> None:
    """Also where ns forbids others to enter; the model makes no namespaces, and says so."""
    result = shell(cells, "uts,ipc", "exit 7")
    assert result.status == 7
    assert f"{cells.name}:/node_" in result.err
    assert ("the model makes no namespaces" in result.err) is ("model" in cells.pcont.words)
    assert cells.below() == ["/"]
    kept = clone(cells, "uts", "--keep", "--", "true")
    assert cells.below() == ["/", kept.err.splitlines()[-1].partition(":")[2]]


def test_what_cannot_start_leaves_neither_container_nor_pin(cells: Cells, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("no program")
    program.chmod(0o755)
    result = clone(cells, "uts,ipc", "--pin", cells.name, "--", str(program))
    assert result.status == 126
    assert cells.below() == ["/"]
    assert cells.pcont.ok("pins") == ""


def test_pins_are_listed_taken_and_removed(cells: Cells) -> None:
    pcont, name = cells.pcont, cells.name
    assert clone(cells, "uts,ipc", "--pin", name, "--", "true").status == 0
    rows = [row for row in json.loads(pcont.ok("pins", "--json"))["result"] if row["name"] == name]
    assert [row["kind"] for row in rows] == ["ipc", "uts"]
    again = clone(cells, "uts", "--json", "--pin", name, "--", "true")
    assert again.status == 125
    error = json.loads(again.err.splitlines()[-1])["error"]
    assert (error["code"], error["errno"]) == ("busy", "EEXIST")
    assert cells.below() == ["/"]
    assert pcont("run", cells.at(), "--join", name, "--", "sh", "-c", "exit 3").status == 3
    assert "nothing" not in pcont.fails(3, "unpin", name, "nothing-of-the-kind").partition("\n")[2]
    assert name in pcont.ok("pins")
    pcont.ok("unpin", name)
    assert name not in pcont.ok("pins")
    assert "no namespaces are pinned" in pcont.fails(3, "unpin", name)
    pcont.fails(125, "run", cells.at(), "--join", name, "--", "true")


def test_without_a_command_there_is_nothing_to_separate(cells: Cells) -> None:
    for words in (("--ns", "net"), ("--ns", "net", "--pid", str(os.getpid())), ()):
        cells.pcont.fails(2, "clone", cells.name, *words)
    assert cells.below() == ["/"]


@pytest.mark.parametrize(
    "words",
    [
        ("--ns", "nett"),
        ("--ns", ""),
        ("--pin", "x"),
        ("--init",),
        ("--ns", "net", "--init"),
        ("--ns", "user", "--uid-map", "0:0:1"),
        ("--ns", "user", "--uid-map", "0:0", "--gid-map", "0:0:1"),
        ("--ns", "net", "--uid-map", "0:0:1", "--gid-map", "0:0:1"),
    ],
)
def test_words_that_do_not_fit_are_a_usage_error(cells: Cells, words: tuple[str, ...]) -> None:
    result = cells.pcont("clone", "--json", cells.name, *words, "--", "true")
    assert json.loads(result.err)["error"]["code"] == "usage"
    assert result.status == 125
    assert cells.below() == ["/"]


def test_a_dry_run_tells_it_all(cells: Cells) -> None:
    words = ("clone", "-n", cells.name, "--ns", "net,mnt,cgroup", "--pin", cells.name)
    reported = cells.pcont.ok(*words, "--", "true").splitlines()
    assert [line.split()[0] for line in reported] == [
        *("mkdir", "setfattr", "setfattr", "echo", "unshare", "mount", "mount", "mount", "exec")
    ]
    assert "unshare --net --mount --cgroup" in reported
    assert reported[-2].startswith("mount --bind /proc/")
    assert reported[-2].endswith(f"/ns/{cells.name}/cgroup")
    assert cells.below() == ["/"]


# What only the kernel does


@only_kernel
@pytest.mark.parametrize("kinds", [*NAMESPACES, ALL, SEVERAL])
def test_a_command_has_just_the_namespaces_that_it_is_to_have(cells: Cells, kinds: str) -> None:
    result = shell(cells, kinds, "cd /proc/self/ns; readlink " + " ".join(NAMESPACES))
    assert result.status == 0, result.err
    for kind, found in zip(NAMESPACES, result.out.splitlines(), strict=True):
        assert (found != namespace(kind)) is (kind in kinds.split(",")), kind
    assert cells.below() == ["/"]


ALONE = """
set -e
echo $$
echo inside > /proc/sys/kernel/hostname
cat /proc/sys/kernel/hostname
grep -c 'name={name}:/$' /proc/self/cgroup
mount -t tmpfs none {mount}
ls -d /proc/[0-9]* | wc -l
exec {python} -c '
import os, socket
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname())
print(os.getpid(), [name for _, name in socket.if_nameindex()])
'
"""


@only_kernel
@pytest.mark.parametrize("kinds", [SEVERAL, ALL])
def test_a_shell_sees_itself_alone(cells: Cells, kinds: str, tmp_path: Path) -> None:
    """As pid 1, with its own hostname, loopback and mounts, and `/` as its container."""
    before = os.uname().nodename
    script = ALONE.format(name=cells.name, mount=tmp_path, python=sys.executable)
    result = shell(cells, kinds, script)
    assert result.status == 0, result.err
    pid, name, root, processes, last = result.out.splitlines()
    assert (pid, name, root, last) == ("1", "inside", "1", "1 ['lo']")
    assert int(processes) <= 4  # the shell, its ls and its wc
    assert os.uname().nodename == before
    assert not tmp_path.is_mount()


@pytest.mark.host
@only_kernel
@pytest.mark.parametrize("kinds", [SEVERAL, ALL])
def test_clones_nest(cells: Cells, kinds: str) -> None:
    """What is inside sees itself at the root each time, and is bound by the rules of ns there."""
    inner = own(cells.pcont, "clone", cells.name, "--ns", kinds, "--")
    script = f"readlink /proc/self/ns/pid; grep 'name={cells.name}:' /proc/self/cgroup; exit 4"
    result = clone(cells, kinds, "--", *inner, *inner, "sh", "-c", script)
    assert result.status == 4, result.err
    pid_namespace, root = result.out.splitlines()
    assert pid_namespace != namespace("pid")
    assert root.endswith(f"name={cells.name}:/")
    nodes = [line for line in result.err.splitlines() if "/node_" in line and "note" not in line]
    assert len(nodes) == 3
    assert cells.below() == ["/"]


@pytest.mark.host
@only_kernel
def test_the_rules_hold_inside_too(cells: Cells) -> None:
    create = " ".join(own(cells.pcont, "create", cells.at("/a"), cells.at("/a/b")))
    attach = " ".join(own(cells.pcont, "attach", cells.at("/a/b"), "$!"))
    result = shell(cells, SEVERAL, f"{create} && {{ sleep 60 & {attach}; }}")
    assert result.status == 4
    assert "is in /, and may enter only what is right below (EPERM)" in result.err
    assert cells.below() == ["/"]


@pytest.mark.host
@only_kernel
@pytest.mark.parametrize("kinds", [SEVERAL, ALL])
def test_a_tie_is_one_inside_too(tied: Cells, kinds: str) -> None:
    """Its members are seen from the clone's containers on, and a clone in there is in all."""
    inner = own(tied.pcont, "clone", tied.name, "--", *own(tied.pcont, "where", "--json", "1"))
    asks = " ".join(own(tied.pcont, "hierarchies", "--json"))
    script = f"{asks}; grep -E ':(name={tied.name}|pids):' /proc/self/cgroup; {' '.join(inner)}"
    outer = own(tied.pcont, "clone", tied.name, "--ns", kinds, "--", "sh", "-c", script)
    result = tied.pcont("run", "--create", tied.at("/x"), "--", *outer)
    assert result.status == 0, result.err
    listed, *paths, where = result.out.splitlines()
    (row,) = [row for row in json.loads(listed)["result"] if row["name"] == tied.name]
    assert {tree["id"] for tree in row["trees"]} >= {f"name={tied.name}", "pids"}
    assert row["subsystems"] == ["pids", "ns"]
    assert [line.rpartition(":")[2] for line in paths] == ["/", "/"]
    (found,) = [row for row in json.loads(where)["result"] if row["hierarchy"] == tied.name]
    assert (found["container"], found["state"]) == ("/", "in")
    assert tied.below() == ["/", "/x"]


@pytest.mark.host
@only_kernel
@pytest.mark.parametrize("init", [(), ("--init",)])
def test_statuses_and_signals_pass_through(cells: Cells, init: tuple[str, ...]) -> None:
    """A first process of a pid namespace does not end by a signal by default; its caller sees to
    it."""
    for script, status in (("exit 42", 42), ("kill -KILL $$; exit 3", 137 if init else 3)):
        assert clone(cells, "pid", *init, "--", "sh", "-c", script).status == status
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        with started(cells, "pid,mnt", *init, "--", "sh", "-c", "echo on; exec sleep 600") as one:
            one.send_signal(number)
            assert one.wait() == 128 + number
    trapping = "trap 'exit 9' TERM; echo on; while :; do sleep 0.01; done"
    with started(cells, "pid", *init, "--", "sh", "-c", trapping) as one:
        one.terminate()
        assert one.wait() == 9
    assert cells.below() == ["/"]


@pytest.mark.host
@only_kernel
@pytest.mark.parametrize("init", [(), ("--init",)])
def test_an_interrupt_from_the_terminal_ends_it(cells: Cells, init: tuple[str, ...]) -> None:
    words = ["clone", cells.name, "--ns", "pid", *init, "--", "sleep", "600"]
    pid, terminal = pty.fork()
    if pid == 0:
        line = own(cells.pcont, *words)
        os.execv(line[0], line)

    def sleeps() -> bool:
        """A shell would be no pid 1 to try: it raises what it has caught, which changes nothing."""
        reported = [cells.pcont("ps", "--json", cells.at(path)) for path in cells.below()[1:]]
        return any(row["name"] == "sleep" for one in reported if not one.status for row in one.json)

    assert eventually(sleeps)
    os.write(terminal, b"\x03")
    with contextlib.suppress(OSError):  # EIO once no process has the terminal open
        while os.read(terminal, 1000):
            pass
    # Of the signal itself, for the shell: its status is 130.
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGINT
    os.close(terminal)
    assert cells.below() == ["/"]


ORPHAN = """
import os, time
hear, held = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os._exit(0)
    os._exit(0)
os.wait()
os.close(held)
os.read(hear, 1)  # until the orphan has ended, too
def state(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # reaped since it was listed
        return ""
def zombies():
    return sum(state(name) == "Z" for name in os.listdir("/proc") if name.isdigit())
for _ in range(1000):
    if not zombies():
        break
    time.sleep(0.01)
print(os.getpid(), zombies())
"""


@only_kernel
def test_an_init_reaps_orphans(cells: Cells) -> None:
    result = clone(cells, "pid,mnt", "--init", "--", sys.executable, "-c", ORPHAN)
    assert (result.status, result.out) == (0, "2 0\n"), result.err


@only_kernel
def test_killed_with_pcont_or_without_nothing_is_left(cells: Cells) -> None:
    """With the first process of a pid namespace all of it ends."""
    script = "setsid sleep 600 & echo on; read line"
    for killed in ("the command", "pcont"):
        with started(cells, "pid,mnt", "--", "sh", "-c", script) as one:
            (node,) = cells.below()[1:]
            inside = cells.pcont.ok("ps", cells.at(node)).splitlines()
            assert len(inside) == 2
            if killed == "pcont":
                os.kill(one.pid, signal.SIGKILL)
                assert one.wait() == -signal.SIGKILL
                assert one.stdin
                one.stdin.close()
            else:
                os.kill(int(inside[0].split()[0]), signal.SIGKILL)
                assert one.wait() == 137
        assert eventually(lambda: cells.below() == ["/"])


@only_kernel
@pytest.mark.quick
def test_what_is_pinned_is_joined_later(cells: Cells) -> None:
    kinds, pcont, name = "ipc,mnt,net,uts", cells.pcont, cells.name
    mine = "cd /proc/self/ns; readlink " + kinds.replace(",", " ")
    result = clone(cells, kinds, "--pin", name, "--", "sh", "-c", mine)
    assert result.status == 0, result.err
    rows = {row["kind"]: row["file"] for row in json.loads(pcont.ok("pins", "--json"))["result"]}
    assert pcont.ok("run", cells.at(), "--join", name, "--", "sh", "-c", mine) == result.out
    entering = ["nsenter", f"--net={rows['net']}", "readlink", "/proc/self/ns/net"]
    entered = subprocess.run(entering, capture_output=True, text=True, check=True)
    assert entered.stdout in result.out
    pcont.ok("unpin", name)
    assert name not in Path("/proc/self/mountinfo").read_text().partition("/run/pcont/ns")[2]
    assert not os.path.exists(os.path.dirname(rows["net"]))


@only_kernel
def test_one_that_runs_is_joined_with_its_pids_and_users(cells: Cells) -> None:
    pcont, name = cells.pcont, cells.name
    with started(cells, ALL, "--pin", name, "--", "sh", "-c", "echo $$; read line") as one:
        script = "readlink /proc/1/ns/pid /proc/self/ns/pid; cat /proc/1/comm; id -u"
        out = pcont.ok("run", cells.at(), "--join", name, "--", "sh", "-c", script)
        first, mine, command, user = out.splitlines()
        assert first == mine != namespace("pid")
        assert (command, user) == ("sh", "0")
        one.communicate("\n")
        assert one.returncode == 0
    gone = pcont("run", cells.at(), "--join", name, "--", "true")
    assert gone.status == 125
    assert "pid 1 of this pid namespace has ended" in gone.err
    assert f"pcont unpin {name}" in gone.err
    pcont.ok("unpin", name)


@only_kernel
def test_users_are_mapped_as_asked(cells: Cells) -> None:
    maps = ("--uid-map", "0:100000:10", "--uid-map", "10:7:1", "--gid-map", "0:100000:10")
    script = "id -u; cat /proc/self/uid_map; awk '/^Uid/ {print $2}' /proc/self/status"
    result = clone(cells, "user", *maps, "--", "sh", "-c", script)
    assert result.status == 0, result.err
    assert result.out.split() == ["0", "0", "100000", "10", "10", "7", "1", "0"]


@only_kernel
def test_without_root_a_user_namespace_makes_the_others_possible(pcont: Pcont, name: str) -> None:
    """In a hierarchy without ns, below a container that is the user's own."""
    nobody = 65534
    _, point = pcont.ok("mount", "-o", "none", "--name", name).split()
    pcont.ok("create", f"{name}:/theirs")
    directory = f"{point}/theirs"
    for entry in (directory, *(f"{directory}/{file}" for file in os.listdir(directory))):
        os.chown(entry, nobody, nobody)
    inside = own(pcont, "clone", name, "--ns", ALL, "--", "sh", "-c", "id -u; echo $$; exit 5")
    user = ["setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups"]
    result = pcont("run", f"{name}:/theirs", "--", *user, *inside)
    assert (result.status, result.out) == (5, "0\n1\n"), result.err
    alone = own(pcont, "clone", name, "--ns", "net", "--", "true")
    refused = pcont("run", f"{name}:/theirs", "--", *user, *alone)
    assert refused.status == 125
    assert "namespaces net: Operation not permitted (EPERM)" in refused.err
    assert "--ns user" in refused.err
    pcont.ok("rm", f"{name}:/theirs")
    pcont.ok("umount", name)
