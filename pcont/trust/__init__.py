"""Decide whether pcont may trust files, directories and attributes that other users could have
changed.
"""
