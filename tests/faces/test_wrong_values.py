"""Wrong values for each parameter of each public function: a UsageError names the parameter, and nothing starts.

The signatures are walked, so that a parameter without a row here fails.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import gavotte
from gavotte.faces.loop import call
from gavotte.faces.process import Process, Writer
from gavotte.guest.channel import Channel
from gavotte.guest.command import AsyncProcess
from gavotte.sandbox.lifecycle import AsyncSandbox, State
from tests.support.signatures import parameters_of, public_functions

NAN = float("nan")

# By parameter, or by function and parameter where functions differ
ROWS: dict[str, list[Any]] = {
    "accel": ["hvf", "", None, 5, b"kvm", ["kvm"]],
    "append": ["x" * 1793, 5, None, b"quiet", "a\0b"],
    "arch": ["vax", 5, b"x86_64", "a\0b"],
    "argv": [
        "ls -l",
        b"ls",
        [],
        (),
        iter(()),
        (word for word in ["ls", "-l"]),
        {"ls"},
        [""],
        [None],
        5,
        None,
        {"ls": 1},
        ["ls", 5],
        ["ls", b"x"],
        ["ls", "a\0b"],
    ],
    "boot_timeout": ["5", NAN, 0, -1, None, True],
    "check": [1, None, "yes"],
    "cold": [1, None, "yes"],
    "columns": ["80", -1, 65536, None, True, 1.5],
    "cpus": ["2", 0, 241, True, 1.5, b"2"],
    "cwd": [5, b"/tmp", True, "a\0b", ["/"]],
    "data": ["text", 5, None, ["a"]],
    "device": [5, None, "disk", {"driver": "virtio-rng-pci"}, gavotte.Disk],
    "devices": [5, "disk", None, {"driver": "virtio-rng-pci"}, [{"driver": "virtio-rng-pci"}], [gavotte.Disk]],
    "closed": [5, None, [3], ["1"], [True], "12"],
    "env": [["A=1"], "A=1", 5, {"A": 1}, {1: "a"}, {"A": None}, {b"A": "1"}, {"": "x"}, {"A=B": "x"}, {"A": "\0"}],
    "fn": ["ls -l", [], 5, None, ["ls", 5]],
    "grace": ["5", -1, NAN, None, True],
    "id": [5, None, b"d", "a\0b", True],
    "initrd": [5, b"/x", "", "a\0b", True],
    "input": ["text", 5, ["a"], object()],
    "inputs": [5, None],
    "keep": [1, None, "yes"],
    "kernel": [5, b"/x", "", "a\0b", True],
    "limit": ["1", 0, 1001, True, 1.5],
    "machine": ["toaster", 5, b"q35", "a\0b"],
    "max_cpus": ["2", -1, 241, True, None],
    "max_memory": ["lots", 1.5, None, True, b"1G", 1],
    "max_output": ["1", -1, 1.5, True, None],
    "memory": ["lots", 1.5, True, b"1G", "1X"],
    "name": [5, "", "a b", b"x", "a/b", "a\0b"],
    "number": ["TERM", 0, 65, -9, True, None, 1.5],
    "progress": [1, None, "yes"],
    "qemu": [5, b"/x", "", "a\0b", True],
    "reseed": [1, None, "yes"],
    "retain": [1, None, "yes"],
    "return_exceptions": [1, None, "yes"],
    "rows": ["24", -1, 65536, None, True, 1.5],
    "shared_memory": [1, None, "yes"],
    "size": ["1", -1, 1001, True, 1.5, None],
    "slots": ["1", -1, 65, True, 1.5, None],
    "stdin": [1, None, subprocess.PIPE, "yes", b"data"],
    "stop_signal": ["TERM", 0, 65, True, None, 1.5],
    "text": [1, None, "utf-8"],
    "timeout": ["5", NAN, -1, True, [5], b"5"],
    "tty": [True, (24,), (24, "80"), "24x80", 24, (24, -1), (24, 70000)],
    "user": [Path("root"), -1, True, 1.5, b"root", "a\0b", ["root"]],
    "wait": [1, None, "yes"],
    "warm": [5, "true", ["true"], [[]], [[5]], None],
    "work": ["ls -l", [], 5, None, ["ls", 5]],
    "workers": ["2", 0, 1001, True, 1.5],
    "AsyncSandbox.run.timeout": ["5", NAN, -1, 0, True, [5], b"5"],
    "Sandbox.run.timeout": ["5", NAN, -1, 0, True, [5], b"5"],
    "Executor.__init__.timeout": ["5", NAN, -1, 0, True, [5], b"5"],
    "OutputStream.read.size": ["5", -2, 1.5, True, None],
    "OutputStream.readline.limit": ["5", 0, -1, None, True],
    "Reader.read.size": ["5", -2, 1.5, True, None],
    "Reader.readline.limit": ["5", 0, -1, None, True],
}

NOT_FOR_CALLERS = {
    "AsyncPool.take": "its callers are `acquire` and the synchronous pool, which check",
    "AsyncProcess.__init__": "made by `spawn`",
    "AsyncProcess.adopt": "for the channel",
    "AsyncProcess.finish": "for the channel",
    "AsyncSandbox.attach.directory": "for the keeper",
    "AsyncSandbox.attach.stored": "for the keeper",
    "AsyncSandbox.start": "for the command line and the keeper",
    "Executor.shutdown": "as the base class has it, which takes what is true or false",
    "Executor.submit.args": "the work's own",
    "Executor.submit.kwargs": "the work's own",
    "Executor.submit_work": "for `map`",
    "InputStream.__init__": "made by `spawn`",
    "InputStream.grant": "for the channel",
    "OutputStream.__init__": "made by `spawn`",
    "OutputStream.feed": "for the channel",
    "Process.__init__": "made by `spawn`",
    "Reader.__init__": "made by `spawn`",
    "Result.__init__": "made by `run`",
    "Sandbox.of": "for the pool",
    "Size.__init__": "made by `resize`",
    "Writer.__init__": "made by `spawn`",
}

# --- devices: each field ----------------------------------------------------------------------------------------------

TEXT: list[Any] = [5, None, b"x", True, "a\0b"]
WHOLE: list[Any] = ["1", -1, 1.5, True, None]
FLAG: list[Any] = [1, None, "yes"]
PATH: list[Any] = [5, None, b"/x", "", "a\0b", True]
TEXTS: list[Any] = [5, None, "text", [5], (b"x",)]
WHOLES: list[Any] = [5, None, "12", ["1"], (True,), (-1,)]

FIELDS: dict[str, list[Any]] = {
    "action": ["explode", None, 5, ["reset"]],
    "backends": [5, None, {"driver": "x"}, [{"driver": "x"}]],
    "bps": WHOLE,
    "bus": ["ide", None, 5],
    "cid": WHOLE,
    "deflate_on_oom": FLAG,
    "discard": FLAG,
    "fd": WHOLE,
    "fds": WHOLES,
    "filename": PATH,
    "format": ["vmdk", None, 5],
    "free_page_reporting": FLAG,
    "guid": TEXT,
    "hostfwd": TEXTS,
    "id": TEXT,
    "iops": WHOLE,
    "iothread": FLAG,
    "kind": ["nfs", None, 5],
    "mac": TEXT,
    "max_bytes": WHOLE,
    "name": TEXT,
    "net": [None, 5, "user", gavotte.User],
    "options": TEXTS,
    "path": PATH,
    "period": WHOLE,
    "props": [5, None, "virtio-rng-pci", ["driver"]],
    "read_only": FLAG,
    "restrict": FLAG,
    "serial": TEXT,
    "statistics": WHOLE,
    "tag": TEXT,
    "throttle": [5, {"iops": 1}, gavotte.Throttle],
    "vhost_fds": WHOLES,
    "Vsock.fd": ["1", -1, 1.5, True],
}

VALID: dict[str, dict[str, Any]] = {
    "Balloon": {"id": "x"},
    "Console": {"id": "x"},
    "Disk": {"id": "x", "path": "/x"},
    "Nic": {"id": "x", "net": gavotte.User()},
    "Passt": {},
    "Port": {"id": "x", "name": "n"},
    "PvPanic": {"id": "x"},
    "Raw": {"id": "x", "props": {"driver": "x"}},
    "Rng": {"id": "x"},
    "Share": {"id": "x", "path": "/x"},
    "Step": {"kind": "object", "props": {}},
    "Stream": {"fd": 1},
    "Tap": {"fds": (1,)},
    "Throttle": {},
    "User": {},
    "VmGenId": {"id": "x"},
    "Vsock": {"id": "x", "cid": 3},
    "Watchdog": {"id": "x"},
}

# What isn't a device is a value of a device's field
HOLDERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "Passt": ("net", lambda net: gavotte.Nic("x", net)),
    "Step": ("backends[0]", lambda step: gavotte.Raw("x", {"driver": "x"}, (step,))),
    "Stream": ("net", lambda net: gavotte.Nic("x", net)),
    "Tap": ("net", lambda net: gavotte.Nic("x", net)),
    "Throttle": ("throttle", lambda throttle: gavotte.Disk("x", "/x", throttle=throttle)),
    "User": ("net", lambda net: gavotte.Nic("x", net)),
}


def rows_of(name: str, parameter: str) -> list[Any] | None:
    """The wrong values; None where there is no row."""
    if name in NOT_FOR_CALLERS or f"{name}.{parameter}" in NOT_FOR_CALLERS:
        return []
    kind = name.removesuffix(".__init__")
    if kind in VALID:
        return FIELDS.get(f"{kind}.{parameter}", FIELDS.get(parameter))
    return ROWS.get(f"{name}.{parameter}", ROWS.get(parameter))


@pytest.fixture(autouse=True, scope="module")
def _all_is_awaited() -> Iterator[None]:
    """A coroutine that was never awaited is told when it is collected, and fails the last test."""
    call(command())  # the private loop, which stays, is there before each test counts what it leaves
    yield
    gc.collect()


def cases(*, of_devices: bool) -> list[Any]:
    """Each parameter that has wrong values, of the fields of devices or of all else."""
    return [
        pytest.param(name, parameter, id=f"{name}.{parameter}")
        for name, function in public_functions()
        if (name.removesuffix(".__init__") in VALID) is of_devices
        for parameter in parameters_of(name, function)
        if rows_of(name, parameter)
    ]


@pytest.mark.parametrize(("name", "field"), cases(of_devices=True))
def test_a_wrong_value_of_a_device_is_named(name: str, field: str) -> None:
    kind = name.removesuffix(".__init__")
    holder, wrap = HOLDERS.get(kind, ("", lambda device: device))
    place = f".{holder}.{field}" if holder else f".{field}"
    box = AsyncSandbox()
    for value in rows_of(name, field) or []:
        device = wrap(getattr(gavotte, kind)(**{**VALID[kind], field: value}))
        with pytest.raises(gavotte.UsageError) as cold:
            AsyncSandbox(devices=[device])
        with pytest.raises(gavotte.UsageError) as hot:
            asyncio.run(box.plug(device))
        assert cold.value.path.startswith(f"devices[0]{place}"), cold.value
        assert hot.value.path.startswith(f"device{place}"), hot.value
    assert box.state is State.NEW


# --- functions: each parameter ----------------------------------------------------------------------------------------


class NoChannel:
    """No command's value gets as far as to its guest."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the channel is asked for {name}")


async def command() -> AsyncProcess:
    return AsyncProcess(cast("Channel", NoChannel()), 1, ["true"], stdin=True)


def process_of(box: AsyncSandbox) -> Process[Writer]:
    return cast("Process[Writer]", Process(box, call(command())))


# What the methods belong to. None of it has started
OWNERS: dict[str, Callable[[], Any]] = {
    "AsyncPool": lambda: gavotte.AsyncPool(1),
    "AsyncProcess": lambda: call(command()),
    "AsyncSandbox": AsyncSandbox,
    "Executor": lambda: gavotte.Executor(1),
    "InputStream": lambda: call(command()).stdin,
    "OutputStream": lambda: call(command()).stdout,
    "Pool": lambda: gavotte.Pool(1),
    "Process": lambda: process_of(AsyncSandbox()),
    "Reader": lambda: process_of(AsyncSandbox()).stdout,
    "Sandbox": gavotte.Sandbox,
    "Writer": lambda: process_of(AsyncSandbox()).stdin,
}


NEEDED: dict[str, dict[str, Any]] = {
    "run": {"argv": ["true"]},
    "spawn": {"argv": ["true"]},
    "map": {"work": ["true"], "inputs": []},
    "resize": {},
}


def invoke(name: str, parameter: str, value: Any) -> Any:
    """Call it with that value, and right ones for what else it needs."""
    owner, _, member = name.rpartition(".")
    target = getattr(OWNERS[owner](), member) if owner and member != "__init__" else getattr(gavotte, owner or member)
    if parameter == "fn":
        return target(value)
    needed = {"rows": 24, "columns": 80} if name.endswith("Process.resize") else NEEDED.get(member, {})
    outcome = target(**{**needed, parameter: value})
    return asyncio.run(outcome) if inspect.iscoroutine(outcome) else outcome


@pytest.mark.parametrize(("name", "parameter"), cases(of_devices=False))
def test_a_wrong_value_is_named_and_nothing_starts(name: str, parameter: str) -> None:
    for value in rows_of(name, parameter) or []:
        with pytest.raises(gavotte.UsageError) as caught:
            invoke(name, parameter, value)
        named = caught.value.path
        assert named == parameter or named.startswith((f"{parameter}[", f"{parameter}.")), caught.value
        assert str(caught.value).startswith(named)


def test_each_public_parameter_has_a_row() -> None:
    missing = [
        f"{name}.{parameter}"
        for name, function in public_functions()
        for parameter in parameters_of(name, function)
        if rows_of(name, parameter) is None
    ]
    assert missing == []


def test_a_parameter_without_a_row_is_found() -> None:
    def newcomer(argv: list[str], brand_new: int = 0) -> None:
        """A function of tomorrow."""

    assert [name for name in parameters_of("newcomer", newcomer) if rows_of("newcomer", name) is None] == ["brand_new"]


def test_no_row_is_of_a_parameter_that_has_gone() -> None:
    there = {(name, parameter) for name, function in public_functions() for parameter in parameters_of(name, function)}
    parameters = {parameter for _, parameter in there} | {f"{name}.{parameter}" for name, parameter in there}
    fields = {f"{name.removesuffix('.__init__')}.{parameter}" for name, parameter in there}
    assert {*ROWS, *FIELDS} - parameters - fields == set()
    assert NOT_FOR_CALLERS.keys() - parameters - {name for name, _ in public_functions()} == set()


# --- what a wrong value is told ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({"argv": []}, "argv: there is no command to run", "list of strings"),
        ({"argv": "ls -l"}, "argv: a command is a list of strings, not one string", "sh"),
        ({"timeout": "5"}, "timeout: '5' is not a number of seconds above 0", ""),
        ({"input": "text"}, "input: 'text' is not bytes", "text=True"),
        ({"input": b"x", "text": True}, "input: with text=True, the input is text", "bytes"),
        ({"input": "\udc80", "text": True}, "input: character 0 has no UTF-8", ""),
        ({"cwd": b"/tmp"}, "cwd: b'/tmp' is not a path: give text or a pathlib.Path", "fsdecode"),
        ({"user": Path("root")}, "is not a user", "UID"),
        ({"env": {"A": 1}}, "env['A']: 1 is not text", ""),
        ({"timout": 5}, "timout: there is no such option", ""),
    ],
)
def test_what_is_wanted_is_told(given: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(gavotte.UsageError) as caught:
        gavotte.Sandbox().run(**{"argv": ["true"], **given})
    assert message in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize("argv", [["ls", "-l"], ("ls", "-l"), deque(["ls", "-l"]), [Path("ls"), "-l"]])
def test_a_command_may_be_any_sequence_of_text_and_paths(argv: Any) -> None:
    seen: list[Any] = []

    async def spawn(words: list[str], **_: Any) -> None:
        seen.append(words)
        raise gavotte.AgentError("there is no guest")

    box = AsyncSandbox()
    box.state, box._channel = State.RUNNING, cast("Channel", SimpleNamespace(spawn=spawn))
    with pytest.raises(gavotte.AgentError):
        asyncio.run(box.run(argv))
    assert seen == [["ls", "-l"]]
