"""Changes that no test can notice, each with why."""

from __future__ import annotations

# By module, place, what was there, what stands there instead (changes.Change.key).
EQUIVALENT: dict[tuple[str, str, str, str], str] = {}
