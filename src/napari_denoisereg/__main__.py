"""What ``denoisereg`` starts: its version and Ctrl-C need no waiting for what the command line loads."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the program's name; the process's own by default.

    Returns
    -------
    int
        See `cli.main`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        sys.stdout.write(f"denoisereg {version('napari-denoisereg')}\n")
        return 0
    try:
        code: int = import_module("napari_denoisereg.cli").main(words)
    except KeyboardInterrupt:  # while it loads; later `cli.main` itself tells what was written
        sys.stderr.write("Stopped; nothing was written.\n")
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
