"""agent: what pcont says where only the system log hears it."""

from __future__ import annotations

import syslog

import pytest

from pcont import agent


@pytest.mark.parametrize("name", ["jobs:/a", "jobs:/ä", "jobs:/\udcff", "jobs:/\x1b[2J"])
def test_the_name_of_a_container_is_logged_whatever_it_is(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users name their containers: one name must not end the agent, nor be more than text."""
    logged: list[str] = []
    monkeypatch.setattr(syslog, "syslog", lambda level, text: logged.append(text.encode().decode()))
    agent._log(f"{name} stays")
    (text,) = logged
    assert text.isprintable()
    assert name.isprintable() == (text == f"{name} stays")
