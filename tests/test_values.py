"""Our dataclasses are used as those of the standard library are, and can't be told from them."""

from __future__ import annotations

import dataclasses
from dataclasses import field
from typing import Any, ClassVar

import pytest

from gavotte import values


@values.dataclass(frozen=True)
class Ours:
    """A value."""

    kind: ClassVar[str] = "kind"
    name: str
    size: int = 3
    words: list[str] = field(default_factory=list, compare=False)


@values.dataclass(frozen=True)
class OursMore(Ours):
    """With a field more."""

    more: str | None = None


@values.dataclass(frozen=True, slots=True)
class OursInSlots:
    """Without a dictionary."""

    name: str
    size: int = 3


@dataclasses.dataclass(frozen=True)
class Theirs:
    """A value."""

    kind: ClassVar[str] = "kind"
    name: str
    size: int = 3
    words: list[str] = field(default_factory=list, compare=False)


def test_a_value_is_made_by_place_and_by_name_and_has_its_defaults() -> None:
    assert Ours("a") == Ours(name="a", size=3)
    assert OursMore("a", 4, ["w"], "m") == OursMore("a", more="m", size=4)
    assert (OursInSlots("a").name, OursInSlots("a").size) == ("a", 3)
    first, second = Ours("a"), Ours("b")
    assert first.words == [] and first.words is not second.words


@pytest.mark.parametrize("wrong", [lambda of: of(), lambda of: of("a", 1, [], 2), lambda of: of("a", name="b")])
@pytest.mark.parametrize("more", [{}, {"other": 1}])
def test_what_it_has_not_is_refused(wrong: Any, more: dict[str, int]) -> None:
    for of in (Ours, Theirs):
        with pytest.raises(TypeError):
            wrong(lambda *given, of=of, **named: of(*given, **named, **more))


def test_it_reads_as_theirs() -> None:
    assert repr(Ours("a", words=["w"])) == repr(Theirs("a", words=["w"])).replace("Theirs", "Ours")
    assert Ours.__doc__ == "A value."


def test_it_is_compared_by_class_and_fields_and_can_be_a_key() -> None:
    assert Ours("a", words=["w"]) == Ours("a")
    assert Ours("a") != Ours("a", 4)
    assert Ours("a").__eq__(Theirs("a")) is NotImplemented
    assert Ours("a") != OursMore("a")
    assert {Ours("a"): 1, OursInSlots("b"): 2}[Ours("a")] == 1
    with pytest.raises(TypeError, match="unhashable"):
        hash(Ours(["a"]))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [Ours("a"), OursMore("a"), OursInSlots("a")])
def test_it_cant_be_changed(value: Any) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError, match="'name'"):
        value.name = "b"
    with pytest.raises(dataclasses.FrozenInstanceError, match="'size'"):
        del value.size
    assert (value.name, value.size) == ("a", 3)


def test_slots_leave_no_room_for_more() -> None:
    assert not hasattr(OursInSlots("a"), "__dict__")


def test_the_standard_librarys_functions_work_with_it() -> None:
    assert [each.name for each in dataclasses.fields(OursMore)] == ["name", "size", "words", "more"]
    assert dataclasses.replace(OursInSlots("a", 4), name="b") == OursInSlots("b", 4)
    assert dataclasses.asdict(Ours("a")) == {"name": "a", "size": 3, "words": []}
    match Ours("a", 4):
        case Ours(name, size=4):
            assert name == "a"
        case _:
            pytest.fail("it doesn't match")


def test_a_class_that_isnt_only_frozen_is_left_to_the_standard_library() -> None:
    @values.dataclass(slots=True)
    class Changing:
        name: str

    @values.dataclass(frozen=True)
    class Checked:
        name: str

        def __post_init__(self) -> None:
            if not self.name:
                raise ValueError("no name")

    @values.dataclass
    class Plain:
        name: str = "a"

    changing = Changing("a")
    changing.name = "b"
    assert changing == Changing("b")
    assert Plain().name == "a"
    with pytest.raises(ValueError, match="no name"):
        Checked("")
