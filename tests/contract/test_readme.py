"""README.md: each block of the quick start can be pasted, and prints what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.conftest import Pcont, clear, command_line
from tests.terminal import terminal

PAGE = Path(__file__).resolve().parents[2] / "README.md"
MODEL_ONLY = "export PCONT_BACKEND=model\n"
STYLE = re.compile(r"\x1b\[[0-9;]*m")


def steps() -> list[tuple[str, str]]:
    """The blocks of the quick start: the commands, and the output that the page shows."""
    section = (
        PAGE.read_text(encoding="utf-8").partition("\n## Quick start")[2].partition("\n## ")[0]
    )
    blocks = re.findall(r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", section, re.M | re.S)
    return [(commands, output) for commands, output in blocks]


def plain(text: str) -> str:
    """The text without colours and padding, and with one word for every task id."""
    text = re.sub(r"\b\d{3,}\b", "ID", STYLE.sub("", text).replace("\r", ""))
    return "\n".join(re.sub(r"[ \t]+", " ", line).strip() for line in text.splitlines())


def shown_by(script: Path) -> list[str]:
    """What a terminal of 100 columns shows of each block."""
    with terminal("bash", str(script)) as one:
        one.resize(50, 100)
        one.type("\n")  # the script waits for this line: the terminal has its size
        return one.rest().replace("\r", "").split("--next--\n")[1:]


def write_script(path: Path, blocks: list[str], folder: Path) -> None:
    tools = Path(sys.executable).parent
    start = f"stty -echo; read -r; export NO_COLOR=1 PCONT_STATE={folder}/model.json\ncd {folder}\n"
    end = '[ -z "$(jobs -p)" ] || kill $(jobs -p) 2> /dev/null\ntrue\n'
    text = "".join(f"echo --next--\n{block}" for block in blocks)
    path.write_text(f"{start}export PATH={tools}:$PATH\n{text}{end}", encoding="utf-8")


@pytest.mark.slow
def test_the_quick_start_prints_what_the_page_shows(tmp_path: Path) -> None:
    pcont = command_line("model", tmp_path)
    pcont.ok("sim", "machine", "--cpus", "0", "--nodes", "0")
    blocks = steps()
    assert len(blocks) >= 7
    write_script(tmp_path / "quick.sh", [commands for commands, _ in blocks], tmp_path)
    shown = shown_by(tmp_path / "quick.sh")
    assert [plain(one) for one in shown] == [plain(output) for _, output in blocks]


@pytest.mark.kernel
@pytest.mark.host
def test_the_quick_start_runs_on_the_kernel(kernel: Pcont, tmp_path: Path, name: str) -> None:
    script = "set -e\n" + "".join(commands for commands, _ in steps())
    script = script.replace(MODEL_ONLY, "").replace('; echo "exit status $?"', " || true")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    run = subprocess.run(
        ["bash", "-c", script.replace("jobs", name)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    if run.returncode:
        clear(kernel, name)
        kernel("umount", name)
    assert run.returncode == 0, run.stderr
    assert "working" in run.stdout
