"""set: what it reads of a file before it writes."""

from __future__ import annotations

from pcont.backend_model import Model
from pcont.kernel.types import Place
from pcont.ops import containers, mount, settings
from pcont.session import Session
from pcont.subsys.pids import PIDS_MAX


class Empty(Model):
    """A model in which pids.max reads as an empty text, as a file with no entries does. It counts
    how often the file is read.
    """

    reads = 0

    def read(self, place: Place, file: str) -> str:
        text = super().read(place, file)
        self.reads += file == PIDS_MAX
        return "" if file == PIDS_MAX else text


def test_an_empty_text_is_known_like_any_other_and_read_once() -> None:
    model = Empty()
    mount.mount(Session(model), "pids")
    containers.create(Session(model), ["pids:/a"])
    model.reads = 0
    settings.assign(Session(model), "pids:/a", [f"{PIDS_MAX}=5"])
    assert model.reads == 1
