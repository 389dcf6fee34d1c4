"""attach.py FILE... <IDS: write each id to the files cgroup.procs or tasks."""

import os
import sys

files = sys.argv[1:]
for task in sys.stdin.read().splitlines():
    for file in files:
        descriptor = os.open(file, os.O_WRONLY)
        os.write(descriptor, task.encode())
        os.close(descriptor)
