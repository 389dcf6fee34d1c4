"""Words that stay out of every text that a person reads.

`python -m tests.language` prints each occurrence, or those in the files that you name.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[1]
FOLDERS = ("pcont", "tests", "benchmarks", "examples", "demo", "docs")
KINDS = (".md", ".py", ".sh", ".c", ".h")
# These files name the words.
EXEMPT = ("tests/language.py", "tests/test_language.py")

# A pattern, and what to write instead.
WORDS = (
    (r"who|whom|whoever|whomever", "a task, a file, a user: it, that"),
    (r"(?:some|no|every|any)body|(?:some|any|every)one|no one", "name the actor: a task, a user"),
    (r"he|him|his|himself", "it, its"),
    (r"told", "reported, printed, written, known"),
    (r"meanwhile", "during that, at that moment"),
    # Not "of pcont's programs", which is English.
    (
        r"of pcont's(?= (?:own|in|on|is|are|that|which|and|or|has|have|with|for)\b|[^ ]| $)",
        "of pcont",
    ),
    (r"be it|be they", "whether … or"),
    (r"(?:let|lets|letting) (?:(?:it|them) )?go", "release, remove, thaw"),
    (r"(?:is|are|was|were|be|has|have) gone|(?:goes|go) by (?:it|them)sel\w+", "removed, ended"),
    (r"for as long as", "while"),
    (r"for good", "permanently"),
    (r"(?:becomes?|became|become) of", "what happens to"),
    (r"(?:stands?|stood) (?:on|over|still|beside|there)", "uses, is frozen, waits, exists"),
    (r"apart by", "separated by"),
    (r"for one less", "remove one"),
    (r"(?:is|be) true (?:no more|again)", "no longer holds; is restored"),
    (r"makes? good", "removes, restores"),
    (r"given back|gives? back|giving back", "restored, returned"),
    (r"(?:as|so) it was said|what was said|is said (?:once|by|in)", "printed, given"),
    (r"by now it is|as it is by then", "then"),
)
PATTERN = re.compile(rf"\b(?:{'|'.join(pattern for pattern, _ in WORDS)})\b| [—–] ", re.IGNORECASE)
# Names that other programs chose: the user and group nobody.
ALLOWED = re.compile(r"nobody|nogroup|USER nobody")


class Found(NamedTuple):
    """A word, and the text around it."""

    word: str
    around: str


def files() -> list[Path]:
    """The files that have text, without what a build or a download made."""
    found = [*CHECKOUT.glob("*.md"), CHECKOUT / "Makefile"]
    for folder in FOLDERS:
        found += [path for path in (CHECKOUT / folder).rglob("*") if path.suffix in KINDS]
    return sorted(path for path in found if name_of(path) not in EXEMPT)


def name_of(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


def texts(path: Path) -> Iterator[str]:
    """The texts of a file: all of it, or of Python what is not code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield text
        return
    yield from literals(ast.parse(text))
    yield from comments(text)


def literals(tree: ast.AST) -> Iterator[str]:
    """The docstrings, the other strings, and the names of tests as sentences."""
    parts: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts.update(map(id, node.values))
            yield "".join(map(_part, node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in parts:
                yield node.value
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name.replace("_", " ")


def _part(node: ast.expr) -> str:
    """A part of an f-string: its text, or a mark for a value."""
    return str(node.value) if isinstance(node, ast.Constant) else "{}"


def comments(text: str) -> Iterator[str]:
    """The comments; lines that follow each other are one text."""
    block: list[str] = []
    last = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] != last + 1:
                yield " ".join(block)
                block = []
            block.append(token.string.lstrip("#! "))
            last = token.start[0]
    yield " ".join(block)


def occurrences(all_texts: Iterable[str]) -> Iterator[Found]:
    for text in all_texts:
        plain = " ".join(text.split())
        if ALLOWED.fullmatch(plain):
            continue
        for match in PATTERN.finditer(f" {plain} "):
            start, end = max(match.start() - 40, 0), match.end() + 40
            yield Found(match[0].strip(), f" {plain} "[start:end].strip())


def everywhere(paths: Iterable[Path]) -> Iterator[str]:
    """The occurrences in some files, as lines to print."""
    for path in paths:
        for found in occurrences(texts(path)):
            yield f"{name_of(path)}: {found.word}: … {found.around} …"


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("files", nargs="*", type=Path)
    options = parser.parse_args(words)
    for line in everywhere([one.resolve() for one in options.files] or files()):
        print(line)


if __name__ == "__main__":
    main()
