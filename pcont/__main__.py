"""The `pcont` command: `python -m pcont` and the installed script both start here."""

import atexit
import contextlib
import gc
import os
import sys

_OBJECTS = 100_000  # after so many new ones, Python looks for garbage; a short command has less


def start() -> None:
    """Run the command line and exit with its status, or by the signal that ended the command."""
    _use_utf8()
    gc.set_threshold(_OBJECTS)
    if {"move", "--tree", "--kill"} & {*sys.argv}:
        from pcont.linux.priority import raise_early

        raise_early(sys.argv[1:])
    from pcont import signals

    signals.is_command_line = True
    status = _run()
    if number := getattr(status, "terminal_signal", 0):
        # A shell ends a loop or a script by ^C only where what it has started ends by it.
        from pcont.linux.job_control import die_by

        die_by(number)
    if sys.gettrace() or sys.getprofile():
        sys.exit(status)
    # Python frees every object before it exits, which takes longer than many commands.
    atexit._run_exitfuncs()
    os._exit(status)


def _run() -> int:
    """Run the command line; returns the exit status."""
    from pcont.cli import main

    try:
        return main()
    except SystemExit as err:  # click's, after it has printed completions
        if not isinstance(err.code, int):
            raise
        return err.code


def _use_utf8() -> None:
    """Start again in Python's UTF-8 mode if the locale has another encoding.

    Names of containers are bytes, which pcont reads and writes as UTF-8 in every locale. In another
    encoding, Python could read one name as two different ones.
    """
    if sys.getfilesystemencoding() != "utf-8" and sys.executable and not sys.flags.utf8_mode:
        with contextlib.suppress(OSError):
            os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


if __name__ == "__main__":
    start()
