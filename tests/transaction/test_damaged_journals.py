"""Real journals, damaged at random: no command fails with a traceback, nothing goes in silence."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pcont import cli
from pcont.backend_model import Model
from pcont.tables.rules import Machine
from pcont.transaction.journal import Journal, view

SEED = int(os.environ.get("PCONT_SEED", random.SystemRandom().randrange(1 << 32)))
CASES = int(os.environ.get("PCONT_CASES", 60))

# Between them they keep every kind of fact that the model has use for.
COMMANDS = (
    "mount -o cpuset,cpuacct --name jobs /dev/jobs",
    "mount -o freezer --name cold /dev/cold",
    "mount -o pids /dev/pids",
    "mount --tie --name tied -o pids --at /tied",
    "create -i jobs:/a jobs:/b jobs:/b/c -s notify_on_release=1",
    "create -i tied:/a tied:/b",
    "set jobs:/a cpuset.cpus=0-1 cpuacct.usage=0",
    f"attach jobs:/a {os.getpid()}",
    f"attach tied:/a {os.getpid()}",
    "move jobs:/a jobs:/b",
    "move tied:/a tied:/b",
    "bind tied numfiles",
    "bind tied cpuset -i",
    "set tied:/a bc.numfiles.barrier=9 auto_delete=1",
    "unbind tied cpuset --yes",
    "unbind tied numfiles --yes",
    "rm -r jobs:/b --evict",
    "rm -r tied:/a tied:/b --evict",
    "umount tied",
    "umount /dev/pids",
)


class Recorded(Model):
    """A model with journals, as the kernel has them."""

    directory = ""

    def __init__(self) -> None:
        super().__init__(Machine(frozenset(range(4)), frozenset({0}), 4))

    def journals(self) -> str:
        return self.directory


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], int]:
    """pcont's command line on one model with journals."""
    Recorded.directory = str(tmp_path)
    model = Recorded()
    monkeypatch.setattr("pcont.kernel.open.open_backend", lambda *words: model)
    return lambda words: cli.main(words.split())


def recorded(run: Callable[[str], int], monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The journals of these commands, as each would be left by a kill after each entry."""
    found: list[bytes] = []
    with monkeypatch.context() as patch:
        append = Journal.append

        def recording(journal: Journal, entry: dict[str, Any]) -> None:
            append(journal, entry)
            found.append(Path(journal._name).read_bytes())

        patch.setattr(Journal, "append", recording)
        for words in COMMANDS:
            assert run(words) == 0, words
    kinds = {word for text in found for word in text.decode().split('"')}
    assert {
        "AllAbsent",
        "AllPresent",
        "State",
        "Written",
        "Value",
        "Entered",
        "Drained",
        "Mounted",
    } <= kinds
    return found


def damage(text: bytes, dice: random.Random) -> bytes:
    """A journal with something wrong, or with nothing wrong at all."""
    how = dice.randrange(8)
    where = dice.randrange(len(text))
    lines = text.split(b"\n")
    if how == 0:
        return text[:where]
    if how == 1:
        return text[:where] + bytes([dice.randrange(256)]) + text[where + 1 :]
    if how == 2:
        return text[:where] + dice.randbytes(dice.randrange(1, 20)) + text[where:]
    if how == 3:
        return text[:where] + text[where + dice.randrange(1, 40) :]
    if how == 4:
        dice.shuffle(lines)
        return b"\n".join(lines)
    if how == 5:
        lines.insert(dice.randrange(len(lines)), dice.choice(lines))
        return b"\n".join(lines)
    if how == 6:
        return text
    number = dice.randrange(len(lines) - 1)
    lines[number] = json.dumps(other(json.loads(lines[number]), dice)).encode()
    return b"\n".join(lines)


def other(value: Any, dice: random.Random) -> Any:
    """JSON of another shape: one value of it is another one."""
    if isinstance(value, dict) and value and dice.random() < 0.9:
        key = dice.choice(list(value))
        return {**value, key: other(value[key], dice)}
    if isinstance(value, list) and value and dice.random() < 0.9:
        number = dice.randrange(len(value))
        return [*value[:number], other(value[number], dice), *value[number + 1 :]]
    return dice.choice(
        [None, True, 0, -1, 1 << 70, 1.5, "", "/", "\0", "x\ny", "\udcff", [], {}, ["x"], {"is": 1}]
    )


def test_damaged_journals_stop_no_command(
    run: Callable[[str], int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    print("PCONT_SEED", SEED)
    dice = random.Random(SEED)

    def printed() -> str:
        found = capsysbinary.readouterr()
        return os.fsdecode(found.out + found.err)

    journals = recorded(run, monkeypatch)
    for words in COMMANDS[:7]:
        run(words)
    for number in range(CASES):
        path = tmp_path / f"{number:020}-1.journal"
        path.write_bytes(text := damage(dice.choice(journals), dice))
        printed()
        assert run("recover --dry-run") == 0, text
        would = printed()
        assert path.exists()
        status = run(dice.choice(["recover --json", "create -p jobs:/next"]))
        said = printed()
        assert status in (0, 1, 3), (text, said)
        if path.exists():
            # It says that it is of other namespaces, where pids and paths may mean others.
            assert json.loads(text.split(b"\n")[0])["view"] not in ("", view())
            path.unlink()
            continue
        aside = list(tmp_path.iterdir())
        if aside:
            assert would, text  # that it cannot be applied may show only when that is tried
            assert str(aside[0]) in said, text
            assert aside[0].read_bytes() == text
            aside[0].unlink()
        elif b'{"settled": true}' not in text and would:
            assert "crash" in said or "outcome" in said, (text, would, said)


def test_a_waiting_journal_is_shown_by_doctor_tree_and_dry_runs(
    run: Callable[[str], int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is recovered by them; then the next command does it, and nothing is shown."""
    text = next(one for one in recorded(run, monkeypatch) if b"create" in one)
    run(COMMANDS[0])
    (tmp_path / "1-1.journal").write_bytes(text)
    (tmp_path / "2-1.journal").write_bytes(b"garbage")
    capsys.readouterr()
    assert run("doctor --json") == 0
    rows = json.loads(capsys.readouterr().out)["result"]
    reported = [row for row in rows if row["subject"] == "journal"]
    assert [row["state"] for row in reported] == ["problem", "problem"]
    assert "set aside the damaged journal" in reported[0]["finding"]
    assert "undo: create -i jobs:/a" in reported[1]["finding"]
    assert {row["advice"] for row in reported} == {"pcont recover"}
    assert run("tree jobs:/") == 0
    assert "undo: create -i jobs:/a" in capsys.readouterr().err
    assert run("create -n jobs:/next") == 0
    first, second, third, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("# set aside the damaged journal")
    assert second.startswith("# undo: create -i jobs:/a")
    assert third.startswith("mkdir ")
    assert len(list(tmp_path.iterdir())) == 2
    assert run("create jobs:/next") == 0
    capsys.readouterr()
    for words in ("doctor", "tree jobs:/", "rm -n jobs:/next"):
        assert run(words) == 0
        said = capsys.readouterr()
        assert "undo" not in said.out + said.err
    (aside,) = tmp_path.iterdir()
    run("doctor")
    assert f"damaged and set aside: {aside}" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["NoDirectory", "Directory"])
@pytest.mark.parametrize("directory", ["", "jobs", "./jobs"])
def test_a_journal_with_a_relative_mount_point_is_set_aside(
    run: Callable[[str], int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    directory: str,
) -> None:
    head = {"version": 1, "command": "mount", "view": view()}
    entry = {"fact": {"is": kind, "directory": directory}}
    (tmp_path / "1-1.journal").write_text(f"{json.dumps(head)}\n{json.dumps(entry)}\n")
    assert run("recover") == 1
    assert "not an absolute path" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["1-1.journal.damaged"]
