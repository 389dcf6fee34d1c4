"""The tables of the patch set of December 2006: one module for each subsystem.

Section numbers refer to the description of the patch set's semantics.
"""
