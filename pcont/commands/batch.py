"""The command that carries out many others: batch."""

from __future__ import annotations

from pcont.commands.common import App, changing, verb
from pcont.commands.declare import argument, option
from pcont.commands.kinds import FileName


@verb(
    "pcont batch jobs.pcont",
    "pcont batch --atomic --dry-run jobs.pcont",
    "pgrep make | sed 's|^|attach jobs:/batch |' | pcont batch --keep-going",
)
@argument("file", kind=FileName(), metavar="[FILE|-]", default="-")
@option("--keep-going", is_flag=True, help="Carry out the other lines after a line has failed.")
@option("--atomic", is_flag=True, help="Carry out all lines or none: undo them if one fails.")
@changing
def batch_command(app: App, file: str, keep_going: bool, atomic: bool, dry_run: bool) -> int:
    """Carry out many commands, one on each line of a file.

    \b
    A line is what follows pcont on a command line:
      mount -o pids --name jobs
      create jobs:/batch -s pids.max=100   # a comment
      pcont attach jobs:/batch 4711

    pcont splits a line as a shell does, without expansions. It skips empty lines and comments, and
    a line may begin with the word pcont. Without FILE, it reads standard input. pcont parses all
    lines before it carries out the first one.

    pcont stops at the first line that fails, prints FILE:LINE and the error, and exits with its
    status. The lines before it stay done. With --keep-going, pcont exits with the status of the
    first line that failed.

    --dry-run, --json, --timeout and the backend hold for all lines. A line cannot be run, clone,
    recover or batch; with --atomic, it cannot be a command that pcont cannot undo.
    """
    from pcont.commands.line_runner import run_batch

    return run_batch(app, file, keep_going=keep_going, atomic=atomic, dry_run=dry_run)
