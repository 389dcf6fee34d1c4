"""ns as it was announced with the patch set of 2006: the same rules as on v1."""

from __future__ import annotations

from pcont.subsys.v1.ns import TABLE as TABLE_V1

TABLE = TABLE_V1
