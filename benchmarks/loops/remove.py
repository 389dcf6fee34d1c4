"""remove.py <NAMES: remove each directory."""

import os
import sys

for name in sys.stdin.read().splitlines():
    os.rmdir(name)
