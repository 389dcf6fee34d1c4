"""Hierarchies and containers, and how the PLACE, SELECTOR and KEY arguments of a user
select them.
"""
