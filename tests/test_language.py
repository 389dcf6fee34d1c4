"""Plain words: the listed ones stay out of pages, messages, help texts, comments and test names."""

from __future__ import annotations

import ast

import pytest

from tests import language


@pytest.fixture(scope="module")
def counts() -> dict[str, int]:
    return language.counts()


def test_no_page_has_one_of_the_words(counts: dict[str, int]) -> None:
    pages = [name for name in counts if name.endswith(".md")]
    assert not pages, "python -m tests.language FILE shows them"


def test_no_file_has_more_than_its_number(counts: dict[str, int]) -> None:
    allowed = language.remains()
    more = {name: number for name, number in counts.items() if number > allowed.get(name, 0)}
    assert not more, "python -m tests.language FILE shows them: use other words"


def test_no_file_has_fewer_than_its_number(counts: dict[str, int]) -> None:
    fewer = {
        name: counts.get(name, 0)
        for name, number in language.remains().items()
        if counts.get(name, 0) < number
    }
    assert not fewer, "lower the numbers: python -m tests.language --lower"


def test_a_number_is_lowered_and_never_raised() -> None:
    allowed = {"a.py": 3, "b.py": 1, "c.py": 2}
    assert language.lower(allowed, {"a.py": 2, "b.py": 4, "d.py": 1}) == {"a.py": 2, "b.py": 1}


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
