"""Transforms fitted to pairs of points, and what their error is worth.

A fit to n pairs is good at those pairs by construction: a thin-plate spline goes through them, error 0, whatever it does in
between. How well it does elsewhere is estimated by leaving out one pair after the other, fitting to the rest and measuring at
the pair left out. Both models are linear in the targets, so that this needs no further fit:

    affine       e[i] = r[i] / (1 - h[i, i])       with residual r and hat matrix h
    thin plate   e[i] = w[i] / inverse(A)[i, i]    with weights w and the spline's whole matrix A (Rippa 1999)

References
----------
Bookstein, F. L.: Principal warps: thin-plate splines and the decomposition of deformations. IEEE Transactions on Pattern
Analysis and Machine Intelligence 11 (1989). https://doi.org/10.1109/34.24792
Rippa, S.: An algorithm for selecting a good value for the parameter c in radial basis function interpolation. Advances in
Computational Mathematics 11 (1999). https://doi.org/10.1023/A:1018975909870
Fitzpatrick, J. M.: Fiducial registration error and target registration error are uncorrelated. Proc. SPIE 7261 (2009).
https://doi.org/10.1117/12.813601
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from napari_denoisereg.evaluation.keypoints import Floats

FitModel = Literal["affine", "thin-plate"]
FLAT = 1e-9  # of the points' extent: closer to a line (plane) than this they fix no affine map
ESSENTIAL = 1e-9  # without this pair the others fix no map: nothing can be said by leaving it out


class PointFit:
    """A map fitted to pairs of points: affine by least squares, or the thin-plate spline through them.

    The sources are fixed at the start, the targets are given with each call; the matrices of the sources are kept.

    Parameters
    ----------
    sources
        Where the points are `(N, D)`, D = 2 or 3.
    model
        "affine" or "thin-plate" (kernel r² log r in 2D, r in 3D).

    Raises
    ------
    ValueError
        When the sources are too few, coincide or lie on a line (in 3D: a plane).
    """

    def __init__(self, sources: ArrayLike, model: FitModel = "affine") -> None:
        points = np.array(sources, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] not in (2, 3) or not self.is_possible(points):
            raise ValueError(
                f"A fit needs at least {points.shape[-1] + 1} points (y, x) or (z, y, x) that are not on a line or plane, got "
                f"{points.shape}; mark more points, spread over the image."
            )
        self._model = model
        self._centre = points.mean(axis=0)
        self._size = float(np.abs(points - self._centre).max())
        self._sources = self._scaled(points)
        basis = _linear_basis(self._sources)
        if model == "affine":
            self._solver = np.linalg.pinv(basis)
            self._hat = basis @ self._solver
            return
        if cdist(self._sources, self._sources)[np.triu_indices(len(points), 1)].min() < FLAT:
            raise ValueError("A thin-plate spline needs points at different places, got two at the same; move one of them.")
        n, m = basis.shape
        matrix = np.zeros((n + m, n + m))
        matrix[:n, :n] = self._kernel(self._sources)
        matrix[:n, n:], matrix[n:, :n] = basis, basis.T
        self._solver = np.linalg.inv(matrix)[:, :n]

    @staticmethod
    def is_possible(sources: Floats) -> bool:
        """Return whether points `(N, D)` fix an affine map: enough of them, and not all on one line (3D: plane)."""
        n, d = sources.shape
        if n < d + 1:
            return False
        extent = np.linalg.svd(sources - sources.mean(axis=0), compute_uv=False)
        return bool(extent[0] > 0 and extent[d - 1] > FLAT * extent[0])

    def __call__(self, points: ArrayLike, targets: ArrayLike) -> Floats:
        """Map points with the fit that takes the sources to `targets`.

        Parameters
        ----------
        points
            Any places `(M, D)`.
        targets
            Where the sources should go `(N, D)`.

        Returns
        -------
        Where the points go `(M, D)`.
        """
        places = self._scaled(np.asarray(points, dtype=np.float64))
        basis = _linear_basis(places)
        columns = basis if self._model == "affine" else np.hstack([self._kernel(places), basis])
        return columns @ (self._solver @ np.asarray(targets, dtype=np.float64))

    def fitted(self, targets: ArrayLike) -> Floats:
        """Return where the sources themselves go `(N, D)`: the targets, but for what an affine map cannot follow."""
        wanted = np.asarray(targets, dtype=np.float64)
        return self._hat @ wanted if self._model == "affine" else wanted.copy()

    def leave_one_out(self, targets: ArrayLike) -> Floats:
        """Return where each source goes when the fit is made without it `(N, D)`; NaN where the others fix no map."""
        wanted = np.asarray(targets, dtype=np.float64)
        if self._model == "affine":
            missing, slack = wanted - self._hat @ wanted, 1 - np.diag(self._hat)
        else:
            missing, slack = (self._solver @ wanted)[: len(wanted)], np.diag(self._solver)
        is_essential = np.abs(slack) < ESSENTIAL * max(1.0, float(np.abs(slack).max()))
        gap = missing / np.where(is_essential, np.nan, slack)[:, None]
        return wanted - gap

    def _scaled(self, points: Floats) -> Floats:
        """Bring points to the sources' centre and size, for good numbers; neither model notices."""
        return (points - self._centre) / self._size

    def _kernel(self, points: Floats) -> Floats:
        distance = cdist(points, self._sources)
        if self._sources.shape[1] == 3:
            return distance
        return distance**2 * np.log(np.where(distance > 0, distance, 1.0))


def _linear_basis(points: Floats) -> Floats:
    """Columns 1, y, x (or 1, z, y, x) `(N, D+1)`."""
    return np.hstack([np.ones((len(points), 1)), points])
