"""Which split a record belongs to, from the hash of its input and the seed alone.

The hash is over the *input*, not the whole record: two answers to one question must not end up on both sides. Two ways:

- plain: a record whose hash, as a number in [0, 1), is below `test` is a test record, below `test + validation` a validation
  record, else a training record. Nothing else about the data set matters: added, removed or reordered records move no other.
- exact shares, where `stratifyBy` is set: within each stratum the inputs are ordered by the hash and the first share is taken,
  rounded to whole records. Order does not matter; an added record moves at most the one at each border of its stratum.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["TEST", "TRAIN", "VALIDATION", "exact_shares", "plain_shares", "quartiles", "salted"]

TRAIN: Final = 1
VALIDATION: Final = 2
TEST: Final = 3

U64 = npt.NDArray[np.uint64]
U16 = npt.NDArray[np.uint16]
U8 = npt.NDArray[np.uint8]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_M1: Final = np.uint64(0xBF58476D1CE4E5B9)
_M2: Final = np.uint64(0x94D049BB133111EB)


def salted(hashes: U64, seed: int) -> U64:
    """Mix a seed into hashes with splitmix64's finalizer (Steele, Lea and Flood 2014): other seeds, other splits."""
    with np.errstate(over="ignore"):
        z = hashes ^ (np.uint64(seed + 1) * _GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * _M1
        z = (z ^ (z >> np.uint64(27))) * _M2
        mixed: U64 = z ^ (z >> np.uint64(31))
        return mixed


def plain_shares(mixed: U64, *, validation: float, test: float) -> U8:
    """Assign each record by itself; shares hold on average, within about one part in the square root of the records."""
    position = mixed.astype(np.float64) / 2.0**64
    codes = np.full(len(mixed), TRAIN, np.uint8)
    codes[position < test + validation] = VALIDATION
    codes[position < test] = TEST
    return codes


def exact_shares(mixed: U64, strata: U16, *, validation: float, test: float, at_least_one: bool = False) -> U8:
    """Assign each stratum's first records by hash.

    Args:
        mixed: Salted hashes, one an input, no two alike.
        strata: Stratum of each.
        validation: Share of each stratum.
        test: Share of each stratum.
        at_least_one: Give a share that is over 0 at least one record where there are enough, for very small sets.

    Returns:
        TRAIN, VALIDATION or TEST for each.
    """
    codes = np.full(len(mixed), TRAIN, np.uint8)
    order = np.lexsort((mixed, strata))
    starts = np.flatnonzero(np.r_[True, np.diff(strata[order]) != 0]) if len(order) else np.zeros(0, np.int64)
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        n = int(end - start)
        n_test, n_validation = round(n * test), round(n * validation)
        if at_least_one and n >= 3:
            n_test, n_validation = max(n_test, int(test > 0)), max(n_validation, int(validation > 0))
        codes[order[start : start + n_test]] = TEST
        codes[order[start + n_test : start + n_test + n_validation]] = VALIDATION
    return codes


def quartiles(lengths: npt.NDArray[np.uint32]) -> U16:
    """Return 0-3: in which quarter of all lengths each lies."""
    if not len(lengths):
        return np.zeros(0, np.uint16)
    edges = np.quantile(lengths, [0.25, 0.5, 0.75])
    return np.searchsorted(edges, lengths, side="left").astype(np.uint16)
