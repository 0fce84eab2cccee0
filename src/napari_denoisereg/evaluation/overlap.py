"""Dice: how well two label images cover each other.

    Dice(k) = 2 |A_k and B_k| / (|A_k| + |B_k|)

where `A_k`, `B_k` are the pixels with label k. 1 is a perfect match, 0 no overlap at all. Background (label 0) is never
counted. Warp labels with nearest neighbour before you compare them.

References
----------
Dice, L. R.: Measures of the amount of ecologic association between species. Ecology 26(3), 1945.
https://doi.org/10.2307/1932409
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[Any]


def dice(first: Labels, second: Labels) -> dict[int, float]:
    """Return the Dice coefficient of every label that occurs in either image.

    Parameters
    ----------
    first, second
        Label images or masks of equal shape, whole numbers from 0 (background).
    """
    first, second = _checked(first), _checked(second)
    if first.shape != second.shape:
        raise ValueError(f"Label images must agree in shape, got {first.shape} and {second.shape}; warp both onto one grid.")
    both, one, other = _sizes(first[first == second]), _sizes(first), _sizes(second)
    names = sorted(one.keys() | other.keys())
    return {label: 2 * both.get(label, 0) / (one.get(label, 0) + other.get(label, 0)) for label in names}


def mean_dice(first: Labels, second: Labels, *, n_largest: int | None = None) -> float:
    """Return the mean Dice of the `n_largest` labels (by pixels in both images together), or of all of them.

    NaN when neither image has a label.
    """
    one, other = _sizes(_checked(first)), _sizes(_checked(second))
    sizes = {label: one.get(label, 0) + other.get(label, 0) for label in one.keys() | other.keys()}
    per_label = dice(first, second)
    chosen = _largest(sizes, n_largest)
    return float(np.mean([per_label[label] for label in chosen])) if chosen else float("nan")


def neighbour_dice(labels: Labels, *, n_largest: int | None = 50, at_rest: Labels | None = None) -> NDArray[np.float64]:
    """Return the mean Dice of each section with the next one `(z - 1,)`, ssEMnet's measure of a section stack.

    Parameters
    ----------
    labels
        Ids of a stack `(z, y, x)`, the same number for the same cell in every section.
    n_largest
        Count only the so many labels with most voxels in the whole stack; None counts all. A pair of sections without any
        label that counts is NaN.
    at_rest
        The ids before they were deformed, if known. Then they decide what counts: the largest labels, and for each pair of
        sections those that are in both. Without, a label counts for a pair if it is in either section.

    Notes
    -----
    With `at_rest` a cell that ends between two sections is no error of the alignment, and one that an alignment pushes out of
    the image is: what counts does not depend on the alignment that is judged. The publications leave it open. See
    benchmarks/README.md for what the readings give.
    """
    stack = _checked(labels)
    if stack.ndim != 3 or len(stack) < 2:
        raise ValueError(f"Expected a stack (z, y, x) of at least 2 sections, got shape {stack.shape}; stack them first.")
    truth = stack if at_rest is None else _checked(at_rest)
    if truth.shape != stack.shape:
        raise ValueError(f"Ids at rest must agree in shape, got {truth.shape} and {stack.shape}; take the same sections.")
    chosen = set(_largest(_sizes(truth), n_largest))
    means = np.full(len(stack) - 1, np.nan)
    for z in range(len(means)):
        here, there = (set(np.unique(truth[z + side]).tolist()) & chosen for side in (0, 1))
        found = dice(stack[z], stack[z + 1])
        # A label that an alignment lost in both sections is not kept at all: 0.
        values = [found.get(label, 0.0) for label in sorted(here | there if at_rest is None else here & there)]
        if values:
            means[z] = np.mean(values)
    return means


def _checked(labels: Labels) -> NDArray[np.int64]:
    array = np.asarray(labels)
    if array.dtype != bool and not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"Labels must be whole numbers or a mask, got {array.dtype}; convert with .astype(int).")
    return array.astype(np.int64)


def _sizes(labels: NDArray[np.int64]) -> dict[int, int]:
    names, counts = np.unique(labels[labels != 0], return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _largest(sizes: dict[int, int], n: int | None) -> list[int]:
    if n is not None and n < 1:
        raise ValueError(f"n_largest must be at least 1 or None, got {n}; pass None to count every label.")
    return sorted(sizes, key=lambda label: (-sizes[label], label))[:n]
