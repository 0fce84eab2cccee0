"""Transforms for ITK programs (3D Slicer, ANTs, elastix): affine text files and displacement fields.

ITK's transforms map fixed to moving points like ours, but their points are (x, y(, z)); `conventions` turns them round.
ITK thinks in millimetres: numbers are written as they are, in the unit of the grid, so that image and transform agree when
both are written by this program. NIfTI's own axes (right-anterior-superior) are ITK's business: it turns them when writing
and when reading. One file is one frame; a folder has one file per frame and ``transforms.json`` with the grid.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from napari_denoisereg.geometry import Affine, Displacement, Grid, PerFrame, Transform
from napari_denoisereg.geometry.conventions import from_itk_field, from_itk_matrix, to_itk_field, to_itk_matrix
from napari_denoisereg.geometry.units import PIXEL
from napari_denoisereg.io.grids import as_dict, from_dict, from_text
from napari_denoisereg.io.transforms_csv import as_affine

AFFINE_SUFFIXES = (".tfm", ".txt")
FIELD_SUFFIXES = (".nii.gz", ".nii", ".mha", ".nrrd")
SUFFIXES = AFFINE_SUFFIXES + FIELD_SUFFIXES
INDEX = "transforms.json"
GRID_MARK = "# napari-denoisereg grid: "
UNITS_MARK = "units: "


def check(transforms: PerFrame, path: Path) -> None:
    """Refuse what one ITK file cannot hold.

    Parameters
    ----------
    transforms : PerFrame
        What to write.
    path : Path
        Where to.

    Raises
    ------
    ValueError
        For several frames, or an affine file for something else.
    ImportError
        When SimpleITK is not installed.
    """
    if len(transforms) > 1:
        raise ValueError(
            f"An ITK file holds one frame, got {len(transforms)} for {path}; give a folder (a name without suffix), or .zarr."
        )
    check_suffix(transforms, path.name)


def check_suffix(transforms: PerFrame, name: str) -> None:
    """Refuse files that cannot hold these transforms.

    Parameters
    ----------
    transforms : PerFrame
        What to write.
    name : str
        Of the files, or its suffix.

    Raises
    ------
    ValueError
        For an unknown suffix, or an affine file for something else.
    ImportError
        When SimpleITK is not installed.
    """
    if not name.lower().endswith(SUFFIXES):
        raise ValueError(f"Expected ITK files ending in one of {', '.join(SUFFIXES)}, got {name!r}; pass one of these.")
    bent = [frame for frame, transform in enumerate(transforms) if not transform.is_affine]
    if name.lower().endswith(AFFINE_SUFFIXES) and bent:
        raise ValueError(
            f"{name}: ITK's text files hold affine transforms only, that of frame {bent[0]} is none; write .nii.gz instead."
        )
    _simpleitk()


def write_file(transform: Transform, path: Path, grid: Grid) -> None:
    """Write one transform; the suffix says how.

    Parameters
    ----------
    transform : Transform
        Fixed to moving.
    path : Path
        The file.
    grid : Grid
        The fixed space; fields are sampled on it.
    """
    sitk = _simpleitk()
    if path.name.lower().endswith(AFFINE_SUFFIXES):
        matrix = to_itk_matrix(as_affine(transform))
        affine = sitk.AffineTransform(grid.ndim)
        affine.SetMatrix(matrix[:-1, :-1].ravel().tolist())
        affine.SetTranslation(matrix[:-1, -1].tolist())
        sitk.WriteTransform(affine, str(path))
        with path.open("a", encoding="utf-8") as file:  # ITK passes over lines that start with #.
            file.write(f"{GRID_MARK}{json.dumps(as_dict(grid))}\n")
        return
    # On the fixed grid itself: beyond its field ITK moves nothing, we continue the edge.
    field = transform if isinstance(transform, Displacement) and transform.grid == grid else transform.to_displacement(grid)
    image = sitk.GetImageFromArray(to_itk_field(field).astype(np.float32), isVector=True)
    image.SetSpacing(field.grid.spacing[::-1])
    image.SetOrigin(field.grid.origin[::-1])
    image.SetMetaData("ITK_FileNotes", UNITS_MARK + ",".join(field.grid.units))
    sitk.WriteImage(image, str(path), useCompression=True)


def write_folder(transforms: PerFrame, folder: Path, grid: Grid, suffix: str) -> None:
    """Write one file per frame and an index.

    Parameters
    ----------
    transforms : PerFrame
        One per frame.
    folder : Path
        Made here; the caller puts it in place.
    grid : Grid
        The fixed space.
    suffix : str
        Of the files, e.g. ``".nii.gz"``.
    """
    folder.mkdir()
    width = max(4, len(str(len(transforms) - 1)))
    names = [f"frame-{frame:0{width}}.{suffix.lstrip('.')}" for frame in range(len(transforms))]
    for name, transform in zip(names, transforms, strict=True):
        write_file(transform, folder / name, grid)
    index = {"format": "napari-denoisereg ITK transforms 1", "grid": as_dict(grid), "files": names}
    (folder / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")


def read_file(path: Path) -> tuple[list[Transform], Grid | None]:
    """Read one file.

    Parameters
    ----------
    path : Path
        ITK transform text or displacement field.

    Returns
    -------
    transforms : list of Transform
        One.
    grid : Grid or None
        The fixed space; None for affine files of other programs.

    Raises
    ------
    ValueError
        When ITK cannot read it, it is no such transform, or its axes are turned.
    """
    sitk = _simpleitk()
    try:
        if path.name.lower().endswith(AFFINE_SUFFIXES):
            return _read_affine(sitk.ReadTransform(str(path)), path)
        return _read_field(_image(path), path)
    except RuntimeError as error:
        raise ValueError(f"{path} cannot be read by ITK; it is no ITK transform or was cut off ({error}).") from error


def read_folder(folder: Path) -> tuple[list[Transform], Grid | None]:
    """Read one file per frame.

    Parameters
    ----------
    folder : Path
        With or without an index; without, files are taken in alphabetical order.

    Returns
    -------
    transforms : list of Transform
        One per file.
    grid : Grid or None
        The fixed space.

    Raises
    ------
    ValueError
        When there are no such files, or one of the index is missing.
    """
    index = folder / INDEX
    stated = _index(index) if index.is_file() else {}
    found = sorted(entry.name for entry in folder.iterdir() if entry.name.lower().endswith(SUFFIXES))
    names = stated.get("files", found)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing or not names:
        lacks = f"lacks {', '.join(missing[:3])}" if missing else f"has no file ending in {', '.join(SUFFIXES)}"
        raise ValueError(f"The folder {folder} {lacks}; copy all files of the registration into it.")
    read = [read_file(folder / name) for name in names]
    grid = from_dict(stated["grid"], index) if "grid" in stated else read[0][1]
    return [transform for transforms, _ in read for transform in transforms], grid


def _index(path: Path) -> dict[str, Any]:
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); copy the folder again, or delete this file.") from error
    if not isinstance(stated, dict) or not all(isinstance(name, str) for name in stated.get("files", [])):
        raise ValueError(f"{path} is no list of transforms; copy the folder again, or delete this file.")
    return stated


def _image(path: Path) -> Any:
    """Read an image; ITK itself would read ``field.nii`` where ``field.nii.gz`` lies beside it and is asked for."""
    sitk = _simpleitk()
    if not (path.name.lower().endswith(".nii.gz") and path.with_suffix("").exists()):
        return sitk.ReadImage(str(path))
    with tempfile.TemporaryDirectory() as folder:
        alone = shutil.copy(path, folder)
        return sitk.ReadImage(str(alone))


def _read_affine(transform: Any, path: Path) -> tuple[list[Transform], Grid | None]:
    if not transform.IsLinear():
        raise ValueError(f"{path} holds a {transform.GetName()}, expected an affine one; export it as displacement field.")
    # Read off at the origin and one step along each axis: works for every kind of linear transform ITK has.
    ndim = transform.GetDimension()
    start = np.array(transform.TransformPoint([0.0] * ndim))
    columns = [np.array(transform.TransformPoint(step)) - start for step in np.eye(ndim).tolist()]
    matrix = np.eye(ndim + 1)
    matrix[:-1] = np.column_stack([*columns, start])
    if hasattr(transform, "GetMatrix") and not np.any(transform.GetFixedParameters()):
        matrix[:-1, :-1] = np.reshape(transform.GetMatrix(), (ndim, ndim))  # exact, without the subtraction
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    stated = next((line for line in lines if line.startswith(GRID_MARK)), None)
    grid = from_text(stated[len(GRID_MARK) :], path) if stated else None
    affine: Affine = from_itk_matrix(matrix)
    return [affine], grid


def _read_field(image: Any, path: Path) -> tuple[list[Transform], Grid | None]:
    ndim = image.GetDimension()
    if image.GetNumberOfComponentsPerPixel() != ndim:
        raise ValueError(
            f"{path} has {image.GetNumberOfComponentsPerPixel()} values per voxel in {ndim}D, expected a displacement field "
            f"with {ndim}; choose the file of the field, not of an image."
        )
    if not np.allclose(np.reshape(image.GetDirection(), (ndim, ndim)), np.eye(ndim), atol=1e-6):
        raise ValueError(f"{path} has turned axes (direction {image.GetDirection()}); resample it to an upright grid in ITK.")
    values = _simpleitk().GetArrayFromImage(image)
    notes = image.GetMetaData("ITK_FileNotes") if image.HasMetaDataKey("ITK_FileNotes") else ""
    units = tuple(notes.removeprefix(UNITS_MARK).split(",")) if notes.startswith(UNITS_MARK) else (PIXEL,) * ndim
    grid = Grid(values.shape[:-1], image.GetSpacing()[::-1], image.GetOrigin()[::-1], units)
    return [from_itk_field(values, grid)], grid


def _simpleitk() -> Any:
    try:
        import SimpleITK as sitk  # noqa: N813 - its usual name
    except ImportError as error:
        raise ImportError("ITK files need SimpleITK, which is not installed; run: pip install SimpleITK") from error
    return sitk
