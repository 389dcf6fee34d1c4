"""Hierarchies and containers, and how a user's words find them."""
