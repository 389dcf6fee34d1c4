"""The queue of containers that have become empty, in the model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from pcont.model.cgroups import agent_program
from pcont.model.config import ModelConfig
from pcont.model.hierarchies import Hierarchies


class ModelReleases:
    """The ReleaseQueue of a model. Release agents of the user are not run, only recorded.

    `remove_exited`: removes the real tasks that have exited. `exclusive`: locks the model, so that
    its state may change.
    """

    attended = False

    def __init__(
        self,
        config: ModelConfig,
        hierarchies: Hierarchies,
        remove_exited: Callable[[], None],
        exclusive: Callable[[], contextlib.AbstractContextManager[None]],
    ) -> None:
        self._config, self._hierarchies = config, hierarchies
        self._remove_exited, self._exclusive = remove_exited, exclusive

    def program(self, tree: str) -> str:
        return agent_program(tree)

    def programs(self) -> dict[str, bool]:
        return {}

    def keeper(self, tree: str) -> str:
        return ""

    def forget(self, tree: str) -> None:
        """Do nothing: the model keeps nothing of a release agent."""

    def reported(self) -> list[str]:
        self._remove_exited()
        return [tree.id for tree in self._hierarchies.active if tree.emptied]

    @contextlib.contextmanager
    def taken(self, tree: str) -> Iterator[list[str]]:
        for one in self._hierarchies.active:
            if one.id == tree:
                paths, one.emptied = one.emptied, []
                yield paths
                one.emptied += paths
                return
        yield []

    def notify(self, program: str, path: str) -> None:
        with self._exclusive():
            self._config.notify(program, path)
