"""What napari shows. The only room that may import napari, Qt, magicgui and superqt.

`layers` turns layers into stacks and results into layers, `form` makes a form of any Method, `runner` runs Steps off the GUI
thread; a dock is a `layer_chooser`, forms and a runner. Nothing here computes: that is the engine's work.
"""
