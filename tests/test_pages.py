"""The pages for readers: their links lead somewhere, and no command or option is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pcont.cli import cli
from tests.command_tree import commands_of

CHECKOUT = Path(__file__).resolve().parents[1]
OVERVIEW = CHECKOUT / "docs" / "commands.md"
# These options are explained once, for all commands.
COMMON = {
    *("--help", "--json", "--dry-run", "--timeout", "--verbose"),
    *("--backend", "--state", "--dialect"),
}
FOLDERS = ("*.md", "docs/*.md", "benchmarks/*.md", "examples/*/*.md", "tests/*.md")


def pages() -> list[Path]:
    return sorted(page for pattern in FOLDERS for page in CHECKOUT.glob(pattern))


def anchors(page: Path) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def links(page: Path) -> Iterator[tuple[str, str]]:
    """The file and the anchor of each link that stays in the repository."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            file, _, anchor = target.partition("#")
            yield file, anchor


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for file, anchor in links(page):
        target = page.parent / file if file else page
        assert target.exists(), file
        assert not anchor or anchor in anchors(target), f"{file}#{anchor}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_module_that_a_page_names_exists(page: Path) -> None:
    """Except for the new subsystem of an example, tickets."""
    text = page.read_text(encoding="utf-8")
    named = set(
        re.findall(r"`((?:pcont|tests|benchmarks|examples)/[\w/]+\.(?:py|c|h|sh|md|txt))`", text)
    )
    missing = {one for one in named if not (CHECKOUT / one).exists()}
    assert {one for one in missing if "/tickets." not in one} == set()


def test_the_pages_have_links() -> None:
    assert sum(1 for page in pages() for _ in links(page)) > 50


def overview_of(words: str) -> str:
    """The lines of a command at the start of docs/commands.md."""
    lines = []
    shown = False
    for line in OVERVIEW.read_text(encoding="utf-8").partition("\n## ")[0].splitlines():
        if not line.startswith(" "):
            shown = bool(re.search(rf"(^|    ){re.escape(words)}\b", line))
        lines += [line] if shown else []
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("words", "command"),
    commands_of(cli(), "pcont ").items(),
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_the_overview_lists_every_command_and_option(words: str, command: click.Command) -> None:
    text = overview_of(words)
    assert text
    for option in command.params:
        names = {*option.opts, *option.secondary_opts}
        if isinstance(option, click.Option) and not names & COMMON:
            assert any(re.search(rf"(?<![\w-]){re.escape(one)}\b", text) for one in names), names
