"""Values by the types of QOM properties."""

from __future__ import annotations

from gavotte.qemu.check.qom import convert
from gavotte.qemu.schema.model import Property


def test_a_number_whose_type_has_a_name_of_its_own_becomes_a_number() -> None:
    assert convert(Property("fid", "zpci_fid"), "0x8") == 8


def test_a_value_of_a_type_that_is_not_known_is_left_alone() -> None:
    assert convert(Property("x", "whatever"), "0x8") == "0x8"
