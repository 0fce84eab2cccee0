"""Which frame failed? Planted failures are flagged with a reason, what can be saved is saved, a good movie flags nothing."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from napari_denoisereg.evaluation.synthetic import nuclei_movie
from napari_denoisereg.geometry import Affine, Displacement, Grid, Identity, PerFrame, Translation, smooth, warp
from napari_denoisereg.register.affine import AffineDescent
from napari_denoisereg.register.pose import Pose
from napari_denoisereg.register.quality import judge, measure
from napari_denoisereg.register.registration import Registration
from napari_denoisereg.register.retry import retry
from napari_denoisereg.register.stacks import register_stack
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish

GRID = Grid((72, 72))
PLANTED = 3


@pytest.fixture(scope="module")
def movie(nucleus: Callable) -> np.ndarray:
    """A nucleus that drifts slowly, with a little noise."""
    image, random = nucleus(GRID.shape), np.random.default_rng(1)
    frames = [warp(image[None, None], Translation([0.8 * t, -0.5 * t]), fixed=GRID, outside="edge")[0, 0] for t in range(7)]
    return np.stack([frame.numpy() + random.normal(0, 20, GRID.shape) for frame in frames]).astype(np.float32)


def planted(movie: np.ndarray, frame: np.ndarray) -> Registration:
    changed = movie.copy()
    changed[PLANTED] = frame
    return finish(register_stack(Stack(changed, "tyx"), [AffineDescent()]))


def test_a_good_movie_flags_nothing(movie: np.ndarray) -> None:
    found = finish(register_stack(Stack(movie, "tyx"), [AffineDescent()]))
    assert (found.flagged, dict(found.reasons)) == ((), {})
    assert "retried" not in found.history[-1]
    assert found.quality["backward"][1:].max() < 1
    assert {len(each) for each in found.quality.values()} == {len(movie)}


def test_a_nucleus_that_bends_and_a_jump_are_no_failures() -> None:
    frames = nuclei_movie("easy", seed=0, shape=(96, 96), n_frames=5).noisy
    frames[3:] = np.roll(frames[3:], 20, axis=2)
    found = finish(register_stack(Stack(frames, "tyx"), [AffineDescent()]))
    assert dict(found.reasons) == {}


def test_another_field_of_view_is_flagged(movie: np.ndarray, nucleus: Callable) -> None:
    other = nucleus(GRID.shape, seed=5, size=7.0).numpy()
    elsewhere = np.maximum(np.roll(other, (20, -24), (0, 1)), np.roll(other, (-22, 18), (0, 1)))
    found = planted(movie, elsewhere)
    assert found.flagged == (PLANTED,)
    assert "fits the first frame" in found.reasons[PLANTED]
    assert "points end" in found.reasons[PLANTED]


def test_shuffled_pixels_are_flagged(movie: np.ndarray) -> None:
    found = planted(movie, np.random.default_rng(0).permutation(movie[PLANTED].ravel()).reshape(GRID.shape))
    assert found.flagged == (PLANTED,)


def test_a_blank_frame_is_flagged_and_not_retried(movie: np.ndarray) -> None:
    found = planted(movie, np.random.default_rng(0).normal(100, 20, GRID.shape))
    assert found.flagged == (PLANTED,)
    assert "hardly anything is to be seen in it" in found.reasons[PLANTED]
    assert "retried" not in found.history[-1]


def test_a_copied_frame_is_flagged(movie: np.ndarray) -> None:
    assert dict(planted(movie, movie[2]).reasons) == {PLANTED: "it is an exact copy of frame 2"}


def test_a_movie_of_copies_knows_it(movie: np.ndarray) -> None:
    assert finish(register_stack(Stack(np.repeat(movie, 2, axis=0), "tyx"), [AffineDescent()])).flagged == ()


def test_a_turned_frame_is_found_again(movie: np.ndarray, turned: Callable, error: Callable) -> None:
    turn = turned(GRID, 120.0)
    frame = warp(torch.from_numpy(movie[PLANTED])[None, None], turn.inverse(), fixed=GRID, outside="edge")[0, 0].numpy()
    found = planted(movie, frame)
    assert found.flagged == ()
    truth = Translation([-0.8 * PLANTED, 0.5 * PLANTED]).then(turn)
    assert error(found.transforms[PLANTED], truth, GRID) < 1
    assert "found from another start" in found.history[-1]["retried"][str(PLANTED)]
    for frame_number in {*range(1, 7)} - {PLANTED}:
        still = Translation([-0.8 * frame_number, 0.5 * frame_number])
        assert error(found.transforms[frame_number], still, GRID) < 1


@pytest.mark.parametrize("seed", [3, 4])
def test_cells_that_crawl_apart_are_not_sought_in_a_corner(seed: int) -> None:
    """Nothing moves them all alike, and a few of them look like a few others wherever one looks."""
    rng, side = np.random.default_rng(seed), 96
    place, way = rng.uniform(8, side - 8, (14, 2)), rng.normal(0, 0.9, (14, 2))
    bright, size = rng.uniform(0.3, 1, 14), rng.uniform(2.5, 4.5, (14, 2))
    points, frames = np.stack(np.mgrid[:side, :side]), []
    for _ in range(12):
        away = (points[None] - place[:, :, None, None]) / size[:, :, None, None]
        cells = bright[:, None, None] * np.exp(-((away**2).sum(1) ** 2) / 4)
        frames.append(cells.sum(0) + rng.normal(0, 0.02, (side, side)))
        place = place + way + rng.normal(0, 0.75, (14, 2))
    found = finish(register_stack(Stack(np.stack(frames).astype(np.float32), "tyx"), [Pose(), AffineDescent()]))
    assert min(found.quality["overlap"]) > 0.5


def test_frames_that_were_followed_stay_where_their_neighbours_are() -> None:
    """What crawls changes, the dish below rests: late frames are most like the first one where they were recorded."""
    rng = np.random.default_rng(0)

    def texture() -> torch.Tensor:
        image = smooth(torch.from_numpy(rng.normal(size=GRID.shape)).float()[None, None], 2.0)
        return image / image.std()

    dish, cells, frames = 0.7 * texture(), texture(), list[np.ndarray]()
    found = [Translation([1.0 * t, -1.5 * t]) for t in range(9)]
    for followed in found:
        moved = warp(cells, followed.inverse(), fixed=GRID, outside="edge")
        frames.append((dish + moved)[0, 0].numpy())
        cells = 0.8 * cells + 0.6 * texture()
    stack, lost = Stack(np.stack(frames), "tyx"), [6, 7, 8]
    figures = finish(measure(stack, PerFrame(found)))
    assert set(lost) <= set(judge(figures).lost)
    kept, gains = finish(retry(stack, PerFrame(found), lost, AffineDescent()))
    assert gains == {}
    assert list(kept) == found


def test_figures_are_right(movie: np.ndarray) -> None:
    stack = Stack(np.stack([movie[0], movie[0], movie[0], movie[0]]), "tyx", spacing=(1.0, 0.5, 0.5))
    grid = stack.grid
    fold = torch.zeros(2, *grid.shape)
    fold[1, :, 30:40] = -2 * (torch.arange(10) - 5) * grid.spacing[1]
    transforms = [Identity(2), Translation([2.0, 0.0]), Affine.about(1.5 * torch.eye(2), torch.zeros(2), grid.centre)]
    found = finish(measure(stack, PerFrame([*transforms, Displacement(fold, grid)])))
    np.testing.assert_allclose(found["smallest"][:3], [1, 1, 2.25], rtol=1e-5)
    np.testing.assert_allclose(found["largest"][:3], [1, 1, 2.25], rtol=1e-5)
    assert found["folded"][:3].tolist() == [0, 0, 0]
    assert found["folded"][3] == pytest.approx(8 / 72, abs=0.03)
    assert found["smallest"][3] < 0
    assert found["backward"][0] == 0
    assert found["backward"][1] == pytest.approx(2, abs=0.3)  # a frame that stood still was moved by 2 µm
    reasons = judge(found, side=max(grid.extent), unit="µm").reasons
    assert "shrunk everywhere" in reasons[2]
    assert "folds over itself" in reasons[3]


def test_frames_that_got_worse_or_are_lost_are_flagged() -> None:
    before = np.array([1.0, 0.7, 0.6, 0.8, 0.5, 0.5])
    after = np.array([1.0, 0.95, 0.94, 0.7, 0.2, 0.96])
    reasons = judge({"before": before, "after": after}).reasons
    assert list(reasons) == [3, 4]
    assert reasons[3].endswith("it fits less well than before (correlation 0.70, before 0.80)")
    assert "correlation 0.20; usual 0.94" in reasons[4]
    assert judge({"before": before, "after": np.full(6, 0.99)}).reasons == {}
    assert judge({"before": before[:1], "after": after[:1]}).reasons == {}
    assert judge({"before": before, "after": np.array([1, 0.9, -1, 0.9, 0.9, 0.9])}).reasons[2].startswith("it hardly overlaps")


@pytest.mark.parametrize("seed", [0, 1])
def test_a_movie_that_is_lost_as_a_whole_is_told(seed: int) -> None:
    """Every frame shows something else: no frame is worse than is usual, yet none is aligned."""
    frames = smooth(torch.randn(5, 1, 64, 64, generator=torch.Generator().manual_seed(seed)), 2.5)[:, 0]
    found = finish(register_stack(Stack((1000 * frames).numpy(), "tyx"), [AffineDescent(motion="translation")]))
    assert found.flagged
    assert "little in common with the first frame" in " ".join(found.reasons.values())


def test_frames_are_lost_where_they_have_nothing_in_common_and_do_not_come_back() -> None:
    ones, slips = np.ones(5), np.array([0.0, 8.0, 9.0, 8.0, 9.0])
    shape = {"smallest": ones, "largest": ones, "folded": 0 * ones, "contrast": ones, "copy": ones * np.nan, "overlap": ones}
    for alike, wanted in ((0.1, [1, 2, 3, 4]), (0.5, [])):
        figures = {"before": 0 * ones, "after": np.array([1, *[alike] * 4]), "backward": slips, **shape}
        doubts = judge(figures, side=100.0, unit="px")
        assert list(doubts.lost) == wanted
    told = judge({**figures, "after": np.array([1, *[0.1] * 4])}, side=100.0, unit="px").lost[1]
    assert told.startswith("it has little in common with the first frame (correlation 0.10 over 100% of it)")
