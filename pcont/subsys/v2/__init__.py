"""The control files of cgroup v2, one module for each controller; `core` has those of every
container.
"""
