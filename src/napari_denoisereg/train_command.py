"""The command ``denoisereg train``: one sub-command per method that has something to learn."""

from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import tyro

from napari_denoisereg import io, pipeline
from napari_denoisereg.checks import inspect
from napari_denoisereg.console import Teller, plain_warnings, with_bar
from napari_denoisereg.device import choose
from napari_denoisereg.method import Method
from napari_denoisereg.model import Model
from napari_denoisereg.model import load as load_model
from napari_denoisereg.register import Registrar
from napari_denoisereg.steps import Steps
from napari_denoisereg.training import gone_on_with, saved_on_the_way

Device = Literal["auto", "cpu", "cuda", "mps"]
MEMBERS = [member for family in pipeline.FAMILIES for member in family.members().values()]
MODEL_SUFFIXES = (".safetensors", ".model")
TRAINED = [member for member in MEMBERS if getattr(member, "is_trained", False)]


@dataclass(kw_only=True)
class TrainTask:
    """What is trained on what; one subclass per method adds the method's settings, so that they come last."""

    sources: tyro.conf.Positional[tuple[Path, ...]]
    """Movies or stacks to read."""
    output: Path
    """Model file to write (.safetensors)."""
    axes: str | None = None
    """Dimensions of the files in their order, e.g. tyx. Default: what the files say."""
    channel: int = 0
    """Channel to train on, counted from 0."""
    start: Path | None = None
    """Trained model to start from (fine-tuning)."""
    device: Device = "auto"
    """Where to compute; auto uses an NVIDIA graphics card if there is one."""
    overwrite: bool = False
    """Replace an earlier model, and discard an interrupted training."""
    resume: bool = False
    """Continue a training that was interrupted by Ctrl-C, a crash or a time limit."""
    save_every: float = 20.0
    """Save the state of the training beside the model every so many seconds."""
    checkpoints: bool = False
    """Also keep the network as it was early and in the middle, as OUTPUT-early and OUTPUT-middle, to see how it learnt."""

    labels: tuple[Path, ...] = ()
    """For the method segmentation: one labels file per movie; whole numbers, 0 is background."""

    method: Any = None
    """Settings of the method."""

    def execute(self, console: Teller) -> None:
        """Do it."""
        if not self.sources:
            raise ValueError("Expected at least one movie to train on; name its file after the method.")
        io.check_suffix(self.output, MODEL_SUFFIXES)
        io.check_apart(self.output, *self.sources, *self.labels)
        more = self._labels()
        io.check_writable(self.output, 10_000_000, overwrite=self.overwrite)
        for path in self._checkpoints():
            io.check_apart(path, *self.sources, *self.labels)
            io.check_writable(path, 10_000_000, overwrite=self.overwrite)
        console.will_write(self.output, *self._checkpoints())
        start = self._start()
        stacks = []
        for source in self.sources:
            stack = io.read(source, axes=self.axes).channel(self.channel)
            if start is not None:
                start.expect(type(self.method), stack.grid.ndim)
            try:
                least = 2 if isinstance(self.method, Registrar) else 1  # denoisers that need neighbours say so themselves
                seen = with_bar(inspect(stack, least_frames=least, may_drop=not self.labels), console)
            except ValueError as error:
                raise ValueError(f"{source}: {error}") from error  # which of many movies it is
            with plain_warnings(console):
                seen.warn_of_dropped()
            stacks.append(stack.without_frames(seen.dropped_of(0)))
        fit = gone_on_with(self.method.fit(stacks, start=start, device=choose(self.device), **more), start)
        kept = dict[str, Model]()
        try:
            saving = saved_on_the_way(_noting(fit, kept), self._unfinished, interval=self.save_every, keep_when_stopped=True)
            model = with_bar(saving, console)
        except KeyboardInterrupt:
            if self._unfinished.exists():
                console.print(f"To go on, give the same command with --resume; {self._unfinished} is kept for that.")
            raise
        model.save(self.output)
        console.wrote(self.output, f" ({model.provenance['iterations']} iterations)")
        for path, name in self._checkpoints().items():
            if name in kept:
                kept[name].save(path)
                console.wrote(path, f" ({kept[name].provenance['iterations']} iterations)")

    def _checkpoints(self) -> dict[Path, str]:
        """Where earlier states of the network are kept, and their names in `training.Training.kept`."""
        names = ("early", "middle") if self.checkpoints else ()
        return {self.output.with_stem(f"{self.output.stem}-{name}"): name for name in names}

    @property
    def _unfinished(self) -> Path:
        """Where the state of the training is saved on the way."""
        return self.output.with_name(f"{self.output.name}.unfinished")

    def _start(self) -> Model | None:
        left = self._unfinished
        if self.resume:
            if self.start is not None:
                raise ValueError("A training goes on from where it was; leave out either --resume or --start.")
            if not left.exists():
                raise FileNotFoundError(f"There is no interrupted training to go on with ({left}); leave --resume out.")
            return load_model(left, pipeline.FAMILIES)
        if left.exists() and not self.overwrite:
            raise FileExistsError(
                f"{left} is what an interrupted training left: go on with it (--resume), or begin afresh (--overwrite)."
            )
        return None if self.start is None else load_model(self.start, pipeline.FAMILIES)

    def _labels(self) -> dict[str, Any]:
        """What only encoders are given; refused for other methods, and asked for where it is missing."""
        if not getattr(self.method, "needs_labels", False):
            if self.labels:
                raise ValueError(f"The method {self.method.kind!r} does not learn from labels; leave --labels out.")
            return {}
        if len(self.labels) != len(self.sources):
            raise ValueError(f"Expected --labels with a file for each of {len(self.sources)} movies, got {len(self.labels)}.")
        return {"labels": [io.read(path, axes=self.axes) for path in self.labels]}


def _noting(steps: Steps[Model], kept: dict[str, Model]) -> Steps[Model]:
    """The steps of a training; ``kept`` gets the states of the network that it keeps."""
    try:
        while True:
            progress = next(steps)
            if progress.training is not None:
                kept.update(progress.training.kept)
            yield progress
    except StopIteration as end:
        return end.value
    finally:
        steps.close()


def _train_task(member: type[Method]) -> Any:
    """`TrainTask` with a method's own settings beside its own: ``train METHOD IN... --output MODEL [settings]``."""
    task = make_dataclass(
        f"Train{member.__name__}", [("method", member, field(default_factory=member))], bases=(TrainTask,), kw_only=True
    )
    return Annotated[task, tyro.conf.subcommand(name=member.kind, description=(member.__doc__ or "").strip())]


@dataclass
class Train:
    """Train a network on one or more movies and save the model."""

    task: Union[tuple(_train_task(each) for each in TRAINED)]  # type: ignore[valid-type]  # noqa: UP007
    """What to train; `denoisereg train METHOD --help` lists the settings of a method."""

    def execute(self, console: Teller) -> None:
        """Do it."""
        self.task.execute(console)
