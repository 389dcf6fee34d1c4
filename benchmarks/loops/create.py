"""create.py FILE=TEXT... <NAMES: make each directory, and write the texts to its files."""

import os
import sys

values = [word.encode().split(b"=", 1) for word in sys.argv[1:]]
files = [(file.decode(), text) for file, text in values]
for name in sys.stdin.read().splitlines():
    os.mkdir(name)
    for file, text in files:
        descriptor = os.open(f"{name}/{file}", os.O_WRONLY)
        os.write(descriptor, text)
        os.close(descriptor)
