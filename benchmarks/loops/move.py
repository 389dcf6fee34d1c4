"""move.py SOURCE TARGET: write each id in the file SOURCE to the file TARGET."""

import os
import sys

source = os.open(sys.argv[1], os.O_RDONLY)
ids = b""
while more := os.read(source, 65536):
    ids += more
target = os.open(sys.argv[2], os.O_WRONLY)
for task in ids.split():
    os.write(target, task)
