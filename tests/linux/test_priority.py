"""Commands that raise their priority before their imports, and programs that do not get it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pcont.cli import pcont
from pcont.linux.priority import HIGHEST_PRIORITY, RACING, VALUED, races

# Run pcont's start, and print the first priority that is set, with the modules that are loaded.
FIRST = """
import os, sys
def set(which, process, priority):
    modules = [name for name in sys.modules if name.startswith("pcont")]
    print("priority", priority, *modules)
    os._exit(0)
os.setpriority = set
sys.argv = ["pcont", *sys.argv[1:]]
from pcont.__main__ import start
start()
"""


@pytest.mark.parametrize(
    ("words", "racing"),
    [
        ("move a:/b a:/c", True),
        ("--json move a:/b a:/c", True),
        ("--backend model move a:/b a:/c", True),
        ("--state move tree", False),
        ("attach --tree a:/b 1", True),
        ("attach a:/b 1", False),
        ("attach a:/b 1 --tree", True),
        ("rm -r --kill a:/b", True),
        ("rm -r a:/b", False),
        ("run a:/b -- move --tree --kill", False),
        ("run move -- true", False),
        ("run a:/b -- rm --kill", False),
        ("rm a:/b -- --kill", False),
        ("", False),
    ],
)
def test_a_command_races_if_it_follows_tasks_that_fork(words: str, racing: bool) -> None:
    assert races(words.split()) is racing


def test_the_options_before_a_command_that_take_a_value_are_known() -> None:
    assert {one.names[-1] for one in pcont.parameters if not one.is_flag} == VALUED


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may raise a priority")
@pytest.mark.parametrize("command", RACING)
def test_the_priority_is_raised_before_other_imports(command: str) -> None:
    words = [command, *filter(None, [RACING[command]]), "a:/b", "a:/c"]
    done = subprocess.run([sys.executable, "-c", FIRST, *words], capture_output=True, text=True)
    word, number, *modules = done.stdout.split()
    assert (word, int(number)) == ("priority", HIGHEST_PRIORITY)
    assert set(modules) == {"pcont", "pcont.__main__", "pcont.linux", "pcont.linux.priority"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may raise a priority")
def test_a_program_of_another_user_has_the_priority_from_before() -> None:
    show = [sys.executable, "-c", "import os; print(os.getpriority(os.PRIO_PROCESS, 0))"]
    source = (
        "import subprocess\n"
        "from pcont.linux import priority\n"
        "assert priority.for_others() is None\n"
        "priority.raise_early(['move', 'a:/b', 'a:/c'])\n"
        f"subprocess.run({show!r})\n"
        f"subprocess.run({show!r}, preexec_fn=priority.for_others())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(HIGHEST_PRIORITY), str(os.getpriority(os.PRIO_PROCESS, 0))]
