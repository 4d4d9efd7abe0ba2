from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gavotte.qemu.schema.archive import Archive, pack

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)
FACTS = st.dictionaries(st.text(), st.dictionaries(st.text(), VALUES, max_size=4), max_size=4)

SOME = pack({"device": {"a": [1, "é"], "b": None}, "empty": {}, "type": {"0": {"scalar": "int"}}})


@given(FACTS)
def test_what_was_packed_is_read_again(facts: dict[str, dict[str, object]]) -> None:
    archive = Archive(pack(facts))  # type: ignore[arg-type]  # hypothesis can't say that these are JSON
    read = {section: {name: archive.get(section, name) for name in archive.names(section)} for section in facts}
    assert read == facts
    assert [list(read[section]) for section in read] == [list(facts[section]) for section in facts]


def test_a_section_or_a_name_that_is_not_there_is_none() -> None:
    archive = Archive(SOME)
    assert archive.names("machine") == ()
    assert archive.get("machine", "q35") is None
    assert archive.get("device", "c") is None


def test_each_reading_gives_a_copy_of_its_own() -> None:
    archive = Archive(SOME)
    assert archive.get("device", "a") is not archive.get("device", "a")


def test_an_archive_that_was_cut_off_anywhere_is_refused() -> None:
    for size in range(len(SOME)):
        with pytest.raises(ValueError, match="archive"):
            Archive(SOME[:size])


def test_an_archive_with_any_byte_changed_is_refused() -> None:
    for place in range(len(SOME)):
        changed = bytearray(SOME)
        changed[place] ^= 1
        with pytest.raises(ValueError, match="archive|int"):
            Archive(bytes(changed))


@pytest.mark.parametrize("data", [b"", b"\n", b"\0" * 100, b"gavotte-schema-0 2 0\n{}", b"a b c d\n" * 20])
def test_what_is_no_archive_of_this_format_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not an archive of this format"):
        Archive(data)
