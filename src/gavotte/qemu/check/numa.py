"""NUMA nodes: which there are, and what refers to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gavotte.qemu.check.inspection import Inspection, inside
from gavotte.qemu.check.machine import machine_of
from gavotte.qemu.check.scalars import Misfit, to_int, to_size
from gavotte.qemu.check.unique import entries
from gavotte.qemu.check.words import options_of
from gavotte.qemu.props import Json, PropertyMap

__all__ = ["check_numa"]

# Where a node's number stands.
_REFERENCES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("numa", ("dst", "initiator", "node-id", "src", "target")),
    ("devices", ("node", "numa_node")),
)

# The lowest and the highest number that QEMU's hw/core/numa.c takes for a key.
_RANGES: Final[Mapping[str, tuple[int, int]]] = {"nodeid": (0, 127), "val": (10, 255)}

_NONE: Final = 128  # NUMA_NODE_UNASSIGNED, which is MAX_NODES, in QEMU's include/sysemu/numa.h


def check_numa(document: Mapping[str, Json], inspection: Inspection) -> None:
    """Reports references to nodes that aren't there. A machine without any has the node 0 for its memory devices."""
    if any(option == "numa" for option, _ in options_of(document.get("options"))):
        return
    _check_memory(document, inspection)
    for path, props in entries(document, "numa"):
        for key, (lowest, highest) in _RANGES.items():
            number = _number(props.get(key))
            if number is not None and not lowest <= number <= highest:
                inspection.report(inside(path, key), f"from {lowest} to {highest} is wanted, not {number}")
    nodes = _nodes(document)
    for section, keys in _REFERENCES:
        for path, props in entries(document, section):
            for key in keys:
                node = _number(props.get(key))
                if node not in (None, _NONE) and node not in (nodes or ({0} if key == "node" else ())):
                    inspection.report(inside(path, key), f"there is no NUMA node {node}")


def _check_memory(document: Mapping[str, Json], inspection: Inspection) -> None:
    """Reports nodes whose memory a machine type doesn't take, or isn't that of the machine (numa_complete_configuration
    in QEMU's hw/core/numa.c)."""
    machine = machine_of(document, inspection)
    nodes = [(path, node) for path, node in entries(document, "numa") if node.get("type") == "node"]
    if not machine or machine.numa_mem or not nodes:
        return
    for path, node in nodes:
        if "mem" in node:
            inspection.report(
                inside(path, "mem"), f"{machine.name} wants 'memdev', a memory backend, in place of a size"
            )
            return
    total, wanted = _size_of(document, nodes), _size_of_machine(document)
    if total == 0:
        inspection.report("numa", f"the nodes have no memory: {machine.name} wants a 'memdev' for each")
    elif total is not None and wanted is not None and total != wanted:
        inspection.report("numa", f"the nodes have {total} bytes of memory together, and the machine {wanted}")


def _size_of(document: Mapping[str, Json], nodes: Sequence[tuple[str, PropertyMap]]) -> int | None:
    """Gives the sizes of the nodes' memory backends together; None where one isn't known."""
    sizes = {props.get("id"): props.get("size") for _, props in entries(document, "objects")}
    found = [sizes.get(node["memdev"]) for _, node in nodes if "memdev" in node]
    known = [size for size in found if isinstance(size, int)]
    return sum(known) if len(known) == len(found) else None


def _size_of_machine(document: Mapping[str, Json]) -> int | None:
    """A size without a unit is in MiB (parse_memory_options in QEMU's system/vl.c)."""
    memory = document.get("memory")
    size = memory.get("size") if isinstance(memory, Mapping) else None
    try:
        return to_size(size) << (20 if str(size).isdecimal() else 0)
    except Misfit:
        return None


def _nodes(document: Mapping[str, Json]) -> set[int]:
    """Gives the numbers of the nodes; one without a number gets that of its place (parse_numa_node in QEMU's
    hw/core/numa.c)."""
    found: set[int] = set()
    for _, props in entries(document, "numa"):
        if props.get("type", "node") == "node":
            number = _number(props.get("nodeid"))
            found.add(len(found) if number is None else number)
    return found


def _number(value: Json) -> int | None:
    try:
        return to_int(value)
    except Misfit:
        return None
