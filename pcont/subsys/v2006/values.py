"""How the patch set of 2006 read what was written, where later kernels read it otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable

from pcont.tables.rules import Machine
from pcont.values import ID_LIST, Codec, Ids

_LIST = re.compile(r"([0-9]+(-[0-9]+)?,)*[0-9]+(-[0-9]+)?,?\n?")


class _LenientFlag:
    """0 or 1: every number but 0 is 1, and whatever is no number is 0."""

    takes = "0 or 1"

    def parse(self, text: str) -> int:
        found = re.match("[0-9]+", text)
        return 1 if found and int(found[0]) else 0

    def show(self, value: int) -> str:
        return str(value)


class _Verbatim:
    """What was written, its newline too."""

    takes = "text"

    def parse(self, text: str) -> str:
        return text

    def show(self, value: str) -> str:
        return value


class OnlineList:
    """CPU or memory node numbers, one at least (lib/bitmap.c, bitmap_parselist()).

    Of those that are written, those count that are `online`; from the `limit` on there are none.
    """

    takes = ID_LIST.takes

    def __init__(self, online: Ids, limit: int) -> None:
        self.online, self.limit = online, limit

    def parse(self, text: str) -> Ids:
        """Raises ValueError for another text, OverflowError for a number that is too high."""
        if not _LIST.fullmatch(text):
            raise ValueError(f"{text!r} is no list of numbers")
        found: Ids = ID_LIST.parse(text)
        if max(found) >= self.limit:
            raise OverflowError(f"{max(found)}: there are not so many")
        return found & self.online

    def show(self, value: Ids) -> str:
        """As it is read."""
        return ID_LIST.show(value)


class _Decimal:
    """Decimal digits, and not even a newline after them."""

    takes = "a decimal number, without a newline"

    def parse(self, text: str) -> int:
        if not re.fullmatch("[0-9]+", text):
            raise ValueError(f"{text!r} is no decimal number")
        return int(text)

    def show(self, value: int) -> str:
        return str(value)


class _Parameter:
    """An int of a module, as sysfs takes it: kernel/params.c, param_set_int() of that time.

    0x and a leading 0 change the base, what follows the number does not count, and of more than 64
    bits the lowest do.
    """

    takes = "a number of 32 bits"

    def parse(self, text: str) -> int:
        """Raises ValueError for what does not begin with a number, or with too high a one."""
        found = re.match(r"(-?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))", text)
        if not found:
            raise ValueError(f"{text!r} does not begin with a number")
        sign, *digits = found.groups()
        bases = zip(digits, (16, 8, 10), strict=True)
        number = next(int(some, base) for some, base in bases if some)
        number = (-number if sign else number) % (1 << 64)
        number -= (number >> 63) << 64
        if not -1 << 31 <= number < 1 << 31:
            raise ValueError(f"{number} takes more than 32 bits")
        return number

    def show(self, value: int) -> str:
        return str(value)


LENIENT_FLAG: Codec = _LenientFlag()
VERBATIM: Codec = _Verbatim()
DECIMAL: Codec = _Decimal()
PARAMETER: Codec = _Parameter()


def less_than(bytes: int) -> Callable[[Machine], int]:
    """The most bytes that may be written at once, whatever the machine: one less."""
    return lambda machine: bytes - 1


def first_number(text: str) -> int:
    """The decimal number at the start of a text, blanks before it; the rest does not count."""
    found = re.match(r"\s*([+-]?[0-9]+)", text)
    if not found:
        raise ValueError(f"{text!r} does not begin with a number")
    return int(found[1])
