"""What Inspect says about the noise that was taken away: the frame in view and the movie in one message."""

import numpy as np
import pytest

from napari_denoisereg.evaluation.denoising_trust import Trust
from napari_denoisereg.evaluation.residual import ResidualFigures
from napari_denoisereg.widgets.inspect_noise import LOOK, VERDICTS, in_words

FINE = {"removed": 0.95, "structure": 1.0, "kept": 1.0}
FRAMES = {
    "nothing": ResidualFigures(0.0, 0.0, np.nan, np.nan, 10_000),
    "noise": ResidualFigures(0.0, 9.0, 0.0, 0.0, 10_000),
    "structure": ResidualFigures(0.0, 9.0, 0.5, 0.0, 10_000),
    "contrast": ResidualFigures(0.0, 9.0, 0.0, 0.5, 10_000),
}


def trust(**changed: float) -> Trust:
    values = {name: np.full(3, value) for name, value in {**FINE, **changed}.items()}
    return Trust(**values, frames=np.array([0, 4, 8]))


@pytest.mark.parametrize("verdict", FRAMES)
def test_without_doubts_the_frame_in_view_is_judged(verdict: str) -> None:
    said = in_words(FRAMES[verdict], trust())
    assert FRAMES[verdict].verdict == verdict
    assert said.startswith(VERDICTS[verdict])
    assert (LOOK in said) == (verdict == "structure")


@pytest.mark.parametrize(
    ("verdict", "doubt", "words"),
    [
        ("nothing", {"removed": 0.0}, "hardly any noise was taken away"),
        ("structure", {"structure": 3.0}, "fine structure was taken away"),
        ("contrast", {"kept": 0.9}, "total intensity changed"),
    ],
)
def test_what_holds_for_the_movie_is_not_said_again_of_the_frame(verdict: str, doubt: dict, words: str) -> None:
    said = in_words(FRAMES[verdict], trust(**doubt))
    assert said.count(words) == 1
    assert VERDICTS[verdict] not in said
    assert said.count(LOOK) == (verdict == "structure")


def test_a_doubtful_movie_is_not_called_fine_and_what_only_the_frame_shows_is_added() -> None:
    assert VERDICTS["noise"] not in in_words(FRAMES["noise"], trust(structure=3.0))
    both = in_words(FRAMES["contrast"], trust(structure=3.0))
    assert both.index("fine structure") < both.index(VERDICTS["contrast"]) < both.index(LOOK)
    assert "Spread 9 grey values" in both.splitlines()[-1]
