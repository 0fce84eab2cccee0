"""Hook of mkdocs: tables of methods and of recipes, made from what is there, take the place of marks in the pages."""

import importlib
import inspect
import re
from typing import Any, Literal, get_args, get_origin

from napari_denoisereg.method import Method, describe
from napari_denoisereg.pipeline import presets

METHODS, RECIPES = "<!-- methods -->", "<!-- recipes -->"
FAMILIES = ("denoise", "encode", "register", "losses")
TITLES = {
    "denoiser": "Denoisers",
    "encoder": "Encoders: features to compare images by",
    "registrar": "Registrars",
    "series": "Series: from pairs of frames to a movie",
    "similarity": "Similarities: how alike two images are",
    "regularity": "Regularities: how smooth a motion is",
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marks by what they stand for."""
    for mark, fill in ((METHODS, _methods), (RECIPES, _recipes)):
        if mark in markdown:
            markdown = markdown.replace(mark, fill())
    return markdown


def _methods() -> str:
    """One section per family and one table of settings per method."""
    for room in FAMILIES:
        importlib.import_module(f"napari_denoisereg.{room}")
    families = [family for family in Method.__subclasses__() if family.family and family.members()]
    return "\n\n".join(_family_section(family) for family in families)


def _recipes() -> str:
    """What comes with the package."""
    rows = [f"| `{name}` | {recipe.description} |" for name, recipe in presets().items()]
    return "\n".join(["| recipe | what it does |", "|---|---|", *rows])


def _family_section(family: type[Method]) -> str:
    sections = [_method_section(member) for member in family.members().values()]
    return "\n\n".join([f"## {TITLES[family.family]}", *sections])


def _method_section(method: type[Method]) -> str:
    first_line, _, more = (inspect.getdoc(method) or "").partition("\n\n")
    more = re.sub("^ +", "", more, flags=re.MULTILINE)  # formulas that stand apart are no code
    trained = "It trains a network." if getattr(method, "is_trained", False) else ""
    reference = f"Reference: {_link(method.reference)}" if method.reference else ""
    rows = [_row(setting) for setting in describe(method)]
    table = ["| setting | default | may be | meaning |\n|---|---|---|---|\n" + "\n".join(rows)] if rows else []
    return "\n\n".join([f"### `{method.kind}` – {method.title}", f"{first_line} {trained}", more, reference, *table])


def _row(setting: dict[str, Any]) -> str:
    default = setting["default"]
    shown = default.kind if isinstance(default, Method) else default
    unit = f" {setting['unit']}" if setting["unit"] else ""
    meaning = str(setting["description"]).replace("|", "\\|")
    return f"| `{setting['name']}` | `{shown}`{unit} | {_values(setting)} | {meaning} |"


def _values(setting: dict[str, Any]) -> str:
    """What a setting may be: one of some words or numbers, or a range."""
    if get_origin(setting["annotation"]) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(setting["annotation"]))
    if setting["annotation"] is bool:
        return "`True`, `False`"
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = [f"{sign} {setting[bound]:.12g}" for bound, sign in signs.items() if bound in setting]
    steps = [f"a multiple of {setting['multiple_of']}"] if "multiple_of" in setting else []
    return ", ".join([*bounds, *steps])


def _link(reference: str) -> str:
    if reference.startswith("http"):
        return f"<{reference}>"
    return f"[{reference}](https://doi.org/{reference})" if reference.startswith("10.") else reference
