"""Cold equals hot, for every device type of a binary that can be plugged; of all others, QEMU's own refusal.

What each binary does is a golden file: a type that can't be plugged any more, or one more, is seen in its diff.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gavotte.qemu.binary import find_qemu
from tests.support.binaries import BINARIES
from tests.support.conformance import LOTS, Survey, started_with, survey
from tests.support.schemas import schema_for

GOLDEN = Path(__file__).parents[1] / "golden"

# What differs by intent. A USB disk controller that is plugged waits for its disks before the guest sees it.
DIFFERS = {("*", "hotplugged"), ("usb-bot", "attached"), ("usb-uas", "attached")}


# Whether these can be plugged depends on what this host has, so no golden file can tell.
OF_THE_HOST = ("u2f-passthru", "vhost-scsi-pci", "vhost-vsock-pci")


def differences(found: Survey, cold: dict[str, dict[str, Any]]) -> list[str]:
    return [
        f"{name}.{key}: hot {plugged.values.get(key)!r}, cold {cold[name].get(key)!r}"
        for name, plugged in found.plugged.items()
        for key in sorted(plugged.values.keys() | cold[name].keys())
        if plugged.values.get(key) != cold[name].get(key) and not {("*", key), (name, key)} & DIFFERS
    ]


async def cold_values(qemu: Path, found: Survey) -> dict[str, dict[str, Any]]:
    """What QOM says of the same devices, when as many machines have them from the start."""
    lots = [[name for name, plugged in found.plugged.items() if plugged.lot == lot] for lot in range(LOTS)]
    values = await asyncio.gather(
        *(started_with(qemu, [found.plugged[name].recipe for name in names]) for names in lots)
    )
    return {
        name: props for names, lot in zip(lots, values, strict=True) for name, props in zip(names, lot, strict=True)
    }


def summary(found: Survey) -> dict[str, Any]:
    types = {name: found.refused.get(name, "plugged") for name in sorted({*found.plugged, *found.refused})}
    types = {name: "as this host allows" if name.startswith(OF_THE_HOST) else text for name, text in types.items()}
    return {"counts": dict(sorted(Counter(types.values()).items())), "types": types}


@pytest.mark.parametrize("qemu", BINARIES)
def test_every_device_that_can_be_plugged_is_the_same_cold(qemu: Path | None, request: pytest.FixtureRequest) -> None:
    path = (qemu or find_qemu().path).resolve()
    schema_for(path)

    async def compare() -> tuple[Survey, dict[str, dict[str, Any]]]:
        async with asyncio.timeout(250):
            found = await survey(path)
            return found, await cold_values(path, found)

    found, cold = asyncio.run(compare())
    assert differences(found, cold) == []
    props = sum(len(plugged.recipe[-1].props) for plugged in found.plugged.values())
    assert props > 15 * len(found.plugged), "the properties were hardly tried"

    golden = GOLDEN / f"conformance-{found.version}.json"
    text = json.dumps(summary(found), indent=1) + "\n"
    if request.config.getoption("--update-golden"):
        golden.write_text(text)
    if not golden.exists():
        pytest.skip(f"there is no golden file for QEMU {found.version}; pytest --update-golden writes one")
    assert json.loads(golden.read_text()) == summary(found), "if it is meant to change: pytest --update-golden"


def test_a_difference_is_found() -> None:
    from tests.support.conformance import Plugged

    found = Survey("7.2", {"a": Plugged((), {"x": 1, "hotplugged": True, "attached": 1}, 0)})
    assert differences(found, {"a": {"x": 1, "hotplugged": False, "attached": 1}}) == []
    assert differences(found, {"a": {"x": 2, "hotplugged": False, "attached": 0}}) == [
        "a.attached: hot 1, cold 0",
        "a.x: hot 1, cold 2",
    ]
