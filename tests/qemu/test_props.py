from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gavotte.errors import UsageError
from gavotte.qemu.props import (
    Json,
    PropertyMap,
    Step,
    option_to_argv,
    plain,
    recipe_to_argv,
    step_to_argv,
    to_json,
    to_keyval,
)
from gavotte.qmp.client import QmpClient
from tests.support.programs import with_qemu

NASTY = [
    "a,b",
    ",,",
    ",",
    "a=b,c=d",
    "help",
    "?",
    "single ' double \" back\\slash",
    "two\nlines\ttab\r\x01\x1b[31m\x7f",
    '{"json":true}',
    "-dash",
    " spaces ",
    "%s%n",
    "é ß 漢 \U0001f600 \u202e \u0085",
    "x" * 10_000,
    "é,=" * 3_000,
]

unwritable = st.sampled_from(
    ["\0", "\ud800", "\udfff", "\udc80", "\ufffe", "\uffff", "\ufdd0", "\U0001fffe", "\U0010ffff"]
)
characters = st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\0")
text = st.text(st.sampled_from(",=.{'\"\n") | characters, max_size=12)
keys = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True).filter(lambda key: key != "help")
scalars = st.one_of(text, st.booleans(), st.integers(-(2**63), 2**64 - 1))
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(keys, inner, min_size=1, max_size=3),
    max_leaves=6,
)


def parse_qemu_opts(params: str, firstname: str | None) -> dict[str, str]:
    """What QEMU 7.2's get_opt_name_value() and get_opt_value() (util/qemu-option.c) make of an option."""
    found = {}
    while params:
        end = next((i for i, c in enumerate(params) if c in "=,"), len(params))
        if params[end : end + 1] == "=":
            name, params = params[:end], params[end + 1 :]
        else:
            assert params[:end] not in ("help", "?"), "it would print its help and exit"
            assert firstname, f"{params!r} begins with a flag"
            name = firstname
        value = ""
        while params and (params[0] != "," or params[:2] == ",,"):
            value += params[0]
            params = params[2:] if params[0] == "," else params[1:]
        found[name] = value
        params, firstname = params[1:], None
    return found


def flat(value: Json, key: str = "") -> dict[str, str]:
    """The dotted form of a tree, as documented in QEMU's util/keyval.c."""
    if isinstance(value, Mapping):
        pairs: list[tuple[object, Json]] = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    elif isinstance(value, bool):
        return {key: "on" if value else "off"}
    else:
        return {key: str(value)}
    return {k: v for name, item in pairs for k, v in flat(item, f"{key}.{name}" if key else f"{name}").items()}


@given(st.dictionaries(keys, trees, min_size=1, max_size=4), st.booleans())
def test_keyval_is_read_back_as_it_was(props: dict[str, Json], name_first: bool) -> None:
    first = next(iter(props)) if name_first else None
    assert parse_qemu_opts(to_keyval(props, first=first), first) == flat(props)


@given(st.dictionaries(text, trees, max_size=4))
def test_json_is_read_back_as_it_was_and_is_ascii(props: dict[str, Json]) -> None:
    encoded = to_json(props)
    assert encoded.isascii()
    assert not any(ord(c) < 32 for c in encoded)
    assert json.loads(encoded) == props


def test_types_stay_until_the_encoder() -> None:
    props: PropertyMap = {"driver": "x", "on": True, "off": False, "n": 512, "word": "on", "nil": None}
    assert to_json(props) == '{"driver":"x","on":true,"off":false,"n":512,"word":"on","nil":null}'
    assert to_keyval({"a": True, "b": False, "n": 512, "f": 0.5}) == "a=on,b=off,n=512,f=0.5"


def test_nested_maps_and_lists_become_dotted_keys() -> None:
    props: PropertyMap = {"smp": {"cpus": 2, "max": {"x": 1}}, "l": ["a", {"b": "c,d"}], "x.y": ""}
    assert to_keyval(props) == "smp.cpus=2,smp.max.x=1,l.0=a,l.1.b=c,,d,x.y="


def test_any_mapping_and_sequence_will_do() -> None:
    props = MappingProxyType({"a": MappingProxyType({"b": (1, 2)})})
    assert plain(props) == {"a": {"b": [1, 2]}}
    assert to_json(props) == '{"a":{"b":[1,2]}}'


@pytest.mark.parametrize("value", ["a=b", "a,b", "help", "?", "", "{x}", "a b", "é"])
def test_a_first_value_that_could_be_mistaken_keeps_its_key(value: str) -> None:
    assert to_keyval({"x": 1, "type": value}, first="type") == f"type={value.replace(',', ',,')},x=1"


def test_the_first_value_is_bare_and_first_wherever_it_stands_in_the_map() -> None:
    assert to_keyval({"usb": False, "type": "pc-q35-7.2"}, first="type") == "pc-q35-7.2,usb=off"
    assert to_keyval({"usb": False}, first="type") == "usb=off"


@given(st.text(max_size=3), unwritable, st.text(max_size=3))
def test_what_qemu_cannot_read_is_refused_in_values_and_keys(before: str, bad: str, after: str) -> None:
    for props in ({"a": {"b": before + bad + after}}, {"a": {before + bad + after: 1}}, {before + bad + after: 1}):
        for encode in (plain, to_json, to_keyval):
            with pytest.raises(UsageError, match=r"U\+"):
                encode(cast(PropertyMap, props))


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, 2**64, -(2**63) - 1, b"bytes", bytearray(b"x"), Path("/tmp"), {1, 2}, object(), {1: 2}],
)
def test_what_json_cannot_carry_is_refused_and_named(value: object) -> None:
    props = cast(PropertyMap, {"outer": [{"inner": value}]})
    for encode in (plain, to_json, to_keyval):
        with pytest.raises(UsageError, match=r"^outer\[0\]\.inner: "):
            encode(props)


@pytest.mark.parametrize("value", [None, {}, []])
def test_what_keyval_cannot_write_is_refused_and_named(value: Json) -> None:
    with pytest.raises(UsageError, match=r"^a\.b: .*no way to write"):
        to_keyval({"a": {"b": value}})


@pytest.mark.parametrize("key", ["", "a=b", "a,b", "a b", "é", ".a", "a.", "a..b", "a\n"])
def test_a_key_that_would_break_the_syntax_is_refused(key: str) -> None:
    with pytest.raises(UsageError, match="can't be a key"):
        to_keyval({key: 1})


def test_one_key_given_in_two_ways_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^a\.b: given twice"):
        to_keyval({"a": {"b": 1}, "a.b": 2})


@pytest.mark.parametrize("kind", ["object", "netdev", "blockdev", "device"])
def test_these_steps_are_json(kind: Any) -> None:
    assert step_to_argv(Step(kind, {"id": "a,b", "n": 1})) == [f"-{kind}", '{"id":"a,b","n":1}']


def test_a_recipe_is_its_steps_in_order() -> None:
    recipe = (
        Step("chardev", {"id": "c", "backend": "file", "path": "/a,b"}),
        Step("fsdev", {"fsdriver": "local", "id": "f", "readonly": True}),
        Step("device", {"driver": "virtio-rng-pci"}),
    )
    assert recipe_to_argv(recipe) == [
        *("-chardev", "file,id=c,path=/a,,b"),
        *("-fsdev", "local,id=f,readonly=on"),
        *("-device", '{"driver":"virtio-rng-pci"}'),
    ]


def test_options_go_without_the_key_that_qemu_implies() -> None:
    assert option_to_argv("machine", {"type": "q35", "usb": False}) == ["-machine", "q35,usb=off"]
    assert option_to_argv("sandbox", {"enable": True, "spawn": "deny"}) == ["-sandbox", "on,spawn=deny"]
    assert option_to_argv("m", {"size": "256M"}) == ["-m", "256M"]
    assert option_to_argv("accel", {"accel": "tcg", "thread": "single"}) == ["-accel", "tcg,thread=single"]
    assert option_to_argv("cpu", {"model": "max", "pauth-impdef": True}) == ["-cpu", "max,pauth-impdef=on"]


@pytest.mark.parametrize("value", ["a,vmx=on", ","])
def test_a_comma_in_a_cpu_property_cannot_set_another_one(value: str) -> None:
    """QEMU cuts `-cpu` at every comma: doubled, `model-id=a,,vmx=on` still sets vmx."""
    with pytest.raises(UsageError, match="comma"):
        option_to_argv("cpu", {"model": "max", "model-id": value})


@pytest.mark.parametrize("props", [{}, {"vmx": True}, {"model": "a=b"}, {"model": ""}, {"model": "help"}])
def test_a_cpu_needs_a_model(props: PropertyMap) -> None:
    with pytest.raises(UsageError, match="model"):
        option_to_argv("cpu", props)


@pytest.mark.parametrize("value", NASTY, ids=range(len(NASTY)))
def test_qemu_reads_what_was_meant(value: str) -> None:
    secret = Step("object", {"qom-type": "secret", "id": "s", "data": value})

    async def ask(client: QmpClient) -> tuple[object, object]:
        name = await client.execute("query-name")
        return name, await client.execute("qom-get", {"path": "/objects/s", "property": "data"})

    argv = ["-machine", "none", *option_to_argv("name", {"guest": value}), *step_to_argv(secret)]
    assert with_qemu(argv, ask) == ({"name": value}, value)


def test_qemu_reads_nasty_file_names_and_device_properties(tmp_path: Path) -> None:
    nasty = "a,b=c,,d 'e' \"f\"\n\\é\U0001f600"
    image, log, share = (tmp_path / f"{kind} {nasty}" for kind in ("image", "log", "share"))
    image.write_bytes(bytes(512))
    share.mkdir()
    argv = recipe_to_argv(
        (
            Step("blockdev", {"driver": "file", "node-name": "disk", "filename": os.fspath(image)}),
            Step("chardev", {"backend": "file", "id": "log", "path": os.fspath(log)}),
            Step("fsdev", {"fsdriver": "local", "id": "f", "path": os.fspath(share), "security_model": "none"}),
            Step("netdev", {"type": "hubport", "id": "n", "hubid": 0}),
            Step("device", {"driver": "virtio-9p-pci", "fsdev": "f", "mount_tag": "tag"}),
            Step("device", {"driver": "virtio-serial-pci", "id": "bus"}),
            Step("device", {"driver": "virtserialport", "id": "port", "bus": "bus.0", "chardev": "log", "name": nasty}),
        )
    )

    async def ask(client: QmpClient) -> tuple[object, object]:
        nodes = await client.execute("query-named-block-nodes", {"flat": True})
        return nodes, await client.execute("qom-get", {"path": "/machine/peripheral/port", "property": "name"})

    base = [*option_to_argv("machine", {"type": "q35"}), *option_to_argv("m", {"size": "64M"}), "-accel", "tcg"]
    nodes, name = with_qemu([*base, *argv], ask)
    assert [node["file"] for node in cast(list[dict[str, object]], nodes)] == [os.fspath(image)]
    assert name == nasty
    assert log.exists()


def test_qemu_reads_nested_keys_and_on_and_off() -> None:
    machine: PropertyMap = {"type": "q35", "hpet": False, "smp": {"cpus": 2, "maxcpus": 3}}

    async def ask(client: QmpClient) -> tuple[object, object]:
        cpus = await client.execute("query-cpus-fast")
        return cpus, await client.execute("qom-get", {"path": "/machine", "property": "hpet"})

    argv = [*option_to_argv("machine", machine), "-accel", "tcg", *option_to_argv("m", {"size": "64M"})]
    cpus, hpet = with_qemu(argv, ask)
    assert len(cast(list[object], cpus)) == 2
    assert hpet is False
