"""What the Inspect dock computes, without a viewer."""

import numpy as np
import pytest
import torch

from napari_denoisereg.geometry import Displacement, Grid, Identity, PerFrame, Translation
from napari_denoisereg.register import Registration
from napari_denoisereg.steps import finish
from napari_denoisereg.widgets.inspect_fields import Wanted, fields_of, lattice_steps
from napari_denoisereg.widgets.inspect_figures import FrameFigures, named
from napari_denoisereg.widgets.inspect_results import Position

EVERYTHING = Wanted(arrows=True, lines=True, size=True, stretch=True)


def shifted(grid: Grid, shift: list[float]) -> Registration:
    return Registration(PerFrame([Identity(grid.ndim), Translation(shift)]), grid)


def test_shift_is_the_same_everywhere() -> None:
    fields = finish(fields_of(shifted(Grid((40, 60), (0.5, 0.25)), [1.0, -2.0]), Position(1), EVERYTHING, "µm"))
    np.testing.assert_allclose(fields.arrows[:, 1], np.broadcast_to([2, -8], fields.arrows[:, 1].shape), atol=1e-9)
    np.testing.assert_allclose(fields.lengths, 5**0.5)
    np.testing.assert_allclose(fields.size, 5**0.5, rtol=1e-6)
    np.testing.assert_allclose(fields.stretch, 1)
    assert "moved by 2.24 µm" in fields.words
    assert "No folds" in fields.words


def test_lines_are_whole_lines_of_the_grid_moved_and_enlarged() -> None:
    registration = shifted(Grid((27, 53)), [3.0, 1.0])
    lines, larger = (
        finish(fields_of(registration, Position(1), Wanted(lines=True, enlarge=each), "px")).lines for each in (1.0, 2.0)
    )
    ends = lines[:, 0] + lines[:, 1]
    np.testing.assert_allclose(np.minimum(lines[:, 0], ends).min(axis=0), [3, 1])
    np.testing.assert_allclose(np.maximum(lines[:, 0], ends).max(axis=0), [29, 53])
    np.testing.assert_allclose(larger[:, 0] - lines[:, 0], np.broadcast_to([3, 1], lines[:, 0].shape), atol=1e-9)


def test_volume_shows_its_plane_or_several_planes() -> None:
    registration = shifted(Grid((20, 16, 16)), [1.0, 2.0, 0.0])
    plane = finish(fields_of(registration, Position(1, plane=7), EVERYTHING, "px"))
    assert set(plane.arrows[:, 0, 0]) == {7}
    assert set(plane.lines[:, 0, 0]) == {7}
    assert not plane.lines[:, 1, 0].any()
    whole = finish(fields_of(registration, Position(1), EVERYTHING, "px"))
    assert len(set(whole.arrows[:, 0, 0])) == 9
    assert whole.size.shape == (20, 16, 16)


def test_what_is_not_wanted_is_not_made_and_unknown_has_no_arrow() -> None:
    grid = Grid((16, 16))
    field = torch.zeros(2, 16, 16)
    field[:, :, :8] = torch.nan
    registration = Registration(PerFrame([Displacement(field, grid)]), grid)
    fields = finish(fields_of(registration, Position(0), Wanted(arrows=True), "px"))
    assert (fields.lines, fields.size, fields.stretch) == (None, None, None)
    assert 0 < len(fields.arrows) < 16 * 16
    assert fields.arrows[:, 0, 1].min() >= 7


@pytest.mark.parametrize("shape", [(512, 512), (5000, 300), (40, 2048, 2048), (3, 4)])
def test_lattice_is_bounded_and_no_coarser_than_it_must(shape: tuple[int, ...]) -> None:
    steps = lattice_steps(shape, 2**18)
    count = np.prod([-(-size // step) for size, step in zip(shape, steps, strict=True)])
    assert count <= 2**18
    assert np.prod(shape) <= 2**18 or count > 2**16


def test_figures_in_words() -> None:
    before, after = np.array([1, 0.5, 0.5, np.nan]), np.array([1, 0.9, 0.4, 0.9])
    words = FrameFigures("Likeness", before, after, True, (2,)).words()
    assert words == "Likeness: 0.5 before, 0.65 after (mean). Better in 1 of 2 frames. Look at frame 2."
    assert "no figures" in FrameFigures("Error", before * np.nan, after, False).words()
    assert named(tuple(range(12))) == "frames 0, 1, 2, 3, 4, 5, 6, 7 and 4 more"
