"""The `pcont` command: `python -m pcont` and the installed script both start here."""

import sys


def run() -> None:
    """Run the command line and exit with its status, or by the signal that ended the command."""
    from pcont.cli import main

    status = main()
    if number := getattr(status, "terminal_signal", 0):
        # A shell ends a loop or a script by ^C only where what it has started ends by it.
        from pcont.jobcontrol import die_by

        die_by(number)
    sys.exit(status)


if __name__ == "__main__":
    run()
