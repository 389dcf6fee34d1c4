"""process: commands that are found, started in their place, waited for, and given signals."""

from __future__ import annotations

import errno
import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pcont import signals
from pcont.errors import CommandNotFound, NotExecutable, PcontError
from pcont.linux.job_control import FORWARDED
from pcont.linux.proc import Proc
from pcont.linux.spawn import Child, exec_refusal, find_program
from tests.terminal import terminal
from tests.waiting import eventually


def program(path: Path, text: str = "#!/bin/sh\nexit 0\n", mode: int = 0o755) -> str:
    """A file to be executed."""
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def shell(script: str, **extra: str) -> Child:
    return Child("/bin/sh", ["sh", "-c", script], extra)


def run(script: str, **extra: str) -> int:
    """Start a script and wait for it; its status."""
    child = shell(script, **extra)
    child.start()
    return child.wait()


# Finding


def test_a_command_is_found_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = program(tmp_path / "mine")
    monkeypatch.setenv("PATH", f"/nowhere:{tmp_path}")
    assert find_program("mine") == there
    assert find_program(there) == there


def test_a_relative_command_is_found_where_the_caller_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = program(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    assert find_program("./mine") == there
    monkeypatch.setenv("PATH", "/bin")
    with pytest.raises(CommandNotFound):
        find_program("mine")


@pytest.mark.parametrize("name", ["no-such-command", "/no/such/command", "./no-such", ""])
def test_an_absent_command_is_not_found(name: str) -> None:
    with pytest.raises(CommandNotFound, match="there is no command") as caught:
        find_program(name)
    assert caught.value.exit_code == 127


def test_a_program_that_cannot_be_executed_has_its_own_error(tmp_path: Path) -> None:
    plain = program(tmp_path / "plain", mode=0o644)
    for name in (plain, str(tmp_path)):
        with pytest.raises(NotExecutable, match="cannot be executed") as caught:
            find_program(name)
        assert (caught.value.exit_code, caught.value.path) == (126, name)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, CommandNotFound),
        (errno.ENOEXEC, NotExecutable),
        (errno.EACCES, NotExecutable),
        (errno.E2BIG, NotExecutable),
    ],
)
def test_what_execve_refuses_has_the_statuses_of_a_shell(
    number: int, kind: type[PcontError]
) -> None:
    err = exec_refusal("/x", OSError(number, os.strerror(number)))
    assert type(err) is kind
    assert (err.errno, err.path) == (number, "/x")
    assert errno.errorcode[number] in err.message


def _refusal(path: str, *more: str) -> str:
    """What is said of a program that the kernel does not execute."""
    try:
        os.execve(path, [path, *more], {})
    except OSError as err:
        return exec_refusal(path, err).message


def test_what_execve_refuses_says_what_is_missing(tmp_path: Path) -> None:
    """Each reason comes from the kernel, for a file that is there."""
    path = program(tmp_path / "it", "no program")
    assert "is neither a program" in _refusal(path)
    path = program(tmp_path / "it", "#!/no/such/interpreter\n")
    assert "its interpreter does not exist" in _refusal(path)
    path = program(tmp_path / "it")
    assert "too long" in _refusal(path, "x" * (1 << 20))
    path = program(tmp_path / "it", f"#!{program(tmp_path / 'interpreter', mode=0o644)}\n")
    assert "its interpreter may not be executed" in _refusal(path)


# Children


@pytest.mark.parametrize("status", [0, 1, 7, 125, 255])
def test_the_status_of_a_command_is_passed_on(status: int) -> None:
    assert run(f"exit {status}") == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_signal_that_ends_it_is_128_and_its_number(number: signal.Signals) -> None:
    assert run(f"kill -{number.value} $$") == 128 + number


def test_nothing_happens_before_the_word(tmp_path: Path) -> None:
    made = tmp_path / "made"
    child = shell(f"touch {made}")
    with open(f"/proc/{child.pid}/stat", encoding="utf-8") as stream:
        assert stream.read().split()[0] == str(child.pid)
    assert not made.exists()
    child.start()
    assert child.wait() == 0
    assert made.exists()


def test_an_abandoned_child_ends_and_has_done_nothing(tmp_path: Path) -> None:
    made = tmp_path / "made"
    child = shell(f"touch {made}")
    child.abandon()
    assert not made.exists()
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, 0)
    child.abandon()


@pytest.mark.parametrize(
    ("text", "number", "kind"),
    [
        ("not a program", errno.ENOEXEC, NotExecutable),
        ("#!/no/such/interpreter\n", errno.ENOENT, CommandNotFound),
    ],
)
def test_a_command_that_cannot_become_one_says_why(
    tmp_path: Path, text: str, number: int, kind: type[PcontError]
) -> None:
    path = program(tmp_path / "odd", text)
    child = Child(path, [path], {})
    with pytest.raises(kind) as caught:
        child.start()
    child.abandon()
    assert (caught.value.errno, caught.value.path) == (number, path)


def test_a_command_gets_its_words_and_more_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PCONT_TEST_KEPT", "kept")
    out = tmp_path / "out"
    script = f'echo "$0 $1 $PCONT_TEST_KEPT $PCONT_TEST_ADDED" > {out}'
    child = Child("/bin/sh", ["sh", "-c", script, "zero", "a b"], {"PCONT_TEST_ADDED": "added"})
    child.start()
    assert child.wait() == 0
    assert out.read_text() == "zero a b kept added\n"
    assert "PCONT_TEST_ADDED" not in os.environ


def test_no_descriptor_of_pconts_reaches_the_command(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    assert run(f"ls /proc/self/fd > {one}") == 0
    script = f"ls /proc/self/fd > {other}"
    subprocess.run(["/bin/sh", "-c", script], close_fds=False, check=True)
    assert one.read_text() == other.read_text()


def test_signals_that_python_ignores_are_not_ignored_in_the_command() -> None:
    """A command that writes into a closed pipe must end by SIGPIPE."""
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    ignored = f"{(1 << (signal.SIGPIPE - 1)) | (1 << (signal.SIGXFSZ - 1)):x}"
    script = "set -- $(grep SigIgn /proc/$$/status); exit $(( (0x$2 & 0x" + ignored + ") != 0 ))"
    assert run(script) == 0
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN


# A pcont of its own, which waits for a command that signals it again and again: what comes before
# it waits is lost on it. The command answers a signal with 9, and none with 5.
WAITING = """
import signal, sys
from pcont.linux.job_control import FORWARDED
from pcont.linux.proc import Proc
from pcont.linux.spawn import Child
from pcont import signals
signals.is_command_line = True
for number in FORWARDED:
    signal.signal(number, lambda number, frame: None)
mine = [signal.getsignal(number) for number in FORWARDED]
child = Child("/bin/sh", ["sh", "-c", sys.argv[1]], {})
child.start()
status = child.wait()
assert mine == [signal.getsignal(number) for number in FORWARDED]
sys.exit(status)
"""


def signalling(number: int, times: int) -> list[str]:
    sending = f"for i in $(seq {times}); do kill -{number} $PPID; sleep 0.02; done"
    return [sys.executable, "-c", WAITING, f"trap 'exit 9' {number}; {sending}; exit 5"]


@pytest.mark.parametrize("number", FORWARDED)
def test_signals_for_the_command_are_passed_on(number: signal.Signals) -> None:
    result = subprocess.run(signalling(number, 500), start_new_session=True, check=False)
    assert result.returncode == 9


COUNTING = """
n=0
trap 'n=$((n+1))' INT
echo ready
for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; done
exit $n
"""


def test_what_the_terminal_has_sent_to_both_is_not_sent_twice() -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", WAITING, COUNTING])
    heard = b""
    while b"ready" not in heard:
        heard += os.read(terminal, 100)
    os.write(terminal, b"\x03")
    found = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    assert found == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_was_held_back_reaches_the_command(number: signal.Signals) -> None:
    with signals.held():
        child = shell("exec sleep 600")
        child.start()
        os.kill(os.getpid(), number)
        assert child.wait() == 128 + number
        signals.check()


def test_a_signal_that_another_thread_takes_reaches_the_command() -> None:
    script = """
import os, signal, threading
from pcont import signals
from pcont.linux.spawn import Child
threading.Thread(target=threading.Event().wait, daemon=True).start()
with signals.held():
    child = Child("/bin/sh", ["sh", "-c", "exec sleep 600"], {})
    child.start()
    os.kill(os.getpid(), signal.SIGTERM)
    print(child.wait() - 128, flush=True)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert int(result.stdout) == signal.SIGTERM, result.stderr


def test_a_program_that_uses_the_library_does_not_stop_with_its_command() -> None:
    """Another process continues the command; this one has waited all the time."""
    child = shell("kill -STOP $$; exit 3")
    script = f"until grep -q '^State:.T' /proc/{child.pid}/status; do sleep 0.02; done; "
    with subprocess.Popen(["sh", "-c", f"{script} kill -CONT {child.pid}"]):
        child.start()
        assert child.wait() == 3


def test_a_child_that_was_killed_while_it_waited_is_no_success() -> None:
    child = shell("exit 0")
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    child.start()
    assert child.wait() == 128 + signal.SIGKILL


def test_signals_are_heard_again_after_the_wait() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, set())
    child = shell("exit 3")
    child.start()
    assert child.wait() == 3
    assert signal.pthread_sigmask(signal.SIG_BLOCK, set()) == before


LEADER = """
import os, sys
import psutil
from pcont import signals
from pcont.linux.spawn import Child
signals.is_command_line = True
child = Child("/bin/sh", ["sh", "-c", "sleep 600 & echo on; wait"], {})
child.start()
try:
    while os.read(0, 1):
        pass
except OSError:
    pass  # the terminal has hung up
status = child.wait()
left = [
    one.pid
    for one in psutil.process_iter(["name", "status"])
    if (one.info["name"], one.info["status"]) == ("sleep", psutil.STATUS_SLEEPING)
    and os.getsid(one.pid) == os.getpid()
]
sys.exit(99 if left else status - 128)
"""


def test_a_hangup_before_the_wait_reaches_what_the_command_has_started() -> None:
    with terminal(sys.executable, "-c", LEADER) as one:
        one.until("on\r\n")
        one.hang_up()
        assert one.status() == signal.SIGHUP


@pytest.mark.parametrize(
    ("setup", "answer"),
    [
        ("", False),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", True),
        ("signal.signal(signal.SIGTERM, lambda *_: None)", True),
        ("signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})", None),
        ("threading.Thread(target=signal.sigwait, args=[{signal.SIGTERM}]).start()", None),
    ],
)
def test_it_is_seen_from_outside_whether_a_signal_is_answered(
    setup: str, answer: bool | None
) -> None:
    script = f"import signal, sys, threading\n{setup}\nprint(1, flush=True)\nsys.stdin.read()"
    words = [sys.executable, "-c", script]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        assert eventually(lambda: Proc().answers(process.pid, signal.SIGTERM) is answer)
        process.kill()


def test_more_descriptors_are_open_than_select_takes(tmp_path: Path) -> None:
    """What a caller leaves open is open in pcont, too; select(2) knows 1024 descriptors."""
    script = f"""
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (2048, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
while os.open("/dev/null", os.O_RDONLY) < 1100: pass
from pcont.linux import watchdog
from pcont.linux.spawn import Child
child = Child("/bin/sh", ["sh", "-c", "exit 7"], {{}})
with watchdog.watching(lambda: open({str(tmp_path / "acted")!r}, "w").close()):
    child.start()
    assert child.wait() == 7
init = Child("/bin/sh", ["sh", "-c", "exit 7"], {{}}, init=True)
init.start()
assert init.wait() == 7
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "acted").exists()


@pytest.mark.parametrize("name", ["mine", "./mine", "plain", "folder", "nope", "", "sub/mine"])
@pytest.mark.parametrize("path", ["", ":/usr/bin", "{}", "/nope:{}:/usr/bin", "{}/sub", None])
def test_a_command_is_found_as_shutil_finds_it(
    name: str, path: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "folder").mkdir()
    for file, mode in (("mine", 0o755), ("sub/mine", 0o755), ("plain", 0o644)):
        (tmp_path / file).touch(mode)
    monkeypatch.chdir(tmp_path)
    if path is None:
        monkeypatch.delenv("PATH")
    else:
        monkeypatch.setenv("PATH", path.format(tmp_path))
    expected = shutil.which(name)
    if expected:
        assert find_program(name) == os.path.abspath(expected)
    else:
        with pytest.raises((CommandNotFound, NotExecutable)):
            find_program(name)
