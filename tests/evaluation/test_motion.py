"""Motion read off transforms whose motion is known."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

from napari_denoisereg.evaluation.motion import angle_and_stretch, motion_traces
from napari_denoisereg.geometry import Affine, Displacement, Grid, Identity, PerFrame, Translation
from napari_denoisereg.steps import finish


def turn(degrees: float) -> np.ndarray:
    """In axis order (y, x): the y axis goes towards the x axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s], [s, c]])


@given(st.floats(-179, 179), st.floats(0.5, 2), st.floats(-20, 20), st.floats(-20, 20))
def test_similarity_is_read_back(angle: float, scale: float, down: float, right: float) -> None:
    grid = Grid((32, 40), (0.5, 0.25), (3.0, -1.0))
    moved = Affine.about(torch.from_numpy(scale * turn(angle)), torch.tensor([down, right], dtype=torch.float64), grid.centre)
    traces = finish(motion_traces(PerFrame([Identity(2), moved]), grid))
    np.testing.assert_allclose(traces.shift, [[0, 0], [down, right]], atol=1e-9)
    np.testing.assert_allclose(traces.rotation, [0, angle], atol=1e-6)
    np.testing.assert_allclose(traces.scale, [1, scale], rtol=1e-9)
    np.testing.assert_allclose(traces.misfit, 0, atol=1e-9)


def test_volume_turned_about_z() -> None:
    grid = Grid((6, 20, 20), (2.0, 1.0, 1.0))
    linear = np.eye(3)
    linear[1:, 1:] = turn(30)
    moved = Affine.about(torch.from_numpy(linear), torch.tensor([1.0, 0.0, -2.0]), grid.centre)
    traces = finish(motion_traces(PerFrame([moved]), grid))
    np.testing.assert_allclose(traces.shift, [[1, 0, -2]], atol=1e-9)
    np.testing.assert_allclose(traces.rotation, 30, atol=1e-6)


def test_volume_of_one_plane_has_a_scale_of_one() -> None:
    traces = finish(motion_traces(PerFrame([Translation([0.0, 2.0, 0.0])]), Grid((1, 20, 20))))
    np.testing.assert_allclose(traces.shift, [[0, 2, 0]], atol=1e-9)
    np.testing.assert_allclose(traces.scale, 1)


def test_local_deformation_is_the_misfit_and_unknown_stays_unknown() -> None:
    grid = Grid((33, 33))
    field = torch.zeros(2, 33, 33)
    field[0] = torch.sin(torch.linspace(0, 12.566, 33))[None]
    unknown = torch.full((2, 33, 33), float("nan"))
    traces = finish(motion_traces(PerFrame([Displacement(field, grid), Displacement(unknown, grid)]), grid))
    assert 0.3 < traces.misfit[0] < 1
    assert traces.longest[0] == pytest.approx(1, abs=0.05)
    assert np.isnan(traces.rotation[1])
    assert np.isnan(traces.shift[1]).all()


def test_mirrors_have_no_angle() -> None:
    assert np.isnan(angle_and_stretch(np.diag([1.0, -1.0]))).all()


def test_progress_ends_at_the_last_frame() -> None:
    seen: list = []
    finish(motion_traces(PerFrame([Identity(2)] * 5), Grid((8, 8))), seen.append)
    assert seen[-1].done == seen[-1].total == 5
