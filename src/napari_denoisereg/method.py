"""Method: a frozen, named recipe whose fields are its settings.

*The object is its settings.* ``Noise2Void(patch=64)`` in Python, a form in napari, ``noise2void --patch 64`` on the command
line and ``{"kind": "noise2void", "patch": 64}`` in JSON all describe the same frozen object, and every face of the project
(form, command line, docs table, contract tests) is made from the fields declared on the class.

A *family* is a direct subclass of `Method` declared with ``family="..."`` (`Denoiser`, `Registrar`, `Similarity`, ...). A
*member* is a subclass of a family declared with ``kind="..."``; importing its file registers it, nothing else is needed.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import ErrorDetails


def setting(default: Any, description: str, *, unit: str = "", advanced: bool = False, **bounds: Any) -> Any:
    """Declare a field of a Method.

    Parameters
    ----------
    default : Any
        Value used when the user says nothing. It must be valid.
    description : str
        One sentence in plain words; shown as tooltip, in ``--help`` and in the docs.
    unit : str
        Unit of the value, e.g. ``"px"``, ``"s"``; empty for pure numbers.
    advanced : bool
        Whether forms hide the field behind *Advanced*.
    **bounds
        ``ge``, ``gt``, ``le``, ``lt``, ``multiple_of``, ``alias`` (name in JSON) as in `pydantic.Field`.

    Returns
    -------
    Any
        The pydantic field.
    """
    return Field(default, description=description, json_schema_extra={"unit": unit, "advanced": advanced}, **bounds)


class Method(BaseModel):
    """A named recipe; its fields are its settings. See the module docstring.

    Class attributes of members: ``kind`` (unique in the family, used in JSON and on the command line), ``title`` (plain
    words for menus), ``reference`` (DOI or URL of where the method comes from).
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, ser_json_inf_nan="constants", populate_by_name=True
    )

    family: ClassVar[str] = ""
    kind: ClassVar[str] = ""
    title: ClassVar[str] = ""
    reference: ClassVar[str] = ""
    _members: ClassVar[dict[str, type[Self]]]

    def __init_subclass__(cls, *, family: str = "", kind: str = "", **kwargs: Any) -> None:
        # Python hands the class keywords here first; pydantic calls the hook below once the fields are complete.
        super().__init_subclass__(**kwargs)

    @classmethod
    def __pydantic_init_subclass__(cls, *, family: str = "", kind: str = "", **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if family:
            cls.family = family
            cls._members = {}
        if kind:
            known = cls._members.get(kind)
            if known is not None and known.__qualname__ != cls.__qualname__:
                raise ValueError(
                    f"{cls.family} kind {kind!r} is already taken by {known.__name__}; choose another kind for {cls.__name__}."
                )
            cls.kind = kind
            cls.title = cls.title or kind.replace("_", " ").capitalize()
            cls._members[kind] = cls  # type: ignore[assignment]  # Self of a class method

    @classmethod
    def members(cls) -> dict[str, type[Self]]:
        """Every member of this family by kind, in alphabetical order.

        Returns
        -------
        dict of str to type
            Empty until the family's files were imported (importing the family's package imports them all).
        """
        return dict(sorted(cls._members.items()))

    @classmethod
    def member(cls, kind: str) -> type[Self]:
        """Find a member of this family.

        Parameters
        ----------
        kind : str
            Its kind, e.g. ``"noise2void"``.

        Returns
        -------
        type
            The member's class.

        Raises
        ------
        ValueError
            When there is no such member.
        """
        try:
            return cls._members[kind]
        except KeyError:
            raise ValueError(f"Unknown {cls.family} {kind!r}; choose one of {', '.join(cls.members())}.") from None

    @classmethod
    def coerce(cls, value: "Self | str | Mapping[str, Any]") -> Self:
        """Make a Method of this family from what a user may write.

        Parameters
        ----------
        value : Method, str or mapping
            A Method, a kind (``"noise2void"``), or JSON-like settings with a ``"kind"``.

        Returns
        -------
        Method
            A member of this family.

        Raises
        ------
        ValueError
            When the kind is unknown or a setting is out of bounds.
        TypeError
            When a Method of another family is given.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            return cls.member(value)()
        if isinstance(value, Method):
            raise TypeError(f"Expected a {cls.family}, got the {value.family} {value.kind!r}.")
        if not isinstance(value, Mapping):
            raise TypeError(f"Expected a {cls.family}, one of {', '.join(cls.members())} or its settings, got {value!r}.")
        try:
            return cls.model_validate(dict(value))
        except ValidationError as error:
            kind = str(value.get("kind", ""))
            member = cls._members.get(kind, cls)
            known = f" It has {', '.join(member.model_fields)}." if member.model_fields else ""
            name = f"{cls.family} {kind!r}" if kind else cls.family
            raise ValueError(f"These settings of the {name} cannot be used: {in_words(error)}.{known}") from error

    def to_dict(self) -> dict[str, Any]:
        """Settings as JSON-ready values, the kind first.

        Returns
        -------
        dict
            ``coerce`` of the family restores an equal Method.
        """
        return self.model_dump(mode="json", serialize_as_any=True, by_alias=True)

    def to_json(self, indent: int | None = None) -> str:
        """Settings as a JSON text.

        Parameters
        ----------
        indent : int, optional
            Spaces of indentation; None for one line.

        Returns
        -------
        str
            The JSON.
        """
        return json.dumps(self.to_dict(), indent=indent)

    @model_serializer(mode="wrap")
    def _with_kind(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"kind": self.kind, **inner(self)} if self.kind else inner(self)

    @model_validator(mode="wrap")
    @classmethod
    def _member_of_kind(cls, value: Any, inner: ValidatorFunctionWrapHandler) -> Self:
        """Let ``{"kind": ...}`` and plain kinds stand for a member, also when nested in another Method."""
        if isinstance(value, str) and cls.family:
            value = {"kind": value}
        if not isinstance(value, dict) or "kind" not in value:
            if isinstance(value, dict) and cls.family and not cls.kind and cls._members:
                raise ValueError(
                    f"Expected settings with the kind of {cls.family}, one of {', '.join(cls.members())}, got {value}."
                )
            return inner(value)
        settings = {name: entry for name, entry in value.items() if name != "kind"}
        if cls.kind == value["kind"]:
            return inner(settings)
        if cls.kind:
            raise ValueError(f"Expected settings of {cls.kind!r}, got those of {value['kind']!r}.")
        return cls.member(str(value["kind"])).model_validate(settings)


def describe(method: type[Method]) -> list[dict[str, Any]]:
    """Describe the settings of a Method for forms, the command line and the docs table.

    Parameters
    ----------
    method : type of Method
        The member's class.

    Returns
    -------
    list of dict
        One per field: ``name``, ``default``, ``annotation``, ``description``, ``unit``, ``advanced`` and, where declared,
        ``ge``, ``gt``, ``le``, ``lt``, ``multiple_of``.
    """
    rows = []
    for name, field in method.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        bounds = {
            bound: getattr(entry, bound)
            for entry in field.metadata
            for bound in ("ge", "gt", "le", "lt", "multiple_of")
            if getattr(entry, bound, None) is not None
        }
        rows.append(
            {
                "name": name,
                "default": field.get_default(call_default_factory=True),
                "annotation": field.annotation,
                "description": field.description or "",
                "unit": extra.get("unit", ""),
                "advanced": bool(extra.get("advanced", False)),
                **bounds,
            }
        )
    return rows


def in_words(error: ValidationError) -> str:
    """What is wrong with settings, in one line.

    Parameters
    ----------
    error : ValidationError
        What pydantic raised for a Method.

    Returns
    -------
    str
        ``"patch: expected 8 or more, got -3; ..."``, without types, addresses and version.
    """
    return "; ".join(_told(each) for each in error.errors())


_EXPECTED = {  # by pydantic's names of errors
    "greater_than_equal": "{ge:g} or more",
    "greater_than": "more than {gt:g}",
    "less_than_equal": "{le:g} or less",
    "less_than": "less than {lt:g}",
    "multiple_of": "a multiple of {multiple_of}",
    "literal_error": "{expected}",
    "finite_number": "a finite number",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "string_type": "text",
}


def _told(wrong: ErrorDetails) -> str:
    """What is wrong with one setting."""
    expected = _EXPECTED.get(wrong["type"], "").format(**wrong.get("ctx", {}))
    words = (
        f"expected {expected}, got {wrong['input']!r}"
        if expected
        else wrong["msg"].removeprefix("Value error, ").removesuffix(".")
    )
    words = "there is no such setting" if wrong["type"] == "extra_forbidden" else words
    return ": ".join(filter(None, (".".join(map(str, wrong["loc"])), words)))
