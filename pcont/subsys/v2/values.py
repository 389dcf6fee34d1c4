"""Codecs of cgroup v2's files: limits in bytes, and lines of names and values."""

from __future__ import annotations

import re

from pcont.tables.rules import Site
from pcont.values import NO_LIMIT, Codec, size_meant, strip, whole_pages

_PAIR = re.compile(r"(\S+) ([0-9]{1,20})", re.ASCII)
_DEVICE = re.compile("[0-9]{1,9}:[0-9]{1,9}")
_NUMBER = re.compile("max|[0-9]{1,20}")

# Numbers by device and word; None is no limit.
Devices = dict[str, dict[str, "int | None"]]


class _ByteLimit:
    """The codec of a size in bytes, rounded down to pages; None for `max`."""

    takes = "a number of bytes with or without K, M, G or T, or max"

    def parse(self, text: str) -> int | None:
        if strip(text) == "max":
            return None
        number = whole_pages(text)
        return number if number < NO_LIMIT else None

    def show(self, value: int | None) -> str:
        return "max" if value is None else str(value)


class _Keyed:
    """The codec of lines with a name and a number, as in memory.events."""

    takes = "lines of a name and a number"

    def parse(self, text: str) -> dict[str, int]:
        found = [_PAIR.fullmatch(line) for line in text.splitlines()]
        if not all(found):
            raise ValueError("")
        return {match[1]: int(match[2]) for match in found if match}

    def show(self, value: dict[str, int]) -> str:
        return "\n".join(f"{name} {number}" for name, number in value.items())


class _Devices:
    """The codec of lines with a device and KEY=VALUE words, as in io.max. A write has one line, and
    changes the words that it names.
    """

    def __init__(self, takes: str, *names: str) -> None:
        self.takes, self.names = takes, names

    def parse(self, text: str) -> Devices:
        found: Devices = {}
        for words in filter(None, map(str.split, text.splitlines())):
            if not _DEVICE.fullmatch(words[0]):
                raise ValueError(f"{words[0]!r} is not MAJOR:MINOR of a disk")
            found[words[0]] = self._pairs(words[1:])
        return found

    def _pairs(self, words: list[str]) -> dict[str, int | None]:
        found: dict[str, int | None] = {}
        for word in words:
            name, _, number = word.partition("=")
            if name not in self.names or not _NUMBER.fullmatch(number):
                raise ValueError(
                    f"{word!r} is none of {', '.join(self.names)} with a number or max"
                )
            found[name] = None if number == "max" else int(number)
        return found

    def show(self, value: Devices) -> str:
        return "\n".join(f"{device} {_words(pairs)}" for device, pairs in value.items())


def _words(pairs: dict[str, int | None]) -> str:
    return " ".join(f"{name}={'max' if n is None else n}" for name, n in pairs.items())


BYTE_LIMIT: Codec = _ByteLimit()
KEYED: Codec = _Keyed()
IO_RATES = _Devices(
    "MAJOR:MINOR of a disk, and rbps=, wbps=, riops= or wiops= with a number or max",
    *("rbps", "wbps", "riops", "wiops"),
)
LATENCIES = _Devices("MAJOR:MINOR of a disk, and target= with microseconds or max", "target")


def bytes_meant(site: Site, text: str) -> str:
    """Return the size that a text probably means: 512M for `512MB`, max for `-1`; empty if
    unclear.
    """
    meant = "-1" if text.strip() == "-1" else size_meant(text)
    return "max" if meant == "-1" else meant
