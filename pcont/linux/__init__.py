"""System calls, /proc, processes and namespaces of Linux."""
