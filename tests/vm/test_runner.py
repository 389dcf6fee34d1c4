"""The runner's own parts that need no guest: choosing a kernel, command lines, reports."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fault_injection.commands import ROWS

from . import __main__ as runner
from . import durations, prepare, systemd
from .boot import (
    CHECKOUT,
    Boot,
    cached_folders,
    guest_env,
    kill,
    own_folders,
    vng_argv,
    wait,
)
from .boot import argv as boot_argv
from .guests import FAULTS, GUESTS, Guest
from .prepare import NotPrepared, install, newest
from .report import ELSEWHERE, Counts, Report, read_junit

KNOWN = (
    "linux-image-6.1.0-9-amd64",
    "linux-image-6.1.0-56-amd64",
    "linux-image-6.1.0-50-amd64",
    "linux-image-6.1.0-57-cloud-amd64",
    "linux-image-6.1.0-57-rt-amd64",
    "linux-image-6.1.0-57-amd64-dbg",
    "linux-image-6.1.0-57-amd64-unsigned",
    "linux-image-6.12.94+deb12-amd64",
)


def boot(guest: Guest = GUESTS[0], kvm: bool = False, command: str = "true") -> Boot:
    return Boot(guest, Path("/k/vmlinuz"), Path("/results"), kvm, command)


OF_THIS_ROOT = [guest for guest in GUESTS if not guest.release]


@pytest.mark.parametrize("guest", OF_THIS_ROOT, ids=lambda guest: guest.name)
def test_a_guest_boots_what_its_row_says(guest: Guest) -> None:
    argv = vng_argv(boot(guest))
    assert argv[argv.index("--cpus") + 1] == str(guest.cpus)
    assert argv[argv.index("--memory") + 1] == f"{guest.memory}M"
    assert argv.count("--numa") == guest.nodes
    assert f"LAYOUT={guest.layout}\n" in guest_env(boot(guest))
    assert argv[argv.index(guest.append) - 1] == "--append"


def test_a_guest_with_systemd_boots_a_root_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (guest,) = [guest for guest in GUESTS if guest.release]
    monkeypatch.setattr(prepare, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(systemd, "image", lambda release: tmp_path / release)
    monkeypatch.setattr(systemd, "initramfs", lambda kernel: tmp_path / "initramfs")
    argv = boot_argv(boot(guest))
    line = argv[argv.index("-append") + 1]
    assert line.endswith(guest.append)
    assert "console=ttyS1 " in line, "ttyS0 has the output of the command"
    drive = argv[argv.index("-drive") + 1]
    assert drive.startswith(f"file={tmp_path}/{guest.release},")
    assert "snapshot=on" in drive, "no run changes the image"
    assert [word for word in argv if word.startswith("node,")] == [
        "node,nodeid=0,memdev=m0,cpus=0-1",
        "node,nodeid=1,memdev=m1,cpus=2-3",
    ]
    assert "/usr" not in own_folders(), "that is the guest's"
    assert f"CACHED=({shlex.join(own_folders())})\n" in guest_env(boot(guest))


@pytest.mark.parametrize("guest", GUESTS, ids=lambda guest: guest.name)
def test_a_guest_runs_its_own_tests_where_none_are_named(guest: Guest) -> None:
    own = runner.commands(runner.parse(["--", "-x"]), guest)
    assert len(own) == guest.machines
    assert all(line.endswith(f"{shlex.join(guest.tests)} -x") for _, line in own)
    files = [word.removeprefix("--ignore=") for word in guest.tests if "/" in word]
    assert all((CHECKOUT / file).exists() for file in files)
    ((_, named),) = runner.commands(runner.parse(["--", "tests/contract/test_run.py"]), guest)
    assert named.endswith("junit.xml tests/contract/test_run.py")


@pytest.mark.parametrize("row", [str(row) for row in ROWS if row.bare])
def test_the_faults_of_each_command_for_a_bare_machine_are_tried_in_a_guest(row: str) -> None:
    """A word after -k selects the tests whose names contain it."""
    chosen = [guest.tests[-1].split(" or ") for guest in GUESTS if FAULTS in guest.tests]
    assert sum(any(word in row for word in words) for words in chosen) == 1


def test_machines_of_a_guest_share_its_tests_by_their_durations() -> None:
    guest = Guest("any", kernel="", layout="v1", machines=2)
    lines = dict(runner.commands(runner.parse([]), guest))
    assert all(f"--splits=2 --group={share} " in line for share, line in lines.items())
    assert all(f"--durations-path={durations.path('any')} " in line for line in lines.values())
    assert [Boot(guest, Path("k"), Path("r"), False, share=share).name for share in lines] == [
        "any-1",
        "any-2",
    ]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (
            [],
            [
                *("6.1-v1-1", "6.1-v1-2", "6.1-v1-3", "6.1-without-bpf", "6.12-v2"),
                *("6.1-hybrid", "systemd-252"),
            ],
        ),
        (["--guest", "6.1-v1", "--share", "2"], ["6.1-v1-2"]),
        (["--quick"], ["6.1-v1-quick"]),
    ],
)
def test_machines_can_be_chosen(
    words: list[str], names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "kvm_works", lambda kernel: False)
    options = runner.parse([*words, "--results", str(tmp_path)])
    guests = runner.chosen(options)
    boots = runner.planned(options, guests, {guest.name: tmp_path for guest in guests})
    assert [boot.name for boot in boots] == names


def test_the_guests_whose_machines_share_tests_have_their_durations() -> None:
    assert all(durations.path(guest.name).exists() for guest in GUESTS if guest.machines > 1)


REPORT = """<testsuites><testsuite>
<testcase classname="tests.contract.test_x" name="test_a[b]" time="1.26"/>
<testcase classname="tests.contract.test_x" name="test_c" time="0.04"/>
</testsuite></testsuites>"""


def test_durations_are_kept_by_the_ids_of_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durations, "FOLDER", tmp_path)
    report = tmp_path / "junit.xml"
    report.write_text(REPORT)
    durations.path("g").write_text('{"old": 5.0}')
    new = {"tests/contract/test_x.py::test_a[b]": 1.3, "tests/contract/test_x.py::test_c": 0.0}
    durations.store("g", [report], whole=False)
    assert json.loads(durations.path("g").read_text()) == {"old": 5.0, **new}
    durations.store("g", [report], whole=True)
    assert json.loads(durations.path("g").read_text()) == new
    durations.store("g", [report, tmp_path / "lost.xml"], whole=True)
    assert json.loads(durations.path("g").read_text()) == new


def test_kvm_is_tried_once_after_a_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Path] = []

    def boots(kernel: Path) -> bool:
        tried.append(kernel)
        return True

    monkeypatch.setattr(prepare, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    monkeypatch.setattr(prepare, "_kvm_boots", boots)
    assert prepare.kvm_works(Path("vmlinuz"))
    assert prepare.kvm_works(Path("vmlinuz"))
    assert tried == [Path("vmlinuz")]
    (tmp_path / "kvm-vmlinuz").write_text("another-boot hangs")
    assert prepare.kvm_works(Path("vmlinuz"))
    assert len(tried) == 2


def test_nodes_share_memory_and_cpus_evenly() -> None:
    argv = vng_argv(boot(Guest("any", kernel="", layout="v1", cpus=4, nodes=2, memory=1024)))
    nodes = [argv[at + 1] for at, word in enumerate(argv) if word == "--numa"]
    assert nodes == ["512M,cpus=0-1", "512M,cpus=2-3"]


def test_without_kvm_the_guest_is_emulated() -> None:
    assert "--disable-kvm" in vng_argv(boot(kvm=False))
    assert "--disable-kvm" not in vng_argv(boot(kvm=True))


def test_one_thread_emulates_all_cpus_unless_asked_for_more() -> None:
    assert [one for one in vng_argv(boot()) if "thread=single" in one]
    assert not [one for one in vng_argv(replace(boot(), threads=True)) if "thread=single" in one]
    assert not [one for one in vng_argv(boot(kvm=True)) if "tcg" in one]


def test_without_a_command_the_guest_is_a_shell() -> None:
    assert "--exec" in vng_argv(boot())
    argv = vng_argv(boot(command=""))
    assert "--shell" in argv
    assert "--exec" not in argv


def test_guest_names_are_unique() -> None:
    assert len({guest.name for guest in GUESTS}) == len(GUESTS)


def test_the_newest_plain_kernel_is_chosen() -> None:
    assert newest(GUESTS[0].kernel, KNOWN) == "linux-image-6.1.0-56-amd64"


def test_no_kernel_is_chosen_where_none_fits() -> None:
    assert newest(GUESTS[0].kernel, ["linux-image-6.1.0-57-cloud-amd64"]) is None


def test_the_environment_survives_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCONT_MUST", "1")
    script = guest_env(boot(command="""echo "it's" $HOME""")) + 'echo "$PCONT_MUST $COMMAND"'
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout == """1 echo "it's" $HOME\n"""


def test_the_guest_script_is_valid_bash() -> None:
    script = Path(__file__).with_name("guest.sh")
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_words_after_the_dashes_go_to_pytest() -> None:
    options = runner.parse(["--timeout", "9", "--", "-k", "attach or move", "--", "-x"])
    assert options.timeout == 9
    lines = [line for _, line in runner.commands(options, GUESTS[0])]
    assert all(line.endswith(" -k 'attach or move' -- -x") for line in lines)


def test_a_command_line_replaces_pytest() -> None:
    assert runner.commands(runner.parse(["--run", "exit 42"]), GUESTS[0]) == [(1, "exit 42")]


def test_a_command_line_takes_no_words_for_pytest() -> None:
    with pytest.raises(SystemExit):
        runner.parse(["--run", "exit 42", "--", "-x"])


def test_a_user_that_may_not_install_gets_the_packages_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(NotPrepared, match="apt-get install kmod udev"):
        install(["kmod", "udev"])


def test_a_person_in_the_shell_sees_edits_of_the_checkout() -> None:
    assert str(CHECKOUT) in cached_folders(shell=False)
    assert str(CHECKOUT) not in cached_folders(shell=True)


def test_junit_counts_errors_as_failures(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    path.write_text(
        '<testsuites><testsuite name="pytest" tests="9" failures="2" errors="1" skipped="3"/>'
        "</testsuites>"
    )
    assert read_junit(path) == Counts(passed=3, failed=3, skipped=3)


def test_a_skip_for_another_kernel_is_counted_apart(tmp_path: Path) -> None:
    cases = "".join(
        f'<testcase><skipped message="{why}"/></testcase>'
        for why in (f"{ELSEWHERE}it has no rdma", "no compiler")
    )
    path = tmp_path / "junit.xml"
    path.write_text(
        f'<testsuites><testsuite tests="5" skipped="2">{cases}</testsuite></testsuites>'
    )
    assert read_junit(path) == Counts(passed=3, failed=0, skipped=1, elsewhere=1)


@pytest.mark.parametrize("text", [None, "", '<testsuites><testsuite tests="'])
def test_half_a_report_is_none(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "junit.xml"
    if text is not None:
        path.write_text(text)
    assert read_junit(path) is None


def test_a_guest_is_reported_in_one_line() -> None:
    done = Report("6.1-v1", "6.1.0-56-amd64", False, 31.4, 1, Counts(12, 1, 0))
    results = "12 passed, 1 failed, 0 skipped, exit 1"
    assert str(done) == f"6.1-v1: 6.1.0-56-amd64, emulation, 31 s: {results}"


def test_a_lost_guest_has_no_results() -> None:
    lost = Report("6.1-v1", None, True, 5.0, None, None)
    assert str(lost) == "6.1-v1: not booted, KVM, 5 s: VM lost"


def test_a_silent_machine_is_given_up_and_ended(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True
    )
    silent = Boot(GUESTS[0], tmp_path, tmp_path, kvm=False)
    assert not wait(process, silent, 0.3, threading.Event())
    kill(process)
    assert process.returncode == -9


def test_a_machine_is_not_waited_for_once_the_runner_stops(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    stopping = threading.Event()
    stopping.set()
    assert not wait(process, Boot(GUESTS[0], tmp_path, tmp_path, kvm=False), 600, stopping)
    kill(process)
    assert process.returncode == -9
