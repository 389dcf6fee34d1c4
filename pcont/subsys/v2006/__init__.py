"""The tables of the patch set of December 2006: one module each.

Sections are those of the patch's semantics as the modules quote them.
"""
