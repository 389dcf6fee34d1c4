"""output: JSON, plain lines in a pipe, tables and trees on a terminal, messages and progress."""

from __future__ import annotations

import inspect
import io
import json
import os
import pty
import re
import sys
from collections.abc import Callable

import pytest

from pcont import records
from pcont.errors import Busy
from pcont.output import columns, json_lines, messages, progress, tree
from pcont.output import text as plain
from pcont.records import (
    BeanRow,
    Collected,
    ContainerNode,
    CpuRow,
    Ended,
    Finding,
    HierarchyRow,
    Mounted,
    Notified,
    Outcome,
    PinRow,
    Recovered,
    Started,
    SubsystemRow,
    TaskRow,
    TreeRow,
    Unbound,
    UsageRow,
    Value,
    WhereRow,
)
from tests.json_docs import fields_of_record

Out = pytest.CaptureFixture[str]

LEAF = ContainerNode("b", "/a/b", 1, {"cpuset.cpus": ""}, ("cpuacct",), (), "jobs:/a/b")
NODE = ContainerNode("jobs:/a", "/a", 2, {"cpuset.cpus": "0-1"}, (), (LEAF,), "jobs:/a")
HIERARCHY = HierarchyRow(
    "jobs",
    ("cpuset", "cpuacct"),
    (TreeRow("name=jobs", "/", ("/cg/jobs",), True), TreeRow("cpuset", "/x", (), False)),
    3,
    True,
    True,
    "/cg/jobs",
)
NODE_TASK = TaskRow(7, 5, "sh", "S", "root", "sh", ())
ROWS: dict[type, object] = {
    CpuRow: CpuRow(1, 99.5, 30, 20, 10),
    UsageRow: UsageRow(None, 99.5, 30, 20, 10, 7, 2, 1),
    SubsystemRow: SubsystemRow("cpuset", True, "cpuset", False, ("/cg", "/d"), "CPUs"),
    HierarchyRow: HIERARCHY,
    TaskRow: TaskRow(7, 5, "sh", "S", "root", "sh -c x", ("cpuacct",)),
    WhereRow: WhereRow("jobs", "/a", "in", {"cpuset": "/a"}, {}),
    Notified: Notified("/agent", "/a"),
    PinRow: PinRow("box", "net", "/run/pcont/ns/box/net"),
    Finding: Finding("ok", "rights", "root"),
    Collected: Collected("removed", "jobs:/a"),
    BeanRow: BeanRow("jobs:/a", "numfiles", 3, 7, 256, 512, 1),
    Recovered: Recovered("create jobs:/a", "undone", ("cannot put back /a",)),
}


def on_terminal(draw: Callable[[], None]) -> str:
    """What something prints to a terminal."""
    master, slave = pty.openpty()
    before = sys.stdout
    with open(slave, "w", encoding="utf-8") as terminal:
        sys.stdout = terminal
        try:
            draw()
        finally:
            sys.stdout = before
    text = b""
    try:
        while part := os.read(master, 65536):
            text += part
    except OSError:  # Linux answers EIO once the other side is closed
        pass
    os.close(master)
    return text.decode()


# JSON


def test_json_is_one_line_with_the_backend_and_the_result(capsys: Out) -> None:
    json_lines.answer("model", "result", [HIERARCHY])
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    answer = json.loads(out)
    assert list(answer) == ["backend", "result"]
    assert answer["backend"] == "model"
    assert answer["result"][0]["trees"][1] == {
        "id": "cpuset",
        "at": "/x",
        "mounts": [],
        "ours": False,
    }


@pytest.mark.parametrize("row", [*ROWS.values(), NODE, Value("k", 1)])
def test_json_has_every_field_of_a_record_as_it_is(capsys: Out, row: object) -> None:
    json_lines.answer("model", "result", row)
    answer = json.loads(capsys.readouterr().out)["result"]
    assert answer == json.loads(json.dumps(fields_of_record(row)))


def test_json_refuses_a_value_that_is_not_a_record() -> None:
    with pytest.raises(TypeError, match="is not a record"):
        json_lines.answer("model", "result", {1, 2})


@pytest.mark.parametrize("name", ["grün →", "x\udcff", "a\nb", "a\u2028b", '"'])
def test_json_is_ascii_and_keeps_names_of_every_kind(capsys: Out, name: str) -> None:
    json_lines.answer("model", "result", name)
    messages.error(Busy(name), as_json=True)
    messages.warning(name, as_json=True)
    seen = capsys.readouterr()
    assert (seen.out + seen.err).isascii()
    assert json.loads(seen.out)["result"] == name
    error, note = map(json.loads, seen.err.splitlines())
    assert (error["error"]["message"], note) == (name, {"note": name})


# Names that are more than text


@pytest.mark.parametrize("sign", ["\x1b[31m", "\t", "\r", "\x07", "\u202e"])
def test_a_name_cannot_colour_or_break_a_line(capsys: Out, sign: str) -> None:
    tree.containers([LEAF._replace(name=f"a{sign}b")])
    messages.error(Busy(f"cannot move a{sign}b", path=f"/a{sign}b", hint=sign), as_json=False)
    messages.warning(f"a{sign}b stays")
    columns.table([NODE_TASK._replace(command=f"a{sign}b")], TaskRow)
    seen = capsys.readouterr()
    fields = [field for line in seen.out.splitlines() for field in line.split("\t")]
    assert all(field.isprintable() for field in [*fields, *seen.err.split("\n")]), seen
    assert fields[0] == f"a{sign.encode('unicode_escape').decode()}b"


@pytest.mark.parametrize("sign", ["\x1b[31m", "\x1b]0;title\x07", "\x9b31m"])
def test_a_name_cannot_colour_a_terminal(sign: str) -> None:
    text = on_terminal(lambda: tree.containers([LEAF._replace(name=f"a{sign}b")]))
    assert sign not in text


# Tables


def test_every_record_that_is_listed_has_its_columns() -> None:
    listed = {
        one
        for _, one in inspect.getmembers(records, inspect.isclass)
        if one.__module__ == records.__name__
    }
    other = {TreeRow, ContainerNode, Value, Outcome, Unbound, Mounted, Started, Ended}
    assert set(columns.COLUMNS) == listed - other
    assert set(columns.COLUMNS) == set(ROWS)


@pytest.mark.parametrize("kind", ROWS)
def test_without_a_terminal_a_record_is_a_line_of_fields_separated_by_tabs(
    capsys: Out, kind: type
) -> None:
    columns.table([ROWS[kind], ROWS[kind]], kind)
    one, other = capsys.readouterr().out.splitlines()
    assert one == other
    assert len(one.split("\t")) == len(columns.COLUMNS[kind])
    assert "\x1b" not in one


@pytest.mark.parametrize("kind", ROWS)
def test_on_a_terminal_there_is_a_title_over_each_column(kind: type) -> None:
    text = on_terminal(lambda: columns.table([ROWS[kind]], kind))
    assert all(title in text for title, _ in columns.COLUMNS[kind])


def test_nothing_to_list_prints_nothing_in_a_pipe(capsys: Out) -> None:
    for kind in ROWS:
        columns.table([], kind)
    tree.containers([])
    plain.values([], bare=False)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("row", "line"),
    [
        (ROWS[SubsystemRow], "cpuset\tcpuset\t/cg,/d\tCPUs"),
        (SubsystemRow("pids", True, None, False, (), ""), "pids\tfree\t-\t-"),
        (SubsystemRow("pids", True, None, True, (), ""), "pids\tv2\t-\t-"),
        (SubsystemRow("pids", False, None, False, (), ""), "pids\tswitched off\t-\t-"),
        (HIERARCHY, "jobs\tcpuset,cpuacct\tname=jobs cpuset@/x\t3\t/cg/jobs"),
        (
            HIERARCHY._replace(subsystems=(), containers=None, mountpoint=None, trees=()),
            "jobs\t-\t\t?\tactive, not mounted",
        ),
        (ROWS[TaskRow], "7\t5\tS\troot\tcpuacct\tsh -c x"),
        (NODE_TASK._replace(user=""), "7\t5\tS\t-\t-\tsh"),
        (ROWS[WhereRow], "jobs\t/a\tin"),
        (
            WhereRow("jobs", None, "split", {"cpuset": "/a", "cpuacct": "/b"}, {}),
            "jobs\tcpuset:/a cpuacct:/b\tsplit",
        ),
        (
            WhereRow("jobs", "/a", "in", {"cpuset": "/a"}, {"/b": 2}),
            "jobs\t/a\tin (other threads: 2×/b)",
        ),
        (ROWS[Finding], "ok\trights\troot\t"),
    ],
)
def test_columns_show_fields_in_words(capsys: Out, row: object, line: str) -> None:
    columns.table([row], type(row))
    assert capsys.readouterr().out == f"{line}\n"


# Trees


def test_in_a_pipe_each_container_is_a_line_with_its_whole_name(capsys: Out) -> None:
    below = NODE._replace(name="a")
    root = ContainerNode("jobs:/", "/", 0, {}, (), (below,), "jobs:/")
    tree.containers([root])
    assert capsys.readouterr().out.splitlines() == [
        "jobs:/\ttasks=0",
        "jobs:/a\ttasks=2\tcpuset.cpus=0-1",
        "jobs:/a/b\ttasks=1\tcpuset.cpus=\tmissing=cpuacct",
    ]


def test_on_a_terminal_a_tree_is_drawn(capsys: Out) -> None:
    used = NODE._replace(settings={"cpuset.mems": "", "cpuacct.usage": 1500000000})
    text = on_terminal(lambda: tree.containers([used]))
    assert "jobs:/a" in text
    assert "2 tasks" in text
    assert "1 task\x1b" in text
    assert "1.5 s" in text
    assert "partial: not in cpuacct" in text
    assert "└" in text
    assert capsys.readouterr().out == ""


def test_on_a_terminal_keys_are_short_if_they_stay_clear() -> None:
    settings: dict[str, records.Scalar]
    settings = {"cpuset.cpus": "0", "freezer.state": "FROZEN", "pids.max": "max"}
    node = LEAF._replace(settings=settings)
    text = on_terminal(lambda: tree.containers([node]))
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "cpus 0  state FROZEN  pids.max max" in plain


# Values


def test_several_keys_are_lines_of_key_and_value(capsys: Out) -> None:
    values = [
        Value("cpuacct.stat", "user 1\nsystem 2"),
        Value("cpuset.cpus", ""),
        Value("notify_on_release", 0),
    ]
    plain.values(values, bare=False)
    assert capsys.readouterr().out.splitlines() == [
        "cpuacct.stat=user 1",
        "cpuacct.stat=system 2",
        "cpuset.cpus=",
        "notify_on_release=0",
    ]


def test_one_key_is_its_bare_value(capsys: Out) -> None:
    plain.values([Value("cpuacct.stat", "user 1\nsystem 2")], bare=True)
    plain.values([Value("cpuset.cpus", "")], bare=True)
    assert capsys.readouterr().out == "user 1\nsystem 2\n\n"


# Errors, notes and progress


def test_an_error_is_on_stderr_with_path_and_hint(capsys: Out) -> None:
    messages.error(Busy("cannot", path="/cg/a", hint="do this"), as_json=False)
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err == "pcont: cannot\n  at: /cg/a\n  hint: do this\n"


def test_an_error_does_not_repeat_its_path_and_has_no_empty_lines(capsys: Out) -> None:
    messages.error(Busy("cannot touch /cg/a", path="/cg/a"), as_json=False)
    assert capsys.readouterr().err == "pcont: cannot touch /cg/a\n"


def test_an_error_as_json_is_one_object_on_stderr(capsys: Out) -> None:
    err = Busy("cannot", path="/cg/a", errno=16)
    messages.error(err, as_json=True)
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.count("\n") == 1
    assert json.loads(seen.err) == {"error": err.as_dict()}


def test_a_note_is_on_stderr(capsys: Out) -> None:
    messages.warning("something")
    assert capsys.readouterr() == ("", "pcont: note: something\n")


def test_progress_waits_and_wipes_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    quick = progress.ProgressBar()
    quick(1, 9)
    quick.close()
    assert stream.getvalue() == ""
    monkeypatch.setattr(progress.ProgressBar, "PATIENCE", 0.0)
    slow = progress.ProgressBar()
    slow(1, 9)
    assert stream.getvalue().endswith("step 2 of 9: 0 s")
    slow.wipe()
    assert stream.getvalue().endswith("\r\x1b[K")
    before = stream.getvalue()
    slow.close()
    slow.beat()
    assert stream.getvalue() == before
