from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gavotte.errors import InvalidMachine, UsageError
from gavotte.qemu.document import (
    Document,
    document_to_argv,
    document_to_options,
    parse_document,
    read_document,
)
from gavotte.qemu.props import Json
from gavotte.qemu.sections import SECTIONS

EXAMPLE = """
{"machine": {"type": "q35", "accel": "tcg"}, "memory": {"size": "256M"}, "smp": {"cpus": 2},
 "objects":   [{"qom-type": "rng-random", "id": "r", "filename": "/dev/urandom"}],
 "netdevs":   [{"type": "user", "id": "n"}],
 "blockdevs": [{"driver": "null-co", "node-name": "b", "size": 1048576}],
 "devices":   [{"driver": "virtio-rng-pci", "rng": "r"}, {"driver": "virtio-blk-pci", "drive": "b"}]}
"""

SAME_IN_TOML = """
machine = {type = "q35", accel = "tcg"}
memory.size = "256M"
[smp]
cpus = 2
[[objects]]
qom-type = "rng-random"
id = "r"
filename = "/dev/urandom"
[[netdevs]]
type = "user"
id = "n"
[[blockdevs]]
driver = "null-co"
node-name = "b"
size = 0x10_0000
[[devices]]
driver = "virtio-rng-pci"
rng = "r"
[[devices]]
driver = "virtio-blk-pci"
drive = "b"
"""

ARGV = [
    *("-machine", "q35,accel=tcg"),
    *("-smp", "2"),
    *("-m", "256M"),
    *("-object", '{"qom-type":"rng-random","id":"r","filename":"/dev/urandom"}'),
    *("-netdev", '{"type":"user","id":"n"}'),
    *("-blockdev", '{"driver":"null-co","node-name":"b","size":1048576}'),
    *("-device", '{"driver":"virtio-rng-pci","rng":"r"}'),
    *("-device", '{"driver":"virtio-blk-pci","drive":"b"}'),
]


def problems(act: Callable[[], object]) -> dict[str, str]:
    with pytest.raises(InvalidMachine) as caught:
        act()
    return {problem.path: problem.problem for problem in caught.value.problems}


def problems_of(document: object) -> dict[str, str]:
    return problems(lambda: parse_document(json.dumps(document), "vm.json"))


def hints_of(document: object) -> list[str]:
    with pytest.raises(InvalidMachine) as caught:
        parse_document(json.dumps(document), "vm.json")
    return [problem.hint for problem in caught.value.problems]


# --- reading ----------------------------------------------------------------------------------------------------------


def test_the_same_machine_in_json_and_in_toml_has_the_same_command_line() -> None:
    assert document_to_argv(parse_document(EXAMPLE, "vm.json")) == ARGV
    assert document_to_argv(parse_document(SAME_IN_TOML, "vm.toml")) == ARGV


@pytest.mark.parametrize("name", ["stdin", "vm", "vm.conf", "/dev/fd/63"])
def test_a_file_without_a_telling_suffix_is_read_by_how_it_begins(name: str) -> None:
    assert parse_document(EXAMPLE, name) == parse_document(SAME_IN_TOML, name)
    assert parse_document("# only a comment\n", name) == {}


def test_a_mark_of_utf8_at_the_beginning_is_no_part_of_the_file(tmp_path: Path) -> None:
    for name, text in (("vm.json", EXAMPLE), ("vm.toml", SAME_IN_TOML)):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert document_to_argv(read_document(tmp_path / name)) == ARGV


def test_a_dash_is_stdin_which_stays_open(tmp_path: Path) -> None:
    (tmp_path / "vm.json").write_text(EXAMPLE)
    before = os.dup(0)
    try:
        with (tmp_path / "vm.json").open() as file:
            os.dup2(file.fileno(), 0)
        assert document_to_argv(read_document("-")) == ARGV
        os.fstat(0)
    finally:
        os.dup2(before, 0)
        os.close(before)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("vm.json", '{"machine":\n  {"type" "q35"}}', r"vm\.json is not JSON: .*\(at line 2, column 11\)"),
        ("vm.json", "", r"not JSON: .*line 1, column 1"),
        ("vm.json", "{} {}", r"not JSON: Extra data \(at line 1, column 4\)"),
        ("vm.json", '{"append": "a\tb"}', r"not JSON: Invalid control character.*line 1, column 14"),
        ("vm.json", '{"smp": {"cpus": NaN}}', "not JSON: NaN is not a number that QEMU can read"),
        ("vm.json", '{"smp": {"cpus": -Infinity}}', "not JSON: -Infinity is not a number"),
        ("vm.json", f'{{"smp": {{"cpus": {"9" * 5000}}}}}', "not JSON: .*4300 digits"),
        ("vm.toml", "machine = \n", r"vm\.toml is not TOML: .*\(at line 1, column 11\)"),
        ("vm.toml", "[smp]\ncpus = 1\ncpus = 2\n", r"not TOML: .*overwrite.*line 3"),
        ("vm.toml", EXAMPLE, "not TOML"),
    ],
)
def test_a_file_that_cannot_be_parsed_is_told_where(name: str, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_document(text, name)


def test_a_file_that_is_not_utf8_is_told_where(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{\n"kernel": "/\xff"}')
    (tmp_path / "b.toml").write_bytes(b'a="b"\nc="\xff"')
    (tmp_path / "c").write_bytes("{}".encode("utf-16"))
    with pytest.raises(UsageError, match=r"a\.json is not UTF-8: line 2 has the byte 0xff"):
        read_document(tmp_path / "a.json")
    with pytest.raises(UsageError, match=r"b\.toml is not UTF-8: line 2 has the byte 0xff"):
        read_document(tmp_path / "b.toml")
    with pytest.raises(UsageError, match=r"c is not UTF-8: line 1 has the byte 0xff"):
        read_document(tmp_path / "c")


def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory"), ("a\0b", "null")):
        with pytest.raises(UsageError, match=f"can't read .*{message}"):
            read_document(path)


def test_an_endless_file_is_refused() -> None:
    with pytest.raises(UsageError, match="/dev/zero holds more than 16M"):
        read_document("/dev/zero")


# --- shape ------------------------------------------------------------------------------------------------------------


def test_all_problems_are_told_at_once_each_by_its_path() -> None:
    text = """{"machine": "q35", "devics": [], "devices": {"driver": "x"}, "netdevs": [{}, 5], "kernel": 3,
               "nodefaults": "yes", "options": [["-snapshot"], "-snapshot", [], ["-m", 5]], "uuid": null}"""
    assert problems(lambda: parse_document(text, "vm.json")) == {
        "machine": "a mapping is wanted, not text",
        "devics": "there is no such section",
        "devices": "a list of mappings is wanted, not a mapping",
        "netdevs[1]": "a mapping is wanted, not a number",
        "kernel": "text is wanted, not a number",
        "nodefaults": "true or false is wanted, not text",
        "options[1]": "a list of words, an option and its value, is wanted, not text",
        "options[2]": "a list of words, an option and its value, is wanted, not an empty list",
        "options[3][1]": "text is wanted, not a number",
        "uuid": "text is wanted, not null",
    }


@pytest.mark.parametrize(
    ("document", "hint"),
    [
        ({"machine": "q35"}, 'write {"type": "q35"}'),
        ({"smp": 4}, 'write {"cpus": 4}'),
        ({"devices": ["virtio-rng-pci"]}, 'write {"driver": "virtio-rng-pci"}'),
        ({"devices": {"driver": "x"}}, "put it into a list"),
        ({"machine": [{"type": "q35"}]}, "it can be there once only, so it isn't a list"),
        ({"machines": {}}, "did you mean 'machine'?"),
        ({"device": []}, "did you mean 'devices'?"),
        ({"m": {}}, "did you mean 'memory'?"),
        ({"-bios": "x"}, "did you mean 'firmware'?"),
        ({"serial": "stdio"}, "what has no section goes into options, as a list of words"),
    ],
)
def test_a_mistake_that_can_be_guessed_comes_with_what_to_write(document: Document, hint: str) -> None:
    assert hints_of(document) == [hint]


@pytest.mark.parametrize("text", ["[]", "3", '"x"', "null", "[[1]]"])
def test_a_file_that_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(InvalidMachine, match="a machine file is a mapping of sections"):
        parse_document(text, "vm.json")


def test_a_key_given_twice_is_told_by_its_path_at_every_depth() -> None:
    text = """{"smp": {"cpus": 1}, "smp": {"cpus": 2, "cpus": 3}, "fds": [{"name": "a", "fd": 5, "fd": 6}],
               "blockdevs": [{"driver": "raw", "file": {"driver": "nbd", "a": [{"x": 1, "x": 1}]}}]}"""
    expected = {"smp", "smp.cpus", "fds[0].fd", "blockdevs[0].file.a[0].x"}
    assert problems(lambda: parse_document(text, "vm.json")) == dict.fromkeys(expected, "given twice")


@pytest.mark.parametrize("depth", [65, 500, 100_000])
def test_deep_nesting_is_refused_and_ends_no_interpreter(depth: int) -> None:
    deep_json = '{"machine": ' + '{"a":' * depth + "1" + "}" * depth + "}"
    deep_list = '{"machine": {"a": ' + "[" * depth + "]" * depth + "}}"
    deep_toml = f"machine.{'a.' * depth}b = 1"
    deep_inline = f"machine = {{a = {'[' * depth}{']' * depth}}}"
    for name, text in (("j.json", deep_json), ("l.json", deep_list), ("i.toml", deep_inline)):
        with pytest.raises(UsageError, match="nested deeper than 64 levels"):
            parse_document(text, name)
    if depth < 1000:  # tomllib's time grows with the square of it
        with pytest.raises(UsageError, match="machine: nested deeper than 64 levels"):
            parse_document(deep_toml, "t.toml")


def test_nesting_that_is_deep_enough_for_anybody_is_fine() -> None:
    node: dict[str, Any] = {"driver": "null-co"}
    for _ in range(60):
        node = {"driver": "raw", "file": node}
    [option, text] = document_to_argv(parse_document(json.dumps({"blockdevs": [node]}), "vm.json"))
    assert (option, json.loads(text)) == ("-blockdev", node)


@pytest.mark.parametrize("value", [1e999, "a\0b", "\ud800", "\uffff", 2**64, -(2**63) - 1], ids=ascii)
def test_a_value_that_no_qemu_could_be_given_is_refused_by_path_in_every_map(value: object) -> None:
    document = {"machine": {"x": value}, "devices": [{}, {"a": [{"b": value}]}]}
    text = json.dumps(document).replace("Infinity", "1e999")
    found = problems(lambda: parse_document(text, "vm.json"))
    assert list(found) == ["machine.x", "devices[1].a[0].b"]


@pytest.mark.parametrize("value", ["1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "nan", "inf", "-inf"])
def test_dates_and_what_is_no_number_in_toml_are_refused_by_path(value: str) -> None:
    assert list(problems(lambda: parse_document(f"[rtc]\nbase = {value}", "vm.toml"))) == ["rtc.base"]
    assert list(problems(lambda: parse_document(f"kernel = {value}", "vm.toml"))) == ["kernel"]


def test_globals_say_driver_property_and_value() -> None:
    """`-global a.b=c` is another syntax, in which a value stands as it is: a key with a dot would switch to it."""
    good = {"driver": "a", "property": "b", "value": "c,d=e"}
    assert document_to_argv({"globals": [good]}) == ["-global", "driver=a,property=b,value=c,,d=e"]
    for bad in ({"a.b": "c,driver=d"}, {"driver": "a"}, {**good, "id": "x"}):
        assert list(problems_of({"globals": [bad]})) == ["globals[0]"]


# --- the command line -------------------------------------------------------------------------------------------------


def test_every_section_can_be_written() -> None:
    values = {
        "map": {"a": "b"},
        "maps": [{"a": "b"}, {"a": "c"}],
        "word": "text",
        "flag": True,
        "words": [["-x", "y"], ["z"]],
    }
    document: dict[str, Any] = {section.name: values[section.shape] for section in SECTIONS.values()}
    document |= {
        "globals": [{"driver": "d", "property": "p", "value": "v"}],
        "cpu": {"model": "max"},
    }
    options = document_to_options(document)
    assert [option[0] for option in options if option[0] not in ("-x", "z")] == [
        f"-{section.option}"
        for section in SECTIONS.values()
        for _ in range(2 if section.shape == "maps" and section.name != "globals" else 1)
        if section.option
    ]
    assert options[-2:] == [["-x", "y"], ["z"]], "options come last, as they are"


def test_the_order_in_the_file_is_of_no_account() -> None:
    document = json.loads(EXAMPLE)
    assert document_to_argv(dict(reversed(document.items()))) == ARGV


def test_a_flag_that_is_false_and_an_empty_list_are_no_option() -> None:
    assert document_to_argv({"S": False, "no-reboot": True, "devices": [], "options": []}) == ["-no-reboot"]


@pytest.mark.parametrize("word", ["", "-version", "--help", "help", "?", "a,b=c", "{}", "\n", "x" * 100_000, "é\ufffe"])
def test_a_word_is_passed_as_it_is_whatever_it_looks_like(word: str) -> None:
    for section in ("kernel", "initrd", "append", "dtb", "firmware", "pidfile"):
        assert document_to_argv({section: word}) == [f"-{SECTIONS[section].option}", word]


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"vga": "help"}, "vga"),
        ({"d": "cpu,help"}, "d"),
        ({"d": "trace:?"}, "d"),
        ({"accels": [{"accel": "tcg"}, {"accel": "help"}]}, "accels[1].accel"),
        ({"accels": [{"accel": "?"}]}, "accels[0].accel"),
        ({"chardevs": [{"backend": "help", "id": "a"}]}, "chardevs[0].backend"),
        ({"traces": [{"enable": "help"}]}, "traces[0].enable"),
        ({"plugins": [{"file": "?"}]}, "plugins[0].file"),
        ({"audio": {"driver": "none", "model": "help"}}, "audio.model"),
        ({"cpu": {"model": "help"}}, "cpu.model"),
        ({"cpu": {"model": "?"}}, "cpu.model"),
    ],
)
def test_a_word_that_makes_qemu_print_help_and_end_well_is_refused(document: Document, path: str) -> None:
    assert list(problems(lambda: document_to_argv(document))) == [path]


def test_problems_of_all_options_are_told_at_once() -> None:
    document: Document = {"cpu": {"model": "max", "x": "a,b"}, "memory": {"size": {}}, "smp": {"a b": 1}}
    assert list(problems(lambda: document_to_argv(document))) == ["cpu.x", "smp", "memory.size"]


def test_a_thousand_devices_are_nothing_special() -> None:
    devices = [{"driver": "virtio-rng-pci", "id": f"d{index}", "x": "," * 1_000} for index in range(1000)]
    argv = document_to_argv(parse_document(json.dumps({"devices": devices}), "vm.json"))
    assert [json.loads(text) for text in argv[1::2]] == devices


names = st.text(st.characters(), max_size=5)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*SECTIONS, "fds", "qemu"]) | names, anything, max_size=6))
def test_any_json_is_written_as_arguments_or_refused(document: dict[str, Any]) -> None:
    try:
        argv = document_to_argv(document)
    except UsageError as e:
        assert isinstance(e, InvalidMachine)
        assert e.problems
    else:
        assert not any("\0" in word for word in argv)


# --- descriptors ------------------------------------------------------------------------------------------------------


def test_a_name_becomes_the_number_of_its_descriptor_wherever_it_may_stand() -> None:
    document: Document = {
        "fds": [
            {"name": "a", "path": "/x", "mode": "rw"},
            {"name": "b", "fd": 3},
            {"name": "c", "path": "/y"},
            {"fdset": 7, "path": "/z"},
        ],
        "chardevs": [{"backend": "socket", "id": "a", "fd": "a"}],
        "netdevs": [
            {"type": "tap", "id": "a", "fds": "a:b", "vhostfds": "c:9"},
            {"type": "stream", "id": "b", "addr": {"type": "fd", "str": "c"}},
            {"type": "stream", "id": "c", "addr": {"type": "unix", "path": "a", "str": "a"}},
        ],
        "devices": [{"driver": "a", "vhostfd": "c", "fd": 5}],
    }
    assert document_to_argv(document) == [
        *("-add-fd", "fd=6,set=7"),
        *("-chardev", "socket,id=a,fd=4"),
        *("-netdev", '{"type":"tap","id":"a","fds":"4:3","vhostfds":"5:9"}'),
        *("-netdev", '{"type":"stream","id":"b","addr":{"type":"fd","str":"5"}}'),
        *("-netdev", '{"type":"stream","id":"c","addr":{"type":"unix","path":"a","str":"a"}}'),
        *("-device", '{"driver":"a","vhostfd":"5","fd":5}'),
    ]
    assert document_to_argv(document, fds={"a": 40})[2:4] == ["-chardev", "socket,id=a,fd=40"]


def test_a_name_that_no_descriptor_has_is_told_by_its_path() -> None:
    netdevs: list[Json] = [{"type": "tap", "fd": "b"}, {"type": "stream", "addr": {"type": "fd", "str": "c"}}]
    blockdevs: list[Json] = [{"a": [{"fd": "d"}]}]
    document: Document = {"fds": [{"name": "a", "fd": 3}], "netdevs": netdevs, "blockdevs": blockdevs}
    assert problems(lambda: document_to_argv(document)) == {
        "netdevs[0].fd": "no descriptor is named 'b'",
        "netdevs[1].addr.str": "no descriptor is named 'c'",
        "blockdevs[0].a[0].fd": "no descriptor is named 'd'",
    }


def test_mistakes_in_descriptors_are_told_by_path() -> None:
    entries = [
        {"name": "a", "fd": 3},
        {"name": "a", "fd": 3},
        {"name": "5", "fd": -1},
        {"name": "a:b", "fd": True},
        {"name": "b"},
        {"fd": 4},
        {"name": "c", "fdset": 1, "fd": 5, "path": "/x"},
        {"name": "d", "path": "/x", "mode": "x"},
        {"name": "e", "path": "/x", "mode": ["r"]},
        {"name": "f", "fd": 6, "mode": "r"},
        {"fdset": 1, "fd": 2},
        {"name": "g", "path": "a\0b"},
        {"name": "h", "file": "/x", "fd": 8},
        5,
    ]
    assert list(problems_of({"fds": entries})) == [
        *("fds[1].name", "fds[1].fd", "fds[2].name", "fds[2].fd", "fds[3].name", "fds[3].fd", "fds[4]", "fds[5]"),
        *("fds[6]", "fds[7].mode", "fds[8].mode", "fds[9].mode", "fds[10].fd", "fds[11].path", "fds[12].file"),
        "fds[13]",
    ]
    assert list(problems_of({"fds": {}})) == ["fds"]


def test_bytes_that_are_not_utf8_can_be_in_words_and_paths_but_in_no_map() -> None:
    path = os.fsdecode(b"/tmp/\xff")
    document = parse_document(json.dumps({"kernel": path, "fds": [{"name": "a", "path": path}]}), "vm.json")
    assert document_to_argv(document) == ["-kernel", path]
    assert list(problems_of({"blockdevs": [{"filename": path}]})) == ["blockdevs[0].filename"]
    assert list(problems_of({"kernel": "\ud800"})) == ["kernel"]


def test_a_document_of_the_program_itself_may_hold_tuples() -> None:
    document: Document = {"devices": ({"driver": "a"},), "options": (("-x",),)}
    assert document_to_argv(document) == ["-device", '{"driver":"a"}', "-x"]
    other: Any = {"rtc": {"base": date(2020, 1, 1)}}
    assert list(problems(lambda: document_to_argv(other))) == ["rtc.base"]
