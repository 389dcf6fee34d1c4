"""Beside a real systemd: what it does with containers of pcont, and pcont with its units."""
