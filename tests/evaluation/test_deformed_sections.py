"""ssEMnet's protocol: deformed sections and their drift."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_denoisereg.evaluation.deformed_sections import deform_sections, drift, neighbour_correlation
from napari_denoisereg.geometry import Displacement, Grid, Identity, Translation

SHAPE = (8, 64, 72)


@pytest.fixture
def aligned() -> tuple[np.ndarray, np.ndarray]:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), (2, 4, 4))
    images = (128 + 60 * noise / noise.std()).clip(1, 255).astype(np.uint8)
    return images, (images > 128).astype(np.int32) + 1


def test_the_first_section_is_left_alone_and_the_others_move(aligned: tuple[np.ndarray, np.ndarray]) -> None:
    made = deform_sections(*aligned, seed=1)
    np.testing.assert_array_equal(made.images[0], aligned[0][0])
    np.testing.assert_array_equal(made.labels[0], aligned[1][0])
    assert not made.source[0].any()
    assert all(np.abs(made.source[z]).mean() > 1 for z in range(1, len(made.images)))
    assert (made.images.dtype, made.labels.dtype) == (aligned[0].dtype, aligned[1].dtype)
    assert set(np.unique(made.labels)) <= {0, 1, 2}


def test_same_seed_same_deformation(aligned: tuple[np.ndarray, np.ndarray]) -> None:
    one, two, other = (deform_sections(*aligned, seed=seed, defects=True) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.images, two.images)
    assert not np.array_equal(one.images, other.images)


def test_drift_is_how_far_tissue_is_from_where_it_was(aligned: tuple[np.ndarray, np.ndarray]) -> None:
    made, n = deform_sections(*aligned, seed=1), SHAPE[0]
    untouched = drift(made, [Identity(2)] * n)
    np.testing.assert_allclose(untouched, np.linalg.norm(made.source[1:], axis=1).mean((1, 2)))
    made.source[:] = np.array([3.0, -4.0])[:, None, None]
    np.testing.assert_allclose(drift(made, [Identity(2)] * n), 5.0)
    np.testing.assert_allclose(drift(made, [Translation([-3.0, 4.0])] * n), 0.0, atol=1e-9)


def test_the_true_inverse_has_no_drift_and_brings_the_images_back(aligned: tuple[np.ndarray, np.ndarray]) -> None:
    made = deform_sections(*aligned, seed=1, bend=1.0)
    grid = Grid(SHAPE[1:])
    truth = [Displacement(torch.from_numpy(source).float(), grid).inverse() for source in made.source]
    # Where the deformation left the image nothing can be told.
    assert np.isfinite(truth[1].field.numpy()).mean() > 0.9
    filled = [Displacement(each.field.nan_to_num(), grid) for each in truth]
    assert np.median(drift(made, filled)) < 0.1 * np.median(drift(made, [Identity(2)] * SHAPE[0]))


def test_defects_hide_tissue_in_every_sixth_section(aligned: tuple[np.ndarray, np.ndarray]) -> None:
    plain, broken = (deform_sections(*aligned, seed=1, defects=defects) for defects in (False, True))
    same = [np.array_equal(one, two) for one, two in zip(plain.images[:4], broken.images[:4], strict=True)]
    assert same == [True, True, True, False]
    assert (broken.images[3] < 40).mean() > (plain.images[3] < 40).mean() + 0.02


def test_correlation_of_neighbours_counts_tissue_only(aligned: tuple[np.ndarray, np.ndarray]) -> None:
    images = aligned[0].copy()
    before = neighbour_correlation(images)
    assert before.shape == (SHAPE[0] - 1,)
    images[:, :20] = 0
    np.testing.assert_allclose(neighbour_correlation(images), neighbour_correlation(aligned[0][:, 20:]))
    assert np.isnan(neighbour_correlation(np.zeros_like(images))).all()


def test_shapes_that_do_not_fit_are_refused(aligned: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="one shape"):
        deform_sections(aligned[0], aligned[1][1:], seed=0)
