"""Second names of device types mean what the binary means by them."""

from __future__ import annotations

from typing import Any

import pytest

from gavotte.qemu.schema.aliases import _TYPES, _VIRTIO, type_behind
from gavotte.qmp.client import QmpClient
from tests.support.programs import with_qemu
from tests.support.schemas import schema_for


def test_a_virtio_alias_stands_for_the_usual_transport_of_the_architecture() -> None:
    assert type_behind("virtio-net", "x86_64") == "virtio-net-pci"
    assert type_behind("virtio-net", "s390x") == "virtio-net-ccw"
    assert type_behind("virtio-net-pci", "s390x") == "virtio-net-pci"


def test_the_schema_finds_a_device_by_its_alias_and_by_its_name() -> None:
    schema = schema_for()
    assert schema.device("virtio-blk") == schema.device("virtio-blk-pci")
    assert schema.device("ahci") == schema.device("ich9-ahci") is not None
    assert schema.device("virtio-bulk") is None


@pytest.mark.parametrize("alias", ["ac97", "ahci", "e1000-82540em", "es1370", "lsi", "virtio-balloon", "virtio-rng"])
def test_qemu_makes_the_type_that_we_think_of(alias: str) -> None:
    assert alias in _TYPES or alias in _VIRTIO

    async def kind(client: QmpClient) -> Any:
        return await client.execute("qom-get", {"path": "/machine/peripheral/d", "property": "type"})

    options = ["-machine", "q35", "-accel", "tcg", "-device", f'{{"driver":"{alias}","id":"d"}}']
    assert with_qemu(options, kind) == type_behind(alias, "x86_64")
