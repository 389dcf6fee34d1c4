"""lines.py <TEXT: print the words of each line, separated by tabs."""

import sys

for line in sys.stdin:
    print("\t".join(line.split()))
