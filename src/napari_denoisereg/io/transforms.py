"""Transforms as files: zarr (everything, exactly), ITK (for other programs) and a table of matrices.

=========================  ============================================================================================
``name.zarr``              one zarr group in the manner of OME-NGFF 0.6 (RFC-5): affine, displacements, sequence; see
                           `transforms_zarr`
``name.csv``               a table of matrices, affine transforms only; see `transforms_csv`
``name.tfm``, ``.txt``     ITK's affine text file, one frame
``name.nii.gz``, ``.nii``  ITK displacement field, one frame; also ``.mha``, ``.nrrd``
``folder``                 one ITK file per frame; see `transforms_itk`
=========================  ============================================================================================

All of them map fixed to moving points. With each goes the Grid of the fixed space, so that a result can be applied without
the stack it came from.
"""

from collections.abc import Sequence
from pathlib import Path

from napari_denoisereg.atomic import check_writable, find, replacing
from napari_denoisereg.geometry import Grid, PerFrame, Transform
from napari_denoisereg.io import transforms_csv, transforms_itk, transforms_zarr


def write_transforms(
    transforms: Sequence[Transform],
    path: str | Path,
    *,
    grid: Grid,
    overwrite: bool = False,
    itk_suffix: str | None = None,
) -> Path:
    """Write the transforms of a stack.

    Parameters
    ----------
    transforms : PerFrame or sequence of Transform
        One per frame, fixed to moving, world units.
    path : str or Path
        The suffix says the format, see the module; a name without suffix is a folder of ITK files.
    grid : Grid
        The fixed space; ITK fields are sampled on it.
    overwrite : bool
        Whether an earlier result may be replaced; it stays until the end.
    itk_suffix : str, optional
        Kind of files in a folder, e.g. ``".nii.gz"``; by default ``".tfm"`` where all transforms are affine, else
        ``".nii.gz"``.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    ValueError
        When the format cannot hold the transforms, or the suffix is unknown.
    ImportError
        When ITK files are asked for and SimpleITK is not installed.
    OSError
        See `check_writable`.
    """
    frames = PerFrame(list(transforms))
    if frames.ndim != grid.ndim:
        raise ValueError(f"Expected a grid of {frames.ndim} axes for these transforms, got {grid.ndim}: {grid.shape}.")
    target = Path(path)
    kind = _format(target)
    if kind == "zarr":
        check_writable(target, transforms_zarr.n_bytes(frames), overwrite=overwrite)
        with replacing(target, overwrite=overwrite) as part:
            transforms_zarr.write(frames, part, grid)
    elif kind == "csv":
        text = transforms_csv.to_text(frames, grid)
        with replacing(target, overwrite=overwrite) as part:
            part.write_text(text, encoding="utf-8")
    elif kind == "itk":
        transforms_itk.check(frames, target)
        with replacing(target, overwrite=overwrite) as part:
            transforms_itk.write_file(frames[0], part, grid)
    else:
        suffix = itk_suffix or (".tfm" if all(each.is_affine for each in frames) else ".nii.gz")
        transforms_itk.check_suffix(frames, suffix)
        with replacing(target, overwrite=overwrite) as part:
            transforms_itk.write_folder(frames, part, grid, suffix)
    return target


def read_transforms(path: str | Path, *, grid: Grid | None = None, otherwise: Grid | None = None) -> tuple[PerFrame, Grid]:
    """Read the transforms of a stack.

    Parameters
    ----------
    path : str or Path
        See `write_transforms`; files of other programs are read too.
    grid : Grid, optional
        The fixed space, whatever the file says.
    otherwise : Grid, optional
        The fixed space where the file does not say it (ITK affines and tables of other programs).

    Returns
    -------
    transforms : PerFrame
        One per frame.
    grid : Grid
        The fixed space: ``grid`` where given, else what the file says, else ``otherwise``.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is damaged, holds no transforms, or does not say the fixed space and nobody else does.
    ImportError
        When it is an ITK file and SimpleITK is not installed.
    """
    source = find(path)
    kind = _format(Path(path))
    if kind == "zarr" or (source / "zarr.json").exists():
        transforms, stated = transforms_zarr.read(source)
    elif kind == "csv":
        transforms, stated = transforms_csv.read(source)
    elif kind == "itk":
        transforms, stated = transforms_itk.read_file(source)
    else:
        transforms, stated = transforms_itk.read_folder(source)
    chosen = grid or stated or otherwise
    if chosen is None:
        raise ValueError(f"{source} does not say on which grid its transforms live; pass grid=stack.grid.")
    if chosen.ndim != transforms[0].ndim:
        raise ValueError(f"{source} holds {transforms[0].ndim}D transforms, got a grid of {chosen.ndim} axes.")
    return PerFrame(transforms), chosen


def _format(path: Path) -> str:
    name = path.name.lower()
    for suffixes, kind in (((".zarr",), "zarr"), ((".csv",), "csv"), (transforms_itk.SUFFIXES, "itk")):
        if name.endswith(suffixes):
            return kind
    if path.suffix and not path.is_dir():
        known = ", ".join((".zarr", ".csv", *transforms_itk.SUFFIXES))
        raise ValueError(f"Expected a name ending in {known}, or a folder, got {path}; change the suffix.")
    return "folder"
