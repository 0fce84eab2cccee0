"""The command line: ``denoisereg run | denoise | register | train | apply | evaluate | demo | methods``.

Every command is a small dataclass; the methods' settings are their own fields (`method.Method`), so nothing is declared twice.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import tyro
from rich.table import Table
from rich.text import Text

import napari_denoisereg as dr
from napari_denoisereg import io, pipeline, results
from napari_denoisereg.apply_command import Apply
from napari_denoisereg.arguments import WORDS, WrongSettingError, choice
from napari_denoisereg.console import Teller, problem, with_bar
from napari_denoisereg.denoise import Denoiser
from napari_denoisereg.denoise.optical_flow import flow_of
from napari_denoisereg.evaluation.report import SUFFIXES as REPORT_SUFFIXES
from napari_denoisereg.evaluation.report import Report
from napari_denoisereg.evaluation.synthetic import nuclei_movie
from napari_denoisereg.geometry import PerFrame
from napari_denoisereg.geometry.landmarks import Kind
from napari_denoisereg.model import Model
from napari_denoisereg.model import load as load_model
from napari_denoisereg.objects_command import register_each
from napari_denoisereg.register import Registrar, Series
from napari_denoisereg.train_command import Device, Train

Movie = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MOVIE")]
Output = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUTPUT")]
DEMO_FILES = ("displacement_last_frame.zarr", "error.html", "keypoints.csv", "nucleus.ome.tif", "overview.png", "result.zarr")

METHODS: tuple[type[Denoiser] | type[Registrar], ...] = (*Denoiser.members().values(), *Registrar.members().values())
DenoiserChoice: Any = choice(each for each in METHODS if issubclass(each, Denoiser))
RegistrarChoice: Any = choice(each for each in METHODS if issubclass(each, Registrar))


@dataclass(kw_only=True)
class RecipeTask:
    """What a recipe is run on and where its result goes; shared by `Run` and `RegisterStack`."""

    source: Movie
    """Movie or stack to read (.tif, .zarr)."""
    target: Output
    """Folder to write (.zarr): the aligned images, the transforms and, if the recipe denoises, the denoised images."""
    axes: str | None = None
    """Dimensions of the file in their order, e.g. tyx (t time, z depth or section, c channel). Default: what the file says."""
    spacing: tuple[float, ...] = ()
    """Distance between voxels, one number per axis, e.g. 60 0.2 0.2. Default: what the file says."""
    units: tuple[str, ...] = ()
    """Unit of each axis, e.g. second micrometer micrometer. Default: what the file says."""
    device: Device = "auto"
    """Where to compute; auto uses an NVIDIA graphics card if there is one."""
    model: tuple[Path, ...] = ()
    """Trained models to use, instead of training on this movie."""
    start: Path | None = None
    """What is known of the motion: transforms, an earlier result, or a CSV of keypoints; registration goes on from there."""
    start_motion: Kind = "affine"
    """If the start is keypoints: which motion is made of them. Those that the others contradict are left out and named."""
    region: Path | None = None
    """Mask of the part to follow (.tif, .png, .zarr): one image for the first frame, or one per frame."""
    landmarks: Path | None = None
    """CSV of keypoints that guide the registration (pose, affine and elastic follow them)."""
    save_models: Path | None = None
    """Folder to save the trained models in."""
    keypoints: Path | None = None
    """CSV of keypoints to measure the error with; it is printed, and the best of the trained models is chosen by it."""
    overwrite: bool = False
    """Replace an earlier result and earlier models."""

    def inputs(self) -> list[Path]:
        """What is read."""
        given = (self.source, self.start, self.region, self.landmarks, self.keypoints, *self.model)
        return [path for path in given if path is not None]


@dataclass(kw_only=True)
class Run(RecipeTask):
    """Denoise and register a movie with a recipe. The raw movie is aligned, in one interpolation."""

    recipe: str = "balanced"
    """fast, balanced, best, cells, sections, the name of a recipe you saved, or a JSON file."""
    channel: int | None = None
    """Channel that registration looks at, counted from 0; the result is applied to all. Default: what the recipe says, or 0."""

    def execute(self, console: Teller) -> None:
        """Do it."""
        recipe = pipeline.load_recipe(self.recipe)
        _execute(recipe if self.channel is None else recipe.model_copy(update={"channel": self.channel}), self, console)


@dataclass
class DenoiseStack:
    """Denoise a movie with one method."""

    source: Movie
    """Movie or stack to read (.tif, .zarr)."""
    target: Output
    """File to write (.ome.zarr, .tif)."""
    method: DenoiserChoice
    axes: str | None = None
    """Dimensions of the file in their order, e.g. tyx (t time, z depth or section, c channel). Default: what the file says."""
    spacing: tuple[float, ...] = ()
    """Distance between voxels, one number per axis, e.g. 60 0.2 0.2. Default: what the file says."""
    units: tuple[str, ...] = ()
    """Unit of each axis, e.g. second micrometer micrometer. Default: what the file says."""
    device: Device = "auto"
    """Where to compute; auto uses an NVIDIA graphics card if there is one."""
    model: Path | None = None
    """Trained model to use, instead of training on this movie."""
    flow: Path | None = None
    """Also write the optical flow of the denoised movie (.zarr), from each frame to the next one; of the first channel."""
    overwrite: bool = False
    """Replace an earlier result."""

    def execute(self, console: Teller) -> None:
        """Do it."""
        io.check_suffix(self.target)
        io.check_apart(self.target, self.source)
        if self.flow is not None:
            io.check_suffix(self.flow, (".zarr",))
            io.check_apart(self.flow, self.source, self.target)
        stack = io.read(self.source, axes=self.axes, spacing=self.spacing, units=self.units)
        io.check_writable(self.target, results.expected_bytes(stack), overwrite=self.overwrite)
        if self.flow is not None:
            if stack.n_frames < 2:
                raise ValueError(f"--flow is from each frame to the next one, and {stack.name!r} has one only; leave it out.")
            io.check_writable(self.flow, overwrite=self.overwrite)
        console.will_write(*(path for path in (self.target, self.flow) if path is not None))
        models = [] if self.model is None else [load_model(self.model, pipeline.FAMILIES)]
        steps = pipeline.Pipeline(denoise=self.method).run(stack, device=self.device, models=models)
        result = with_bar(steps, console)
        denoised = result.denoised
        assert denoised is not None
        with_bar(io.write_steps(denoised, self.target, overwrite=self.overwrite), console)
        _warn(result, console)
        console.wrote(self.target)
        if self.flow is not None:
            flow = with_bar(flow_of(denoised.channel(0)), console)
            io.write_transforms(flow, self.flow, grid=denoised.grid, overwrite=self.overwrite)
            console.wrote(self.flow)


@dataclass(kw_only=True)
class RegisterStack(RecipeTask):
    """Register every frame of a movie to the first one with one method."""

    method: RegistrarChoice
    series: Series = field(default_factory=lambda: Series.coerce("combined"))
    """Which frames are compared."""
    channel: int = 0
    """Channel that registration looks at, counted from 0; the result is applied to all channels."""
    objects: Path | None = None
    """Labels image of tracked objects: each one is registered by itself, and the result holds one set of transforms each."""
    aligned: Path | None = None
    """With --objects: also write the movie in which every object stands still (.ome.zarr, .tif)."""

    def execute(self, console: Teller) -> None:
        """Do it."""
        if self.objects is not None:
            register_each(self, console)
            return
        if self.aligned is not None:
            raise ValueError(f"--aligned goes with --objects; the aligned movie will be in {self.target / 'aligned'} anyway.")
        given = {"registrars": (self.method,), "series": self.series, "channel": self.channel}
        _execute(pipeline.Pipeline(**given, keep_denoised=False), self, console)


@dataclass
class Evaluate:
    """Measure the registration error at keypoints, before and after."""

    keypoints: Path
    """CSV file of keypoints, positions in pixels."""
    transforms: Path | None = None
    """Result of run or register, or a transforms file."""
    report: Path | None = None
    """Report to write (.html, .csv, .json or .txt)."""
    by: tuple[Literal["frame", "id", "annotator", "kind"], ...] = ("annotator",)
    """What each row of the table is."""
    overwrite: bool = False
    """Replace an earlier report."""

    def execute(self, console: Teller) -> None:
        """Do it."""
        if self.report is not None:
            io.check_suffix(self.report, REPORT_SUFFIXES)
            io.check_apart(self.report, *(path for path in (self.keypoints, self.transforms) if path is not None))
            io.check_writable(self.report, overwrite=self.overwrite)
        points = io.read_keypoints(self.keypoints)
        registration = None if self.transforms is None else results.read_registration(self.transforms)
        report = Report(pipeline.evaluate(points, registration), title=f"Registration error: {self.keypoints.name}")
        console.print(report.text(*self.by), highlight=False, soft_wrap=True)
        if self.report is not None:
            console.will_write(self.report)
            report.write(self.report)
            console.wrote(self.report)


@dataclass
class Demo:
    """Try it: make a sample movie, denoise and register it, and print the error at its keypoints before and after."""

    folder: Path = Path("demo-output")
    """Folder for the movie, the results, a report and an overview picture."""
    recipe: str = "balanced"
    """fast, balanced, best, or a JSON file."""
    seed: int = 0
    """Another number makes another movie."""

    def execute(self, console: Teller) -> None:
        """Do it."""
        recipe = pipeline.load_recipe(self.recipe)
        if not recipe.registrars:
            raise ValueError(f"Expected a recipe that registers, got {recipe.name!r}; choose fast, balanced or best.")
        self.folder.mkdir(parents=True, exist_ok=True)
        console.will_write(*(self.folder / name for name in DEMO_FILES))
        console.print("Making a movie of a nucleus: 12 frames of 256 x 256, 20 dB, turning, drifting and deforming ...")
        movie = nuclei_movie("easy", seed=self.seed, shape=(256, 256), n_frames=12, spacing=(0.2, 0.2))
        spacing = {"spacing": (60.0, 0.2, 0.2), "units": ("second", "micrometer", "micrometer")}
        stack = dr.Stack(movie.noisy, axes="tyx", name="nucleus", **spacing)  # type: ignore[arg-type]
        io.write(stack, self.folder / "nucleus.ome.tif", overwrite=True)
        io.write_keypoints(movie.keypoints, self.folder / "keypoints.csv", overwrite=True)
        result = with_bar(recipe.run(stack, device="auto", keypoints=movie.keypoints), console)
        with_bar(results.write_result(result, self.folder / "result.zarr", overwrite=True), console)
        assert result.registration is not None
        assert result.report is not None
        last = PerFrame([result.registration.transforms[-1].to_displacement(stack.grid)])
        io.write_transforms(last, self.folder / "displacement_last_frame.zarr", grid=stack.grid, overwrite=True)
        report = Report(result.report, title=f"Sample movie, recipe {recipe.name}")
        report.write(self.folder / "error.html")
        results.write_overview(stack, result, self.folder / "overview.png")
        console.print(report.text(), highlight=False, soft_wrap=True)
        console.print(f"Wrote {', '.join(DEMO_FILES)} in {self.folder}", soft_wrap=True)
        console.print(f"Look at {self.folder / 'overview.png'} and {self.folder / 'error.html'}", soft_wrap=True)


@dataclass
class Methods:
    """List all methods with their references."""

    family: Literal["all", "denoiser", "encoder", "registrar", "series", "similarity", "regularity"] = field(default="all")
    """Which kind of method to list."""

    def execute(self, console: Teller) -> None:
        """Do it."""
        table = Table("family", "kind", "what it does", "trained")
        table.add_column("reference", overflow="fold")
        for row in dr.methods():
            if self.family in ("all", row["family"]):
                trained = "yes" if row["trained"] else ""
                table.add_row(row["family"], row["kind"], row["title"], trained, row["reference"])
        console.print(table)


Command = Union[  # noqa: UP007
    Annotated[Run, tyro.conf.subcommand("run")],
    Annotated[DenoiseStack, tyro.conf.subcommand("denoise")],
    Annotated[RegisterStack, tyro.conf.subcommand("register")],
    Annotated[Train, tyro.conf.subcommand("train")],
    Annotated[Apply, tyro.conf.subcommand("apply")],
    Annotated[Evaluate, tyro.conf.subcommand("evaluate")],
    Annotated[Demo, tyro.conf.subcommand("demo")],
    Annotated[Methods, tyro.conf.subcommand("methods")],
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the program's name; the process's own by default.

    Returns
    -------
    int
        0 when all went well, 1 for an error in what was asked (told on standard error), 130 after Ctrl-C.
    """
    # Output that goes to a file or a pipe is not folded at the width of some terminal.
    console, errors = (Teller(stderr=each, width=None if sys.stdout.isatty() else 160) for each in (False, True))
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        command: Any = tyro.cli(
            Command,
            prog="denoisereg",
            description="Denoise and register microscopy time-lapses and section stacks.",
            args=words,
            # Options of a command may follow its method, too: nobody remembers which belongs to which.
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.CascadeSubcommandArgs),
            registry=WORDS,
        )
        command.execute(console)
    except (ValueError, TypeError, OSError, ImportError, WrongSettingError) as error:
        errors.print(Text("Error:", "bold red"), problem(error), highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        complete = ", ".join(map(str, console.written()))
        errors.print(f"Stopped; already written: {complete}" if complete else "Stopped; nothing was written.", soft_wrap=True)
        return 130
    return 0


def _execute(recipe: pipeline.Pipeline, command: RecipeTask, console: Teller) -> None:
    """Read, check the outputs, run a recipe, keep its models and write its result."""
    io.check_suffix(command.target, (".zarr",))
    io.check_apart(command.target, *command.inputs())
    stack = io.read(command.source, axes=command.axes, spacing=command.spacing, units=command.units)
    io.check_writable(command.target, results.expected_bytes(stack), overwrite=command.overwrite)
    if command.save_models is not None:
        _check_models(recipe, command.save_models, command)
    console.will_write(command.target)
    models = [load_model(path, pipeline.FAMILIES) for path in command.model]
    points = None if command.keypoints is None else io.read_keypoints(command.keypoints)
    start = None if command.start is None else results.read_start(command.start, stack, command.start_motion)
    helped: dict[str, Any] = {
        "start": start,
        "region": None if command.region is None else io.read_mask(command.region),
        "landmarks": None if command.landmarks is None else io.read_keypoints(command.landmarks),
    }
    steps = recipe.run(stack, device=command.device, models=models, keypoints=points, **helped)
    result = with_bar(steps, console)
    if command.save_models is not None:
        _save(result.models, command.save_models, console)
    with_bar(results.write_result(result, command.target, overwrite=command.overwrite), console)
    _warn(result, console)
    if result.report is not None:
        console.print(Report(result.report, title=recipe.name).text(), highlight=False, soft_wrap=True)
    console.wrote(command.target)


def _warn(result: pipeline.Result, console: Teller) -> None:
    """Say what to look at before the result is used."""
    reasons = {} if result.registration is None else result.registration.reasons
    told = [(f"Look at frame {frame}:", f"{reason}.") for frame, reason in reasons.items()]
    told += [("Denoising:", hint) for hint in (() if result.trust is None else result.trust.hints())]
    for heading, words in told:
        console.print(Text(heading, "bold yellow"), words, highlight=False, soft_wrap=True)


def _check_models(recipe: pipeline.Pipeline, folder: Path, command: RecipeTask) -> None:
    """Refuse a folder that cannot take the models a recipe trains."""
    place = folder.absolute()
    if command.target.absolute() in (place, *place.parents):
        raise ValueError(f"Expected a folder for models outside the result {command.target}, got {folder}; choose another.")
    existing = next(each for each in (place, *place.parents) if each.exists())
    io.check_writable(existing / "model.safetensors", overwrite=True)
    kinds = [method.kind for method in (recipe.denoise, *recipe.registrars) if method is not None and method.is_trained]
    earlier = sorted(path.name for kind in kinds for path in folder.glob(f"{kind}-*.safetensors"))
    if earlier and not command.overwrite:
        raise FileExistsError(
            f"Expected no earlier models in {folder}, got {', '.join(earlier)}; choose another folder or pass --overwrite."
        )


def _save(models: Sequence[Model], folder: Path, console: Teller) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, model in enumerate(models):
        path = folder / f"{model.method.kind}-{number}.safetensors"
        console.will_write(path)
        model.save(path)
        console.wrote(path)


if __name__ == "__main__":
    sys.exit(main())
