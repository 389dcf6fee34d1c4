"""The two numbers for a container's share of CPU time: cpu.shares of cgroup v1, and cpu.weight of
cgroup v2.

pcont converts them as runc (since 1.3.2) and crun (since 1.23) do: a quadratic curve through the
least, the usual and the largest values: 2 is 1, 1024 is 100, 262144 is 10000. Several shares have
one weight.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import cache

LEAST_SHARES, MOST_SHARES = 2, 1 << 18
LEAST_WEIGHT, USUAL_WEIGHT, MOST_WEIGHT = 1, 100, 10_000


def limited_shares(shares: int) -> int:
    """Return the shares that the kernel uses for a number that is written into cpu.shares."""
    return max(LEAST_SHARES, min(shares, MOST_SHARES))


@cache
def weight_of(shares: int) -> int:
    """Return the weight for shares.

    >>> [weight_of(shares) for shares in (2, 512, 1024, 2048, 10240, 262144)]
    [1, 59, 100, 174, 639, 10000]
    """
    if shares <= LEAST_SHARES:
        return LEAST_WEIGHT
    if shares >= MOST_SHARES:
        return MOST_WEIGHT
    power = math.log2(shares)
    return math.ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def most_shares(weight: int) -> int:
    """Return the largest shares that have a weight: 1024 for 100.

    >>> [most_shares(weight) for weight in (1, 59, 100, 174, 10000)]
    [2, 521, 1024, 2059, 262144]
    """
    return bisect_right(range(MOST_SHARES + 1), weight, lo=LEAST_SHARES, key=weight_of) - 1
