"""One line of text: about how long a run will take and how much memory. Never in the way of the run itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_denoisereg.widgets.estimate import estimate, rate_key, rest_rate, size_in_words, trial
from napari_denoisereg.widgets.inspect_background import Background
from napari_denoisereg.widgets.preferences import recall, remember
from napari_denoisereg.widgets.runner import duration_in_words
from napari_denoisereg.widgets.source_form import wrapped_label

if TYPE_CHECKING:
    from napari_denoisereg.pipeline import Pipeline
    from napari_denoisereg.stack import Stack

PATIENCE = 500  # ms without a change before anything is tried
RATES = "estimate/rates"
MOST_RATES = 200
ABOUT = "A rough estimate: tried on a small corner of the movie, or known from the last run with these methods."


class EstimateLine(QWidget):
    """The line.

    Parameters
    ----------
    parent : QWidget, optional
        Qt parent.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._job: tuple[Pipeline, Stack, str] | None = None
        self._rates: dict[str, float] = dict(recall(RATES, {}))
        self._line = wrapped_label()
        self._line.setToolTip(ABOUT)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PATIENCE)
        self._timer.timeout.connect(self._on_quiet)
        self._background = Background(self)
        self._background.failed.connect(self._on_failed)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._line)
        self.hide()

    def words(self) -> str:
        """What the line says."""
        return str(self._line.text())

    def set_job(self, recipe: Pipeline | None, stack: Stack | None, device: str) -> None:
        """Say which run to estimate; None where there is nothing to run."""
        job = None if recipe is None or stack is None else (recipe, stack, device)
        if job == self._job:
            return
        self._job = job
        self._background.cancel()
        self._timer.stop()
        if job is None:
            self.hide()
        else:
            self._timer.start()

    def stand_back(self) -> None:
        """Stop trying: the run itself begins. The line stays as it is until `set_job` is called again."""
        self._job = None
        self._timer.stop()
        self._background.cancel()

    def learn(self, recipe: Pipeline, stack: Stack, device: str, seconds: float) -> None:
        """Remember how long a run really took, for the next one with these methods."""
        self._keep(rate_key(recipe, stack, device), rest_rate(recipe, stack, seconds))
        self._on_quiet()

    def close_down(self) -> None:
        """Stop and wait, though not for long."""
        self._timer.stop()
        self._background.close_down()

    def _on_quiet(self) -> None:
        if self._job is None:
            return
        recipe, stack, device = self._job
        key = rate_key(recipe, stack, device)
        self._say(self._rates.get(key))
        if key not in self._rates:
            self._background.ask(lambda: trial(recipe, stack, device), lambda rate: self._on_tried(key, rate), restart=True)

    def _on_tried(self, key: str, rate: float) -> None:
        self._rates[key] = rate  # for this session; what a real run teaches is remembered
        if self._job is not None and rate_key(*self._job) == key:
            self._say(rate)

    def _on_failed(self, _: Exception) -> None:
        # A corner may be empty where the movie is not. The run itself says what is wrong with a movie.
        self._say(None, is_final=True)

    def _keep(self, key: str, rate: float) -> None:
        self._rates[key] = rate
        kept = {**dict(recall(RATES, {})), key: rate}
        remember(RATES, dict(list(kept.items())[-MOST_RATES:]))

    def _say(self, rate: float | None, *, is_final: bool = False) -> None:
        assert self._job is not None
        recipe, stack, _ = self._job
        guess = estimate(recipe, stack, rate)
        memory = f"{size_in_words(guess.memory)} of memory"
        if guess.seconds is not None:
            text = f"Will take about {duration_in_words(guess.seconds)} and {memory}."
        else:
            text = f"Will take about {memory}; the time is not known." if is_final else f"Will take about {memory} …"
        more = f"⚠ {guess.warning()}" if guess.warning() else guess.remark()
        self._line.setText(f"{text}\n{more}" if more else text)
        self.show()
