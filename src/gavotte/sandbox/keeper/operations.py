"""What clients may ask of a keeper."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from gavotte.errors import InvalidMachine, QmpRefused, StateError, UsageError
from gavotte.hypervisor.devices import Raw
from gavotte.qemu.pids import process_state
from gavotte.qemu.props import Recipe, Step
from gavotte.sandbox import register
from gavotte.sandbox.keeper.connection import Connection
from gavotte.sandbox.keeper.session import Session, show_console, took_too_long
from gavotte.text import size_text

if TYPE_CHECKING:
    from gavotte.sandbox.keeper.server import Keeper

__all__ = ["OPERATIONS"]

Request = dict[str, Any]
Reply = dict[str, Any]


def _check_awake(keeper: Keeper) -> None:
    """Nothing would answer for a minute. Raises StateError for a QEMU that somebody has stopped."""
    pid = keeper.box.vm.process.pid
    if process_state(pid) == "T":
        raise StateError(
            f"{keeper.box.name} stands still: its QEMU (pid {pid}) was stopped by a signal",
            hint=f"kill -CONT {pid} has it go on; gavotte stop {keeper.box.name} ends it all the same",
        )


async def _exec(keeper: Keeper, connection: Connection, request: Request) -> None:
    _check_awake(keeper)
    timeout, began = request["timeout"], asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(timeout):
            process = await keeper.box.spawn(
                request["argv"],
                stdin=request["stdin"],
                env=request["env"],
                cwd=request["cwd"],
                user=request["user"],
                tty=tuple(request["tty"]) if request["tty"] else None,
                closed=request.get("closed", ()),
            )
    except TimeoutError:
        raise took_too_long(request["argv"], timeout) from None
    await connection.tell(reply={"pid": process.pid})
    spent = asyncio.get_running_loop().time() - began
    exit = await Session(connection, keeper.box, process).run(timeout, spent)
    if exit is not None:
        await connection.tell(exit=exit.status, oom_kills=exit.oom_kills, forks_denied=exit.forks_denied)


async def _console(keeper: Keeper, connection: Connection, _request: Request) -> None:
    with keeper.box.vm.attach_console() as stream:
        await connection.tell(reply={})
        await show_console(connection, stream)
    await connection.tell(exit=0)


async def _stop(keeper: Keeper, connection: Connection, request: Request) -> None:
    keeper.stop(force=request["force"], grace=float(request.get("grace", register.GRACE)))
    await connection.answer(_over(keeper))


async def _over(keeper: Keeper) -> Reply:
    await keeper.over.wait()
    return {}


def _answered(
    work: Callable[[Keeper, Request], Coroutine[Any, Any, Reply]],
) -> Callable[[Keeper, Connection, Request], Awaitable[None]]:
    """An operation that gives one reply. It is cancelled, and undone, when its client goes before."""

    async def operation(keeper: Keeper, connection: Connection, request: Request) -> None:
        await connection.answer(work(keeper, request))

    return operation


async def _pause(keeper: Keeper, _request: Request) -> Reply:
    _check_awake(keeper)
    await keeper.box.pause()
    keeper.note_state(register.PAUSED)
    return {}


async def _resume(keeper: Keeper, _request: Request) -> Reply:
    _check_awake(keeper)
    await keeper.box.resume()
    keeper.note_state(register.RUNNING)
    return {}


async def _resize(keeper: Keeper, request: Request) -> Reply:
    _check_awake(keeper)
    cpus, memory = request["cpus"], request["memory"]
    size = await keeper.box.resize(cpus=cpus, memory=memory)
    plugged = (await keeper.box.vm.memory()).total
    keeper.note_size(size.cpus, plugged)
    short = []
    if cpus is not None and size.cpus != cpus:
        short.append(f"the guest has {size.cpus} cpus, and not {cpus}")
    if memory is not None and plugged != memory:
        short.append(f"the guest has {size_text(plugged)} of memory, and not {size_text(memory)}")
    return {"cpus": size.cpus, "memory": plugged, "short": short}


async def _plug(keeper: Keeper, request: Request) -> Reply:
    _check_awake(keeper)
    props = dict(request["device"])
    taken = keeper.box.vm.plugged
    id = props.pop("id", None)
    if id is None:
        id = next(f"plug{n}" for n in itertools.count() if f"plug{n}" not in taken)
    elif not isinstance(id, str):
        raise UsageError(f"{id!r} is not text", path="device.id", hint="write it in double quotes, or leave it out")
    backends = tuple(Step(kind, value) for kind, value in request["backends"])
    try:
        await keeper.box.plug(Raw(id, props, backends))
    except InvalidMachine as error:
        raise InvalidMachine([_in_their_words(problem, backends) for problem in error.problems]) from None
    except QmpRefused as error:
        error.hint = error.hint or "nothing of it is left: correct what it says, and plug it again"
        raise
    return {"id": id}


def _in_their_words(problem: UsageError, backends: Recipe) -> UsageError:
    """The problem, with its path in what the client gave: `recipe[1].x` is `device.x`, or `netdev.x`."""
    found = re.match(r"recipe\[(\d+)\]", problem.path)
    if found is None:
        return problem
    number = int(found[1])
    part = backends[number].kind if number < len(backends) else "device"
    return UsageError(problem.problem, path=part + problem.path[found.end() :], hint=problem.hint)


async def _unplug(keeper: Keeper, request: Request) -> Reply:
    _check_awake(keeper)
    await keeper.box.unplug(request["id"])
    return {}


async def _inspect(keeper: Keeper, _request: Request) -> Reply:
    from gavotte.sandbox.keeper.inspection import inspect

    return await inspect(keeper.box)


OPERATIONS: dict[str, Callable[[Keeper, Connection, Request], Awaitable[None]]] = {
    "exec": _exec,
    "console": _console,
    "stop": _stop,
    "pause": _answered(_pause),
    "resume": _answered(_resume),
    "resize": _answered(_resize),
    "plug": _answered(_plug),
    "unplug": _answered(_unplug),
    "inspect": _answered(_inspect),
}
