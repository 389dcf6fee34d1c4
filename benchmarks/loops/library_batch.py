"""library_batch.py KEY=VALUE... <PLACES: create each container, in a batch of the library."""

import sys

import pcont

with pcont.open() as kernel, kernel.batch():
    for place in sys.stdin.read().splitlines():
        kernel.create(place, settings=sys.argv[1:])
