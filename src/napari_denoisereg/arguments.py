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
from functools import partial, update_wrapper
from typing import Annotated, Any, Union, get_type_hints

import tyro
from pydantic import ValidationError
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from napari_denoisereg.method import Method, in_words

WORDS = ConstructorRegistry()
"""For ``tyro.cli``: how a setting that holds a Method is written."""


class WrongSettingError(Exception):
    """A method cannot be made of what was asked; no ValueError, which tyro would put into words and a frame of its own."""


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


@WORDS.primitive_rule
def _number_rule(asked: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[float] | None:
    """Numbers as everywhere, but what is none is told without Python's words."""
    kind = asked.type
    if kind not in (int, float):
        return None
    accepted, words = ((int,), "a whole number") if kind is int else ((int, float), "a number")

    def number(given: list[str]) -> float:
        try:
            return kind(given[0])
        except ValueError:
            raise ValueError(f"expected {words}, got {given[0]!r}") from None

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=kind.__name__.upper(),
        instance_from_str=number,
        is_instance=lambda value: isinstance(value, accepted),
        str_from_instance=lambda value: [str(value)],
    )


@WORDS.struct_rule
def _member_rule(asked: StructTypeInfo) -> StructConstructorSpec | None:
    """The settings of a method are its options."""
    member = asked.type
    if not (isinstance(member, type) and issubclass(member, Method) and member.kind):
        return None
    hints, start = get_type_hints(member, include_extras=True), asked.default if isinstance(asked.default, member) else member()
    fields = [
        StructFieldSpec(name=name, type=hints[name], default=getattr(start, name), helptext=field.description)
        for name, field in member.model_fields.items()
    ]
    return StructConstructorSpec(instantiate=update_wrapper(partial(_made, member), member, updated=()), fields=tuple(fields))


def _made(member: type[Method], **settings: Any) -> Method:
    try:
        return member(**settings)
    except ValidationError as error:
        names = {str(each["loc"][0]) for each in error.errors() if each["loc"]} & set(member.model_fields)
        known = ", ".join(f"--{name.replace('_', '-')} is {getattr(member(), name)} by default" for name in sorted(names))
        raise WrongSettingError(
            f"{member.kind} cannot work with these settings: {in_words(error)}. Correct or leave out the setting"
            f"{f' ({known})' if known else ''}."
        ) from error


def _value(text: str) -> Any:
    """A number, switch or list where the text is JSON, else the text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
