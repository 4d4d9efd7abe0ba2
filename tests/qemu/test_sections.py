from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gavotte.qemu.binary import find_qemu
from gavotte.qemu.document import Document, document_to_argv
from gavotte.qemu.props import IMPLIED_KEY
from gavotte.qemu.sections import SECTIONS
from tests.support.binaries import BINARIES
from tests.support.programs import DEADLINE

# What a QEMU between 7.2 and 10.0 doesn't have: `shim` is new, `runas` and `chroot` became keys of `run-with`.
COME_AND_GONE = {"shim", "run-with", "runas", "chroot"}

MONITOR: dict[str, Any] = {
    "nodefaults": True,
    "no-user-config": True,
    "display": {"type": "none"},
    "S": True,
    "chardevs": [{"backend": "stdio", "id": "qmp", "signal": False}],
    "monitors": [{"chardev": "qmp", "mode": "control", "pretty": False}],
}

# An entry for each section that a PC can be started with anywhere, several in one machine.
PC: dict[str, Any] = {
    "name": {"guest": "a", "process": "b", "debug-threads": True},
    "uuid": "12345678-1234-1234-1234-123456789abc",
    "compat": {"deprecated-input": "accept", "unstable-output": "accept"},
    "sandbox": {"enable": True, "spawn": "deny"},
    "msg": {"timestamp": False, "guest-name": True},
    "vga": "none",
    "k": "de",
    "vncs": [{"vnc": "unix:vnc.sock", "share": "ignore"}],
    "no-reboot": True,
    "no-shutdown": True,
    "action": {"reboot": "reset", "panic": "none"},
    "only-migratable": False,
    "machine": {"type": "q35", "usb": False, "smp": {"sockets": 2}},
    "accels": [{"accel": "tcg", "thread": "single"}],
    "cpu": {"model": "qemu64", "x2apic": True},
    "smp": {"cpus": 4, "maxcpus": 4},
    "memory": {"size": 256, "slots": 2, "maxmem": "1G"},
    "overcommit": {"mem-lock": False, "cpu-pm": False},
    "rtc": {"base": "2020-01-01T00:00:00", "clock": "vm"},
    "icount": {"shift": "auto", "sleep": True},
    "seed": "7",
    "boot": {"order": "cd", "menu": True, "reboot-timeout": 5},
    "globals": [{"driver": "virtserialport", "property": "name", "value": "a,b=c"}],
    "objects": [
        {"qom-type": "memory-backend-ram", "id": "m0", "size": 128 << 20},
        {"qom-type": "memory-backend-ram", "id": "m1", "size": 128 << 20},
    ],
    "numa": [
        {"type": "node", "nodeid": 0, "cpus": ["0-1", 3], "memdev": "m0"},
        {"type": "node", "nodeid": 1, "cpus": 2, "memdev": "m1"},
        {"type": "dist", "src": 0, "dst": 1, "val": 21},
    ],
    "fw_cfg": [{"name": "opt/a", "string": "b"}],
    "smbios": [{"type": 1, "serial": "a,b"}, {"type": 11, "value": ["a", "b,c"]}],
    "audiodevs": [{"driver": "none", "id": "a", "in": {"frequency": 44100}, "out": {"mixing-engine": False}}],
    "fsdevs": [{"fsdriver": "local", "id": "f", "path": "/", "security_model": "none"}],
    "netdevs": [{"type": "user", "id": "n", "hostfwd": []}],
    "iscsi": [{"initiator-name": "a"}],
    "blockdevs": [{"driver": "null-co", "node-name": "b", "size": 1 << 20}],
    "devices": [
        {"driver": "virtio-serial-pci", "id": "s"},
        {"driver": "virtserialport", "id": "p", "bus": "s.0"},
        {"driver": "virtio-blk-pci", "drive": "b"},
        {"driver": "virtio-net-pci", "netdev": "n"},
    ],
    "traces": [{"enable": "vnc*"}],
    "d": "unimp,guest_errors",
    "D": "log",
    "pidfile": "pid",
    "options": [["-serial", "null"]],
}


@pytest.mark.parametrize("qemu", BINARIES)
def test_each_section_is_an_option_that_takes_a_value_or_none(qemu: Path | None) -> None:
    """QEMU looks at all of the command line before it acts on `-version`."""
    binary = str(find_qemu("x86_64", str(qemu) if qemu else None).path)
    wrong = {}
    for section in SECTIONS.values():
        run = subprocess.run(
            [binary, "-version", f"-{section.option}"], capture_output=True, text=True, timeout=DEADLINE, check=False
        )
        said = "" if run.returncode == 0 else run.stderr.partition(f"-{section.option}: ")[2].strip()
        if section.option and said != ("" if section.shape == "flag" else "requires an argument"):
            wrong[section.name] = said
    assert wrong.keys() <= COME_AND_GONE
    assert set(wrong.values()) <= {"invalid option"}


def test_a_name_is_the_options_own_or_its_plural_but_for_the_unreadable() -> None:
    renamed = {s.name: s.option for s in SECTIONS.values() if s.name not in (s.option, f"{s.option}s")}
    assert renamed == {"memory": "m", "monitors": "mon", "firmware": "bios", "options": ""}


def test_every_option_has_one_section() -> None:
    options = [section.option for section in SECTIONS.values()]
    assert len(set(options)) == len(options)
    assert all(name == section.name for name, section in SECTIONS.items())


def test_a_key_that_may_be_left_out_is_of_an_option_that_has_a_map() -> None:
    maps = {section.option for section in SECTIONS.values() if section.shape in ("map", "maps")}
    assert IMPLIED_KEY.keys() <= maps


@pytest.fixture(scope="module", params=BINARIES)
def answers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a machine with nearly all sections says of itself."""
    questions = ["query-name", "query-uuid", "query-status", "query-memory-size-summary", "query-hotpluggable-cpus"]
    return ask({**MONITOR, **PC}, questions, tmp_path_factory.mktemp("pc"), request.param)


def ask(document: Document, questions: list[str], folder: Path, qemu: Path | None) -> dict[str, Any]:
    """Starts the document's machine and gives the answers to commands, or to human ones: those with a blank."""
    commands = [
        {"execute": "human-monitor-command", "arguments": {"command-line": question}, "id": question}
        if " " in question
        else {"execute": question, "id": question}
        for question in questions
    ]
    lines = [json.dumps(command) for command in [{"execute": "qmp_capabilities"}, *commands, {"execute": "quit"}]]
    run = subprocess.run(
        [str(find_qemu("x86_64", str(qemu) if qemu else None).path), *document_to_argv(document)],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        cwd=folder,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    replies = map(json.loads, run.stdout.splitlines())
    return {reply["id"]: reply.get("return", reply) for reply in replies if "id" in reply}


def test_a_machine_with_nearly_all_sections_starts(answers: dict[str, Any]) -> None:
    assert answers["query-name"] == {"name": "a"}
    assert answers["query-uuid"] == {"UUID": PC["uuid"]}
    assert answers["query-status"]["status"] == "prelaunch"
    assert answers["query-memory-size-summary"]["base-memory"] == 256 << 20, "a number without a unit is in MiB"


def test_sections_that_describe_the_same_thing_add_up(answers: dict[str, Any]) -> None:
    assert {cpu["props"]["socket-id"] for cpu in answers["query-hotpluggable-cpus"]} == {0, 1}


def test_a_list_in_an_option_without_json_is_a_key_given_again(answers: dict[str, Any]) -> None:
    nodes = [cpu["props"]["node-id"] for cpu in reversed(answers["query-hotpluggable-cpus"])]
    assert nodes == [0, 0, 1, 0]


@pytest.mark.parametrize("qemu", BINARIES)
def test_options_come_last_and_hold(qemu: Path | None, tmp_path: Path) -> None:
    document = {**MONITOR, "machine": {"type": "none"}, "name": {"guest": "section"}, "options": [["-name", "option"]]}
    assert ask(document, ["query-name"], tmp_path, qemu) == {"query-name": {"name": "option"}}


def test_an_action_holds_against_the_flags_that_are_shorthands_for_it() -> None:
    argv = document_to_argv({"action": {"shutdown": "poweroff"}, "no-shutdown": True, "no-reboot": True})
    assert argv == ["-no-reboot", "-no-shutdown", "-action", "shutdown=poweroff"]


@pytest.mark.parametrize("qemu", BINARIES)
def test_lists_of_mappings_in_a_machines_properties_are_numbered_keys(qemu: Path | None, tmp_path: Path) -> None:
    windows = [{"targets": ["cxl.1"], "size": "4G"}]
    document = {
        **MONITOR,
        "machine": {"type": "q35", "cxl": True, "cxl-fmw": windows},
        "memory": {"size": "128M", "maxmem": "8G", "slots": 8},
        "devices": [{"driver": "pxb-cxl", "id": "cxl.1", "bus": "pcie.0", "bus_nr": 12}],
    }
    assert "q35,cxl=on,cxl-fmw.0.targets.0=cxl.1,cxl-fmw.0.size=4G" in document_to_argv(document)
    found = ask(document, ["info mtree -f"], tmp_path, qemu)
    assert "cxl-fixed-memory-region" in found["info mtree -f"]
