"""QMP's commands as typed methods: their names, their stub, and what a QEMU that lacks one says."""

from __future__ import annotations

import ast
import asyncio
import os
import random
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import QmpRefused, UsageError
from gavotte.qemu.binary import find_qemu
from gavotte.qemu.commands import Commands, argument_of, command_of, python_name
from gavotte.qmp.client import QmpClient
from tests.support.binaries import BINARIES
from tests.support.checkers import checker
from tests.support.programs import with_qemu
from tests.support.qmp_server import QmpServer, scripted
from tools import qmp_stubs

NONE = ("-machine", "none")


@pytest.fixture(scope="module", params=BINARIES)
def binary(request: pytest.FixtureRequest) -> qmp_stubs.Binary:
    return qmp_stubs.ask(request.param or find_qemu().path)


@pytest.fixture(params=BINARIES)
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The version, as three numbers, of the binary that `with_qemu` starts in this test."""
    if request.param is not None:
        monkeypatch.setenv("GAVOTTE_QEMU", str(request.param))
    said = subprocess.run([find_qemu().path, "--version"], capture_output=True, text=True, timeout=20, check=True)
    return said.stdout.split()[3]


# --- names ---


def test_every_command_and_argument_survives_the_way_to_python_and_back(binary: qmp_stubs.Binary) -> None:
    entities = {entity["name"]: entity for entity in binary.schema}
    commands = [entity for entity in binary.schema if entity["meta-type"] == "command"]
    assert len(commands) > 200
    for command in commands:
        name = command["name"]
        assert python_name(name).isidentifier()
        assert command_of(python_name(name)) == name
        arguments = entities[command["arg-type"]]
        structs = [arguments, *(entities[variant["type"]] for variant in arguments.get("variants", ()))]
        for argument in {member["name"] for struct in structs for member in struct["members"]}:
            assert argument_of(name, python_name(argument)) == argument


def test_a_word_of_python_s_gets_an_underscore() -> None:
    assert python_name("if") == "if_"
    assert argument_of("object-add", "if_") == "if"
    assert argument_of("object-add", "from_") == "from"


def test_a_device_s_properties_keep_their_spelling() -> None:
    assert [argument_of("device_add", name) for name in ("mount_tag", "disable-modern")] == [
        "mount_tag",
        "disable-modern",
    ]


# --- the stub ---


def test_the_stub_is_what_its_binary_gives(binary: qmp_stubs.Binary) -> None:
    checked_in = qmp_stubs.STUB.read_text()
    if binary.header not in checked_in:
        pytest.skip(f"the stub is of another QEMU than {binary.version} ({binary.package})")
    assert qmp_stubs.render(binary) == checked_in, "make stubs"


def test_the_stub_was_not_edited_by_hand() -> None:
    text = qmp_stubs.STUB.read_text()
    assert qmp_stubs.sealed(text) == text, "make stubs"
    assert qmp_stubs.sealed(text.replace("Status", "Statue", 1)) != text.replace("Status", "Statue", 1)


def test_the_stub_does_not_depend_on_the_order_in_which_qemu_tells_its_types(binary: qmp_stubs.Binary) -> None:
    shuffled = random.Random(3).sample(list(binary.schema), len(binary.schema))
    assert qmp_stubs.render(replace(binary, schema=shuffled)) == qmp_stubs.render(binary)


def test_the_stub_of_any_binary_has_a_method_for_each_command(binary: qmp_stubs.Binary) -> None:
    tree = ast.parse(qmp_stubs.render(binary))
    (commands_class,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Commands")
    methods = {node.name for node in commands_class.body if isinstance(node, ast.AsyncFunctionDef)}
    commands = {entity["name"] for entity in binary.schema if entity["meta-type"] == "command"}
    assert methods == {python_name(command) for command in commands}


SNIPPET = """
from gavotte.qemu.commands import Commands

async def main(qmp: Commands) -> None:
    reveal_type((await qmp.query_status())["running"])
    reveal_type(await qmp.query_block())
    reveal_type(await qmp(deadline=1).query_name())
    await qmp.device_add(driver="virtio-rng-pci", id="r", **{"disable-legacy": "on"})
    await qmp.object_add(qom_type="iothread", id="t", poll_max_ns=5)
    await qmp.blockdev_add(driver="raw", node_name="n", file={"driver": "null-co", "size": 512, "read-only": True})
    await qmp.netdev_add(type="hubport", id="h", hubid=1)
    # wrong from here on
    await qmp.query_statu()
    await qmp.query_status(1)
    await qmp.set_action(reboot="never")
    await qmp.blockdev_add(driver="raw", file={"driver": "null-co", "size": "512"})
    await qmp.object_add(qom_type="iothread", id="t", poll_max_ns="5")
    await qmp.device_del()
"""


def complaints(*words: str) -> list[str]:
    run = checker("mypy", "--no-error-summary", "--hide-error-context", *words)
    assert not run.stderr
    return run.stdout.splitlines()


def test_the_type_checker_knows_what_a_command_takes_and_answers(tmp_path: Path) -> None:
    snippet = tmp_path / "snippet.py"
    snippet.write_text(SNIPPET)
    said = complaints(str(snippet))
    revealed = [line.partition("note: Revealed type is ")[2] for line in said if "Revealed" in line]
    assert [text.strip('"').replace("builtins.", "").split("(")[0] for text in revealed][:2] == [
        "bool",
        "list[TypedDict",
    ]
    assert "QueryName" in revealed[2]
    wrong = SNIPPET.splitlines().index("    # wrong from here on") + 1
    lines = {int(line.split(":")[1]) for line in said if ": error: " in line}
    assert lines == set(range(wrong + 1, len(SNIPPET.splitlines()) + 1)), said


def test_the_code_behind_the_stub_is_typed_too() -> None:
    assert complaints("src/gavotte/qemu/commands.py") == []


# --- a real QEMU ---


def ask(method: str, options: tuple[str, ...] = NONE, /, **arguments: Any) -> Any:
    async def call(client: QmpClient) -> Any:
        return await getattr(Commands(client), method)(**arguments)

    return with_qemu(options, call)


def test_commands_answer_what_qemu_says(version: str) -> None:
    async def commands(client: QmpClient) -> None:
        qmp = Commands(client)
        assert (await qmp.query_status())["status"] == "prelaunch"
        told = (await qmp.query_version())["qemu"]
        assert f"{told['major']}.{told['minor']}.{told['micro']}" == version
        assert await qmp.object_add(qom_type="iothread", id="t", poll_max_ns=5) == {}
        assert await qmp.qom_get(path="/objects/t", property="poll-max-ns") == 5
        await qmp.device_add(driver="virtio-rng-pci", id="r", **{"disable-legacy": "on"})
        assert await qmp.qom_get(path="/machine/peripheral/r", property="disable-legacy") == "on"
        reader, writer = os.pipe()
        try:
            assert await qmp(fds=[reader]).getfd(fdname="pipe") == {}
        finally:
            os.close(reader)
            os.close(writer)

    with_qemu(("-machine", "pc"), commands)


def test_a_command_that_this_qemu_lacks_is_named_with_its_version(version: str) -> None:
    with pytest.raises(QmpRefused) as refused:
        ask("query_statuss")
    assert refused.value.desc == f"this QEMU, version {version}, has no command 'query-statuss'"
    assert refused.value.hint == "did you mean 'query-status'?"
    assert refused.value.error_class == "CommandNotFound"


def test_an_argument_that_this_qemu_lacks_is_named_with_its_version(version: str) -> None:
    with pytest.raises(QmpRefused) as refused:
        ask("object_add", qom_type="iothread", id="t", poll_max=5)
    assert refused.value.desc == f"this QEMU, version {version}, has no argument 'poll-max' of object-add"
    assert "poll-max-ns" in refused.value.hint


def test_a_command_at_the_wrong_time_keeps_qemu_s_words() -> None:
    with pytest.raises(QmpRefused, match="negotiation is already complete") as refused:
        ask("qmp_capabilities")
    assert refused.value.error_class == "CommandNotFound"
    assert "has no command" not in str(refused.value)


def test_other_refusals_keep_qemu_s_words_and_ask_nothing_more() -> None:
    with pytest.raises(QmpRefused, match="'nobody' not found"):
        ask("device_del", id="nobody")

    async def script(server: QmpServer) -> None:
        await server.negotiate()
        await server.refuse(await server.read(), "Device 'd' is in use")
        await server.read_eof()

    async def main() -> None:
        async with scripted(script) as client:
            with pytest.raises(QmpRefused, match="Device 'd' is in use"):
                await Commands(client).blockdev_del(node_name="d")

    asyncio.run(main())


def test_what_qemu_can_not_read_is_refused_with_its_path() -> None:
    with pytest.raises(UsageError) as refused:
        ask("qom_set", path="/", property="x", value={"a": float("nan")})
    assert refused.value.path == "value.a"
