"""Regions: what lies outside is not seen, whatever the registrar; the transforms hold for the whole frame."""

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import napari_denoisereg as dr
from napari_denoisereg.geometry import PerFrame, Translation
from napari_denoisereg.register import Registrar, Registration
from napari_denoisereg.register.region import continued, region_of
from napari_denoisereg.register.stacks import register_stack
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish

STEPS = np.array([(0, 0), (1.5, -2), (3, -3)], float)
SPACING, ORIGIN = (1.0, 0.5, 0.25), (0.0, 3.0, -7.0)


def texture(seed: int, side: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return sum(ndimage.gaussian_filter(random.normal(size=(side, side)), width) * width for width in (1.5, 4))


def two_motions(side: int = 64, radius: float = 20) -> tuple[np.ndarray, np.ndarray]:
    """A disk whose texture moves by `STEPS`, in surroundings that are twice as bright and move the other way; and the disk."""
    inner, outer, places = texture(0, side + 24), texture(9, side + 24), np.indices((side, side)) - (side - 1) / 2
    frames, disks = [], []
    for step in STEPS:
        one, two = (ndimage.shift(each, shift, order=3)[12:-12, 12:-12] for each, shift in ((inner, step), (outer, -2 * step)))
        disks.append(np.square(places - step[:, None, None]).sum(0) < radius**2)
        frames.append(np.where(disks[-1], 100 * one, 300 + 200 * two))
    noise = np.random.default_rng(1).normal(0, 10, (len(STEPS), side, side))
    return (np.stack(frames) + noise).astype(np.float32), np.stack(disks)


FRAMES, DISKS = two_motions()
STACK = Stack(FRAMES, "tyx", SPACING, ORIGIN, name="two motions")
STATIC = np.square(np.indices((64, 64)) - 31.5).sum(0) < 17**2


def error(registration: Registration) -> float:
    """Largest distance from the disk's motion at its middle, px."""
    middle = np.array([[31.5, 31.5]]) * SPACING[1:] + ORIGIN[1:]
    moved = [(registration.points(t, middle) - middle) / SPACING[1:] - STEPS[t] for t in range(len(STEPS))]
    return float(np.linalg.norm(np.concatenate(moved), axis=1).max())


@pytest.mark.parametrize("mask", [DISKS, STATIC, DISKS.astype(np.int32) * 7, Stack(DISKS.astype(np.uint8), "tyx")])
def test_what_moves_otherwise_outside_does_not_disturb(mask: Any) -> None:
    assert error(dr.register(STACK, "affine", device="cpu")) > 1
    assert error(dr.register(STACK, "affine", device="cpu", region=mask)) < 0.5


def test_a_mask_that_is_the_same_in_all_frames_marks_what_is_followed() -> None:
    """The disk leaves a mask that stays: where that is cut out of every frame, the corners go astray."""
    one, two = (
        dr.register(STACK, "affine", device="cpu", region=mask) for mask in (STATIC, np.repeat(STATIC[None], len(STEPS), 0))
    )
    for frame in range(len(STEPS)):
        np.testing.assert_array_equal(one.transforms[frame].matrix(), two.transforms[frame].matrix())
    whole = np.ones(FRAMES.shape, bool)
    assert finish(region_of(whole, STACK)).is_whole


def test_what_is_outside_is_never_seen() -> None:
    """Other surroundings, the same transforms, to the last bit."""
    other = np.where(DISKS, FRAMES, np.random.default_rng(4).normal(5000, 900, FRAMES.shape)).astype(np.float32)
    one, two = (dr.register(Stack(frames, "tyx"), "affine", device="cpu", region=DISKS) for frames in (FRAMES, other))
    for frame in range(len(STEPS)):
        np.testing.assert_array_equal(one.transforms[frame].matrix(), two.transforms[frame].matrix())
    np.testing.assert_array_equal(one.quality["after"], two.quality["after"])


def test_the_result_holds_for_the_whole_frame() -> None:
    found = dr.register(STACK, "elastic", device="cpu", region=DISKS)
    assert found.grid == STACK.grid
    assert found.warp(STACK).shape == STACK.shape
    assert all(np.isfinite(found.displacement(frame)).all() for frame in range(len(STEPS)))


@pytest.mark.parametrize("shape", [(64, 64), (3, 64, 64)])
def test_a_mask_of_everything_equals_no_mask(shape: tuple[int, ...]) -> None:
    region = finish(region_of(np.ones(shape, bool), STACK))
    assert region.confine(STACK) is STACK
    one, two = (dr.register(STACK, "affine", device="cpu", region=each) for each in (None, np.ones(shape, bool)))
    for frame in range(len(STEPS)):
        np.testing.assert_array_equal(one.transforms[frame].matrix(), two.transforms[frame].matrix())


def test_a_mask_drawn_in_one_frame_holds_for_all() -> None:
    drawn = np.zeros(FRAMES.shape, np.uint8)
    drawn[1] = STATIC
    one, two = (finish(region_of(mask, STACK)) for mask in (drawn, STATIC))
    assert one.box == two.box
    np.testing.assert_array_equal(one.confine(STACK).frame(2), two.confine(STACK).frame(2))


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (np.zeros((64, 64), bool), "region is empty"),
        (np.zeros((3, 64, 64), int), "region is empty"),
        (DISKS * np.array([1, 0, 1])[:, None, None], "empty in frame 1"),
        (STATIC[:-1], r"shape \(64, 64\)"),
        (DISKS[:2], r"got \(2, 64, 64\)"),
        (STATIC.astype(float), "whole numbers"),
        (np.eye(64, dtype=bool) & (np.arange(64) < 3), "at least 16 voxels"),
    ],
)
def test_what_cannot_be_a_region_is_refused_before_work(mask: np.ndarray, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(Registrar.coerce("affine")), "align", lambda *_, **__: pytest.fail("worked"))
    with pytest.raises(ValueError, match=told):
        dr.register(STACK, "affine", device="cpu", region=mask)


def test_a_region_without_anything_in_it_is_refused() -> None:
    flat = np.where(STATIC, np.float32(3), FRAMES)
    with pytest.raises(ValueError, match="Within the region"):
        finish(region_of(STATIC, Stack(flat, "tyx")))


@pytest.mark.parametrize("shape", [(30, 41), (5, 20, 33)])
def test_the_region_is_kept_and_carried_on(shape: tuple[int, ...]) -> None:
    places = np.indices(shape)
    slope = (1e6 + sum(places)).astype(np.float32)
    mask = np.ones(shape, bool)
    mask[..., 12:20] = False
    filled = continued(np.where(mask, slope, 9e9).astype(np.float32), mask)
    np.testing.assert_array_equal(filled[mask], slope[mask])
    assert float(np.abs(filled - slope).max()) < 12


def test_volumes_and_sections() -> None:
    volume = Stack(np.random.default_rng(0).normal(size=(2, 6, 20, 24)).astype(np.float32), "tzyx", (1, 2, 1, 1), (0, 5, 6, 7))
    mask = np.zeros((6, 20, 24), np.uint8)
    mask[1:5, :, 3:20] = 1
    for given in (mask, Stack(mask, "zyx")):
        seen = finish(region_of(given, volume)).confine(volume)
        assert seen.grid.shape == (6, 20, 17)
        assert seen.grid.origin == (5, 6, 10)
        np.testing.assert_array_equal(seen.frame(1)[1:5], volume.frame(1)[1:5, :, 3:20])
    sections = Stack(FRAMES, "zyx")
    seen = finish(region_of(Stack(DISKS.astype(np.uint8), "zyx"), sections)).confine(sections)
    assert seen.n_frames == 3


def test_a_start_is_gone_on_from_within_a_region() -> None:
    far = PerFrame([Translation([0.0, 0.0]), *(Translation((step * SPACING[1:] + 0.2).tolist()) for step in STEPS[1:])])
    found = finish(register_stack(STACK, [Registrar.coerce("affine")], start=far, region=finish(region_of(STATIC, STACK))))
    assert error(found) < 0.5


def test_regions_serve_a_whole_recipe() -> None:
    recipe = {"denoise": {"kind": "gaussian"}, "register": [{"kind": "affine"}]}
    result = dr.run(STACK, recipe, device="cpu", region=STATIC)
    assert error(result.registration) < 0.6  # type: ignore[arg-type]
    assert result.denoised is not None
    assert result.denoised.shape == STACK.shape


def drawn_exactly(shape: tuple[int, ...], turn: float, seed: int = 0) -> tuple[Stack, np.ndarray, list[np.ndarray]]:
    """A ball that moves by a fifth of its radius a frame and turns, on surroundings that stay; its first mask, its matrices."""
    random, ndim = np.random.default_rng(seed), len(shape)
    centre, radius = (np.array(shape) - 1) / 2, 0.3 * np.array(shape)
    inner, around = (
        sum(
            ndimage.gaussian_filter(random.normal(size=[side + 32 for side in shape]), width) * width ** (ndim / 2)
            for width in (1.5, 3)
        )
        for _ in range(2)
    )
    points, frames, masks, matrices = np.indices(shape).reshape(ndim, -1), [], [], []
    for time in range(4):
        c, s = np.cos(np.deg2rad(turn * time)), np.sin(np.deg2rad(turn * time))
        matrix = np.eye(ndim + 1)
        matrix[-3:-1, -3:-1] = [[c, -s], [s, c]]
        matrix[:-1, -1] = centre - matrix[:-1, :-1] @ centre + 0.2 * time * radius * np.array([0.2, 1, -1])[-ndim:]
        back = np.linalg.inv(matrix)
        where = back[:-1, :-1] @ points + back[:-1, -1:]
        masks.append((np.square((where - centre[:, None]) / radius[:, None]).sum(0) < 1).reshape(shape))
        own = ndimage.map_coordinates(inner, where + 16, order=3).reshape(shape)
        frame = np.where(masks[-1], 3 + own, 0.7 * around[tuple(slice(16, 16 + side) for side in shape)])
        frames.append(ndimage.gaussian_filter(frame, 0.7) + random.normal(0, 0.15, shape))
        matrices.append(matrix)
    return Stack(np.stack(frames).astype(np.float32), "tzyx"[-ndim - 1 :] if ndim == 3 else "tyx"), masks[0], matrices


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(56, 56), (16, 44, 44)])
@pytest.mark.parametrize("method", [{"kind": "affine", "motion": "rigid"}, "affine", "elastic"])
def test_an_object_that_is_drawn_exactly_is_followed(shape: tuple[int, ...], method: Any) -> None:
    """It leaves the mask that marks it, and its outline is not in the mask."""
    stack, mask, matrices = drawn_exactly(shape, turn=4)
    found = dr.register(stack, method, region=mask, device="cpu")
    marked = np.argwhere(mask).astype(float)
    for frame, matrix in enumerate(matrices):
        far = found.points(frame, marked) - (marked @ matrix[:-1, :-1].T + matrix[:-1, -1])
        assert float(np.linalg.norm(far, axis=1).mean()) < 0.8


def test_what_may_only_shift_is_not_turned_to_follow_it() -> None:
    stack, mask, _ = drawn_exactly((56, 56), turn=4)
    found = dr.register(stack, {"kind": "affine", "motion": "translation"}, region=mask, device="cpu")
    for transform in found.transforms:
        np.testing.assert_allclose(transform.matrix()[:-1, :-1], np.eye(2), atol=1e-9)


def test_what_leaps_is_followed_where_a_start_says_where_it_went() -> None:
    stack, mask, _ = drawn_exactly((56, 56), turn=0)
    still, drawn = np.pad(stack.frame(0), ((0, 40), (0, 0)), mode="reflect"), np.pad(mask, ((0, 40), (0, 0)))
    far = np.roll(still, 35, 0)
    leap = Stack(np.stack([still, far + np.float32(1), far]), "tyx")
    start = PerFrame([Translation([0.0, 0.0]), Translation([34.0, 0.5]), Translation([34.0, 0.5])])
    found = dr.register(leap, "affine", region=drawn, device="cpu", start=start)
    middle = np.array([[27.5, 27.5]])
    for frame in (1, 2):
        np.testing.assert_allclose(found.points(frame, middle) - middle, [[35, 0]], atol=0.2)
