"""eBPF programs that pcont loads into the kernel, to enforce limits that the kernel's controllers
lack.
"""
