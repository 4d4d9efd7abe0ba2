"""Learning what a binary supports, by asking it. Nothing is parsed from texts that are meant for people.

QEMU makes an instance to list its properties, and with some types that ends the process (`virtio-gpu-gl-pci` and
`colo-compare` in Debian's 7.2). The culprit is among the questions that were open at that moment: a fresh process is
asked each of them alone, and then what is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gavotte.errors import OutcomeUnknown, QemuError, QmpNotSent, QmpProtocolError, QmpRefused
from gavotte.qemu.binary import QemuBinary
from gavotte.qemu.schema import digest
from gavotte.qemu.schema.archive import Facts
from gavotte.qemu.schema.probe import asked, refusal
from gavotte.qmp.client import QmpClient
from gavotte.qmp.wire import Json

__all__ = ["learn_facts"]

_ALL = 60.0  # seconds for everything; it takes about one
_ANSWER = 10.0  # seconds for one answer, with those before it
_LOST = 24  # processes that may end while they are asked

_TYPES = "qom-list-types"

# What there is one answer to.
_GENERAL: Mapping[str, dict[str, Json] | None] = {
    _TYPES: {"abstract": True},
    "query-qmp-schema": None,
    "query-target": None,
    "query-machines": None,
    "query-cpu-definitions": None,
    "query-command-line-options": None,
}

# Where JSON is or may become an option's syntax; each costs a process that ends at once.
_MAYBE_JSON = ("audiodev", "blockdev", "chardev", "device", "display", "machine", "netdev", "object")


class Question(NamedTuple):
    """What the properties are of one type. `section` is where the answer goes."""

    section: str
    name: str

    @property
    def command(self) -> str:
        return "device-list-properties" if self.section == "device" else "qom-list-properties"

    @property
    def arguments(self) -> dict[str, Json]:
        return {"typename": f"{self.name}-machine" if self.section == "machine" else self.name}


Found = dict[Question, digest.Answer]


async def learn_facts(binary: QemuBinary) -> Facts:
    """Gives all that `Schema` reads, from throw-away processes without a machine.

    Raises QemuError when the binary isn't QEMU, is too old to say what it supports, ends at every question or takes
    longer than a minute; HostError when no process can be started.
    """
    try:
        async with asyncio.timeout(_ALL):
            json_options = asyncio.create_task(_json_options(binary))
            try:
                answers = await _interview(binary)
                return digest.facts(answers, await json_options)
            finally:
                json_options.cancel()
                await asyncio.wait([json_options])
    except (QmpNotSent, OutcomeUnknown, QmpProtocolError, QmpRefused, TimeoutError, LookupError, TypeError) as e:
        why = str(e)
        if isinstance(e, TimeoutError):
            why = f"it took longer than {_ALL:g} s"
        elif isinstance(e, LookupError | TypeError):
            why = f"its answers don't have the form of QEMU's ({e!r})"
        raise QemuError(
            f"can't learn what {binary.path} supports: {why}",
            hint=f"see whether it is a QEMU system emulator that runs here: {binary.path} -machine none -qmp stdio",
        ) from e


async def _interview(binary: QemuBinary) -> digest.Answers:
    found: Found = {}
    async with asked(binary) as client:
        general = await _ask_general(client)
        tree = digest.Tree(general[_TYPES])
        interfaces = await _ask_implementers(client, tree.below("interface"))
        questions = [
            *(Question("object", name) for name in tree.concrete(interfaces.get("user-creatable", ()))),
            *(Question("machine", machine["name"]) for machine in general["query-machines"]),
            *(Question("accel", name) for name in tree.concrete(tree.below("accel"))),
            *(Question("device", name) for name in tree.concrete(tree.below("device"))),
        ]
        open_, rest = await _ask(client, questions, found)
    await _ask_rest(binary, open_, rest, found)
    return digest.Answers(client.greeting.version, general, interfaces, {(*key,): told for key, told in found.items()})


async def _ask_general(client: QmpClient) -> dict[str, digest.Answer]:
    async def ask(command: str) -> digest.Answer:
        try:
            return await client.execute(command, _GENERAL[command], deadline=_ANSWER)
        except QmpRefused as refused:
            if command == "query-cpu-definitions" and refused.error_class == "CommandNotFound":
                return []  # not every target has it
            raise

    return dict(zip(_GENERAL, await asyncio.gather(*map(ask, _GENERAL)), strict=True))


async def _ask_implementers(client: QmpClient, interfaces: Sequence[str]) -> dict[str, list[str]]:
    """Gives the types that implement each interface, by themselves or by an ancestor."""

    async def ask(interface: str) -> list[str]:
        arguments: dict[str, Json] = {"implements": interface, "abstract": True}
        found: digest.Answer = await client.execute(_TYPES, arguments, deadline=_ANSWER)
        return [entry["name"] for entry in found]

    return dict(zip(interfaces, await asyncio.gather(*map(ask, interfaces)), strict=True))


async def _ask(client: QmpClient, questions: Iterable[Question], found: Found) -> tuple[list[Question], list[Question]]:
    """Puts the answers into `found`, None for a refusal; gives the questions open when it ended, and the rest."""

    async def ask(question: Question) -> None:
        try:
            found[question] = await client.execute(question.command, question.arguments, deadline=_ANSWER)
        except QmpRefused:
            found[question] = None
        except OutcomeUnknown:
            open_.append(question)
        except QmpNotSent:
            unsent.append(question)

    open_: list[Question] = []
    unsent: list[Question] = []
    await asyncio.gather(*map(ask, questions))
    return open_, unsent


async def _ask_rest(binary: QemuBinary, suspects: list[Question], rest: list[Question], found: Found) -> None:
    """Asks fresh processes until nothing is left. What ends one when it is asked alone, gets the answer None."""
    for _ in range(_LOST):
        if not suspects and not rest:
            return
        async with asked(binary) as client:
            while suspects:
                question = suspects.pop()
                open_, unsent = await _ask(client, [question], found)
                found.update(dict.fromkeys(open_))
                suspects += unsent
                if open_ or unsent:  # this process has ended, or hangs
                    break
            else:
                suspects, rest = await _ask(client, rest, found)
    raise QmpNotSent(f"{_LOST} processes ended while they were asked for properties")


async def _json_options(binary: QemuBinary) -> list[str]:
    """Gives the options whose parser complains about JSON when it is malformed."""
    said = await asyncio.gather(*(refusal(binary, [f"-{option}", '{"']) for option in _MAYBE_JSON))
    return [option for option, text in zip(_MAYBE_JSON, said, strict=True) if "JSON" in text]
