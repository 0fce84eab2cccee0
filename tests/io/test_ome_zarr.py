"""OME-Zarr 0.4 and 0.5: what is written is read back and conforms, damaged images are refused."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_denoisereg.io import ome_zarr, read, write
from napari_denoisereg.stack import Stack

SIZES = {"t": 3, "c": 2, "z": 4, "y": 6, "x": 7}
UNITS = {"t": "second", "c": "pixel", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
AXES = ("tyx", "zyx", "tzyx", "tcyx", "tczyx", "czyx")
TYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64", ">u2")
each_version = pytest.mark.parametrize("version", ["0.4", "0.5"])


def _numbers(shape: tuple[int, ...], dtype: str = "uint16") -> np.ndarray:
    return (np.arange(np.prod(shape)) % 101).reshape(shape).astype(dtype)


def _attributes(path: Path, version: str) -> dict:
    if version == "0.4":
        return json.loads((path / ".zattrs").read_text())
    return json.loads((path / "zarr.json").read_text())["attributes"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    axes=st.sampled_from(AXES),
    dtype=st.sampled_from(TYPES),
    version=st.sampled_from(["0.4", "0.5"]),
    levels=st.integers(1, 3),
    compressed=st.booleans(),
    spacing=st.fixed_dictionaries({axis: st.floats(1e-6, 1e6) for axis in "tczyx"}),
    origin=st.fixed_dictionaries({axis: st.floats(-1e6, 1e6) for axis in "tczyx"}),
)
def test_stack_survives_writing_and_reading(
    tmp_path: Path, axes: str, dtype: str, version: str, levels: int, compressed: bool, spacing: dict, origin: dict
) -> None:
    stack = Stack(
        _numbers(tuple(SIZES[axis] for axis in axes), dtype),
        axes,
        spacing=tuple(spacing[axis] for axis in axes),
        origin=tuple(origin[axis] for axis in axes),
        units=tuple(UNITS[axis] for axis in axes),
        name="cells of day 3",
        history=({"kind": "noise2void", "patch": 64, "note": "µ"},),
    )
    options = {"version": version, "levels": levels, "compressed": compressed}
    back = read(write(stack, tmp_path / "a.ome.zarr", overwrite=True, **options))
    np.testing.assert_array_equal(np.asarray(back.data), stack.data)
    assert back.dtype == stack.dtype.newbyteorder("=")
    assert (back.axes, back.spacing, back.origin) == (axes, stack.spacing, stack.origin)
    assert (back.units, back.history, back.name) == (stack.units, stack.history, stack.name)


def test_axes_are_written_in_the_order_of_the_format(tmp_path: Path) -> None:
    data = _numbers((4, 3, 2, 6, 7))
    stack = Stack(data, "ztcyx", spacing=(4, 3, 2, 1, 0.5))
    back = read(write(stack, tmp_path / "a.zarr"))
    assert (back.axes, back.spacing) == ("tczyx", (3, 2, 4, 1, 0.5))
    np.testing.assert_array_equal(np.asarray(back.data), data.transpose(1, 2, 0, 3, 4))


@each_version
def test_metadata_is_what_the_specification_asks_for(tmp_path: Path, version: str) -> None:
    units = ("second", "micrometer", "micrometer")
    stack = Stack(_numbers((3, 6, 8)), "tyx", spacing=(5, 0.2, 0.1), origin=(0, 3, 4), units=units, name="a")
    attributes = _attributes(write(stack, tmp_path / "a.zarr", version=version, levels=2), version)
    image = attributes["multiscales"][0] if version == "0.4" else attributes["ome"]["multiscales"][0]
    assert (image["version"] if version == "0.4" else attributes["ome"]["version"]) == version
    assert image["axes"] == [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    assert [dataset["path"] for dataset in image["datasets"]] == ["0", "1"]
    scale, translation = image["datasets"][1]["coordinateTransformations"]
    assert scale == {"type": "scale", "scale": [5, 0.4, 0.2]}
    assert translation["type"] == "translation"
    # A pixel of level 1 lies in the middle of the four it is made of.
    assert translation["translation"] == pytest.approx([0, 3.1, 4.05])
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert group.metadata.zarr_format == (2 if version == "0.4" else 3)
    if version == "0.4":  # the one compressor all its readers know
        assert group["0"].compressors[0].get_config()["id"] == "blosc"
    np.testing.assert_array_equal(group["1"][0, 0, 0], np.rint(stack.data[0, :2, :2].mean()))


@each_version
@pytest.mark.parametrize("axes", ["yx", "cyx"])
def test_a_single_image_stays_one(tmp_path: Path, axes: str, version: str) -> None:
    image = _numbers(tuple(SIZES[axis] for axis in axes))
    place = {"spacing": (1.0, 0.5, 0.25)[-len(axes) :], "units": ("pixel", "micrometer", "micrometer")[-len(axes) :]}
    stack = Stack.of_image(image, axes, **place, name="cells")
    path = write(stack, tmp_path / "a.ome.zarr", version=version, levels=2)
    assert zarr.open(path)["0"].shape == image.shape
    back = read(path)
    assert (back.axes, back.outer_axes, back.grid) == (stack.axes, axes, stack.grid)
    np.testing.assert_array_equal(np.asarray(back.data)[0], image)


def test_chunks_are_one_frame_or_a_tile_of_it() -> None:
    movie = Stack(np.zeros((5, 1500, 300), np.uint8), "tyx")
    assert ome_zarr._chunks("tyx", movie.shape, movie) == (1, 1024, 300)
    volumes = Stack(np.zeros((2, 50, 64, 64), np.uint16), "tzyx")
    assert ome_zarr._chunks("tzyx", volumes.shape, volumes) == (1, 32, 64, 64)
    sections = Stack(np.zeros((50, 64, 64), np.uint16), "zyx")
    assert ome_zarr._chunks("zyx", sections.shape, sections) == (1, 64, 64)


def test_stack_can_be_sent_to_another_process(tmp_path: Path) -> None:
    stack = read(write(Stack(_numbers((3, 300, 70)), "tyx"), tmp_path / "a.zarr"))
    sent = pickle.dumps(stack.data)
    assert len(sent) < 20_000
    np.testing.assert_array_equal(np.asarray(pickle.loads(sent)[1]), stack.frame(1))


def test_lazy_stack_is_written_one_frame_at_a_time(tmp_path: Path) -> None:
    held = []

    class Frames:
        shape, dtype = (4, 6, 7), np.dtype("uint16")

        def __getitem__(self, index: tuple[int, ...]) -> np.ndarray:
            held.append(index[0])
            return _numbers(self.shape)[index]

    write(Stack(Frames(), "tyx"), tmp_path / "a.zarr", levels=2)
    assert held == [0, 1, 2, 3]


def test_transformation_of_the_whole_pyramid_is_applied_second(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    group.create_array("s0", data=_numbers((3, 6, 7)))
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [{"name": "t", "type": "time"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}],
            "datasets": [
                {
                    "path": "s0",
                    "coordinateTransformations": [
                        {"type": "scale", "scale": [1, 2, 2]},
                        {"type": "translation", "translation": [0, 1, 1]},
                    ],
                }
            ],
            "coordinateTransformations": [{"type": "scale", "scale": [10, 1, 3]}],
        }
    ]
    stack = read(tmp_path / "a.zarr")
    assert (stack.spacing, stack.origin, stack.units) == ((10, 2, 6), (0, 1, 3), ("pixel",) * 3)


def test_oldest_version_has_five_axes_without_names(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    group.create_array("0", data=_numbers((3, 2, 4, 6, 7)))
    group.attrs["multiscales"] = [{"version": "0.1", "datasets": [{"path": "0"}]}]
    assert read(tmp_path / "a.zarr").axes == "tczyx"


def test_image_inside_a_bioformats2raw_folder_is_found(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "a.zarr", zarr_format=3, attributes={"ome": {"bioformats2raw.layout": 3}})
    write(Stack(_numbers((3, 6, 7)), "tyx"), tmp_path / "0.zarr").rename(tmp_path / "a.zarr" / "0")
    assert read(tmp_path / "a.zarr").shape == (3, 6, 7)


def test_group_of_several_images_says_what_is_inside(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "run.zarr")
    for name in ("denoised", "aligned"):
        write(Stack(_numbers((3, 6, 7)), "tyx"), tmp_path / "part.zarr").rename(tmp_path / "run.zarr" / name)
    with pytest.raises(ValueError, match=r"aligned, denoised.*read one of them"):
        read(tmp_path / "run.zarr")
    assert ome_zarr.images_in(tmp_path / "run.zarr") == ["aligned", "denoised"]
    assert read(tmp_path / "run.zarr" / "aligned").name == "stack"


def test_plain_array_needs_axes(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=_numbers((3, 6, 7)))
    with pytest.raises(ValueError, match="axes='tyx'"):
        read(tmp_path / "a.zarr")
    assert read(tmp_path / "a.zarr", axes="zyx").axes == "zyx"


def test_axes_override_must_fit(tmp_path: Path) -> None:
    path = write(Stack(_numbers((3, 6, 7)), "tyx"), tmp_path / "a.zarr")
    assert read(path, axes="zyx").axes == "zyx"
    with pytest.raises(ValueError, match="Expected axes with 3"):
        read(path, axes="tzyx")


@each_version
def test_folder_without_metadata_is_refused(tmp_path: Path, version: str) -> None:
    path = write(Stack(_numbers((3, 6, 7)), "tyx"), tmp_path / "a.zarr", version=version)
    (path / ("zarr.json" if version == "0.5" else ".zgroup")).unlink()
    with pytest.raises(ValueError, match=r"copy or export it again|no zarr"):
        read(path)


@each_version
def test_lost_array_is_refused(tmp_path: Path, version: str) -> None:
    path = write(Stack(_numbers((3, 6, 7)), "tyx"), tmp_path / "a.zarr", version=version)
    shutil.rmtree(path / "0")
    with pytest.raises(ValueError, match="no complete OME-Zarr image"):
        read(path)


@each_version
def test_lost_chunk_is_refused_when_opened(tmp_path: Path, version: str) -> None:
    path = write(Stack(np.zeros((3, 6, 7), np.uint8), "tyx"), tmp_path / "a.zarr", version=version)
    assert read(path).shape == (3, 6, 7)
    next(path.rglob("2/0/0")).unlink()
    with pytest.raises(ValueError, match="1 of 3 chunks are missing"):
        read(path)


@each_version
def test_damaged_chunk_is_named_when_it_is_read(tmp_path: Path, version: str) -> None:
    noise = np.random.default_rng(0).integers(0, 99, (3, 60, 70)).astype(np.uint8)
    path = write(Stack(noise, "tyx"), tmp_path / "a.zarr", version=version)
    chunk = next(path.rglob("1/0/0"))
    chunk.write_bytes(chunk.read_bytes()[: chunk.stat().st_size // 2])
    stack = read(path)
    np.testing.assert_array_equal(stack.frame(0), noise[0])
    with pytest.raises(ValueError, match=r"index \(1, 0, 0\).*damaged"):
        stack.frame(1)


@pytest.mark.parametrize("metadata", [{"axes": ["y", "x"]}, {"datasets": []}, {"datasets": [{"path": "deeper"}]}])
def test_metadata_that_does_not_fit_is_refused(tmp_path: Path, metadata: dict) -> None:
    path = write(Stack(_numbers((3, 6, 7)), "tyx"), tmp_path / "a.zarr", version="0.4")
    group = zarr.open_group(path, mode="a")
    group.create_group("deeper")
    group.attrs["multiscales"] = [group.attrs["multiscales"][0] | metadata]
    with pytest.raises(ValueError, match="no complete OME-Zarr image"):
        read(path)


def test_group_without_image_is_refused(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "a.zarr")
    with pytest.raises(ValueError, match="without an OME-Zarr image"):
        read(tmp_path / "a.zarr")


def test_plate_is_refused(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "a.zarr", attributes={"ome": {"plate": {}}})
    with pytest.raises(ValueError, match="plate"):
        read(tmp_path / "a.zarr")


def test_file_named_zarr_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").write_bytes(b"zip")
    with pytest.raises(ValueError, match="Expected a zarr folder"):
        read(tmp_path / "a.zarr")


@pytest.mark.parametrize("options", [{"version": "0.3"}, {"levels": 0}])
def test_options_out_of_range_are_refused(tmp_path: Path, options: dict) -> None:
    with pytest.raises(ValueError, match="Expected version"):
        write(Stack(_numbers((3, 6, 7)), "tyx"), tmp_path / "a.zarr", **options)


@each_version
def test_real_movie_survives(tmp_path: Path, real_data: Path, version: str) -> None:
    source = real_data / "timelapse_golgi" / "movie.tif"
    if not source.is_file():
        pytest.skip("timelapse_golgi is not there.")
    movie = read(source)
    back = read(write(movie, tmp_path / "golgi.ome.zarr", version=version))
    np.testing.assert_array_equal(np.asarray(back.data), np.asarray(movie.data))
