"""run and clone with a terminal: for the shell, they are the command that they start."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import elsewhere
from tests.contract.conftest import Pcont, clear, eventually, only_kernel
from tests.terminal import PROMPT, Terminal, shell, states, terminal

READING = "echo on; read line; echo got $line; exit 5"
PYTHON = Path(sys.executable).name
WAITING = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
print("on", flush=True)
time.sleep(600)
"""


@dataclass
class Way:
    """A command line of pcont that starts a command and stays."""

    pcont: Pcont
    name: str
    words: tuple[str, ...]

    def line(self, script: str) -> list[str]:
        """For a script of sh."""
        return self.of("sh", "-c", script, self.mark)

    def of(self, *command: str) -> list[str]:
        own = [sys.executable, "-m", "pcont", *self.pcont.words]
        return [*own, *(word.format(self.name) for word in self.words), "--", *command]

    @property
    def mark(self) -> str:
        """A word of the command line by which it is found."""
        return f"mark-{self.name}"

    def own(self) -> int:
        """The pid of the pcont that was started: the first of those that have its command line."""
        return min(states(self.mark, "pcont"))

    def states(self) -> tuple[str, str]:
        """Of the command, and of the pcont that was started; empty without one of them."""
        command, own = states(self.mark, without="pcont"), states(self.mark, "pcont")
        return (command[min(command)], own[min(own)]) if command and own else ("", "")

    def is_stopped(self) -> bool:
        return self.states() == ("T", "T")

    def goes_on(self) -> bool:
        """Whether pcont has also run since it was continued, so that it waits again: a ^Z before
        that would stop it, but not a command that is pid 1, and this would read the next line.
        """
        command, own = self.states()
        return command not in ("", "T") and own == "S"

    def is_left(self) -> list[str]:
        """What is there of it although it has ended: processes, and containers."""
        below = self.pcont.ok("tree", f"{self.name}:/").splitlines()[1:]
        return [*map(str, states(self.mark)), *below]

    def leaves_nothing(self) -> bool:
        return eventually(lambda: self.is_left() == [])


RUN = ("run", "{}:/a", "--create", "--auto-delete")
CLONE = ("clone", "{}")
PID_1 = ("clone", "{}", "--ns", "pid")
INIT = ("clone", "{}", "--ns", "pid", "--init")
JOIN = ("run", "{}:/", "--join", "{}")
WAYS = {"run": RUN, "clone": CLONE, "pid-1": PID_1, "init": INIT, "join": JOIN}


# What a guest would repeat takes it many minutes; what kernels do with a pid 1 differs.
@pytest.fixture(
    params=[pytest.param(name, marks=[] if name == "pid-1" else pytest.mark.host) for name in WAYS]
)
def way(request: pytest.FixtureRequest, pcont: Pcont, name: str) -> Iterator[Way]:
    """Each of them, in a hierarchy of its own."""
    pcont.ok("mount", "-o", "none", "--name", name)
    words = WAYS[request.param]
    if request.param == "join":
        pcont.ok("clone", name, "--ns", "uts,ipc", "--pin", name, "--", "true")
    yield Way(pcont, name, words)
    if request.param == "join":
        pcont.ok("unpin", name)
    clear(pcont, name)
    assert eventually(lambda: pcont("umount", name).status == 0)


@pytest.fixture
def bash() -> Iterator[Terminal]:
    """A shell with a terminal."""
    with shell() as one:
        yield one


def not_as_pid_1(way: Way) -> None:
    if way.words == PID_1 and "model" not in way.pcont.words:
        elsewhere("no kernel lets a pid 1 do this to itself")


def stopped(way: Way, bash: Terminal, script: str = READING) -> None:
    """Start a script that has said "on", and stop it by ^Z."""
    bash.run(*way.line(script))
    bash.until("on\r\n")
    bash.type("\x1a")
    assert bash.prompt() == 128 + signal.SIGTSTP
    assert eventually(way.is_stopped)


def waiting(folder: Path) -> str:
    """A script that waits without the terminal until `go_on`, and then ends with 6.

    It starts no other process: in vfork(2) the kernel does not stop a shell.
    """
    os.mkfifo(folder / "go")
    return f"echo on; read line < {folder}/go; exit 6"


def go_on(folder: Path) -> None:
    (folder / "go").write_text("go\n")


def test_what_the_terminal_stops_is_continued_by_fg(way: Way, bash: Terminal) -> None:
    stopped(way, bash)
    time.sleep(1.5)  # longer than pcont waits for a signal at a time
    for again in range(2):
        bash.type("fg\n")
        assert eventually(way.goes_on)
        if not again:
            bash.type("\x1a")
            assert bash.prompt() == 128 + signal.SIGTSTP
    bash.type("text\n")
    bash.until("got text")
    assert bash.prompt() == 5
    assert way.leaves_nothing()


def test_bg_continues_it_in_the_background(way: Way, bash: Terminal, tmp_path: Path) -> None:
    stopped(way, bash, waiting(tmp_path))
    bash.type("bg\n")
    assert bash.prompt() == 0
    assert eventually(way.goes_on), (
        subprocess.run(
            "ps -wweo pid,ppid,pgid,sid,stat,tpgid,wchan:20,args | grep -v ' grep' | grep -e "
            + way.mark,
            shell=True,
            capture_output=True,
            text=True,
        ).stdout
        + bash.seen
    )
    go_on(tmp_path)
    bash.type("wait %1\n")
    assert bash.prompt() == 6
    assert way.leaves_nothing()


def test_in_the_background_it_stops_when_it_reads_the_terminal(way: Way, bash: Terminal) -> None:
    bash.type(f"{shlex.join(way.line(READING))} &\n")
    bash.until("on\r\n")
    assert eventually(way.is_stopped)
    bash.type("jobs -l\n")
    bash.until(r"Stopped \(tty input\)")
    bash.type("fg\n")
    assert eventually(way.goes_on)
    bash.type("text\n")
    bash.until("got text")
    assert bash.prompt() == 5
    assert way.leaves_nothing()


@pytest.mark.parametrize(("key", "number"), [("\x03", signal.SIGINT), ("\x1c", signal.SIGQUIT)])
def test_a_key_ends_it_and_the_loop_of_the_shell(
    way: Way, bash: Terminal, key: str, number: signal.Signals
) -> None:
    """A shell ends its loop only where what it has started ends by the signal itself."""
    # Not a shell: it ends by raising the signal itself, which the kernel ignores in a pid 1.
    loop = f"for i in 1 2; do {shlex.join(way.of(sys.executable, '-c', WAITING))}; done"
    bash.type(
        f"ulimit -c 0; {loop if number == signal.SIGINT else shlex.join(way.line(READING))}\n"
    )
    bash.until("on\r\n")
    bash.type(key)
    assert bash.prompt() == 128 + number
    assert "on\r\n" not in bash.seen
    assert way.leaves_nothing()


def test_a_change_of_the_window_is_seen_once(way: Way, bash: Terminal) -> None:
    script = "n=0; trap 'n=$((n+1)); echo size' WINCH; echo on; read line; read line; exit $n"
    bash.run(*way.line(script))
    bash.until("on\r\n")
    bash.resize(50, 100)
    bash.until("size")
    bash.type("one\ntwo\n")
    assert bash.prompt() == 1


def test_a_command_that_stops_itself_stops_pcont(way: Way, bash: Terminal) -> None:
    not_as_pid_1(way)
    bash.run(*way.line("kill -STOP $$; echo back; exit 6"))
    assert bash.prompt() == 128 + signal.SIGSTOP
    assert eventually(way.is_stopped)
    bash.type("fg\n")
    bash.until("back")
    assert bash.prompt() == 6
    assert way.leaves_nothing()


def test_a_command_that_does_not_stop_keeps_the_terminal(way: Way, bash: Terminal) -> None:
    bash.run(*way.line(f"trap '' TSTP; {READING}"))
    bash.until("on\r\n")
    bash.type("\x1a")
    bash.type("text\n")
    bash.until("got text")
    assert bash.prompt() == 5


@pytest.mark.parametrize("number", [signal.SIGTSTP, signal.SIGTTIN])
def test_a_stop_that_is_sent_to_pcont_is_the_commands(
    way: Way, bash: Terminal, number: signal.Signals
) -> None:
    bash.run(*way.line(READING))
    bash.until("on\r\n")
    os.kill(way.own(), number)
    assert bash.prompt() == 128 + number
    assert eventually(way.is_stopped)
    bash.type("fg\n")
    bash.type("text\n")
    bash.until("got text")
    assert bash.prompt() == 5


def test_continued_by_a_signal_to_pcont_alone_both_go_on(
    way: Way, bash: Terminal, tmp_path: Path
) -> None:
    stopped(way, bash, waiting(tmp_path))
    os.kill(way.own(), signal.SIGCONT)
    assert eventually(way.goes_on)
    go_on(tmp_path)
    bash.type("wait %1\n")
    assert bash.prompt() == 6
    assert way.leaves_nothing()


def test_a_signal_to_a_stopped_pcont_is_heeded_when_it_goes_on(way: Way, bash: Terminal) -> None:
    stopped(way, bash)
    own = way.own()
    bash.type("kill %1\n")  # bash continues it, too
    prompt = bash.until(PROMPT)
    assert prompt[1] == "0"
    before = prompt.string[: prompt.start()]  # bash may have waited for it already
    assert way.leaves_nothing()
    assert eventually(lambda: not os.path.exists(f"/proc/{own}"))  # bash has waited for it
    bash.type("true; jobs; wait %1\n")
    assert re.search("Exit 143|Terminated", before + bash.until(PROMPT).string)


def test_when_the_shell_is_killed_what_it_has_stopped_ends(way: Way, bash: Terminal) -> None:
    """The kernel sends SIGHUP and SIGCONT to a process group that is orphaned while it stands."""
    stopped(way, bash)
    os.kill(bash.pid, signal.SIGKILL)
    assert way.leaves_nothing()


def test_when_the_terminal_hangs_up_it_ends(way: Way, bash: Terminal) -> None:
    bash.run(*way.line(READING))
    bash.until("on\r\n")
    bash.hang_up()
    assert way.leaves_nothing()


def test_in_an_orphaned_process_group_nothing_stops(way: Way) -> None:
    """As the leader of the session pcont has no shell that could continue it."""
    with terminal(*way.line(READING)) as one:
        one.until("on\r\n")
        one.type("\x1a")
        assert eventually(way.goes_on)
        one.type("text\n")
        one.until("got text")
        one.rest()
        assert one.status() == 5
    assert way.leaves_nothing()


def test_the_hangup_of_its_own_terminal_ends_the_leader_of_a_session(way: Way) -> None:
    with terminal(*way.line("echo on; sleep 600; true")) as one:
        one.until("on\r\n")
        one.hang_up()
        assert one.status() == 128 + signal.SIGHUP
    assert way.leaves_nothing()


LEADER = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
os.setpgid(0, 0)
os.tcsetpgrp(0, os.getpid())
print("on", flush=True)
os.kill(os.getpid(), signal.SIGTSTP)
print("got", input(), flush=True)
sys.exit(5)
"""


def test_a_command_with_a_process_group_of_its_own_gets_the_terminal_back(
    way: Way, bash: Terminal
) -> None:
    not_as_pid_1(way)
    bash.run(*way.of(sys.executable, "-c", LEADER, way.mark))
    bash.until("on\r\n")
    assert bash.prompt() == 128 + signal.SIGTSTP
    bash.type("fg\n")
    assert eventually(way.goes_on)
    bash.type("text\n")
    bash.until("got text")
    assert bash.prompt() == 5


@pytest.mark.slow
def test_every_signal_that_pcont_passes_on_ends_the_command_as_it_would(way: Way) -> None:
    """Those that a service manager, a batch system or alarm(2) of a caller sends."""
    for number in (signal.SIGALRM, signal.SIGABRT, signal.SIGXCPU, signal.SIGRTMIN + 3):
        words = way.line("ulimit -c 0; echo on; exec sleep 600")
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            assert process.stdout.readline() == "on\n"
            process.send_signal(number)
            assert process.wait() == 128 + number
    assert way.leaves_nothing()


@only_kernel
def test_in_a_pinned_pid_namespace_it_stops_and_goes_on(pcont: Pcont, name: str) -> None:
    pcont.ok("mount", "-o", "none", "--name", name)
    keeper = [sys.executable, "-m", "pcont", *pcont.words, "clone", name]
    keeper += ["--ns", "pid,user", "--pin", name, "--", "sh", "-c", "echo on; read line"]
    pipe = subprocess.PIPE
    with subprocess.Popen(keeper, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "on\n"
        way = Way(pcont, name, JOIN)
        with shell() as bash:
            stopped(way, bash)
            bash.type("fg\n")
            assert eventually(way.goes_on)
            bash.type("text\n")
            bash.until("got text")
            assert bash.prompt() == 5
        process.communicate("\n")
    pcont.ok("unpin", name)
    assert way.leaves_nothing()
    pcont.ok("umount", name)


# pcont, with a ^Z at one moment: once, after it was continued, it waits until the signal is there.
AT_ONCE = """
import os, signal, sys, time
from pcont import cli, signals
from pcont.linux import job_control

def meet():
    if not met:
        met.append(True)
        os.write(1, b"now" + os.linesep.encode())
        while signal.SIGTSTP not in signal.sigpending():
            time.sleep(0.001)

def before(numbers, seconds):
    if set(numbers) == {signal.SIGCONT}:
        meet()
    return wait(numbers, seconds)

def after(number):
    found = stop(number)
    meet()
    return found

met, wait, stop = [], signal.sigtimedwait, job_control.stop
if sys.argv.pop(1) == "before":
    signal.sigtimedwait = before
else:
    job_control.stop = after
signals.is_command_line = True
sys.exit(cli.main())
"""


@pytest.mark.host
@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_stops_it_as_soon_as_it_goes_on_stops_it_again(
    moment: str, pcont: Pcont, name: str, bash: Terminal, tmp_path: Path
) -> None:
    """The second ^Z takes away the SIGCONT of fg, before or after pcont has looked for that."""
    pcont.ok("mount", "-o", "none", "--name", name)
    words = ["clone", name, "--", "sh", "-c", READING]
    script = tmp_path / "at_once.py"
    script.write_text(AT_ONCE)
    bash.run(sys.executable, str(script), moment, *pcont.words, *words)
    bash.until("on\r\n")
    bash.type("\x1a")
    assert bash.prompt() == 128 + signal.SIGTSTP
    bash.type("fg\n")
    bash.until("now")
    bash.type("\x1a")
    assert bash.prompt() == 128 + signal.SIGTSTP
    bash.type("fg\n")
    bash.type("text\n")
    bash.until("got text")
    assert bash.prompt() == 5
    clear(pcont, name)
    assert eventually(lambda: pcont("umount", name).status == 0)


# A pcont that sends its message to the init late, and a command that reports a read in vain.
LATE = """
import signal, sys, time
from pcont import cli, signals
from pcont.linux.job_control import Link

def late(link, words):
    if words == b"c":
        time.sleep(0.5)
    write(link, words)

write, Link.write = Link.write, late
signals.is_command_line = True
sys.exit(cli.main())
"""
READER = LEADER.replace(
    "signal.signal(signal.SIGTTOU, signal.SIG_IGN)",
    "signal.signal(signal.SIGTTOU, signal.SIG_IGN)\n"
    "signal.signal(signal.SIGTTIN, lambda *_: print('vain', 7 * 7, flush=True))",
)


@pytest.mark.host
def test_an_init_gives_the_terminal_back_before_it_continues_the_command(
    pcont: Pcont, name: str, bash: Terminal, tmp_path: Path
) -> None:
    """The signal of fg comes to the init before the message of pcont."""
    pcont.ok("mount", "-o", "none", "--name", name)
    script = tmp_path / "late.py"
    script.write_text(LATE)
    words = [*INIT, "--", sys.executable, "-c", READER]
    bash.run(sys.executable, str(script), *pcont.words, *(one.format(name) for one in words))
    bash.until("on\r\n")
    assert bash.prompt() == 128 + signal.SIGTSTP
    bash.type("fg\n")
    time.sleep(1)
    bash.type("text\n")
    before = bash.until(re.compile("(.*)got text", re.DOTALL))[1]
    assert "vain 49" not in before  # fg shows the command line, but not this
    assert bash.prompt() == 5
    clear(pcont, name)
    assert eventually(lambda: pcont("umount", name).status == 0)
