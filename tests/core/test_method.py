"""Method: the object is its settings."""

import json
import pickle
from typing import ClassVar

import pytest
from pydantic import ValidationError

from napari_denoisereg.method import Method, describe, setting


class Fruit(Method, family="fruit"):
    """Something that grows."""


class Apple(Fruit, kind="apple"):
    """Grows on trees."""

    title: ClassVar[str] = "Red apple"
    size: float = setting(7.0, "How wide.", unit="cm", gt=0, le=20)
    seeds: int = setting(5, "How many.", ge=0, advanced=True)


class Basket(Method, family="basket"):
    """Holds fruit."""

    fruit: Fruit = setting(Apple(), "What is in it.", alias="content")


class Berry(Fruit, kind="black_berry"):
    """Grows on bushes."""


def test_members_register_themselves_in_alphabetical_order() -> None:
    assert list(Fruit.members()) == ["apple", "black_berry"]
    assert Fruit.member("apple") is Apple
    assert (Apple.family, Apple.kind, Apple.title, Berry.title) == ("fruit", "apple", "Red apple", "Black berry")


def test_families_do_not_share_members() -> None:
    assert Basket.members() == {}


@pytest.mark.parametrize("value", [Apple(size=3), {"kind": "apple", "size": 3}, {"kind": "apple", "size": 3.0, "seeds": 5}])
def test_coerce_takes_what_a_user_may_write(value: object) -> None:
    assert Fruit.coerce(value) == Apple(size=3)
    assert Fruit.coerce("black_berry") == Berry()


def test_json_restores_an_equal_method_the_kind_first() -> None:
    apple = Apple(size=2.5)
    assert list(apple.to_dict()) == ["kind", "size", "seeds"]
    assert Fruit.coerce(json.loads(apple.to_json())) == apple
    assert "\n" in apple.to_json(indent=2)
    assert pickle.loads(pickle.dumps(apple)) == apple


def test_nested_methods_are_written_with_their_kind_and_alias() -> None:
    basket = Basket(fruit=Berry())
    assert basket.to_dict() == {"content": {"kind": "black_berry"}}
    assert Basket.model_validate(basket.to_dict()) == basket
    assert Basket.model_validate({"content": "black_berry"}) == basket


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("pear", "Unknown fruit 'pear'; choose one of apple, black_berry"),
        ({"kind": "pear"}, "Unknown fruit 'pear'"),
        ({"kind": "apple", "size": 0}, "size: expected more than 0, got 0"),
        ({"kind": "apple", "size": 99}, "size: expected 20 or less, got 99"),
        ({"kind": "apple", "colour": "red"}, "fruit 'apple' cannot be used: colour: there is no such setting. It has size"),
        ({"kind": "apple", "size": "wide"}, "size"),
    ],
)
def test_what_makes_no_method_is_refused_with_the_reason(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fruit.coerce(value)


def test_methods_of_another_family_or_kind_are_refused() -> None:
    with pytest.raises(TypeError, match="Expected a basket, got the fruit 'apple'"):
        Basket.coerce(Apple())
    with pytest.raises(ValueError, match="Expected settings of 'apple', got those of 'black_berry'"):
        Apple.coerce({"kind": "black_berry"})


def test_methods_cannot_be_changed() -> None:
    apple = Apple()
    with pytest.raises(ValidationError, match="frozen"):
        apple.size = 3.0
    assert hash(apple) == hash(Apple())


def test_two_methods_of_one_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="'apple' is already taken by Apple"):
        type("OtherApple", (Fruit,), {"__module__": __name__, "__doc__": "Other."}, kind="apple")
    assert Fruit.member("apple") is Apple


def test_invalid_defaults_are_found_when_the_method_is_made() -> None:
    class Fig(Fruit):
        size: int = setting(-1, "How wide.", ge=0)

    with pytest.raises(ValidationError):
        Fig()


def test_describe_says_what_forms_need() -> None:
    size, seeds = describe(Apple)
    assert (size["name"], size["default"], size["unit"], size["gt"], size["le"]) == ("size", 7.0, "cm", 0, 20)
    assert (size["annotation"], size["description"], size["advanced"]) == (float, "How wide.", False)
    assert (seeds["ge"], seeds["advanced"]) == (0, True)
    assert "le" not in seeds
