"""Take the pictures of the manual by driving the real GUI with mouse and keys.

Run it on a desktop, or without one as ``xvfb-run -a -s "-screen 0 1920x1080x24" python docs/make_screenshots.py``. Every scene
opens a window of its own, works on a sample that the plugin brings, and writes ``docs/assets/*.png``. It needs PyQt6.
"""

import argparse
import os
import tempfile


def main() -> None:
    """Take all pictures, or those of the scenes that are named."""
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(
            {  # the user's own settings, models and marks are neither shown nor changed
                "XDG_DATA_HOME": home,
                "XDG_CONFIG_HOME": home,
                "DENOISEREG_HOME": home,
                "NAPARI_CONFIG": f"{home}/napari.yaml",
                "LOGNAME": "Anna",
                "TZ": "UTC",
            }
        )
        os.chdir(home)  # paths in pictures are short
        from screenshots import docks, tutorial

        scenes = {"tutorial": tutorial.first_movie, **docks.SCENES}
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("scenes", nargs="*", metavar="scene", help=f"{', '.join(scenes)}; all by default")
        for name in parser.parse_args().scenes or scenes:
            scenes[name]()


if __name__ == "__main__":
    main()
