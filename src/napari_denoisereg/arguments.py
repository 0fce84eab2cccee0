"""Methods as words of the command line.

A choice between methods is a set of sub-commands (`choice`). A setting that is itself a method, such as the similarity of a
registrar, is one word: its kind, with settings after commas where they differ from the defaults::

    --similarity mind
    --similarity local_correlation,width=15,window=gaussian

JSON (``'{"kind": "mind", "sigma": 2}'``) is understood, too.
"""

import json
import re
from collections.abc import Iterable
from typing import Annotated, Any, Union

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from napari_denoisereg.method import Method

WORDS = ConstructorRegistry()
"""For ``tyro.cli``: how a setting that holds a Method is written."""


def choice(members: Iterable[type[Method]]) -> Any:
    """A union of sub-commands, one per method.

    Parameters
    ----------
    members : iterable of type
        Methods.

    Returns
    -------
    type
        For an annotation.
    """
    commands = [
        Annotated[each, tyro.conf.subcommand(name=each.kind, description=(each.__doc__ or "").strip())] for each in members
    ]
    return Union[tuple(commands)]  # noqa: UP007 - made at run time


def method_from_word(family: type[Method], word: str) -> Method:
    """Read a Method.

    Parameters
    ----------
    family : type of Method
        What it must be a member of.
    word : str
        See the module.

    Returns
    -------
    Method
        The member.

    Raises
    ------
    ValueError
        When the kind or a setting is unknown, or a value is out of bounds.
    """
    # A comma divides settings only before a name: values such as [1,2] keep theirs.
    kind, *settings = re.split(r",(?=\w+=)", word)
    named = dict(setting.split("=", 1) for setting in settings)
    is_json = word.lstrip().startswith("{")
    given = json.loads(word) if is_json else {"kind": kind, **{name: _value(text) for name, text in named.items()}}
    return family.coerce(given)


def word_of_method(method: Method) -> str:
    """Write a Method.

    Parameters
    ----------
    method : Method
        A member of a family.

    Returns
    -------
    str
        Its kind and the settings that are not the defaults; `method_from_word` reads it.
    """
    plain = type(method)().to_dict()
    changed = {name: value for name, value in method.to_dict().items() if value != plain[name]}
    words = (f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in changed.items())
    return ",".join((method.kind, *words))


@WORDS.primitive_rule
def _family_rule(asked: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Method] | None:
    family = asked.type
    if not (isinstance(family, type) and issubclass(family, Method) and family.family and not family.kind):
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="{" + ",".join(family.members()) + "}[,SETTING=VALUE]",
        instance_from_str=lambda words: method_from_word(family, words[0]),
        is_instance=lambda value: isinstance(value, family),
        str_from_instance=lambda method: [word_of_method(method)],
    )


def _value(text: str) -> Any:
    """A number, switch or list where the text is JSON, else the text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
