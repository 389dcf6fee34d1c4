"""The `pcont` command: `python -m pcont` and the installed script both start here."""

import sys


def run() -> None:
    """Run the command line and exit with its status."""
    from pcont.cli import main

    sys.exit(main())


if __name__ == "__main__":
    run()
