"""Bad input is refused before any long work, with a message that says what to do."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from napari_denoisereg.checks import Statistics, inspect
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import Progress, finish

TYPES = (
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
    ">i2",
    ">f4",
)


@pytest.fixture
def values(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(1, 100, (4, 12, 12))


@pytest.mark.parametrize("dtype", TYPES)
def test_every_integer_and_float_type_is_welcome(values: np.ndarray, dtype: str) -> None:
    stack = Stack(values.astype(dtype), "tyx")
    before = stack.data.tobytes()
    found = finish(inspect(stack))
    assert stack.data.tobytes() == before
    exact = stack.data.astype(float)
    assert (found.minimum, found.maximum) == (exact.min(), exact.max())
    assert found.mean == pytest.approx(exact.mean())
    assert found.std == pytest.approx(exact.std())
    assert found.minimum <= found.low < found.mean < found.high <= found.maximum


def test_statistics_are_of_all_frames_and_channels(rng: np.random.Generator) -> None:
    data = rng.uniform(0, 1, (3, 2, 8, 8))
    data[:, 1] += 10
    found = finish(inspect(Stack(data, "tcyx")))
    assert isinstance(found, Statistics)
    assert found.mean == pytest.approx(data.mean())
    assert found.std == pytest.approx(data.std())
    assert found.maximum == data.max()


def test_one_frame_is_too_few(values: np.ndarray) -> None:
    size = " × ".join(map(str, values.shape[1:]))
    with pytest.raises(ValueError, match=f"at least 2 frames along 't', and 'drift' has 1 frame of {size} px"):
        finish(inspect(Stack(values[:1], "tyx", name="drift")))
    with pytest.raises(
        ValueError, match=f"at least 2 frames, and 'cells' is a single image of {size} px: it can only be denoised"
    ):
        finish(inspect(Stack.of_image(values[0], name="cells")))
    assert finish(inspect(Stack(values[:1], "tyx"), least_frames=1)).maximum == values[:1].max()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_values_that_are_no_numbers_are_refused_with_their_frame(values: np.ndarray, bad: float, dtype: str) -> None:
    data = values.astype(dtype)
    data[2, 3, 4:6] = bad
    with pytest.raises(ValueError, match="Frame 2 has 2 NaN or infinite values; replace them"):
        finish(inspect(Stack(data, "tyx")))


def test_bad_values_in_any_channel_are_found(values: np.ndarray) -> None:
    data = np.stack([values, values], axis=1)
    data[3, 1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="Frame 3 has 1 NaN"):
        finish(inspect(Stack(data, "tcyx")))


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int64"])
def test_a_constant_frame_is_refused(values: np.ndarray, dtype: str) -> None:
    data = values.astype(dtype)
    data[1] = 7
    with pytest.raises(ValueError, match=r"Frame 1 is constant \(7\): a dropped or empty frame"):
        finish(inspect(Stack(data, "tyx")))


def test_constant_frames_may_be_noted_instead(values: np.ndarray) -> None:
    data = np.stack([values, values], axis=1).astype(np.float32)
    data[1, 0], data[3] = 0, 7
    seen = finish(inspect(Stack(data, "tcyx"), may_drop=True))
    with pytest.warns(UserWarning, match="Nothing was recorded in frame 1, 3"):
        seen.warn_of_dropped()
    finish(inspect(Stack(values, "tyx"), may_drop=True)).warn_of_dropped()  # of nothing: a warning would be an error
    assert seen.dropped == ((1, 0), (3, 0), (3, 1))
    assert (seen.dropped_of(0), seen.dropped_of(1)) == ([1, 3], [3])
    assert seen.mean == pytest.approx(np.concatenate([data[:3, 1], data[[0, 2], 0]]).mean())
    data[:, 1] = 5
    with pytest.raises(ValueError, match=r"Only 0 of .* frames of channel 1 of 'drift' show anything, and at least 1 must"):
        finish(inspect(Stack(data, "tcyx", name="drift"), least_frames=1, may_drop=True))
    with pytest.raises(ValueError, match=r"^'cells' shows nothing: it has the same value everywhere"):
        finish(inspect(Stack.of_image(data[0, 1], name="cells"), least_frames=1, may_drop=True))


@pytest.mark.parametrize("factor", [1e18, 1e37, -1e200])
def test_values_that_overflow_are_refused(values: np.ndarray, factor: float) -> None:
    with pytest.raises(ValueError, match=r"Frame 0 has values up to .* which overflow; divide the data"):
        finish(inspect(Stack(values * factor, "tyx")))


def test_differences_too_small_for_float32_are_refused(values: np.ndarray) -> None:
    data = values.astype(np.int64) + 2**40
    with pytest.raises(ValueError, match="too little for float32; subtract the offset first"):
        finish(inspect(Stack(data, "tyx")))


def test_large_frames_are_read_one_at_a_time(watched: Callable, values: np.ndarray) -> None:
    data = watched(values)
    finish(inspect(Stack(data, "tyx")))
    assert len(data.reads) == len(values)


def test_progress_ends_at_the_last_frame_and_can_be_closed(values: np.ndarray) -> None:
    seen = list[Progress]()
    finish(inspect(Stack(values, "tyx")), seen.append)
    assert seen[-1].done == seen[-1].total == 4
    steps = inspect(Stack(values, "tyx"))
    next(itertools.islice(steps, 1))
    steps.close()
