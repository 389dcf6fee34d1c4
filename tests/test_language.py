"""Plain words: the listed ones stay out of pages, messages, help texts, comments and test names."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests import language


def test_no_file_has_one_of_the_words() -> None:
    found = list(language.everywhere(language.files()))
    assert not found, "write something else: tests/language.py suggests it beside each word"


def test_a_word_is_found_in_each_kind_of_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language, "CHECKOUT", tmp_path)
    texts = {"page.md": "It is gone.", "code.py": "# It is gone.", "load.c": "/* It is gone. */"}
    for name, text in texts.items():
        (tmp_path / "docs").mkdir(exist_ok=True)
        (tmp_path / "docs" / name).write_text(text)
    (tmp_path / "Makefile").write_text("# It is gone.")
    found = [line.split(": ")[:2] for line in language.everywhere(language.files())]
    files = ["Makefile", *(f"docs/{name}" for name in sorted(texts))]
    assert found == [[name, "is gone"] for name in files]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Whoever is told\n    waits meanwhile.", ["Whoever", "told", "meanwhile"]),
        ("the agent of pcont's own", ["of pcont's"]),
        ("a container of pcont's; of pcont's", ["of pcont's", "of pcont's"]),
        ("the agent of pcont's programs", []),
        ("it lets it go when nobody is there", ["lets it go", "nobody"]),
        ("the container is gone for good", ["is gone", "for good"]),
        ("one thing — and another", ["—"]),
        ("a whole file, the number of whole files", []),
        ("CPUs 0–3; old, gold, the other", []),
        ("nobody", []),  # the user
    ],
)
def test_words_are_found_in_any_case_and_across_lines(text: str, words: list[str]) -> None:
    assert [found.word for found in language.occurrences([text])] == words


def test_of_python_code_the_texts_count_and_the_names_do_not() -> None:
    code = '''
"""Who comes."""
def test_nobody_waits(told: str) -> None:
    whoever = f"{told} is {1} gone" " for good"
    # somebody
    # is gone
'''
    found = [*language.literals(ast.parse(code)), *language.comments(code)]
    assert sorted(one.word for one in language.occurrences(found)) == [
        *("Who", "for good", "is gone", "nobody", "somebody")
    ]
