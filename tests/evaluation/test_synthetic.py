"""Laws of the generators: images, fields and keypoints agree, and seeds decide everything."""

import numpy as np
import pytest
from scipy import ndimage

from napari_denoisereg.evaluation.synthetic import (
    EASY,
    HARD,
    MovieSettings,
    SyntheticMovie,
    nuclei_movie,
    sections,
    timelapse_volume,
)
from napari_denoisereg.evaluation.synthetic_motion import Motion, SmoothField, affine_matrix, random_bend

STILL_LIGHT = MovieSettings(mobile_foci=0.0, bleaching=0.0)


@pytest.fixture(scope="module")
def movie() -> SyntheticMovie:
    return nuclei_movie(STILL_LIGHT, seed=3, shape=(128, 144), n_frames=6, spacing=(0.5, 0.25))


@pytest.fixture(scope="module")
def volume() -> SyntheticMovie:
    return timelapse_volume(seed=2, shape=(10, 48, 56), n_frames=4)


def warp_to_first(movie: SyntheticMovie, frame: int) -> np.ndarray:
    field = movie.displacement[frame] / np.reshape(movie.spacing, (-1,) + (1,) * len(movie.spacing))
    grid = np.indices(field.shape[1:])
    return ndimage.map_coordinates(movie.clean[frame], grid + field, order=3, mode="nearest")


def read_field(movie: SyntheticMovie, frame: int, points: np.ndarray) -> np.ndarray:
    parts = [ndimage.map_coordinates(part, points.T, order=3, mode="nearest") for part in movie.displacement[frame]]
    return np.stack(parts, axis=1) / movie.spacing


@pytest.mark.parametrize("name", ["movie", "volume"])
def test_warping_a_frame_with_the_true_field_restores_the_first(name: str, request: pytest.FixtureRequest) -> None:
    made = request.getfixturevalue(name)
    inner = tuple(slice(4, -4) if n > 20 else slice(2, -2) for n in made.clean.shape[1:])
    for frame in range(1, len(made.clean)):
        wrong = np.abs(made.clean[frame] - made.clean[0])[inner]
        left = np.abs(warp_to_first(made, frame) - made.clean[0])[inner]
        assert left.mean() < 0.12 * wrong.mean()


@pytest.mark.parametrize("name", ["movie", "volume"])
def test_keypoints_follow_the_true_field(name: str, request: pytest.FixtureRequest) -> None:
    made = request.getfixturevalue(name)
    first = made.keypoints.in_frame(0).position
    for frame in range(len(made.clean)):
        expected = first + read_field(made, frame, first)
        np.testing.assert_allclose(made.keypoints.in_frame(frame).position, expected, atol=2e-2)


@pytest.mark.parametrize("name", ["movie", "volume"])
def test_the_first_frame_does_not_move(name: str, request: pytest.FixtureRequest) -> None:
    assert np.abs(request.getfixturevalue(name).displacement[0]).max() < 1e-5


def test_same_seed_same_movie_other_seed_other_movie() -> None:
    first, second, other = (nuclei_movie("hard", seed=seed, shape=(48, 48), n_frames=3) for seed in (1, 1, 2))
    for name in ("noisy", "clean", "displacement"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        assert not np.array_equal(getattr(first, name), getattr(other, name))


@pytest.mark.parametrize(("difficulty", "psnr"), [("easy", 20.0), ("hard", 12.0)])
def test_noise_has_the_stated_level_no_bias_and_equal_shares(difficulty: str, psnr: float) -> None:
    made = nuclei_movie(difficulty, seed=0, shape=(96, 96), n_frames=5)  # type: ignore[arg-type]
    noise = made.noisy.astype(float) - made.clean
    assert 10 * np.log10(made.peak**2 / (noise**2).mean()) == pytest.approx(psnr, abs=0.15)
    assert abs(noise.mean()) < 0.05 * noise.std()
    slope, constant = np.polyfit(made.clean.ravel().astype(float), noise.ravel() ** 2, 1)
    assert constant == pytest.approx(slope * made.clean.mean(), rel=0.25)


@pytest.mark.parametrize("size", [96, 160])
def test_motion_scales_with_the_picture(size: int) -> None:
    made = nuclei_movie("easy", seed=5, shape=(size, size), n_frames=9)
    moved = made.keypoints.in_frame(8).position - made.keypoints.in_frame(0).position
    assert np.linalg.norm(moved, axis=1).mean() == pytest.approx(57 * size / 532, rel=1e-6)


def test_hard_is_harder_than_easy() -> None:
    assert HARD.psnr < EASY.psnr
    assert HARD.bend > EASY.bend
    assert HARD.renewal > EASY.renewal == 0
    assert HARD.mobile_foci > EASY.mobile_foci


def test_bleaching_takes_the_stated_share() -> None:
    dark, bright = (
        nuclei_movie(MovieSettings(bleaching=lost, mobile_foci=0.0), seed=0, shape=(64, 64), n_frames=3).clean
        for lost in (0.5, 0.0)
    )
    background = bright.min()
    share = (dark[-1] - background).sum() / (bright[-1] - background).sum()
    assert share == pytest.approx(0.5, abs=1e-3)


def test_true_fields_do_not_fold() -> None:
    u = nuclei_movie("hard", seed=1, shape=(133, 133), n_frames=3).displacement[-1].astype(float)
    (yy, yx), (xy, xx) = np.gradient(u[0]), np.gradient(u[1])
    assert ((1 + yy) * (1 + xx) - yx * xy).min() > 0.2


def test_keypoints_stay_inside_and_are_as_many_as_asked(movie: SyntheticMovie) -> None:
    points = movie.keypoints
    assert len(points) == 6 * 40
    assert (points.position > 0).all()
    assert (points.position < np.array([127, 143])).all()


def test_spacing_scales_only_the_field() -> None:
    one, other = (nuclei_movie(seed=0, shape=(40, 40), n_frames=2, spacing=s) for s in ((1.0, 1.0), (2.0, 0.5)))
    np.testing.assert_array_equal(one.noisy, other.noisy)
    np.testing.assert_allclose(one.displacement * np.reshape([2.0, 0.5], (1, 2, 1, 1)), other.displacement, rtol=1e-6)


@pytest.mark.parametrize("shape", [(16, 64), (64,), (8, 64, 64)])
def test_nuclei_refuse_shapes_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"at least \(32, 32\).*got"):
        nuclei_movie(shape=shape)  # type: ignore[arg-type]


def test_unknown_difficulty_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'easy', 'hard'.*got 'brutal'"):
        nuclei_movie("brutal")  # type: ignore[arg-type]


def test_volume_refuses_a_plane() -> None:
    with pytest.raises(ValueError, match=r"\(z, y, x\).*got"):
        timelapse_volume(shape=(64, 64))  # type: ignore[arg-type]


def test_motion_and_its_inverse_undo_each_other() -> None:
    rng = np.random.default_rng(0)
    bend = random_bend((80, 90), 12.0, lambda points: np.ones(len(points), dtype=bool), rng).scaled(2.0)
    motion = Motion(affine_matrix(0.3, 1.05, 0.02), np.array([40.0, 45.0]), np.array([5.0, -7.0]), bend)
    points = rng.uniform(10, 70, (50, 2))
    np.testing.assert_allclose(motion.inverse(motion(points)), points, atol=1e-4)
    sources = motion.sources((80, 90))
    pixels = np.indices((80, 90)).reshape(2, -1).T.astype(float)
    np.testing.assert_allclose(sources.reshape(2, -1).T, motion.inverse(pixels), atol=2e-2)


def test_smooth_field_passes_through_its_values_and_agrees_on_grid_and_points() -> None:
    values = np.random.default_rng(0).standard_normal((2, 12, 14))
    field = SmoothField.through(values, 4.0, -8.0)
    nodes = field.nodes()[3:-3, 3:-3].reshape(-1, 2)
    np.testing.assert_allclose(field.at(nodes).T, values[:, 3:-3, 3:-3].reshape(2, -1), atol=1e-9)
    pixels = np.indices((20, 24)).reshape(2, -1).T.astype(float)
    np.testing.assert_allclose(field.on((20, 24)).reshape(2, -1), field.at(pixels).T, atol=1e-9)


@pytest.fixture(scope="module")
def stack():
    return sections(seed=1, n=3, shape=(64, 72))


def test_warping_sections_with_the_true_field_restores_the_labels(stack) -> None:
    grid = np.indices((64, 72))
    for z in range(3):
        back = ndimage.map_coordinates(stack.labels[z], grid + stack.displacement[z], order=0, mode="nearest")
        inner = (slice(6, -6), slice(6, -6))
        assert (back == stack.labels_at_rest[z])[inner].mean() > 0.95
        if z:
            assert (stack.labels[z] == stack.labels_at_rest[z])[inner].mean() < 0.93


def test_the_first_section_rests_and_the_others_do_not(stack) -> None:
    assert np.abs(stack.displacement[0]).max() < 1e-5
    assert all(np.abs(field).max() > 0.5 for field in stack.displacement[1:])


def test_sections_are_bytes_with_membranes_darker_than_cytoplasm(stack) -> None:
    assert stack.images.dtype == np.uint8
    assert stack.images.shape == stack.labels.shape == stack.at_rest.shape == (3, 64, 72)
    border = ndimage.morphological_gradient(stack.labels_at_rest[0], size=3) > 0
    assert stack.at_rest[0][border].mean() < stack.at_rest[0][~border].mean() - 30
    assert stack.labels.min() >= 1


def test_sections_are_decided_by_the_seed(stack) -> None:
    np.testing.assert_array_equal(sections(seed=1, n=3, shape=(64, 72)).images, stack.images)


def test_sections_refuse_an_empty_stack() -> None:
    with pytest.raises(ValueError, match=r"n >= 1.*got 0"):
        sections(n=0)
