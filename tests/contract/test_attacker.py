"""An ordinary user attacks what root's pcont reads: attributes, files below /run, mounts.

On Debian's 6.1 with `bpf` among the security modules any user may write `security.*` attributes on
root's directories, elsewhere the kernel refuses that. The attacks must fail in both cases.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pcont.kernel.types import Place
from tests.contract.conftest import Pcont, eventually

pytestmark = [pytest.mark.kernel, pytest.mark.guest]

MALLORY = 1000
PREFIXES = ("security.pcont.", "user.pcont.", "trusted.pcont.")
AGENT = "#!/bin/sh\nid -u >{mark}\n"

TIE: dict[str, object] = {
    "subsystems": ["devices"],
    "trees": ["devices"],
    "at": "/",
    "made_at": [],
    "mounted": ["devices"],
}
# Every attribute that pcont keeps, with a value that would change something.
FORGED = {
    "tie": json.dumps(TIE),
    "kept": "ns - /",
    "auto_delete": "1",
    "notify_on_release": "1",
    "release_agent": "/tmp/agent",
    "numtasks.shares": "7",
    "memset.cpus_follow": "0",
    "anything": "else",
}


def as_mallory(act: Callable[[], object]) -> None:
    """Do something as an ordinary user, in a process of its own; what fails there is no matter."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(MALLORY, MALLORY, MALLORY)
            os.setresuid(MALLORY, MALLORY, MALLORY)
            act()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def forge(directory: str, name: str, text: str = "") -> None:
    """Write an attribute under every prefix that there was or is."""

    def act() -> None:
        for prefix in PREFIXES:
            with contextlib.suppress(OSError):
                os.setxattr(directory, prefix + name, (text or FORGED[name]).encode())

    as_mallory(act)


@dataclass
class Target:
    """A hierarchy of root's, and where it is mounted."""

    pcont: Pcont
    name: str
    point: str

    def at(self, path: str = "/") -> str:
        return f"{self.name}:{path}"

    def row(self, uid: int = 0) -> dict[str, object]:
        """The hierarchy as `hierarchies` has it for a user."""
        out = Pcont(self.pcont.words, uid).ok("hierarchies", "--json")
        (found,) = [one for one in json.loads(out)["result"] if one["name"] == self.name]
        return dict(found)


@pytest.fixture
def target(kernel: Pcont, name: str) -> Iterator[Target]:
    """A named hierarchy without controllers."""
    point = kernel.ok("mount", "-o", "none", "--name", name).split()[-1]
    yield Target(kernel, name, point)
    for path in sorted(Path(point).glob("**/"), reverse=True)[:-1]:
        os.rmdir(path)
    if os.path.ismount(point):
        kernel("umount", name)


@pytest.fixture
def own() -> Iterator[Path]:
    """A directory of the attacker's, with a release agent that says as which user it has run."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    os.chown(folder, MALLORY, MALLORY)
    agent = folder / "agent"
    agent.write_text(AGENT.format(mark=folder / "mark"))
    agent.chmod(0o755)
    os.chown(agent, MALLORY, MALLORY)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("attribute", FORGED)
def test_what_a_user_writes_is_no_attribute(target: Target, attribute: str) -> None:
    """Neither for root nor for other users, on a container and on the root of the hierarchy."""
    target.pcont.ok("create", target.at("/a"))
    backend = target.pcont.backend()
    places = [Place(f"name={target.name}", path) for path in ("/", "/a")]
    before = [backend.attributes(place) for place in places]
    for path in ("", "/a"):
        forge(target.point + path, attribute)
    assert [backend.attributes(place) for place in places] == before
    assert target.row() == target.row(uid=MALLORY)


def test_the_agent_runs_no_program_of_a_user(target: Target, own: Path) -> None:
    pcont = target.pcont
    pcont.ok("create", target.at("/a"), "-s", "notify_on_release=1", "-s", "auto_delete=1")
    forge(target.point, "release_agent", str(own / "agent"))
    pcont.ok("run", target.at("/a"), "--", "true")
    assert eventually(lambda: not os.path.exists(f"{target.point}/a"))
    assert not (own / "mark").exists()


def test_gc_removes_no_container_that_a_user_has_marked(target: Target) -> None:
    target.pcont.ok("create", target.at("/a"))
    forge(f"{target.point}/a", "auto_delete")
    target.pcont.ok("gc", target.name)
    assert os.path.isdir(f"{target.point}/a")


@pytest.fixture
def victim(kernel: Pcont) -> Iterator[str]:
    """An empty container of root's in a mounted hierarchy with devices."""
    point = kernel.ok("mount", "-o", "devices").split()[-1]
    kernel.ok("create", "devices:/victim")
    yield f"{point}/victim"
    if os.path.ismount(point):
        kernel("rm", "devices:/victim")
        assert eventually(lambda: kernel("umount", "devices").status == 0)


def test_umount_removes_and_unmounts_nothing_that_a_user_names(target: Target, victim: str) -> None:
    forge(target.point, "tie", json.dumps({**TIE, "made_at": ["devices:/victim"]}))
    target.pcont.ok("umount", target.name)
    assert os.path.isdir(victim)


def test_a_forged_tie_leads_no_command_into_another_tree(target: Target, victim: str) -> None:
    target.pcont.ok("create", target.at("/victim"))
    forge(target.point, "tie")
    target.pcont.ok("rm", target.at("/victim"))
    assert os.path.isdir(victim)


def test_bind_adds_to_what_root_has_tied_only(target: Target, victim: str) -> None:
    forge(target.point, "tie")
    target.pcont.ok("bind", target.name, "net_cls")
    assert target.row()["subsystems"] == ["net_cls"]
    target.pcont.ok("unbind", "--yes", target.name, "net_cls")
    assert os.path.isdir(victim)


def test_a_forged_subsystem_forbids_root_nothing(target: Target) -> None:
    """With ns in a hierarchy, a container is only for a task that comes from right above it."""
    forge(target.point, "kept")
    assert target.row()["subsystems"] == []
    target.pcont.ok("create", target.at("/a"), target.at("/a/b"))
    target.pcont.ok("run", target.at("/a/b"), "--", "true")


# What was safe when root wrote it, and is not any more


@pytest.fixture
def ajar() -> Iterator[Callable[[str], None]]:
    """Make directories of root's writable for all users; they are as before after the test."""
    before: dict[str, int] = {}

    def open_up(directory: str) -> None:
        os.makedirs(directory, mode=0o755, exist_ok=True)
        before[directory] = os.stat(directory).st_mode & 0o7777
        os.chmod(directory, 0o777)

    yield open_up
    for directory, mode in before.items():
        with contextlib.suppress(FileNotFoundError):
            os.chmod(directory, mode)


def test_an_agent_is_checked_right_before_it_is_run(
    target: Target, tmp_path: Path, ajar: Callable[[str], None]
) -> None:
    """It was safe when it was set."""
    folder = Path(tempfile.mkdtemp(dir="/var/lib"))
    agent = folder / "agent"
    agent.write_text(AGENT.format(mark=tmp_path / "mark"))
    agent.chmod(0o755)
    pcont = target.pcont
    pcont.ok("create", target.at("/a"), target.at("/b"), "-s", "auto_delete=1")
    pcont.ok("set", target.at(), f"release_agent={agent}", "notify_on_release=1")
    pcont.ok("set", target.at("/a"), "notify_on_release=1")
    pcont.ok("set", target.at("/b"), "notify_on_release=1")
    pcont.ok("run", target.at("/a"), "--", "true")
    assert eventually((tmp_path / "mark").exists), "it is run while it is safe"
    assert eventually(lambda: not os.path.exists(f"{target.point}/a"))
    (tmp_path / "mark").unlink()
    ajar(str(folder))
    pcont.ok("run", target.at("/b"), "--", "true")
    assert eventually(lambda: not os.path.exists(f"{target.point}/b"))
    assert not (tmp_path / "mark").exists()
    findings = json.loads(pcont.ok("doctor", "--json"))["result"]
    assert any(str(folder) in row["finding"] for row in findings if row["state"] == "problem")
    pcont.ok("set", target.at(), "release_agent=")
    shutil.rmtree(folder)


def test_pcont_puts_no_agent_where_others_can_replace_it(
    target: Target, ajar: Callable[[str], None]
) -> None:
    ajar("/var/lib/pcont/agents")
    error = target.pcont.fails(4, "create", target.at("/a"), "-s", "auto_delete=1")
    assert "/var/lib/pcont/agents" in error
    assert not os.path.exists(f"{target.point}/a")


def test_what_others_can_write_to_the_queue_is_not_read(
    target: Target, ajar: Callable[[str], None]
) -> None:
    target.pcont.ok("create", target.at("/a"), "-s", "auto_delete=1")
    ajar("/run/pcont/released")
    queue = f"/run/pcont/released/name={target.name}"
    os.chmod("/run/pcont", 0o755)
    as_mallory(lambda: Path(queue).write_bytes(b"/a\0"))
    assert "chmod go-w /run/pcont/released" in target.pcont.fails(4, "gc", target.name)
    assert os.path.isdir(f"{target.point}/a")
    os.unlink(queue)
    os.chmod("/run/pcont", 0o700)


def test_what_others_own_in_the_queue_is_not_read(target: Target) -> None:
    target.pcont.ok("create", target.at("/a"), "-s", "auto_delete=1")
    os.makedirs("/run/pcont/released", mode=0o700, exist_ok=True)
    queue = f"/run/pcont/released/name={target.name}"
    Path(queue).write_bytes(b"/a\0")
    os.chown(queue, MALLORY, MALLORY)
    assert "another user owns it" in target.pcont.fails(4, "gc", target.name)
    assert os.path.isdir(f"{target.point}/a")
    for file in Path("/run/pcont/released").glob(f"name={target.name}*"):
        file.unlink()


def test_a_user_that_was_first_below_the_bpf_filesystem_has_no_hold_on_programs(
    kernel: Pcont, name: str
) -> None:
    if os.path.isdir("/sys/fs/bpf/pcont"):
        os.rmdir("/sys/fs/bpf/pcont")
    os.chmod("/sys/fs/bpf", 0o1777)
    as_mallory(lambda: os.mkdir("/sys/fs/bpf/pcont"))
    result = kernel("mount", "-o", "numfiles", "--name", name)
    # 6: this kernel takes no such programs at all.
    assert result.status in (4, 6), result
    assert result.status == 6 or "another user owns it: /sys/fs/bpf/pcont" in result.err
    os.rmdir("/sys/fs/bpf/pcont")


# Mounts


def test_umount_removes_no_directory_that_a_user_can_swap(
    target: Target, tmp_path: Path, name: str
) -> None:
    """By the time of rmdir(2) it may be a symbolic link to somewhere else."""
    own = tmp_path / "theirs"
    own.mkdir()
    os.chown(own, MALLORY, MALLORY)
    target.pcont.ok("mount", "-o", "none", "--name", f"{name}x", str(own / "made"))
    target.pcont.ok("umount", f"{name}x")
    assert (own / "made").is_dir()
    target.pcont.ok("mount", "-o", "none", "--name", f"{name}x", str(own / "made" / "below"))
    os.rename(own / "made", own / "moved")
    target.pcont.fails(4, "umount", f"name={name}x")
    target.pcont.ok("umount", "--foreign", f"name={name}x")


IN_A_NAMESPACE = """
mount -t tmpfs none /mnt && mkdir /mnt/x
mount -t cgroup -o none,name={name} pcont:9:/mnt/x /mnt/x || mount --bind {point} /mnt/x
echo on
read line
"""


def test_a_mount_in_a_users_namespace_is_none_for_root(target: Target) -> None:
    """There a user writes what it likes as the source, where pcont keeps what umount removes."""
    script = IN_A_NAMESPACE.format(name=target.name, point=target.point)
    user = ["setpriv", f"--reuid={MALLORY}", f"--regid={MALLORY}", "--clear-groups"]
    line = [
        *user,
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "--cgroup",
        "sh",
        "-c",
        script,
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen(line, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "on\n"
        text = target.pcont.ok("hierarchies", "--json")
        assert target.point in text
        assert "/mnt" not in text
        process.communicate("\n")


# Journals


JOURNAL = [
    {"version": 1, "command": "forged"},
    {"fact": {"is": "Absent", "place": {"is": "Place", "tree": "", "path": "/a"}, "force": False}},
]


def test_root_undoes_nothing_that_a_users_journal_tells_of(
    target: Target, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither from a directory that a variable names, nor where another user owns the journal."""
    target.pcont.ok("create", target.at("/a"))
    JOURNAL[1]["fact"]["place"]["tree"] = f"name={target.name}"  # type: ignore[index]
    text = "".join(f"{json.dumps(entry)}\n" for entry in JOURNAL)
    for folder in (own / "pcont", Path("/run/pcont")):
        folder.mkdir(mode=0o700, exist_ok=True)
        journal = folder / "00000000000000000001-1.journal"
        journal.write_text(text)
        os.chown(journal, MALLORY, MALLORY)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(own))
        target.pcont("recover")
        assert os.path.isdir(f"{target.point}/a"), folder
        for file in folder.glob(f"{journal.name}*"):
            file.unlink()


def test_a_user_writes_nothing_below_run(target: Target) -> None:
    def act() -> None:
        for file in ("1.journal", "lock", f"released/name={target.name}", "ns/x"):
            with contextlib.suppress(OSError):
                os.makedirs(os.path.dirname(f"/run/pcont/{file}"), exist_ok=True)
            with contextlib.suppress(OSError):
                Path(f"/run/pcont/{file}").write_text("forged")

    target.pcont.ok("create", target.at("/a"))
    as_mallory(act)
    for file in Path("/run/pcont").rglob("*"):
        assert file.stat().st_uid == 0, file
        assert not file.is_file() or file.read_bytes() != b"forged", file
