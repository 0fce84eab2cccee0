"""Elastic registration: splines obey their laws, known deformations are found, long movies and odd starts are welcome."""

import itertools

import numpy as np
import pytest
import torch

from napari_denoisereg.evaluation.synthetic import MovieSettings, SyntheticMovie, nuclei_movie
from napari_denoisereg.geometry import Affine, Displacement, Grid, Identity, PerFrame, Translation, jacobian_determinant, warp
from napari_denoisereg.pipeline import evaluate
from napari_denoisereg.register import Registrar, Registration
from napari_denoisereg.register.affine import AffineDescent
from napari_denoisereg.register.elastic import ANCHORS, Elastic, _windows
from napari_denoisereg.register.lattice import Bending, Lattice, bending_spectrum, gather, spread
from napari_denoisereg.register.motions import Motions, in_px
from napari_denoisereg.register.resistance import Costs
from napari_denoisereg.register.stacks import register_stack
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish

SMALL = MovieSettings(psnr=24.0, bend=12.0, last_error=60.0, n_foci=30, mobile_foci=0.2)
FINE = {"knots": 8.0, "stiffness": 0.5}  # everything in a small movie is small
GRIDS = [Grid((20, 33)), Grid((5, 18, 23), (3.0, 1.0, 1.0))]


@pytest.fixture(scope="module")
def movie() -> SyntheticMovie:
    """A nucleus of 128 pixels that bends by about 3 px."""
    return nuclei_movie(SMALL, seed=3, shape=(128, 128), n_frames=6)


def error(movie: SyntheticMovie, transforms: PerFrame) -> float:
    """Mean error at the keypoints after the first frame, px."""
    result = evaluate(movie.keypoints, Registration(transforms, Grid(movie.noisy.shape[1:])))
    return float(result.after[result.frame > 0].mean())


@pytest.mark.parametrize("grid", GRIDS)
def test_spline_weights_sum_to_one_and_gathering_is_the_adjoint_of_spreading(grid: Grid) -> None:
    lattice = Lattice.over(in_px(grid), 7.0)
    bases = lattice.bases(in_px(grid))
    for basis, size in zip(bases, grid.shape, strict=True):
        torch.testing.assert_close(basis.sum(1), torch.ones(size))
    random = torch.Generator().manual_seed(0)
    nodes, voxels = torch.randn(lattice.shape, generator=random), torch.randn(grid.shape, generator=random)
    torch.testing.assert_close(
        (spread(nodes, bases) * voxels).sum(), (nodes * gather(voxels, bases)).sum(), rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize("grid", GRIDS)
def test_only_bends_cost(grid: Grid) -> None:
    px = in_px(grid)
    lattice, points = Lattice.over(px, 7.0), px.points()
    nodes = lattice.nodes()
    affine = 3 + sum(slope * axis for slope, axis in zip((0.3, -0.2, 0.1), nodes, strict=False))
    torch.testing.assert_close(
        spread(affine, lattice.bases(px)),
        3 + sum(slope * axis for slope, axis in zip((0.3, -0.2, 0.1), points, strict=False)),
        rtol=1e-4,
        atol=1e-3,
    )
    flat = affine.expand(1, grid.ndim, *lattice.shape)
    assert float(Bending(lattice)(flat).abs().max()) < 1e-4
    bent = (nodes[-1] ** 2 / 10).expand(1, grid.ndim, *lattice.shape)
    assert float((bent * Bending(lattice)(bent)).sum()) > 1


def test_the_spectrum_tells_the_energy_of_a_wave() -> None:
    lattice = Lattice((24, 26), (8.0, 8.0))
    waves, energy = bending_spectrum(lattice)
    wave = (waves[0][3][:, None] * waves[1][4]).expand(1, 1, 24, 26)
    found = float((wave * Bending(lattice)(wave)).sum())
    assert found == pytest.approx(float(energy[3, 4]), rel=0.25)


def test_time_holds_only_frames_together_that_follow_each_other() -> None:
    matrix = Costs(1.0, 1.0, (0, 3, 8, 9, 10, 11)).jerk()
    assert not matrix[:2].any()
    steady = torch.tensor([5.0, -2.0, 0.0, 1.0, 2.0, 3.0], dtype=torch.float64)
    assert float(steady @ matrix @ steady) == pytest.approx(0)
    assert float(matrix[3, 3]) == 5


@pytest.mark.slow
def test_a_known_deformation_is_found_without_folds(movie: SyntheticMovie) -> None:
    stack = Stack(movie.noisy, "tyx")
    straight = finish(register_stack(stack, [AffineDescent()]))
    bent = finish(register_stack(stack, [AffineDescent(), Elastic(**FINE)]))
    rough, fine = error(movie, straight.transforms), error(movie, bent.transforms)
    assert fine < min(0.6, rough / 2)
    for transform in bent.transforms:
        assert float(jacobian_determinant(transform.displacement(stack.grid), stack.grid).min()) > 0.3


@pytest.mark.slow
def test_bleaching_and_units_do_not_matter(movie: SyntheticMovie) -> None:
    fading = np.linspace(1, 0.3, len(movie.noisy)).reshape(-1, 1, 1)
    counts = np.clip(movie.noisy * fading + 200, 0, 65535).astype(np.uint16)
    stack = Stack(counts, "tyx", spacing=(1.0, 0.2, 0.2), origin=(0.0, 1000.0, -500.0))
    found = finish(Elastic(**FINE).align_movie(stack))
    # In the world's units: five voxels to one.
    result = evaluate(movie.keypoints, Registration(found, stack.grid))
    assert float(result.after[result.frame > 0].mean()) < 0.5


@pytest.mark.slow
def test_a_long_movie_is_found_in_windows_as_well_as_at_once() -> None:
    movie = nuclei_movie(SMALL, seed=4, shape=(96, 96), n_frames=24)
    stack = Stack(movie.noisy, "tyx")
    start = finish(register_stack(stack, [AffineDescent()])).transforms
    once, windows = (finish(Elastic(**FINE, window=size).align_movie(stack, start=start)) for size in (24, 20))
    assert error(movie, windows) < error(movie, once) + 0.2
    assert error(movie, windows) < error(movie, start) / 2


@pytest.mark.parametrize(("n_frames", "size"), [(1, 20), (20, 20), (21, 20), (200, 24), (1000, 48)])
def test_windows_find_every_frame_once_and_hold_only_frames_that_were_found(n_frames: int, size: int) -> None:
    found = list[int]()
    for frames, holding in _windows(n_frames, size):
        assert len(frames) <= size
        assert holding <= ANCHORS
        assert set(frames[:holding]) <= set(found)
        assert frames == sorted(set(frames))
        found += frames[holding:]
    assert found == list(range(n_frames))


@pytest.mark.slow
def test_a_start_that_bends_is_part_of_the_result(movie: SyntheticMovie) -> None:
    grid = Grid(movie.noisy.shape[1:])
    truth = [Displacement(torch.from_numpy(field), grid) for field in movie.displacement]
    start = PerFrame([Identity(2), *truth[1:]])
    found = finish(Elastic(**FINE).align_movie(Stack(movie.noisy, "tyx"), start=start))
    assert error(movie, found) < 0.5


def test_motions_without_bending_are_the_start() -> None:
    grid = Grid((16, 20), (0.5, 0.5), (100.0, -40.0))
    start = [Identity(2), Translation([1.0, -2.0]), Affine(torch.tensor([[1.1, 0.1, 3.0], [-0.1, 0.9, 2.0]]))]
    lattice = Lattice.over(in_px(grid), 8.0)
    motions = Motions(lambda _: torch.zeros(16, 20), grid, lattice, start)
    motions.keep([0, 1, 2], *motions.state([0, 1, 2]))
    for found, wanted in zip(motions.transforms(), start, strict=True):
        torch.testing.assert_close(found.displacement(grid), wanted.displacement(grid), rtol=1e-4, atol=1e-3)


def test_the_first_frames_own_bending_is_composed_away() -> None:
    """Every frame bends alike: seen from the first, nothing moves."""
    grid = Grid((40, 44))
    lattice = Lattice.over(in_px(grid), 16.0)
    motions = Motions(lambda _: torch.zeros(40, 44), grid, lattice, [Identity(2)] * 3)
    spline = torch.randn(2, *lattice.shape, generator=torch.Generator().manual_seed(0))
    affine = torch.tensor([[1.05, 0.02, 1.0], [0.0, 0.97, -2.0]], dtype=torch.float64)
    motions.keep([0, 1, 2], affine.expand(3, 2, 3), spline.expand(3, *spline.shape))
    first, *others = motions.transforms()
    assert first.is_identity
    inner = (slice(None), slice(6, -6), slice(6, -6))
    for other in others:
        assert float(other.displacement(grid)[inner].abs().max()) < 0.05


def test_pairs_registrars_say_that_they_know_no_movies(movie: SyntheticMovie) -> None:
    with pytest.raises(TypeError, match="registers pairs, not a movie at once"):
        Registrar.member("affine")().align_movie(Stack(movie.noisy, "tyx"))


@pytest.mark.slow
def test_what_moves_on_its_own_does_not_drag_its_surroundings() -> None:
    """A bright spot wanders over a still, textured ground: the ground stays where it is."""
    random = np.random.default_rng(0)
    ground = warp(torch.from_numpy(random.normal(size=(1, 96, 96)).astype(np.float32)), Identity(2), fixed=Grid((96, 96)))
    ground = torch.nn.functional.avg_pool2d(ground[None], 5, 1, 2)[0, 0].numpy()
    y, x = np.indices(ground.shape)
    frames = [ground + 0.6 * np.exp(-((y - 48) ** 2 + (x - 30 - 3 * t) ** 2) / 18) for t in range(8)]
    noisy = np.stack(frames) + random.normal(0, 0.05, (8, 96, 96))
    found = finish(Elastic(**FINE).align_movie(Stack(noisy.astype(np.float32), "tyx")))
    grid = Grid((96, 96))
    lengths = [float(one.displacement(grid)[:, 40:56, 24:72].norm(dim=0).mean()) for one in itertools.islice(found, 1, None)]
    assert max(lengths) < 0.5
