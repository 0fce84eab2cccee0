"""Balance: all sections moved at once, so that what block matching found between neighbours adds up.

Two things move what is seen from one section to the next: how each section was deformed, independently of the others, and how
tissue runs through the stack (an axon that runs obliquely). A chain takes both for deformation and drifts. Here both are
unknowns, ``δ_z`` and ``f_z`` at every node, told apart by what is known of them: deformations bend little (thin plates), are
small, and know nothing of each other; tissue runs on steadily. With ``u`` the motion so far, minimised is

    Σ_ij w_ij ρ(δ_j - δ_i + Σ_{i≤z<j} f_z - r_ij)       matches r_ij of sections i and j (ρ: Cauchy, outliers do not pull)
    + pull |u + δ|² + stiffness |∂²(u + δ)|²            each section by itself
    + steadiness |f_{z+1} - f_z|² + calm |f|² + evenness |∂f|²    tissue, from section to section and within one

One sparse linear system, solved a few times with new robust weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.sparse.linalg import cg, splu

Floats = NDArray[np.float64]
ROUNDS = 4
DIRECT = 500  # up to so many unknowns are solved directly


@dataclass(frozen=True)
class Weights:
    """What the terms cost, lengths in units of ``length``.

    Parameters
    ----------
    length : float
        Unit of length, px.
    pull, stiffness, steadiness, calm, evenness : float
        See the module.
    outlier : float
        Matches that are off by more than that count little, px.
    """

    length: float
    pull: float
    stiffness: float
    steadiness: float
    calm: float
    evenness: float
    outlier: float


@dataclass(frozen=True, eq=False)
class Measured:
    """Matches between sections.

    Parameters
    ----------
    pairs : sequence of (int, int)
        Sections ``i < j``.
    shift : ndarray
        ``r``, ``(P, D, *nodes)``, px.
    weight : ndarray
        ``(P, *nodes)``.
    """

    pairs: Sequence[tuple[int, int]]
    shift: Floats
    weight: Floats


def balance(
    measured: Measured, bend: Floats, steps: Sequence[float], weights: Weights, hold: Sequence[bool], *, with_flow: bool
) -> tuple[Floats, Floats]:
    """Solve for all sections.

    Parameters
    ----------
    measured : Measured
        Matches of the sections as they are bent now.
    bend : ndarray
        ``u``, ``(T, D, *nodes)``, px.
    steps : sequence of float
        Distance of nodes along each axis, px.
    weights : Weights
        Of the terms.
    hold : sequence of bool
        Sections that do not move.
    with_flow : bool
        Whether tissue runs obliquely at all; without, sections are simply brought together.

    Returns
    -------
    tuple of ndarray
        ``δ`` ``(T, D, *nodes)`` and ``f`` ``(T - 1, D, *nodes)``, px.
    """
    n, ndim, nodes = len(bend), bend.shape[1], bend.shape[2:]
    size = int(np.prod(nodes))
    cell = float(np.prod([step / weights.length for step in steps]))
    design = _design(measured.pairs, n, size)
    smooth = _smoothness(n, nodes, [step / weights.length for step in steps], weights)
    free = np.repeat([*(not each for each in hold), *[with_flow] * (n - 1)], size)
    found, before = np.zeros((ndim, len(free))), np.zeros((ndim, len(free)))
    before[:, : n * size] = np.moveaxis(bend, 1, 0).reshape(ndim, -1)
    wanted = np.moveaxis(measured.shift, 1, 0).reshape(ndim, -1)
    fixed_part, shown = (smooth @ before.T)[free], design[:, free]
    sure = measured.weight.reshape(-1) * cell
    robust = sure
    for _ in range(ROUNDS):
        system = (shown.T @ sparse.diags(robust) @ shown + cell * smooth[free][:, free]).tocsc()
        right = shown.T @ (robust * wanted).T - cell * fixed_part
        found[:, free] = _solve(system, right, found[:, free].T).T
        off = np.linalg.norm((design @ found.T).T - wanted, axis=0)
        robust = sure / (1 + (off / weights.outlier) ** 2)
    moved, flow = np.split(found, [n * size], axis=1)
    return (
        np.moveaxis(moved.reshape(ndim, n, *nodes), 0, 1),
        np.moveaxis(flow.reshape(ndim, n - 1, *nodes), 0, 1),
    )


def _solve(system: Any, right: Floats, guess: Floats) -> Floats:
    if len(right) <= DIRECT:
        return np.asarray(splu(system).solve(right))
    diagonal = sparse.diags(1 / system.diagonal())
    columns = [
        cg(system, one, x0=start, rtol=1e-3, maxiter=400, M=diagonal)[0] for one, start in zip(right.T, guess.T, strict=True)
    ]
    return np.stack(columns, axis=1)


def _design(pairs: Sequence[tuple[int, int]], n: int, size: int) -> Any:
    """Rows: pairs and nodes; columns: motions of sections, then tissue between them."""
    moved, flow = np.zeros((len(pairs), n)), np.zeros((len(pairs), n - 1))
    for number, (i, j) in enumerate(pairs):
        moved[number, [i, j]] = -1, 1
        flow[number, i:j] = 1
    return sparse.kron(np.hstack([moved, flow]), sparse.identity(size)).tocsr()


def _smoothness(n: int, nodes: Sequence[int], steps: Sequence[float], weights: Weights) -> Any:
    """All quadratic terms but the matches, per unit of area."""
    size = int(np.prod(nodes))
    bending, slope = _within(nodes, steps)
    each = weights.pull * sparse.identity(size) + weights.stiffness * bending
    along = _differences(n - 1, 1)
    flow = sparse.kron(weights.steadiness * along.T @ along, sparse.identity(size)) + sparse.kron(
        sparse.identity(n - 1), weights.calm * sparse.identity(size) + weights.evenness * slope
    )
    return sparse.block_diag([sparse.kron(sparse.identity(n), each), flow]).tocsr()


def _within(nodes: Sequence[int], steps: Sequence[float]) -> tuple[Any, Any]:
    """Bending energy and squared slopes of one map, as matrices."""
    size = int(np.prod(nodes))
    bending, slope = sparse.csr_matrix((size, size)), sparse.csr_matrix((size, size))
    for i, one in enumerate(steps):
        first = _along({i: 1}, nodes) / one
        slope = slope + first.T @ first
        for j, two in enumerate(steps):
            second = _along({i: 2} if i == j else {i: 1, j: 1}, nodes) / (one * two)
            bending = bending + second.T @ second
    return bending, slope


def _along(orders: dict[int, int], nodes: Sequence[int]) -> Any:
    """Differences of the given orders along the given axes of a map."""
    matrix = sparse.identity(1)
    for axis, count in enumerate(nodes):
        matrix = sparse.kron(matrix, _differences(count, orders.get(axis, 0)))
    return matrix.tocsr()


def _differences(count: int, order: int) -> Any:
    """First or second differences ``(count - order, count)``; none where there are too few values."""
    if order == 0:
        return sparse.identity(count)
    if count <= order:
        return sparse.csr_matrix((0, count))
    stencil = [-1.0, 1.0] if order == 1 else [1.0, -2.0, 1.0]
    return sparse.diags(stencil, range(order + 1), shape=(count - order, count))
