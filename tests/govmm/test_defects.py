"""Defects of govmm and of Kata's fork of it, in writing command lines: each by its symptom, and gone here."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import platform
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import InvalidMachine
from gavotte.qemu.check import check_document
from gavotte.qemu.document import document_to_argv, document_to_options
from gavotte.qemu.fds import FdLedger
from gavotte.qemu.process import start_process
from gavotte.qmp.client import QmpClient
from tests.govmm.test_fragments import TABLE
from tests.support.govmm import binary_for, running
from tests.support.programs import python
from tests.support.schemas import schema_for

Q35 = {"machine": {"type": "q35", "accel": "tcg"}}


def devices(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The maps behind each `-device` of the command line."""
    return [json.loads(option[1]) for option in document_to_options(document) if option[0] == "-device"]


def device(driver: str, **props: Any) -> dict[str, Any]:
    (written,) = devices({"devices": [{"driver": driver, **props}]})
    return written


def asked(document: Mapping[str, Any], ask: Callable[[QmpClient], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with running(binary_for("x86_64", None), document) as client:
            return await ask(client)

    return asyncio.run(main())


def row(name: str) -> dict[str, Any]:
    return next(row.fragment for row in TABLE.rows if row.govmm == name)


def test_every_defect_in_the_table_has_its_test() -> None:
    code = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    missing = [defect.test for defect in TABLE.defects if f"def {defect.test}(" not in code]
    assert missing == []
    assert len(TABLE.defects) == 32


def test_a_comma_in_a_value_splits_and_injects_nothing(tmp_path: Path) -> None:
    image = tmp_path / "a,read-only=on,b.img"
    image.write_bytes(bytes(512))
    document = {
        **Q35,
        "name": {"guest": "x,debug-threads=on,process=y"},
        "chardevs": [{"backend": "file", "id": "log", "path": f"{tmp_path}/c,append=on,d"}],
        "blockdevs": [{"driver": "file", "node-name": "disk", "filename": str(image)}],
        "devices": [{"driver": "virtio-blk-pci", "id": "blk", "drive": "disk", "serial": "s,id=evil"}],
    }

    async def ask(client: QmpClient) -> None:
        assert await client.execute("query-name") == {"name": "x,debug-threads=on,process=y"}
        serial = {"path": "/machine/peripheral/blk", "property": "serial"}
        assert await client.execute("qom-get", serial) == "s,id=evil"
        nodes: Any = await client.execute("query-named-block-nodes")
        assert [(node["file"], node["ro"]) for node in nodes] == [(str(image), False)]

    asked(document, ask)
    assert (tmp_path / "c,append=on,d").exists()


def test_what_follows_a_mount_tag_does_not_become_part_of_it() -> None:
    share = devices(row("Transport ccw of all virtio kinds"))[0]
    assert (share["mount_tag"], share["iommu_platform"]) == ("kataShared", True)


def test_each_fw_cfg_entry_is_written_once() -> None:
    entries = [{"name": f"opt/org.example/{number}", "string": "x"} for number in range(3)]
    options = document_to_options({"fw_cfg": entries})
    assert [option[1] for option in options] == [f"name=opt/org.example/{number},string=x" for number in range(3)]


def test_max_ports_needs_no_romfile() -> None:
    assert device("virtio-serial-pci", max_ports=8) == {"driver": "virtio-serial-pci", "max_ports": 8}


def test_an_optional_key_that_is_absent_is_no_crash() -> None:
    (option,) = document_to_options({"objects": [{"qom-type": "tdx-guest", "id": "t"}]})
    assert json.loads(option[1]) == {"qom-type": "tdx-guest", "id": "t"}


def test_a_value_that_can_not_be_written_raises_and_ends_no_process() -> None:
    with pytest.raises(InvalidMachine) as refused:
        document_to_argv({"devices": [{"driver": "virtio-rng-pci", "period": float("nan")}]})
    assert [problem.path for problem in refused.value.problems] == ["devices[0].period"]


def test_writing_an_object_changes_nothing_else_of_the_machine() -> None:
    document = {**row("sev-guest"), "firmware": "/srv/vm/mine"}
    before = copy.deepcopy(document)
    argv = document_to_argv(document)
    assert document == before
    assert argv[argv.index("-bios") + 1] == "/srv/vm/mine"
    assert document_to_argv(document) == argv


@pytest.mark.parametrize("host", ["x86_64", "aarch64", "s390x"])
def test_the_host_s_architecture_does_not_show_in_a_command_line(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    document = row("Transport ccw of all virtio kinds")
    expected = document_to_argv(document)
    monkeypatch.setattr(platform, "machine", lambda: host)
    assert document_to_argv(document) == expected


def test_a_device_that_is_wrong_is_refused_not_dropped() -> None:
    document: dict[str, Any] = {
        "netdevs": [{"type": "tap", "id": "n"}],
        "devices": [{"driver": "virtio-nett", "netdev": "n"}, {"driver": "virtio-net-pci", "netdev": "m"}],
    }
    assert len(devices(document)) == 2
    with pytest.raises(InvalidMachine) as refused:
        check_document(document, schema_for())
    assert {problem.path.split(".")[0] for problem in refused.value.problems} >= {"devices[0]", "devices[1]"}


def test_mq_is_on_only_where_it_was_asked_for() -> None:
    assert "mq" not in device("virtio-net-pci", netdev="n")


def test_a_mediated_device_gets_no_empty_host() -> None:
    assert device("vfio-ccw", sysfsdev="/sys/x") == {"driver": "vfio-ccw", "sysfsdev": "/sys/x"}


def test_a_vhost_user_disk_has_the_size_that_its_back_end_says() -> None:
    assert device("vhost-user-blk-pci", chardev="c") == {"driver": "vhost-user-blk-pci", "chardev": "c"}


@pytest.mark.parametrize("type", ["q35", "pc-q35-7.2"])
def test_a_versioned_machine_type_has_the_buses_of_its_family(type: str) -> None:
    rng = {"driver": "virtio-rng-pci", "bus": "pcie.0"}
    document: dict[str, Any] = {"machine": {"type": type, "accel": "tcg"}, "devices": [rng]}
    checked = check_document(document, schema_for())

    async def ask(client: QmpClient) -> None:
        assert await client.execute("query-status")

    asked(checked, ask)


def test_a_cpu_without_features_ends_in_no_comma() -> None:
    assert document_to_argv({"cpu": {"model": "host"}}) == ["-cpu", "host"]


def test_nothing_is_written_that_was_not_asked_for() -> None:
    assert document_to_argv({"machine": {"type": "virt"}}) == ["-machine", "virt"]


def test_a_long_id_is_not_cut() -> None:
    ids = ["r" * 40 + end for end in "ab"]
    document = {**Q35, "devices": [{"driver": "virtio-rng-pci", "id": id} for id in ids]}

    async def ask(client: QmpClient) -> None:
        children: Any = await client.execute("qom-list", {"path": "/machine/peripheral"})
        assert {child["name"] for child in children} >= set(ids)

    asked(document, ask)


def test_qemu_runs_as_the_user_who_started_it() -> None:
    async def main() -> str:
        async with await start_process(python("import os; print(os.getresuid(), os.getresgid())"), FdLedger()) as ended:
            await ended.wait(20)
            return ended.stderr_tail.strip()

    assert asyncio.run(main()) == f"{os.getresuid()} {os.getresgid()}"


def test_two_of_a_kind_may_not_share_an_id() -> None:
    memory = [{"qom-type": "memory-backend-ram", "id": id, "size": "16M"} for id in ("a", "b")]
    twins = [{"driver": "nvdimm", "id": "TODO", "memdev": id} for id in ("a", "b")]
    with pytest.raises(InvalidMachine, match="TODO"):
        check_document({"objects": memory, "devices": twins}, schema_for())
