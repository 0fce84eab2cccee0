"""TIFF, ImageJ and OME-TIFF: what is written is read back, foreign files are understood, damaged ones are refused."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_denoisereg.geometry.units import canonical
from napari_denoisereg.io import read, tiff, write
from napari_denoisereg.stack import Stack
from napari_denoisereg.steps import finish

SIZES = {"t": 3, "c": 2, "z": 4, "y": 6, "x": 7}
UNITS = {"t": "second", "c": "pixel", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
AXES = ("tyx", "zyx", "tzyx", "tcyx", "tczyx", "czyx")
TYPES = ("uint8", "uint16", "float32", "int8", "int16", "int32", "uint32", "float64")
steps = st.floats(1e-3, 1e3, allow_nan=False)
starts = st.floats(-1e4, 1e4, allow_nan=False)


def _numbers(shape: tuple[int, ...], dtype: str = "uint16") -> np.ndarray:
    return (np.arange(np.prod(shape)) % 251).reshape(shape).astype(dtype)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    axes=st.sampled_from(AXES),
    dtype=st.sampled_from(TYPES),
    name=st.sampled_from(["a.tif", "a.ome.tif"]),
    compression=st.sampled_from([None, "zlib"]),
    spacing=st.fixed_dictionaries(dict.fromkeys("tzyx", steps)),
    origin=st.fixed_dictionaries(dict.fromkeys("zyx", starts)),
)
def test_stack_survives_writing_and_reading(
    tmp_path: Path, axes: str, dtype: str, name: str, compression: str | None, spacing: dict, origin: dict
) -> None:
    stack = Stack(
        _numbers(tuple(SIZES[axis] for axis in axes), dtype),
        axes,
        spacing=tuple(spacing.get(axis, 1.0) for axis in axes),
        origin=tuple(origin.get(axis, 0.0) for axis in axes),
        units=tuple(UNITS[axis] for axis in axes),
        history=({"kind": "noise2void", "note": 'µ "&<'},),
    )
    back = read(write(stack, tmp_path / name, overwrite=True, compression=compression))
    np.testing.assert_array_equal(np.asarray(back.data), stack.data)
    assert (back.axes, back.dtype, back.units, back.history) == (axes, stack.dtype, stack.units, stack.history)
    np.testing.assert_allclose(back.spacing, stack.spacing, rtol=1e-6)
    np.testing.assert_allclose(back.origin, stack.origin, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
@pytest.mark.parametrize("history", [(), ({"kind": "gaussian"},)])
@pytest.mark.parametrize(
    "units", [("pixel",) * 4, ("pixel", *["micrometer"] * 3), ("second", *["pixel"] * 3), ("second", *["micrometer"] * 3)]
)
def test_spacing_survives_with_and_without_units(tmp_path: Path, name: str, history: tuple, units: tuple[str, ...]) -> None:
    spacing, origin = (2.0, 1.5, 0.5, 0.25), (0.0, 6.0, 3.0, 1.0)
    stack = Stack(_numbers((3, 4, 6, 7)), "tzyx", spacing=spacing, origin=origin, units=units, history=history)
    back = read(write(stack, tmp_path / name))
    assert (back.units, back.history) == (units, history)
    np.testing.assert_allclose(back.spacing, spacing, rtol=1e-6)
    np.testing.assert_allclose(back.origin, origin, rtol=1e-6)


@pytest.mark.parametrize("step", [1e-9, 1e-6, 1e-5, 1e5, 1e6, 1e12])
def test_spacing_too_fine_or_coarse_for_resolution_tags_survives(tmp_path: Path, step: float) -> None:
    back = read(write(Stack(_numbers((3, 6, 7)), "tyx", spacing=(2, step, 1.234567 * step)), tmp_path / "a.tif"))
    np.testing.assert_allclose(back.spacing, (2, step, 1.234567 * step), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "dtype", "is_imagej"), [("a.tif", "uint16", 1), ("a.tif", "int16", 0), ("a.ome.tif", "uint8", 0)]
)
def test_format_follows_suffix_and_type(tmp_path: Path, name: str, dtype: str, is_imagej: bool) -> None:
    path = write(Stack(_numbers((3, 4, 5), dtype), "tyx"), tmp_path / name)
    with tifffile.TiffFile(path) as file:
        assert (file.is_imagej, file.is_ome) == (is_imagej, not is_imagej)


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
@pytest.mark.parametrize("axes", AXES)
def test_tifffile_sees_the_same_hyperstack(tmp_path: Path, name: str, axes: str) -> None:
    shape = tuple(SIZES[axis] for axis in axes)
    path = write(Stack(_numbers(shape), axes), tmp_path / name)
    with tifffile.TiffFile(path) as file:
        (series,) = file.series
        order = [axes.upper().index(axis) for axis in series.axes]
        np.testing.assert_array_equal(series.asarray(), _numbers(shape).transpose(order))


def test_imagej_hyperstack_of_tifffile_is_understood(tmp_path: Path) -> None:
    data = _numbers((3, 4, 2, 6, 7))
    tifffile.imwrite(
        tmp_path / "ij.tif",
        data,
        imagej=True,
        resolution=(1 / 0.1625, 1 / 0.325),
        metadata={"axes": "TZCYX", "unit": "um", "spacing": 0.5, "finterval": 2.5},
    )
    stack = read(tmp_path / "ij.tif")
    assert stack.axes == "tczyx"
    np.testing.assert_array_equal(np.asarray(stack.data), data.transpose(0, 2, 1, 3, 4))
    np.testing.assert_allclose(stack.spacing, (2.5, 1, 0.5, 0.325, 0.1625), rtol=1e-6)
    assert stack.units == ("second", "pixel", "micrometer", "micrometer", "micrometer")


def test_ome_tiff_of_tifffile_is_understood(tmp_path: Path) -> None:
    data = _numbers((2, 3, 6, 7))
    metadata = {"axes": "CTYX", "PhysicalSizeX": 65, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.13}
    metadata |= {"TimeIncrement": 5, "TimeIncrementUnit": "min"}
    tifffile.imwrite(tmp_path / "a.ome.tif", data, metadata=metadata)
    stack = read(tmp_path / "a.ome.tif")
    assert (stack.axes, stack.spacing) == ("tcyx", (5, 1, 0.13, 65))
    assert stack.units == ("minute", "pixel", "micrometer", "nanometer")
    np.testing.assert_array_equal(np.asarray(stack.data), data.transpose(1, 0, 2, 3))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("metadata", [None, {}])
def test_pages_without_a_meaning_are_frames(tmp_path: Path, compression: str | None, metadata: dict | None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", _numbers((5, 6, 7)), compression=compression, metadata=metadata)
    assert read(tmp_path / "a.tif").axes == "tyx"
    assert read(tmp_path / "a.tif", axes="zyx").axes == "zyx"


def test_axes_override_wins_and_is_put_into_order(tmp_path: Path) -> None:
    data = _numbers((4, 3, 6, 7))
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack", metadata={"axes": "TZYX"})
    stack = read(tmp_path / "a.tif", axes="ztyx")
    np.testing.assert_array_equal(np.asarray(stack.data), data.transpose(1, 0, 2, 3))
    assert stack.axes == "tzyx"


@pytest.mark.parametrize("axes", ["tzyx", "ttyx", "txz", "tyq"])
def test_axes_that_do_not_fit_are_refused(tmp_path: Path, axes: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", _numbers((5, 6, 7)))
    with pytest.raises(ValueError, match="Expected axes with 3 different letters"):
        read(tmp_path / "a.tif", axes=axes)


def test_two_unknown_axes_are_asked_for(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", _numbers((2, 3, 6, 7)), photometric="minisblack", metadata={"axes": "QIYX"})
    with pytest.raises(ValueError, match="say what they are"):
        read(tmp_path / "a.tif")
    assert read(tmp_path / "a.tif", axes="tzyx").shape == (2, 3, 6, 7)


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_colour_images_are_refused(tmp_path: Path, name: str) -> None:
    tifffile.imwrite(tmp_path / name, _numbers((4, 6, 7, 3), "uint8"), photometric="rgb")
    with pytest.raises(ValueError, match="colour"):
        read(tmp_path / name)


def test_colours_can_be_named_channels(tmp_path: Path) -> None:
    data = _numbers((4, 6, 7, 3), "uint8")
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="rgb")
    stack = read(tmp_path / "a.tif", axes="tyxc")
    assert stack.axes == "tcyx"
    np.testing.assert_array_equal(np.asarray(stack.data), data.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("n_frames", [3, 4])
def test_few_frames_written_as_colours_can_be_named(tmp_path: Path, n_frames: int) -> None:
    data = _numbers((n_frames, 6, 7), "uint8")
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="rgb", planarconfig="separate")
    with pytest.raises(ValueError, match=f"If it holds {n_frames} frames of a movie, say axes='tyx'"):
        read(tmp_path / "a.tif")
    stack = read(tmp_path / "a.tif", axes="tyx")
    np.testing.assert_array_equal(np.asarray(stack.data), data)


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
@pytest.mark.parametrize("axes", ["yx", "cyx"])
def test_a_single_image_is_one_frame_and_is_written_as_an_image(tmp_path: Path, axes: str, name: str) -> None:
    image = _numbers((2, 6, 7)[-len(axes) :])
    tifffile.imwrite(tmp_path / "given.tif", image, metadata={"axes": axes.upper()})
    stack = read(tmp_path / "given.tif")
    assert (stack.axes, stack.n_frames, stack.outer_axes, stack.is_image) == (f"t{axes}", 1, axes, True)
    np.testing.assert_array_equal(np.asarray(stack.data)[0], image)
    write(stack, tmp_path / name)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / name), image)
    assert read(tmp_path / name).outer_axes == axes


def test_spacing_of_a_single_image_is_said_for_its_own_axes(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", _numbers((6, 7)))
    stack = read(tmp_path / "a.tif", axes="yx", spacing=(0.5, 0.25), units=("µm", "µm"))
    assert (stack.grid.spacing, stack.grid.units) == ((0.5, 0.25), ("micrometer", "micrometer"))


def test_thumbnail_beside_the_movie_is_ignored(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(_numbers((3, 4)))
        file.write(_numbers((5, 6, 7)))
    assert read(tmp_path / "a.tif", axes="tyx").shape == (5, 6, 7)


def _written(path: Path, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 2**16, (6, 30, 40)).astype(np.uint16)
    if kind == "ours":
        write(Stack(noise, "tyx"), path)
    elif kind == "ours ome":
        finish(tiff.write(Stack(noise, "tyx"), path, ome=True))
    elif kind == "bigtiff":
        tifffile.imwrite(path, noise, bigtiff=True, compression="zlib")
    elif kind == "plain pages":
        with tifffile.TiffWriter(path) as file:
            for page in noise:
                file.write(page, metadata=None)
    else:
        tifffile.imwrite(path, noise, **{"imagej": {"imagej": True}, "ome": {"ome": True}, "tiles": {"tile": (16, 16)}}[kind])


@pytest.mark.parametrize("kind", ["ours", "ours ome", "imagej", "ome", "tiles", "plain pages", "bigtiff"])
@pytest.mark.parametrize("part", [0.0002, 0.05, 0.3, 0.5, 0.8, 0.97, 0.999])
def test_file_that_is_cut_off_is_refused_when_opened(tmp_path: Path, kind: str, part: float) -> None:
    path = tmp_path / "a.tif"
    _written(path, kind)
    assert read(path, axes="tyx").shape == (6, 30, 40)
    complete = path.read_bytes()
    if kind == "imagej" and part == 0.999:
        part = 0.998  # its very last bytes are not used
    path.write_bytes(complete[: int(part * len(complete))])
    with pytest.raises(ValueError, match=r"cut off|no TIFF"):
        read(path)


def test_damaged_page_is_named_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 99, (5, 30, 40)).astype(np.uint8), compression="zlib")
    with tifffile.TiffFile(path) as file:
        start = file.pages[1].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[start : start + 20] = b"\xff" * 20
    path.write_bytes(content)
    stack = read(path, axes="tyx")
    assert stack.frame(0).shape == (30, 40)
    with pytest.raises(ValueError, match=r"index \(1, 0, 0\).*damaged"):
        stack.frame(1)


def test_series_longer_than_its_file_is_refused(tmp_path: Path) -> None:
    # ImageJ stores more than 4 GB with a directory for the first page only; its description says how many there are.
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, _numbers((6, 30, 40)), description="ImageJ=1.11a\nimages=9\nframes=9\n", metadata=None)
    with tifffile.TiffFile(path) as file:
        first = file.pages[0].offset + 2 + 12 * len(file.pages[0].tags)
    content = bytearray(path.read_bytes())
    content[first : first + 4] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cut off: its pixels"):
        read(path)


def test_set_of_files_with_one_missing_is_refused(tmp_path: Path) -> None:
    data = _numbers((2, 6, 7))
    xml = tifffile.OmeXml()
    xml.addimage("uint16", (4, 6, 7), (4, 1, 1, 6, 7, 1), axes="TYX")
    here = '<TiffData FirstT="0" IFD="0" PlaneCount="2"><UUID FileName="a.ome.tif">urn:uuid:1</UUID></TiffData>'
    there = '<TiffData FirstT="2" IFD="0" PlaneCount="2"><UUID FileName="b.ome.tif">urn:uuid:2</UUID></TiffData>'
    text = xml.tostring().replace('<TiffData IFD="0" PlaneCount="4"/>', here + there)
    text = re.sub('UUID="[^"]*"', 'UUID="urn:uuid:1"', text, count=1)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        for page in data:
            file.write(page, description=text.encode(), metadata=None)
    with pytest.raises(ValueError, match="lacks 2 of its 4 planes"):
        read(tmp_path / "a.ome.tif")


def test_note_that_somebody_edited_is_no_history(tmp_path: Path) -> None:
    info = {"Info": "napari-denoisereg history: [{oops", "axes": "TYX"}
    tifffile.imwrite(tmp_path / "a.tif", _numbers((5, 6, 7)), imagej=True, metadata=info)
    assert read(tmp_path / "a.tif").history == ()


def test_broken_ome_metadata_costs_the_scale_not_the_image(tmp_path: Path) -> None:
    path = write(Stack(_numbers((5, 6, 7)), "tyx", spacing=(1, 2, 3)), tmp_path / "a.ome.tif")
    path.write_bytes(path.read_bytes().replace(b"<Pixels ", b"<Pixels<"))
    stack = read(path, axes="tyx")
    assert (stack.shape, stack.spacing) == ((5, 6, 7), (1, 1, 1))


def test_frame_rate_of_imagej_gives_the_interval(tmp_path: Path) -> None:
    metadata = {"axes": "TYX", "fps": 4.0}
    tifffile.imwrite(tmp_path / "a.tif", _numbers((5, 6, 7)), imagej=True, metadata=metadata)
    assert (read(tmp_path / "a.tif").spacing[0], read(tmp_path / "a.tif").units[0]) == (0.25, "second")


def test_other_file_named_tif_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("this is a letter")
    with pytest.raises(ValueError, match="no TIFF"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_only_the_frame_looked_at_is_read(tmp_path: Path, compression: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", _numbers((5, 6, 7)), compression=compression)
    stack = read(tmp_path / "a.tif", axes="tyx")
    asked = []
    original = tiff.Pieces.__getitem__
    monkeypatch.setattr(tiff.Pieces, "__getitem__", lambda self, index: asked.append(index) or original(self, index))
    np.testing.assert_array_equal(stack.frame(3), _numbers((5, 6, 7))[3])
    assert [index[0] for index in asked] in ([3], [slice(3, 4, None)])


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_stack_can_be_sent_to_another_process(tmp_path: Path, compression: str | None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", _numbers((5, 600, 70)), compression=compression)
    stack = read(tmp_path / "a.tif", axes="tyx")
    sent = pickle.dumps(stack.data)
    assert len(sent) < 20_000
    np.testing.assert_array_equal(np.asarray(pickle.loads(sent)[2]), stack.frame(2))


def test_lazy_stack_is_written_one_frame_at_a_time(tmp_path: Path) -> None:
    held = []

    class Frames:
        shape, dtype = (4, 6, 7), np.dtype("uint16")

        def __getitem__(self, index: tuple[int, ...]) -> np.ndarray:
            held.append(index[0])
            return _numbers(self.shape)[index]

    write(Stack(Frames(), "tyx"), tmp_path / "a.tif")
    assert held == [0, 1, 2, 3]


def test_large_stack_becomes_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff, "CLASSIC_LIMIT", 100)
    path = write(Stack(_numbers((5, 6, 7)), "tyx"), tmp_path / "a.tif")
    with tifffile.TiffFile(path) as file:
        assert (file.is_bigtiff, file.is_ome) == (True, True)
    np.testing.assert_array_equal(np.asarray(read(path).data), _numbers((5, 6, 7)))


@pytest.mark.parametrize("dtype", ["int64", "uint64", "float16"])
def test_types_that_tiff_programs_cannot_read_are_refused(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(ValueError, match="convert it"):
        write(Stack(_numbers((3, 4, 5), dtype), "tyx"), tmp_path / "a.tif")
    assert list(tmp_path.iterdir()) == []


def test_unknown_unit_is_refused_by_ome(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="parsec"):
        write(Stack(_numbers((3, 4, 5)), "tyx", units=("second", "parsec", "parsec")), tmp_path / "a.ome.tif")


@pytest.mark.parametrize(
    ("spelling", "name"), [("um", "micrometer"), ("\u03bcm", "micrometer"), ("", "pixel"), ("sec", "second")]
)
def test_units_have_one_name(spelling: str, name: str) -> None:
    assert canonical(spelling) == name


def test_centimetre_resolution_of_microscopes_is_used_and_that_of_print_is_not(tmp_path: Path) -> None:
    data = _numbers((5, 6, 7))
    tifffile.imwrite(tmp_path / "a.tif", data, resolution=(1e4 / 0.5, 1e4 / 0.25), resolutionunit="CENTIMETER")
    assert read(tmp_path / "a.tif", axes="tyx").spacing == pytest.approx((1, 0.25, 0.5))
    tifffile.imwrite(tmp_path / "b.tif", data, resolution=(72, 72), resolutionunit="INCH")
    assert read(tmp_path / "b.tif", axes="tyx").units == ("pixel",) * 3


@pytest.mark.parametrize(
    ("name", "axes", "shape", "dtype"),
    [
        ("timelapse_mitocheck/movie.tif", "tyx", (30, 190, 211), "uint8"),
        ("timelapse_pc12_drift/movie.tif", "tyx", (5, 201, 199), "uint16"),
        ("timelapse_golgi/movie.tif", "tyx", (30, 137, 147), "float32"),
        ("timelapse_glioma_tracked/movie.tif", "tyx", (37, 511, 256), "uint16"),
        ("em_fibsem/raw.tif", "zyx", (120, 250, 250), "uint8"),
    ],
)
def test_real_recordings_are_read(real_data: Path, name: str, axes: str, shape: tuple[int, ...], dtype: str) -> None:
    if not (real_data / name).is_file():
        pytest.skip(f"{name} is not there.")
    stack = read(real_data / name)
    assert (stack.axes, stack.shape, stack.dtype.name) == (axes, shape, dtype)
    with tifffile.TiffFile(real_data / name) as file:
        np.testing.assert_array_equal(stack.frame(3), file.asarray(3).reshape(shape[1:]))


def test_real_colour_image_is_refused(real_data: Path) -> None:
    path = real_data / "denoise_fluorescence_pairs" / "bpae_r2_noisy.tif"
    if not path.is_file():
        pytest.skip(f"{path.name} is not there.")
    with pytest.raises(ValueError, match="colour"):
        read(path)
