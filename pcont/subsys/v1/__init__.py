"""The tables of cgroup v1, and of the subsystems that pcont provides on it: one module each."""
