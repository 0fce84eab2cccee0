"""Hook of mkdocs: tables of methods and of recipes, made from what is there, take the place of marks in the pages."""

import importlib
from typing import Any

from napari_denoisereg.method import Method, describe
from napari_denoisereg.pipeline import presets

METHODS, RECIPES = "<!-- methods -->", "<!-- recipes -->"
FAMILIES = ("denoise", "encode", "register", "losses")


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
    return "\n\n".join([f"## {family.family.capitalize()}", *sections])


def _method_section(method: type[Method]) -> str:
    first_line = (method.__doc__ or "").strip().partition("\n")[0]
    reference = f"Reference: {_link(method.reference)}" if method.reference else ""
    rows = [_row(setting) for setting in describe(method)]
    table = ["| setting | default | meaning |\n|---|---|---|\n" + "\n".join(rows)] if rows else []
    return "\n\n".join([f"### `{method.kind}`", first_line, reference, *table])


def _row(setting: dict[str, Any]) -> str:
    default = setting["default"]
    shown = default.kind if isinstance(default, Method) else default
    unit = f" {setting['unit']}" if setting["unit"] else ""
    meaning = str(setting["description"]).replace("|", "\\|")
    return f"| `{setting['name']}` | `{shown}`{unit} | {meaning} |"


def _link(reference: str) -> str:
    if reference.startswith("http"):
        return f"<{reference}>"
    return f"[{reference}](https://doi.org/{reference})" if reference.startswith("10.") else reference
