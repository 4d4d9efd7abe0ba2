"""The schema of a binary: from the cache, else from the binary."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gavotte.qemu.binary import QemuBinary
from gavotte.qemu.schema.archive import Archive, pack
from gavotte.qemu.schema.cache import hold_schema, load_schema, remembered_schema, store_asked, store_schema
from gavotte.qemu.schema.view import Asked, Schema

__all__ = ["get_schema", "learn_schema", "schema_of"]


async def get_schema(binary: QemuBinary, *, hot: Collection[str] = (), cold: Collection[str] = ()) -> Schema:
    """Gives the schema from the cache, else learns and stores it, which takes about a second.

    `hot` names device types of which `DeviceType.pluggable` is wanted too, `cold` those of which `creatable` is: 60 and
    30 ms for each that isn't known yet.
    Raises QemuError when the binary isn't QEMU or doesn't answer, HostError when it can't be started.
    """
    schema = remembered_schema(binary) or await _learn_and_store(binary)
    schema = await _with_pluggable(binary, schema, hot) if hot else schema
    return await _with_creatable(binary, schema, cold) if cold else schema


def schema_of(binary: QemuBinary, *, hot: Collection[str] = (), cold: Collection[str] = ()) -> Schema:
    """`get_schema` for code without an event loop. What is in the cache is had without asyncio."""
    schema = load_schema(binary)
    if schema is None or schema.unsure(hot) or schema.unsure(cold, "creatable"):
        import asyncio

        schema = asyncio.run(get_schema(binary, hot=hot, cold=cold))
    return schema


async def learn_schema(binary: QemuBinary) -> Schema:
    """Gives the schema as the binary tells it now; the cache is neither read nor written. Raises as `get_schema`."""
    return Schema(Archive(await _learn(binary)))


async def _learn(binary: QemuBinary) -> bytes:
    from gavotte.qemu.schema.learn import learn_facts

    return pack(await learn_facts(binary))


async def _learn_and_store(binary: QemuBinary) -> Schema:
    data = await _learn(binary)
    store_schema(binary, data)
    schema = Schema(Archive(data))
    hold_schema(binary, schema)
    return schema


async def _with_pluggable(binary: QemuBinary, schema: Schema, hot: Collection[str]) -> Schema:
    if unsure := schema.unsure(hot):
        from gavotte.qemu.schema.pluggable import learn_pluggable

        found: dict[str, bool | None] = {**await learn_pluggable(binary, unsure)}
        for name in schema.types("sys-bus-device"):
            if found.get(name) is False:
                found[name] = None  # the machine decides it, and here is none
        schema = _told(binary, schema, "pluggable", found)
    return schema


async def _with_creatable(binary: QemuBinary, schema: Schema, cold: Collection[str]) -> Schema:
    if unsure := schema.unsure(cold, "creatable"):
        from gavotte.qemu.schema.creatable import learn_creatable

        devices = (schema.device(name) for name in schema.devices)
        busless = (device.name for device in devices if device and device.parents[:1] == ("device",))
        found = await learn_creatable(binary, unsure, sysbus=schema.types("sys-bus-device"), busless=busless)
        schema = _told(binary, schema, "creatable", found)
    return schema


def _told(binary: QemuBinary, schema: Schema, what: Asked, found: Mapping[str, bool | None]) -> Schema:
    store_asked(binary, what, found)
    schema = schema.with_asked(what, found)
    hold_schema(binary, schema)
    return schema
