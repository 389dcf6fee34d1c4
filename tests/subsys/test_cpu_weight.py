"""cpu_weight: shares of cgroup v1 and weights of cgroup v2, as runc and crun convert them."""

from __future__ import annotations

import math

import pytest

from pcont.subsys.cpu_weight import MOST_SHARES, limited_shares, most_shares, weight_of


@pytest.mark.parametrize(
    ("shares", "weight"),
    [
        *((0, 1), (1, 1), (2, 1), (3, 2), (512, 59), (1011, 99), (1012, 100), (1024, 100)),
        *((1025, 101), (2048, 174), (10240, 639), (262144, 10000), (300000, 10000)),
    ],
)
def test_shares_have_the_weight_that_runc_gives_them(shares: int, weight: int) -> None:
    assert weight_of(shares) == weight


def test_the_curve_is_that_of_runc() -> None:
    for shares in range(3, MOST_SHARES, 97):
        power = math.log2(shares)
        curve = 10 ** ((power * power + 125 * power) / 612.0 - 7.0 / 34.0)
        assert weight_of(shares) == math.ceil(curve)


def test_the_shares_of_a_weight_are_the_top_of_its_range() -> None:
    assert [most_shares(weight) for weight in (1, 100, 10000)] == [2, 1024, 262144]
    for weight in range(1, 10_001):
        top = most_shares(weight)
        assert weight_of(top) == weight
        assert top == MOST_SHARES or weight_of(top + 1) == weight + 1


def test_larger_shares_never_have_a_smaller_weight() -> None:
    weights = [weight_of(shares) for shares in range(2, MOST_SHARES + 1, 31)]
    assert weights == sorted(weights)


def test_the_kernel_limits_shares() -> None:
    assert [limited_shares(shares) for shares in (0, 2, 1024, 1 << 40)] == [2, 2, 1024, MOST_SHARES]
