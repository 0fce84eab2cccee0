"""The command ``denoisereg train``: one sub-command per method that has something to learn."""

from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import tyro

from napari_denoisereg import io, pipeline
from napari_denoisereg.checks import inspect
from napari_denoisereg.console import Teller, with_bar
from napari_denoisereg.device import choose
from napari_denoisereg.method import Method
from napari_denoisereg.model import load as load_model

Device = Literal["auto", "cpu", "cuda", "mps"]
MEMBERS = [member for family in pipeline.FAMILIES for member in family.members().values()]
TRAINED = [member for member in MEMBERS if getattr(member, "is_trained", False)]


@dataclass(kw_only=True)
class TrainTask:
    """What is trained on what; one subclass per method adds the method's settings, so that they come last."""

    sources: tyro.conf.Positional[tuple[Path, ...]]
    """Movies or stacks to read."""
    output: Path
    """Model file to write (.safetensors)."""
    axes: str | None = None
    """What the dimensions are, e.g. tyx; by default what the files say."""
    channel: int = 0
    """Channel to train on."""
    start: Path | None = None
    """Model to start from (fine-tuning)."""
    device: Device = "auto"
    """Where to compute."""
    overwrite: bool = False
    """Replace an earlier model."""

    labels: tuple[Path, ...] = ()
    """For encoders that learn from labels: one file for each movie, whole numbers, 0 is background."""

    method: Any = None
    """Settings of the method."""

    def execute(self, console: Teller) -> None:
        """Do it."""
        if not self.sources:
            raise ValueError("Expected at least one movie to train on; name its file after the method.")
        more = self._labels()
        io.check_writable(self.output, 10_000_000, overwrite=self.overwrite)
        console.will_write(self.output)
        start = None if self.start is None else load_model(self.start, pipeline.FAMILIES)
        stacks = [io.read(source, axes=self.axes).channel(self.channel) for source in self.sources]
        for stack in stacks:
            if start is not None:
                start.expect(type(self.method), stack.grid.ndim)
            with_bar(inspect(stack), console)
        model = with_bar(self.method.fit(stacks, start=start, device=choose(self.device), **more), console)
        model.save(self.output)
        console.wrote(self.output, f" ({model.provenance['iterations']} iterations)")

    def _labels(self) -> dict[str, Any]:
        """What only encoders are given; refused for other methods, and asked for where it is missing."""
        if not getattr(self.method, "needs_labels", False):
            if self.labels:
                raise ValueError(f"The method {self.method.kind!r} does not learn from labels; leave --labels out.")
            return {}
        if len(self.labels) != len(self.sources):
            raise ValueError(f"Expected --labels with a file for each of {len(self.sources)} movies, got {len(self.labels)}.")
        return {"labels": [io.read(path, axes=self.axes) for path in self.labels]}


def _train_task(member: type[Method]) -> Any:
    """`TrainTask` with a method's own settings beside its own: ``train METHOD IN... --output MODEL [settings]``."""
    task = make_dataclass(
        f"Train{member.__name__}", [("method", member, field(default_factory=member))], bases=(TrainTask,), kw_only=True
    )
    return Annotated[task, tyro.conf.subcommand(name=member.kind, description=(member.__doc__ or "").strip())]


@dataclass
class Train:
    """Train a method on one or more movies and save the model."""

    task: Union[tuple(_train_task(each) for each in TRAINED)]  # type: ignore[valid-type]  # noqa: UP007

    def execute(self, console: Teller) -> None:
        """Do it."""
        self.task.execute(console)
