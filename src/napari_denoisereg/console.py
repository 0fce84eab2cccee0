"""What the command line says: text as it is, a bar for long work, and what was written when it is stopped.

Names of files may hold what rich reads as markup (``movie [denoised].tif``), so none is read here; colours are
`rich.text.Text`.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from napari_denoisereg.method import in_words
from napari_denoisereg.steps import Steps, finish

T = TypeVar("T")


class Teller(Console):
    """Console that prints names of files as they are, brackets and all, and knows what was written.

    Parameters
    ----------
    **options
        Of `rich.console.Console`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)
        self._before: dict[Path, tuple[int, int] | None] = {}

    def will_write(self, *paths: Path) -> None:
        """Remember how outputs are before they are written.

        Parameters
        ----------
        *paths : Path
            Files and folders.
        """
        self._before |= {path: _stamp(path) for path in paths}

    def written(self) -> list[Path]:
        """Outputs that are in place.

        Returns
        -------
        list of Path
            Those of `will_write`, without what is not there or is still the earlier one.
        """
        return [path for path, before in self._before.items() if _stamp(path) not in (None, before)]

    def wrote(self, path: Path, note: str = "") -> None:
        """Say that an output is in place.

        Parameters
        ----------
        path : Path
            File or folder.
        note : str
            Said after it.
        """
        self.print(f"Wrote {path}{note}", soft_wrap=True)


def with_bar(steps: Steps[T], console: Teller) -> T:
    """Run Steps with a bar and the time left; Ctrl-C closes them. What they warn of is told in plain words.

    Parameters
    ----------
    steps : Steps
        The work.
    console : Teller
        Where the bar is drawn, if it is a terminal.

    Returns
    -------
    T
        What the work returns.
    """
    columns = (TextColumn("{task.description:<34}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with plain_warnings(console), bar:
        task = bar.add_task("starting", total=1.0)
        return finish(steps, lambda now: bar.update(task, completed=now.fraction, description=now.stage[:34]))


@contextmanager
def plain_warnings(console: Teller) -> Iterator[None]:
    """Tell warnings that are meant for users without the line of code that they come from.

    Parameters
    ----------
    console : Teller
        Where.

    Yields
    ------
    None
        Once.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        usual = warnings.showwarning

        def tell(message: Warning | str, category: type[Warning], *more: Any, **named: Any) -> None:
            if category is UserWarning:
                console.print(Text("Note:", "bold yellow"), str(message), highlight=False, soft_wrap=True)
            else:
                usual(message, category, *more, **named)

        warnings.showwarning = tell
        yield


def problem(error: Exception) -> str:
    """What to tell of an error: its own words, without numbers of the system and addresses of libraries.

    Parameters
    ----------
    error : Exception
        What was raised.

    Returns
    -------
    str
        One line or a few.
    """
    cause = error if isinstance(error, ValidationError) else error.__cause__
    if isinstance(cause, ValidationError):
        return str(error).replace(str(cause), in_words(cause))
    if isinstance(error, OSError) and error.strerror and error.filename is None:
        return error.strerror  # without "[Errno 28]"
    return str(error)


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes when an output is replaced; None where there is none."""
    return (path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else None
