"""Standard streams on which reading and writing text never raises.

A change is made, even if its result cannot be printed. An error of standard output is remembered,
and `cli.main` reports it at the end. An error of standard error is dropped, because there is no
other stream to report it on.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

ERRORS = "pcont"  # the name of `_replace` as an error handler of codecs
ALIKE = dict(zip("…×–—", ("...", "x", "-", "-"), strict=True))


class _Raw(io.RawIOBase):
    """A file descriptor. After the first error it accepts everything, and writes nothing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write all data, also to a non-blocking terminal or pipe."""
        left = memoryview(data).cast("B")
        while left and self.failure is None:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                import select  # few streams are such

                select.select([], [self._descriptor], [])
            except OSError as err:
                self.failure = err
        return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)


class Output:
    """The standard streams of one command."""

    def __init__(self) -> None:
        self._raw: _Raw | None = None

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Replace the standard streams in the block by ones that never raise."""
        _fill_closed()
        before = sys.stdin, sys.stdout, sys.stderr
        if sys.stdin is None:
            sys.stdin = open(os.devnull)  # noqa: SIM115
        elif isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="surrogateescape")
        sys.stdout, self._raw = _guarded(sys.stdout)
        sys.stderr, _ = _guarded(sys.stderr)
        try:
            yield
        finally:
            self.flush()
            sys.stdin, sys.stdout, sys.stderr = before

    def flush(self) -> None:
        """Write the buffers."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()

    @property
    def failure(self) -> OSError | None:
        """The error of standard output; None if there was none."""
        return self._raw.failure if self._raw else None


def _guarded(stream: TextIO | None) -> tuple[TextIO, _Raw | None]:
    """Return a stream like this one that never raises. A stream set by a caller is kept."""
    if stream is None:
        return open(os.devnull, "w"), None
    if not isinstance(stream, io.TextIOWrapper):
        return stream, None
    # With PYTHONUNBUFFERED or -u there is no buffer between.
    file = getattr(stream.buffer, "raw", stream.buffer)
    if not isinstance(file, io.FileIO):
        stream.reconfigure(errors=ERRORS)
        return stream, None
    stream.flush()
    raw = _Raw(file.fileno())
    buffer: Any = raw if file is stream.buffer else io.BufferedWriter(raw)
    return (
        io.TextIOWrapper(
            buffer,
            encoding=stream.encoding,
            errors=ERRORS,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        ),
        raw,
    )


def _fill_closed() -> None:
    """Open /dev/null for each closed standard stream: the next file would get its number.

    It is close-on-exec: commands that pcont starts find the stream closed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


def _replace(err: UnicodeError) -> tuple[str | bytes, int]:
    """Codec error handler: write undecodable bytes of names unchanged, and replace a character that
    the encoding lacks by a similar one.
    """
    if not isinstance(err, UnicodeEncodeError):
        raise err
    sign = err.object[err.start]
    if "\udc80" <= sign <= "\udcff":
        return bytes([ord(sign) - 0xDC00]), err.start + 1
    return ALIKE.get(sign) or sign.encode("ascii", "backslashreplace").decode(), err.start + 1


codecs.register_error(ERRORS, _replace)
