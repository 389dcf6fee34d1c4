"""Bare loops in C and in Python: the least that a program must do for the same work."""
