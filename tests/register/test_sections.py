"""Serial sections aligned all at once, and ssEMnet."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_denoisereg.evaluation.deformed_sections import DeformedSections, deform_sections, drift, neighbour_correlation
from napari_denoisereg.geometry import Grid, Identity, PerFrame, Translation
from napari_denoisereg.register.block_matching import match, window_matrices
from napari_denoisereg.register.registrar import Registrar
from napari_denoisereg.register.section_balance import Measured, Weights, balance
from napari_denoisereg.register.section_images import placed, prepared
from napari_denoisereg.register.sections import Sections
from napari_denoisereg.register.ssemnet import SsEMnet, _kept
from napari_denoisereg.register.stacks import register_stack, train
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish

WEIGHTS = Weights(length=32.0, pull=1e-4, stiffness=0.01, steadiness=1.0, calm=1e-3, evenness=0.01, outlier=2.0)


def tissue(n: int, shape: tuple[int, int], *, seed: int = 0) -> np.ndarray:
    """Blobs of several sizes that change slowly from section to section; never 0."""
    random = np.random.default_rng(seed)
    image = sum(
        (noise := ndimage.gaussian_filter(random.normal(size=(n + 8, *shape)), (depth, width, width))[4:-4]) / noise.std()
        for depth, width in ((2, 1.5), (4, 4))
    )
    return (120 + 40 * image).clip(1, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def deformed() -> DeformedSections:
    images = tissue(8, (96, 104))
    return deform_sections(images, images.astype(np.int32), seed=2, bend=2.0, shift=2.0)


def found(registrar: Registrar, images: np.ndarray) -> PerFrame:
    stack = Stack(images, "zyx")
    models = finish(train([registrar], stack))
    return finish(register_stack(stack, [registrar], models=models)).transforms


def test_sections_come_back_to_where_they_were(deformed: DeformedSections) -> None:
    transforms = found(Sections(), deformed.images)
    assert transforms[0].is_identity
    before = drift(deformed, [Identity(2)] * 8).mean()
    assert drift(deformed, transforms).mean() < 0.65 * before  # a third is the mean of all deformations, which nothing shows


def test_steady_tissue_is_not_taken_for_deformation() -> None:
    """What runs obliquely by 2 px a section stays as it is; a chain would straighten it, 22 px in the last section."""
    wide = tissue(12, (96, 140))
    images = np.stack([wide[4][:, 2 * z : 2 * z + 96] for z in range(12)])
    transforms = found(Sections(), images)
    points = Grid((96, 96)).points()[:, 32:64, 32:64]
    moved = [float((transform(points) - points).norm(dim=0).mean()) for transform in transforms]
    assert max(moved) < 6


def test_a_long_stack_is_worked_on_in_windows_that_join() -> None:
    images = tissue(24, (64, 64))
    images = deform_sections(images, images.astype(np.int32), seed=3, bend=1.0, shift=2.0)
    transforms = found(Sections(window=16), images.images)
    assert len(transforms) == 24
    assert drift(images, transforms).mean() < 0.7 * drift(images, [Identity(2)] * 24).mean()


def test_ssemnet_aligns_sections_to_their_neighbours(deformed: DeformedSections) -> None:
    registrar = SsEMnet(iterations=30, steps=25, sweeps=1, patch=32)
    transforms = found(registrar, deformed.images[:4])
    few = DeformedSections(deformed.images[:4], deformed.labels[:4], deformed.source[:4])
    assert transforms[0].is_identity
    assert drift(few, transforms).mean() < drift(few, [Identity(2)] * 4).mean()


@pytest.mark.parametrize(
    ("z", "both_sides", "around"), [(3, False, [1, 2]), (3, True, [1, 2, 4, 5]), (1, False, [0]), (7, True, [5, 6])]
)
def test_ssemnet_slides_a_window_over_the_stack(z: int, both_sides: bool, around: list[int]) -> None:
    assert SsEMnet(neighbours=2)._around(z, 8, both_sides=both_sides) == around


def test_loss_drop_leaves_out_the_worst_features_of_the_tissue() -> None:
    error = torch.arange(8.0).reshape(1, 1, 2, 4)
    mask = torch.ones_like(error)
    mask[..., 3] = 0  # 3 and 7 are empty space: 0 1 2 4 5 6 remain
    assert _kept(error, mask, 0.5)[mask > 0].tolist() == [1, 1, 1, 0, 0, 0]
    assert bool((_kept(error, mask, 0.0) == 1).all())


def test_penalty_is_that_of_equation_5() -> None:
    vectors = torch.zeros(1, 2, 3, 3)
    vectors[:, 1] = torch.tensor([0.0, 2.0, 4.0])  # v_x grows by 2 px per node along x
    method = SsEMnet(alpha=0.5, beta=3.0, gamma=100.0)
    expected = 0.5 * float(vectors.square().mean()) + 3.0 * (2.0 / 10) ** 2
    assert float(method._penalty(vectors, [10.0, 10.0])) == pytest.approx(expected)


def test_empty_space_is_marked_and_dark_tissue_is_not() -> None:
    image = torch.from_numpy(tissue(1, (64, 64)).astype(np.float32))
    image[:, :, :20] = 0
    image[:, 40:43, 40:43] = 0
    both = prepared(image)
    assert not bool(both[0, 1, :, :20].any())
    assert bool(both[0, 1, :, 20:].all())
    inside = both[0, 0][both[0, 1] > 0]
    assert float(inside.mean()) == pytest.approx(0, abs=1e-5)
    assert float(inside.std()) == pytest.approx(1, abs=1e-3)


def test_what_is_moved_in_from_outside_is_empty() -> None:
    section = prepared(torch.from_numpy(tissue(1, (32, 32)).astype(np.float32)))[0]
    moved = placed(section, Translation([0.0, 10.0]), Grid((32, 32)))
    assert not bool(moved[1, :, 23:].any())
    assert bool(moved[1, :, :21].all())


def test_blocks_are_found_where_they_are() -> None:
    wide = torch.from_numpy(tissue(1, (80, 80))[0].astype(np.float32))
    fixed, moving = wide[8:72, 8:72], wide[5:69, 10:74]  # moving(x) = wide(x + (5, 10)), fixed(x) = moving(x + (3, -2))
    found = match(prepared(fixed[None]), prepared(moving[None]), (5, 5), window=(8.0, 8.0), reach=(6, 6))
    inner = found.shift[0][:, 1:4, 1:4]
    torch.testing.assert_close(inner, torch.tensor([3.0, -2.0])[:, None, None].expand(2, 3, 3), atol=0.2, rtol=0)
    assert bool((found.weight[0, 1:4, 1:4] > 0.5).all())


def test_blocks_without_tissue_or_texture_count_nothing() -> None:
    one = prepared(torch.from_numpy(tissue(2, (64, 64)).astype(np.float32)))
    empty = one[1:].clone()
    empty[:, :, :, :] = 0
    assert not bool(match(one[:1], empty, (4, 4), window=(6.0, 6.0), reach=(4, 4)).weight.any())
    flat = torch.zeros(1, 2, 64, 64)
    flat[:, 1] = 1
    assert float(match(one[:1], flat, (4, 4), window=(6.0, 6.0), reach=(4, 4)).weight.max()) < 0.05


def test_balance_of_consistent_matches_is_exact() -> None:
    """Independent shifts of sections that tissue does not run through are found up to the weak pull."""
    random = np.random.default_rng(0)
    truth = random.normal(0, 3, (8, 2, 1, 1)) * np.ones((1, 1, 4, 4))
    truth[0] = 0
    pairs = [(i, i + 1) for i in range(7)]
    measured = Measured(pairs, np.stack([truth[j] - truth[i] for i, j in pairs]), np.ones((7, 4, 4)))
    hold = [True] + [False] * 7
    delta, flow = balance(measured, np.zeros((8, 2, 4, 4)), (16.0, 16.0), WEIGHTS, hold, with_flow=False)
    np.testing.assert_allclose(delta, truth, atol=0.05)
    assert not flow.any()


def test_balance_tells_deformation_from_tissue_that_runs_on() -> None:
    random = np.random.default_rng(1)
    truth = random.normal(0, 3, (16, 2, 1, 1)) * np.ones((1, 1, 3, 3))
    truth[0] = 0
    pairs = [(i, i + lag) for lag in (1, 2) for i in range(16 - lag)]
    run = np.array([2.0, -1.0])[:, None, None]
    shift = np.stack([truth[j] - truth[i] + (j - i) * run for i, j in pairs])
    measured = Measured(pairs, shift, np.ones((len(pairs), 3, 3)))
    hold = [True] + [False] * 15
    delta, flow = balance(measured, np.zeros((16, 2, 3, 3)), (16.0, 16.0), WEIGHTS, hold, with_flow=True)
    assert np.abs(delta - truth).mean() < 1.0  # a chain is off by 1.5 px per section: 17 px on average
    assert np.abs(flow - run).mean() < 0.3


def test_balance_is_not_pulled_by_outliers() -> None:
    pairs = [(0, 1)]
    shift, weight = np.full((1, 2, 6, 6), 2.0), np.ones((1, 6, 6))
    shift[0, :, 2, 2] = 20.0
    delta, _ = balance(
        Measured(pairs, shift, weight), np.zeros((2, 2, 6, 6)), (16.0, 16.0), WEIGHTS, [True, False], with_flow=False
    )
    assert np.abs(delta[1] - 2.0).max() < 0.5


def test_details_bring_neighbours_together_and_sections_stay_where_they_are(deformed: DeformedSections) -> None:
    stack = Stack(deformed.images, "zyx")
    balanced, closer = (finish(register_stack(stack, [Sections(firmness=firmness)])) for firmness in (1e6, 0.16))
    alike = [neighbour_correlation(np.asarray(each.warp(stack).data)).mean() for each in (balanced, closer)]
    assert alike[1] > alike[0] + 0.03
    assert drift(deformed, closer.transforms).mean() < 1.15 * drift(deformed, balanced.transforms).mean()


def test_windows_have_no_subnormal_numbers() -> None:
    (matrix,) = window_matrices((200,), (10,), (3.0,))
    assert float(matrix[matrix > 0].min()) > 1e-7
    torch.testing.assert_close(matrix.sum(1), torch.ones(10))
