"""Codecs for texts that the patch set of 2006 parses differently from later kernels."""

from __future__ import annotations

import re
from collections.abc import Callable

from pcont.tables.rules import Machine
from pcont.values import ID_LIST, Codec, Ids, modulo

_LIST = r"([0-9]+(-[0-9]+)?,)*[0-9]+(-[0-9]+)?,?\n?"


class _LenientFlag:
    """The codec of a flag: any number but 0 is 1, and a text that is no number is 0."""

    takes = "0 or 1"

    def parse(self, text: str) -> int:
        found = re.match("[0-9]+", text)
        return 1 if found and found[0].strip("0") else 0

    def show(self, value: int) -> str:
        return str(value)


class _Verbatim:
    """The codec of a text that is kept unchanged, with its newline."""

    takes = "text"

    def parse(self, text: str) -> str:
        return text

    def show(self, value: str) -> str:
        return value


class OnlineList:
    """The codec of a list of CPU or memory node numbers, with at least one (lib/bitmap.c,
    bitmap_parselist()).

    Numbers that are not in `online` are dropped. Numbers from `limit` on are an error.
    """

    takes = ID_LIST.takes

    def __init__(self, online: Ids, limit: int) -> None:
        self.online, self.limit = online, limit

    def parse(self, text: str) -> Ids:
        """Return the online numbers of a list. Raises ValueError for another text, OverflowError
        for a number that is too high.
        """
        if not re.fullmatch(_LIST, text):
            raise ValueError(f"{text!r} is no list of numbers")
        found: Ids = ID_LIST.parse(text)
        if max(found) >= self.limit:
            raise OverflowError(f"{max(found)}: there are not so many")
        return found & self.online

    def show(self, value: Ids) -> str:
        """Return the numbers as a list with ranges."""
        return ID_LIST.show(value)


class _Decimal:
    """The codec of decimal digits, without even a newline after them."""

    takes = "a decimal number, without a newline"

    def parse(self, text: str) -> int:
        if not re.fullmatch("[0-9]{1,600}", text):
            raise ValueError(f"{text!r} is no decimal number")
        return int(text)

    def show(self, value: int) -> str:
        return str(value)


class _Parameter:
    """The codec of an int parameter of a module (kernel/params.c, param_set_int() of 2006).

    0x and a leading 0 change the base. Text after the number is ignored. Of a number with more than
    64 bits, the lowest count.
    """

    takes = "a number of 32 bits"

    def parse(self, text: str) -> int:
        """Return the number. Raises ValueError if the text does not begin with a number, or it is
        too high.
        """
        found = re.match(r"(-?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))", text)
        if not found:
            raise ValueError(f"{text!r} does not begin with a number")
        sign, *digits = found.groups()
        bases = zip(digits, (16, 8, 10), strict=True)
        number = next(modulo(some, base=base) for some, base in bases if some)
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
    """Return the `Access.longest` of a file that accepts fewer than so many bytes in one write."""
    return lambda machine: bytes - 1


def first_number(text: str) -> int:
    """Return the decimal number at the start of a text. Blanks before and text after it are
    ignored.
    """
    found = re.match(r"\s*([+-]?[0-9]{1,600})", text)
    if not found:
        raise ValueError(f"{text!r} does not begin with a number")
    return int(found[1])
