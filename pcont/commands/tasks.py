"""Commands that move tasks: attach and move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcont.commands.common import (
    App,
    changing,
    force_option,
    movable_option,
    pids_argument,
    verb,
    verbose_option,
)
from pcont.commands.declare import argument, option

if TYPE_CHECKING:
    from pcont.ops.task_ids import TaskIds


@verb(
    "pcont attach jobs:/batch 4711 4712",
    "pcont attach --tree jobs:/batch 4711",
    "pgrep -u alice make | pcont attach jobs:/batch -",
)
@argument("place")
@pids_argument
@option("--thread", is_flag=True, help="Move only these tasks, not their whole processes.")
@option("--tree", is_flag=True, help="Move all descendants of the processes, too.")
@movable_option
@verbose_option
@force_option
@changing
def attach_command(
    app: App,
    place: str,
    pids: TaskIds,
    thread: bool,
    tree: bool,
    movable: bool,
    force: bool,
    dry_run: bool,
) -> None:
    """Move processes, with all their threads, into a container.

    \b
    A PID is one of:
      4711     an id, which must be that of a task
      100-120  a range: the processes in it (with --thread, the tasks)
      -        ids on standard input, separated by blanks, commas or
               newlines: the tasks among them that have not ended

    It is an error if none of them is a task. Children that a process forks during the move are
    moved with it; with --tree, also those that daemonize.
    """
    from pcont.ops import attach as ops_attach

    session = app.session(dry_run, force)
    outcome = ops_attach.attach(session, place, pids, thread=thread, tree=tree, movable=movable)
    app.show_move(session, outcome)


@verb("pcont move jobs:/batch jobs:/night")
@argument("source")
@argument("target")
@movable_option
@verbose_option
@force_option
@changing
def move_command(
    app: App, source: str, target: str, movable: bool, force: bool, dry_run: bool
) -> None:
    """Move all tasks of a container to another one.

    pcont also moves the tasks that they fork during the move. If the hierarchy has the freezer,
    pcont freezes the tasks for the move. Kernel threads of a root container that cannot be moved
    are skipped. To empty a root container, use --force.
    """
    from pcont.ops import attach as ops_attach

    session = app.session(dry_run, force)
    app.show_move(session, ops_attach.move(session, source, target, movable=movable))
