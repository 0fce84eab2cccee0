"""A denoised movie is judged by what was taken away."""

import numpy as np
import pytest
from scipy import ndimage

from napari_denoisereg.evaluation.denoising_trust import Trust, check_denoising
from napari_denoisereg.evaluation.synthetic import SyntheticMovie, nuclei_movie
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish


@pytest.fixture(scope="module")
def movie() -> SyntheticMovie:
    return nuclei_movie("easy", seed=2, shape=(200, 200), n_frames=3)


def judged(movie: SyntheticMovie, denoised: np.ndarray) -> Trust:
    return finish(check_denoising(Stack(movie.noisy, "tyx"), Stack(denoised.astype(np.float32), "tyx")))


def test_the_truth_can_be_trusted(movie: SyntheticMovie) -> None:
    trust = judged(movie, movie.clean)
    np.testing.assert_allclose(trust.removed, 1, atol=0.05)
    np.testing.assert_allclose(trust.structure, 1, atol=0.1)
    np.testing.assert_allclose(trust.kept, 1, atol=0.005)
    assert trust.hints() == ()


def test_a_copy_of_the_input_is_called_one(movie: SyntheticMovie) -> None:
    hints = judged(movie, 0.8 * movie.noisy + 0.2 * movie.clean).hints()
    assert len(hints) == 1
    assert hints[0].startswith("All frames: hardly any noise was taken away (0.2")


def test_lost_structure_is_told_with_its_frames(movie: SyntheticMovie) -> None:
    denoised = movie.clean.copy()
    denoised[1] = ndimage.gaussian_filter(denoised[1], 6)
    hints = judged(movie, denoised).hints()
    assert len(hints) == 1
    assert hints[0].startswith("Frame 1: fine structure was taken away")


def test_changed_brightness_is_told(movie: SyntheticMovie) -> None:
    hints = judged(movie, movie.clean * 1.05).hints()
    assert any("total intensity changed (to 1.0" in hint for hint in hints)


def test_stacks_must_match(movie: SyntheticMovie) -> None:
    with pytest.raises(ValueError, match="equal shape"):
        judged(movie, movie.clean[:2])
