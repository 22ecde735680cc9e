"""A config node is held against the signature it will be called with, and the sentence shows the way out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from lvm_lab.config.binding import check, dataclass_from, describe, fits, misfit, unknown_key
from lvm_lab.errors import UserError
from lvm_lab.text.readers.npz import Npz


@dataclass(frozen=True)
class Wheel:
    spokes: int
    material: Literal["steel", "carbon"] = "steel"


@dataclass(frozen=True)
class Bicycle:
    name: str
    wheel: Wheel = field(default_factory=lambda: Wheel(32))
    weight: float = 9.5
    gears: tuple[int, ...] = (1, 2)
    owner: str | None = None


class Model:
    def __init__(self, dim: int, width: int, dropout: float = 0.0, *extra: int, **more: Any) -> None: ...


def function(path: str, count: int = 1) -> None: ...


class Nothing: ...


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, int, True),
        (True, int, False),
        (1.0, int, False),
        ("1", int, False),
        (1, float, True),
        (1.5, float, True),
        (True, float, False),
        ("1e-3", float, False),
        (True, bool, True),
        (1, bool, False),
        ("x", str, True),
        (None, str, False),
        (None, str | None, True),
        (3, int | str, True),
        ("auto", int | str, True),
        (1.5, int | str, False),
        ("steel", Literal["steel", "carbon"], True),
        ("wood", Literal["steel", "carbon"], False),
        ([1, 2], list[int], True),
        ([1, "2"], list[int], False),
        ([1.0, 2], tuple[float, ...], True),
        (3, tuple[float, ...], False),
        ({"a": 1}, dict[str, int], True),
        ([1], dict[str, int], False),
        (object(), Any, True),
        (Wheel(3), Wheel, True),
        ({"spokes": 3}, Wheel, False),
    ],
)
def test_fits(value, hint, expected):
    assert fits(value, hint) is expected


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "a whole number"),
        (float, "a number"),
        (bool, "true or false"),
        (str | None, "a text or null"),
        (int | str, "a whole number or a text"),
        (Literal["a", "b"], "one of a, b"),
        (list[int], "a list"),
        (tuple[float, ...], "a list"),
        (Wheel, "its keys (spokes, material)"),
    ],
)
def test_describe(hint, words):
    assert describe(hint) == words


def test_what_binds_passes_silently():
    check({"width": 4}, Model, "arch", supplied=["dim"])
    check({"width": 4, "dropout": 0}, Model, "arch", supplied=["dim"])
    check({"path": "x"}, function, "data")
    check({}, Nothing, "loss")


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (
            {"widht": 4, "width": 4},
            "arch.widht does not exist (did you mean width?); in arch there are dropout, width.",
        ),
        ({"width": 4, "zzz": 1}, "arch.zzz does not exist; in arch there are dropout, width."),
        ({"width": 4, "extra": 1}, "arch.extra does not exist; in arch there are dropout, width."),
        ({"width": 4, "dim": 768}, "arch.dim does not exist; in arch there are dropout, width."),
        ({"width": "4"}, "arch.width='4' does not fit; give it a whole number."),
        ({"width": None}, "arch.width=null does not fit; give it a whole number."),
        ({"dropout": 0.1}, "arch.width is missing; set it, for instance on the command line: arch.width=..."),
    ],
)
def test_what_does_not_bind_is_one_sentence(node, said):
    with pytest.raises(UserError) as caught:
        check(node, Model, "arch", supplied=["dim"])
    assert str(caught.value) == said


def test_functions_are_checked_like_classes():
    with pytest.raises(UserError, match=r"data.count='one' does not fit; give it a whole number"):
        check({"path": "x", "count": "one"}, function, "data")


def test_a_nested_dataclass_is_made_whole():
    node = {"name": "r", "wheel": {"spokes": 20, "material": "carbon"}, "weight": 8, "gears": [1, 3], "owner": None}
    kept = {**node, "wheel": dict(node["wheel"])}
    assert dataclass_from(Bicycle, node, "bike") == Bicycle("r", Wheel(20, "carbon"), 8, [1, 3], None)
    assert node == kept
    assert dataclass_from(Bicycle, {"name": "r"}, "bike") == Bicycle("r")


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({}, "bike.name is missing"),
        ({"name": "r", "wheel": {}}, "bike.wheel.spokes is missing"),
        ({"name": "r", "wheel": {"spoke": 3}}, "bike.wheel.spoke does not exist (did you mean spokes?)"),
        ({"name": "r", "wheel": {"spokes": 3, "material": "wood"}}, "give it one of steel, carbon."),
        ({"name": "r", "wheel": 3}, "bike.wheel=3 does not fit"),
        ({"name": "r", "wheel": None}, "bike.wheel=null does not fit"),
        ({"name": "r", "owner": 3}, "bike.owner=3 does not fit; give it a text or null."),
        ({"name": "r", "weigth": 3}, "bike.weigth does not exist (did you mean weight?)"),
    ],
)
def test_a_nested_mistake_is_named_by_its_path(node, said):
    with pytest.raises(UserError) as caught:
        dataclass_from(Bicycle, node, "bike")
    assert said in str(caught.value)


def test_an_unknown_key_at_the_top():
    known = ["trainer", "data", "arch"]
    assert unknown_key("trianer", known) == (
        "trianer does not exist (did you mean trainer?); at the top there are arch, data, trainer."
    )


def test_a_text_with_nul_names_no_file() -> None:
    assert not fits("a\0b", str | None)
    assert misfit("run.cache", "\0", str | None) == (
        "run.cache='\\x00' does not fit; give it a text without the character NUL."
    )


def test_a_whole_number_that_numpy_cannot_take_is_no_number() -> None:
    assert fits(2**63 - 1, float)
    assert not fits(2**63, float)


def test_a_dataclass_of_another_modules_dataclass_is_held_against_its_types_too():
    """The fields that it inherits are in that module's words: `Literal`, which its own module lacks."""
    check({"path": "bank.npz", "sample": "random"}, Npz, "reader")
    with pytest.raises(UserError, match=r"reader\.sample='all' does not fit; give it one of first, random\."):
        check({"sample": "all"}, Npz, "reader")
