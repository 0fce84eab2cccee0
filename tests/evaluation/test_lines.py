"""Profiles and kymographs of images whose intensities are known."""

import numpy as np
import pytest

from napari_denoisereg.evaluation.lines import kymograph, line_samples, profile
from napari_denoisereg.steps import finish

RAMP = np.add.outer(100.0 * np.arange(10), np.arange(20))  # value = 100 y + x


def test_profile_of_a_ramp_is_the_ramp() -> None:
    np.testing.assert_allclose(profile(RAMP, [(3, 2), (3, 7)]), 300 + np.arange(2, 8))
    np.testing.assert_allclose(profile(RAMP, [(1, 4), (6, 4)]), 4 + 100 * np.arange(1, 7))


@pytest.mark.parametrize("width", [1, 2, 3])
def test_width_averages_across_and_keeps_a_ramp(width: int) -> None:
    np.testing.assert_allclose(profile(RAMP, [(4, 2), (4, 7)], width=width), 400 + np.arange(2, 8))


def test_bent_line_has_its_whole_length_and_repeated_corners_do_no_harm() -> None:
    assert line_samples([(0, 0), (0, 0), (0, 3), (4, 3)]).shape == (1, 8, 2)
    np.testing.assert_allclose(profile(RAMP, [(0, 0), (0, 3), (4, 3)]), [0, 1, 2, 3, 103, 203, 303, 403])


def test_outside_is_unknown() -> None:
    values = profile(RAMP, [(5, 17), (5, 22)])
    np.testing.assert_allclose(values[:3], [517, 518, 519])
    assert np.isnan(values[3:]).all()


def test_kymograph_reads_only_around_the_line() -> None:
    movie = np.stack([np.roll(RAMP, t, axis=1) for t in range(4)])
    asked = []

    def read(frame: int, window: tuple[slice, slice]) -> np.ndarray:
        asked.append(window)
        return movie[(frame, *window)]

    table = finish(kymograph(read, (10, 20), 4, [(3, 5), (3, 12)]))
    np.testing.assert_allclose(table, movie[:, 3, 5:13])
    assert set(map(str, asked)) == {str((slice(3, 4), slice(5, 13)))}


def test_kymograph_of_a_line_outside_the_image_is_unknown() -> None:
    table = finish(kymograph(lambda frame, window: RAMP[window], (10, 20), 2, [(30, 5), (30, 12)]))
    assert table.shape == (2, 8)
    assert np.isnan(table).all()


@pytest.mark.parametrize(("corners", "words"), [([(1, 1)], "2 corners"), ([(1, 1), (1, 1)], "length")])
def test_what_is_no_line_is_refused(corners: list, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        line_samples(corners)
    with pytest.raises(ValueError, match="width"):
        line_samples([(0, 0), (1, 1)], width=0)
