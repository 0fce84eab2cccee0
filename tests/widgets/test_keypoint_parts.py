"""Parts of the Keypoints dock that need no window: marks, history, autosave, proposals, files."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from napari.layers import Image, Points

from napari_denoisereg.evaluation.keypoints import Keypoints
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish
from napari_denoisereg.widgets.inspect_results import results_of
from napari_denoisereg.widgets.keypoint_autosave import Autosave, forget, movie_key, newest_session
from napari_denoisereg.widgets.keypoint_features import counting, words
from napari_denoisereg.widgets.keypoint_files import FILTERS, marks_of_layer, read, write
from napari_denoisereg.widgets.keypoint_history import History
from napari_denoisereg.widgets.keypoint_marks import Marks
from napari_denoisereg.widgets.keypoint_movie import Movie
from napari_denoisereg.widgets.keypoint_predict import Ways, find_patch, found_in_movie
from napari_denoisereg.widgets.keypoint_proposals import contour_marks, propose
from napari_denoisereg.widgets.layers import Look, stack_from


def marks(n_ids: int = 3, n_frames: int = 3, who: str = "Anna") -> Marks:
    first = np.array([[10.0, 10], [10, 30], [30, 10]])[:n_ids]
    places = np.vstack([first + frame for frame in range(n_frames)])
    return Marks.of(Keypoints(np.repeat(range(n_frames), n_ids), list(range(n_ids)) * n_frames, places, who))


# ---------------------------------------------------------------------------------------------- marks
def test_marks_survive_json() -> None:
    there = marks().including([1], False).checking([2], True)
    again = Marks.from_dict(json.loads(json.dumps(there.to_dict())), 2)
    assert again.to_dict() == there.to_dict()
    assert again.check.sum() == 3  # a keypoint is held out in all frames
    empty = Marks.from_dict(Marks.none(3).to_dict(), 3)
    assert (len(empty), empty.points.n_axes) == (0, 3)
    with pytest.raises(ValueError, match="update napari-denoisereg"):
        Marks.from_dict({"format": 99}, 2)


def test_changes_leave_the_value_as_it_was() -> None:
    there = marks()
    before = there.to_dict()
    there.moved([0], [[5, 5]])
    there.without([0, 1])
    there.including([0], False)
    there.checking([0], True)
    there.with_points(Keypoints([1], [0], [[9, 9]], "Anna"))
    assert there.to_dict() == before


def test_points_that_are_there_already_move_and_others_are_added() -> None:
    there = marks().checking([0], True)
    more = there.with_points(Keypoints([1, 5, 0], [0, 0, 7], [[1, 2], [3, 4], [5, 6]], "Anna"))
    assert len(more) == len(there) + 2
    row = next(row for row in more.rows_of(("Anna", "interior", 0)) if more.points.frame[row] == 1)
    assert more.points.position[row].tolist() == [1, 2]
    assert more.check[more.points.id == 0].all()
    assert not more.check[more.points.id == 7].any()
    assert (more.next_id("Anna", "interior"), more.next_id("Anna", "contour"), more.next_id("Ben", "interior")) == (8, 0, 0)
    with pytest.raises(ValueError, match="belongs to this movie"):
        there.with_points(Keypoints([0], [0], [[1, 2, 3]]))


# ---------------------------------------------------------------------------------------------- history
@given(st.lists(st.sampled_from(["push", "undo", "redo"]), max_size=40))
def test_history_is_a_tape(actions: list[str]) -> None:
    history, tape, place = History(0, longest=10), [0], 0
    for number, action in enumerate(actions, 1):
        if action == "push":
            history.push(number, f"step {number}")
            tape = [*tape[: place + 1], number][-11:]
            place = len(tape) - 1
        elif action == "undo":
            place = max(0, place - 1)
            assert history.undo() == tape[place]
        else:
            place = min(len(tape) - 1, place + 1)
            assert history.redo() == tape[place]
        assert history.value == tape[place]
        assert bool(history.undoable) == (place > 0)
        assert bool(history.redoable) == (place < len(tape) - 1)


# ---------------------------------------------------------------------------------------------- autosave
def test_the_newest_marks_are_saved_and_found_again(tmp_path: Path) -> None:
    autosave = Autosave("movie-1", tmp_path)
    for number in range(30):
        autosave.save(marks().moved([0], [[number, number]]))
    autosave.finish()
    found = newest_session("movie-1", 2, tmp_path)
    assert found is not None
    assert found.marks.points.position[0].tolist() == [29, 29]
    assert newest_session("movie-2", 2, tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == [autosave.path.name]
    forget(found)
    assert newest_session("movie-1", 2, tmp_path) is None


def test_old_sessions_are_forgotten_and_broken_ones_passed_over(tmp_path: Path) -> None:
    for number in range(8):
        autosave = Autosave("movie-1", tmp_path)
        autosave.save(marks().moved([0], [[number, number]]))
        autosave.finish()
        os.utime(autosave.path, (number, number))
    assert len(list(tmp_path.iterdir())) == 5
    broken = tmp_path / "movie-1.9.json"
    broken.write_text('{"format": 1, "frame": [')
    found = newest_session("movie-1", 2, tmp_path)
    assert found is not None
    assert found.marks.points.position[0].tolist() == [7, 7]
    assert broken.exists()


def test_a_folder_that_cannot_be_written_is_told_and_does_not_stop_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    autosave = Autosave("movie", tmp_path / "file" / "folder")
    autosave.save(marks())
    autosave.finish()
    assert isinstance(autosave.error, OSError)


def test_movies_of_one_name_differ_by_file_and_shape() -> None:
    keys = {movie_key("a b", shape, source) for shape in ((1, 2), (1, 3)) for source in (None, "/x/a.tif", "/y/a.tif")}
    assert len(keys) == 6
    assert all(key.startswith("a-b-") for key in keys)


def test_marks_survive_a_killed_program(tmp_path: Path) -> None:
    """The program is killed in the middle of its work, while it saves again and again."""
    program = f"""
        import sys, pathlib, numpy as np
        from napari_denoisereg.evaluation.keypoints import Keypoints
        from napari_denoisereg.widgets.keypoint_autosave import Autosave
        from napari_denoisereg.widgets.keypoint_marks import Marks
        autosave = Autosave("movie", pathlib.Path({str(tmp_path)!r}))
        for number in range(1, 10**9):
            n = number % 500 + 1
            autosave.save(Marks.of(Keypoints(np.zeros(n), range(n), np.full((n, 2), 7.0))))
            autosave.finish()
            print("saved", flush=True)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(5):
        assert process.stdout.readline() == "saved\n"
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stdout.close()
    found = newest_session("movie", 2, tmp_path)
    assert found is not None
    assert len(found.marks) >= 5
    assert (found.marks.points.position == 7).all()


# ---------------------------------------------------------------------------------------------- proposals
def shifting(n_frames: int = 5) -> Ways:
    return Ways([lambda p, t=t: p - 2 * t for t in range(n_frames)], [lambda p, t=t: p + 2 * t for t in range(n_frames)])


def test_proposals_are_where_the_registration_expects_them() -> None:
    there = propose(marks(n_frames=2), "Anna", 3, shifting())
    assert there.start == 0
    assert there.marks.points.id.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(there.marks.points.position, marks(n_frames=1).points.position + 6)
    assert not there.is_guess


def test_proposals_without_registration_are_where_the_keypoints_were() -> None:
    there = propose(marks(n_frames=2), "Anna", 3, None)
    assert there.start == 1
    np.testing.assert_array_equal(there.marks.points.position, marks(n_frames=1).points.position + 1)
    assert there.is_guess


def test_only_own_unmarked_keypoints_of_the_first_frame_are_proposed() -> None:
    both = marks(n_frames=2).with_points(marks(n_frames=1, who="Ben").points).without([1])
    assert len(propose(both, "Anna", 0, None)) == 0
    assert len(propose(both, "Anna", 1, None)) == 0  # keypoint 1 is not marked in frame 0 any more
    assert propose(both, "Ben", 1, None).marks.points.annotator.tolist() == ["Ben"] * 3
    kept = propose(both, "Ben", 1, None)
    kept = propose(both, "Ben", 1, None, type(kept)(kept.marks.moved([0], [[1, 1]]), 0, kept.origin))
    assert kept.marks.points.position[0].tolist() == [1, 1]


def test_where_the_registration_knows_nothing_the_place_stays() -> None:
    nowhere = Ways([lambda p: p] * 2, [lambda p: p, lambda p: np.full_like(p, np.nan)])
    np.testing.assert_array_equal(nowhere.carry(np.array([[1.0, 2]]), 0, 1), [[1, 2]])


@given(dy=st.floats(-9, 9), dx=st.floats(-9, 9))
def test_a_moved_pattern_is_found_to_a_fraction_of_a_pixel(dy: float, dx: float) -> None:
    rng = np.random.default_rng(0)
    spots = rng.uniform(0, 80, (120, 2))

    def picture(shift: tuple[float, float]) -> np.ndarray:
        down, across = (np.exp(-((np.arange(80) - (spots[:, [axis]] + shift[axis])) ** 2) / 6) for axis in (0, 1))
        return (down.T @ across).astype(np.float32)

    place = np.array([40.3, 38.6])
    found = find_patch(picture((0, 0)), picture((dy, dx)), place, place)
    np.testing.assert_allclose(found, place + np.array([dy, dx]), atol=0.35)


def test_what_is_not_there_stays_where_it_is_expected() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(0, 1, (2, 80, 80)).astype(np.float32)
    guess = np.array([41.0, 42.0])
    for place in (np.array([40.0, 40.0]), np.array([2.0, 40.0])):  # nothing alike; at the border
        np.testing.assert_array_equal(find_patch(one, other, place, guess), guess)
    np.testing.assert_array_equal(find_patch(np.zeros_like(one), other, guess, guess), guess)
    stack = Stack(np.stack([one, one]), axes="tyx")
    np.testing.assert_allclose(finish(found_in_movie(stack, 0, 1, guess[None], guess[None])), guess[None], atol=0.01)


def test_volumes_with_few_planes_are_searched_too() -> None:
    volume = np.random.default_rng(0).normal(0, 1, (9, 80, 80)).astype(np.float32)
    moved = np.roll(volume, (1, 3, -4), (0, 1, 2))
    place = np.array([4.0, 40.0, 40.0])
    np.testing.assert_allclose(find_patch(volume, moved, place, place), place + np.array([1, 3, -4]), atol=0.1)


def test_outlines_of_later_frames_get_the_points_of_the_first() -> None:
    angles = np.linspace(0, 2 * np.pi, 50, endpoint=False)
    outline = np.column_stack([20 + 8 * np.sin(angles), 20 + 5 * np.cos(angles)])
    first = contour_marks(Marks.none(2), "Anna", 0, outline, 6, None)
    there = Marks.of(first)
    later = contour_marks(there, "Anna", 2, np.roll(outline, 9, axis=0) + 4, 99, shifting())
    np.testing.assert_allclose(later.position, first.position + 4, atol=0.3)
    assert later.id.tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="frame 0 first"):
        contour_marks(Marks.none(2), "Anna", 2, outline, 6, None)
    with pytest.raises(ValueError, match="volumes"):
        contour_marks(Marks.none(3), "Anna", 0, np.zeros((5, 3)), 6, None)


# ---------------------------------------------------------------------------------------------- movies and files
def movie(shape: tuple[int, ...] = (4, 40, 50), axes: str = "tyx", **place: object) -> Movie:
    layer = Image(np.zeros(shape, np.float32), name="cells", axis_labels=tuple(axes), **place)
    return Movie(layer, Look.of(layer, axes), stack_from(layer, axes))


def test_marks_go_to_layer_rows_and_back_whatever_the_axes() -> None:
    for shape, axes in (((4, 40, 50), "tyx"), ((4, 3, 40, 50), "tcyx"), ((3, 4, 40, 50), "ctyx"), ((4, 6, 40, 50), "tzyx")):
        one = movie(shape, axes)
        places = np.arange(2.0 * one.n_axes).reshape(2, -1)
        frames, positions = one.marks(one.rows([1, 3], places))
        assert frames.tolist() == [1, 3]
        np.testing.assert_array_equal(positions, places)
    frames, positions = movie().marks([[-3, -1, 99], [99, 5, 5]])
    assert frames.tolist() == [0, 3]
    assert positions.tolist() == [[0, 49], [5, 5]]


def test_any_points_layer_can_be_taken_over_in_its_own_place() -> None:
    one = movie(scale=(1, 0.5, 0.5))
    layer = Points([[0, 1, 2], [0, 3, 4], [2, 5, 6]], scale=(1, 1, 1), translate=(0, 1, 0))
    taken = marks_of_layer(layer, one, "Anna")
    assert taken.points.id.tolist() == [0, 1, 0]
    assert set(taken.points.annotator) == {"Anna"}
    np.testing.assert_array_equal(taken.points.position, [[4, 4], [8, 8], [12, 12]])
    full = Points(
        [[0, 1, 2], [1, 3, 4]],
        features={"id": [5, 5], "kind": ["contour"] * 2, "included": [True, False], "proposed": [False, True]},
    )
    taken = marks_of_layer(full, movie(), "Anna")
    assert (taken.points.id.tolist(), taken.points.kind.tolist(), taken.included.tolist()) == ([5], ["contour"], [True])


def test_marks_that_went_through_a_csv_file_of_napari_count_as_before() -> None:
    """Such a file turns yes and no into words, all of which are true to Python."""
    features = {"id": [0, 1, 2], "included": ["True", "False", "True"], "proposed": ["False", "False", "True"]}
    layer = Points([[0, 1, 2], [0, 3, 4], [1, 5, 6]], features=features)
    taken = marks_of_layer(layer, movie(), "Anna")
    assert taken.points.id.tolist() == [0, 1]
    assert taken.included.tolist() == [True, False]
    assert counting(layer.features).tolist() == [True, False, False]


def test_inspect_measures_at_the_marks_that_count() -> None:
    features = {"id": [0, 1, 2], "included": [True, False, True], "proposed": [False, False, True]}
    layer = Points([[0, 1, 2], [0, 3, 4], [1, 5, 6]], features=features)
    table = results_of(movie().layer, "tyx", {"keypoints": layer}).keypoint_table()
    assert table is not None
    assert table.id.tolist() == [0]
    layer.features = {**features, "included": [False, False, False]}
    assert results_of(movie().layer, "tyx", {"keypoints": layer}).keypoint_table() is None


def test_every_format_comes_back(tmp_path: Path) -> None:
    one = movie(scale=(1, 0.5, 0.5))
    points = marks(n_frames=2).points
    for number, form in enumerate(FILTERS):
        path = write(points, tmp_path / f"points-{number}", form, one)
        assert path.suffix == ".csv"
        again = read(path, one)
        order, here = np.lexsort((again.id, again.frame)), np.lexsort((points.id, points.frame))
        np.testing.assert_allclose(again.position[order], points.position[here])


def test_only_registrations_that_fit_are_offered() -> None:
    from napari_denoisereg.widgets.keypoint_movie import registrations_in

    def layer(n_frames: int, ndim: int) -> SimpleNamespace:
        registration = SimpleNamespace(transforms=[None] * n_frames, grid=SimpleNamespace(ndim=ndim))
        return SimpleNamespace(name=f"{n_frames} {ndim}", metadata={"napari-denoisereg": {"registration": registration}})

    viewer = SimpleNamespace(layers=[layer(4, 2), layer(5, 2), layer(4, 3), SimpleNamespace(name="x", metadata={})])
    assert list(registrations_in(viewer, movie())) == ["4 2"]


def test_saving_does_not_keep_the_caller_waiting(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    many = Marks.of(Keypoints(np.repeat(range(100), 100), list(range(100)) * 100, rng.uniform(0, 500, (10_000, 2))))
    autosave = Autosave("movie", tmp_path)
    start = time.perf_counter()
    autosave.save(many)
    assert time.perf_counter() - start < 0.05
    autosave.finish(20)
    assert newest_session("movie", 2, tmp_path) is not None


def test_empty_cells_of_a_table_are_nobody() -> None:
    features = Points(np.zeros((4, 3)), features={"annotator": ["Ada", np.nan, None, " "]}).features
    assert words(features, "annotator", "me") == ["Ada", "me", "me", "me"]
    assert words(features, "kind", "interior") == ["interior"] * 4
