"""Legacy options as maps, and what is said of each."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gavotte.qemu.document import document_to_argv
from gavotte.qemu.imports import Change, import_argv, modernise
from gavotte.qemu.imports.options import FLAGS, VALUED


def modern(line: str, qemu: str = "qemu-system-x86_64") -> tuple[dict[str, Any], list[Change]]:
    document, changes = modernise(import_argv([qemu, *shlex.split(line)]))
    return {**document}, changes


def test_every_legacy_option_is_named_once_with_what_it_became_and_why() -> None:
    _, changes = modern("-enable-kvm -hda a.qcow2 -soundhw hda")
    assert [change.before for change in changes] == [("-enable-kvm",), ("-hda", "a.qcow2"), ("-soundhw", "hda")]
    assert [bool(change.after) for change in changes] == [True, True, False]
    assert all(change.why for change in changes)
    assert str(changes[0]).startswith("-enable-kvm is now machine.accel=kvm: ")
    assert str(changes[2]).startswith("-soundhw hda stays as it is: ")


def test_what_is_modern_already_is_left_alone() -> None:
    line = "-machine q35 -device virtio-rng-pci -kernel k"
    document, changes = modern(line)
    assert document == import_argv(["qemu-system-x86_64", *shlex.split(line)])
    assert changes == []


def test_a_virtio_drive_is_a_block_node_and_a_device_behind_the_others() -> None:
    document, _ = modern(
        "-drive file=a,,b.img,if=virtio,format=raw,cache=none,id=root,werror=stop -device x -nodefaults"
    )
    assert document["blockdevs"] == [
        {
            "driver": "raw",
            "node-name": "root",
            "cache": {"direct": "on"},
            "auto-read-only": "on",
            "file": {"driver": "file", "filename": "a,b.img", "cache": {"direct": "on"}},
        }
    ]
    assert document["devices"] == [{"driver": "x"}, {"driver": "virtio-blk-pci", "drive": "root", "werror": "stop"}]
    assert "options" not in document


@pytest.mark.parametrize(
    ("machine", "second"), [("pc", {"bus": "ide.0", "unit": "1"}), ("q35", {"bus": "ide.1", "unit": "0"})]
)
def test_disks_keep_their_places_on_the_boards_buses(machine: str, second: dict[str, str]) -> None:
    document, _ = modern(f"-M {machine} -nodefaults -hda a.raw -hdb b.qcow2")
    assert [device["driver"] for device in document["devices"]] == ["ide-hd", "ide-hd"]
    assert document["devices"][1].items() >= second.items()


def test_a_format_that_only_the_image_knows_is_not_guessed() -> None:
    document, changes = modern("-hda a.img")
    assert document["options"] == [["-hda", "a.img"]]
    assert "format=" in changes[0].why


@pytest.mark.parametrize(
    "drive", ["file=nbd:x:1,format=raw", "file=/dev/sda,format=raw", "file=a.raw,bps=5", "file=a.raw,if=sd"]
)
def test_a_drive_without_a_sure_form_stays(drive: str) -> None:
    assert modern(f"-drive {drive} -nodefaults")[0]["options"] == [["-drive", drive]]


def test_devices_stay_words_while_a_drive_that_stays_is_one_of_them() -> None:
    document, _ = modern("-device x -drive if=virtio,file=a.img -device y -monitor stdio")
    assert document["options"] == [["-device", "x"], ["-drive", "if=virtio,file=a.img"], ["-device", "y"]]
    assert document["monitors"] == [{"chardev": "compat_monitor0", "mode": "readline"}]


def test_one_card_and_one_backend_need_no_hub() -> None:
    document, _ = modern("-net nic,model=rtl8139,macaddr=52:54:00:00:00:01 -net user,hostfwd=tcp::1-:2 -device x")
    assert document["netdevs"] == [{"type": "user", "hostfwd": [{"str": "tcp::1-:2"}], "id": "net0"}]
    card = {"driver": "rtl8139", "mac": "52:54:00:00:00:01", "netdev": "net0"}
    assert document["devices"] == [card, {"driver": "x"}]


@pytest.mark.parametrize(
    "line", ["-net nic -net nic -net user", "-net nic", "-nic user,model=ne2k_isa", "-nic hubport,hubid=1,netdev=x"]
)
def test_networks_without_a_sure_form_stay(line: str) -> None:
    document, changes = modern(line)
    assert [word for words in document["options"] for word in words] == shlex.split(line)
    assert {change.after for change in changes} == {""}


def test_a_virtio_card_of_nic_keeps_its_interrupts_and_it_is_said() -> None:
    document, changes = modern("-nic user,model=virtio")
    assert document["devices"] == [{"driver": "virtio-net-pci", "vectors": "0", "netdev": "net0"}]
    assert "MSI-X" in changes[0].why


@pytest.mark.parametrize(("said", "device_id"), [("", "root"), (",serial=x", None), (",device_id=y", "y")])
def test_a_scsi_disk_keeps_the_name_by_which_its_guest_finds_it(said: str, device_id: str | None) -> None:
    document, _ = modern(f"-drive file=a.raw,if=none,id=root -device virtio-scsi-pci -device scsi-hd,drive=root{said}")
    assert document["devices"][1].get("device_id") == device_id


def test_nographic_says_all_that_it_stands_for() -> None:
    document, _ = modern("-nographic -M pc")
    assert document["display"] == {"type": "none"}
    assert document["machine"] == {"type": "pc", "graphics": "off"}
    assert document["chardevs"] == [
        {"backend": "stdio", "id": "serial0", "mux": "on"},
        {"backend": "null", "id": "parallel0"},
    ]
    assert document["monitors"] == [{"chardev": "serial0", "mode": "readline"}]
    assert [device["driver"] for device in document["devices"]] == ["isa-serial", "isa-parallel"]


@pytest.mark.parametrize(
    ("word", "props"),
    [
        ("null", {"backend": "null"}),
        ("file:/a,b", {"backend": "file", "path": "/a,b"}),
        ("unix:/x,server,nowait", {"backend": "socket", "path": "/x", "server": "on", "wait": "off"}),
        ("tcp::4444,server=on", {"backend": "socket", "host": "", "port": "4444", "server": "on"}),
        ("telnet:h:23", {"backend": "socket", "host": "h", "port": "23", "telnet": "on"}),
        ("/dev/ttyS0", {"backend": "serial", "path": "/dev/ttyS0"}),
    ],
)
def test_backends_in_one_word(word: str, props: dict[str, str]) -> None:
    document, _ = modern(f"-qmp {word}")
    assert document["chardevs"] == [{"id": "compat_monitor0", **props}]
    assert document["monitors"] == [{"chardev": "compat_monitor0", "mode": "control"}]


def test_set_goes_into_the_map_and_devices_of_other_options_keep_their_place() -> None:
    document, _ = modern(
        "-device x,id=a -set device.a.b=c,d -virtfs local,path=/,mount_tag=t,security_model=none -device y"
    )
    assert document["devices"] == [
        {"driver": "x", "id": "a", "b": "c,d"},
        {"driver": "virtio-9p-pci", "fsdev": "t", "mount_tag": "t"},
        {"driver": "y"},
    ]


def test_the_feature_model_does_not_become_the_name_of_the_processor() -> None:
    document, changes = modern("-cpu qemu64,family=6,model=3")
    assert document["options"] == [["-cpu", "qemu64,family=6,model=3"]]
    assert changes[0].after == ""


def test_the_last_word_on_the_machine_counts() -> None:
    assert modern("-M q35,usb=off -usb -no-acpi")[0]["machine"] == {"type": "q35", "usb": "on", "acpi": "off"}
    assert modern("-usb -M q35,usb=off")[0]["machine"] == {"type": "q35", "usb": "off"}


def test_flags_of_a_processor_are_features_on_x86_only() -> None:
    assert modern("-cpu host,+a_b,-c,d")[0]["cpu"] == {"model": "host", "a-b": "on", "c": "off", "d": "on"}
    assert modern("-cpu x,+a", "qemu-system-sparc")[0]["options"] == [["-cpu", "x,+a"]]


def test_a_configuration_file_keeps_everything_where_it_is() -> None:
    document, changes = modern("-device x -readconfig f -hda a.raw")
    assert len(document["options"]) == 3
    assert all(not change.after for change in changes)


@pytest.mark.parametrize(
    ("line", "accel"),
    [
        ("-enable-kvm", "kvm"),
        ("-enable-kvm -machine q35,accel=tcg", "tcg"),
        ("-machine q35,accel=tcg -enable-kvm", "kvm"),
        ("-enable-kvm -M accel=kvm:tcg", "kvm:tcg"),
    ],
)
def test_the_last_word_on_the_accelerator_counts_and_there_is_one(line: str, accel: str) -> None:
    document, _ = modern(line)
    assert document["machine"]["accel"] == accel
    assert "accels" not in document
    assert "options" not in document


def test_what_qemu_refuses_beside_accel_stays_and_says_so() -> None:
    document, changes = modern("-accel tcg -enable-kvm")
    assert document["options"] == [["-enable-kvm"]]
    assert "beside -accel" in changes[0].why


@pytest.mark.parametrize(("word", "discard"), [("on", "unmap"), ("unmap", "unmap"), ("off", "ignore")])
def test_discard_is_said_in_the_words_of_a_block_node(word: str, discard: str) -> None:
    document, _ = modern(f"-drive file=a.raw,if=virtio,discard={word}")
    assert document["blockdevs"][0]["discard"] == document["blockdevs"][0]["file"]["discard"] == discard


@pytest.mark.parametrize(
    ("line", "usb", "drivers"),
    [
        ("-usbdevice tablet -M pc", "on", ["usb-tablet"]),
        ("-M pc,usb=off -usbdevice tablet", "on", ["usb-tablet"]),
        ("-usbdevice tablet -M pc,usb=off", "off", []),
        ("-usbdevice tablet -M pc,usb=off -usb", "on", ["usb-tablet"]),
    ],
)
def test_a_usb_device_is_there_if_the_last_word_on_usb_is_on(line: str, usb: str, drivers: list[str]) -> None:
    document, _ = modern(line)
    assert document["machine"]["usb"] == usb
    assert [device["driver"] for device in document.get("devices", [])] == drivers


def test_a_usb_device_stays_among_devices_that_stay_and_goes_where_usb_is_off() -> None:
    line = "-device x -drive if=virtio,file=a.img -usbdevice tablet"
    assert ["-usbdevice", "tablet"] in modern(line)[0]["options"]
    assert ["-usbdevice", "tablet"] not in modern(f"{line} -M pc,usb=off")[0]["options"]


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("-hda a.img", "add format=raw"),
        ("-hda a.raw -snapshot", "use an overlay"),
        ("-drive file=a.raw,snapshot=on", "use an overlay"),
        ("-drive file=a.raw,bps=5", "on its -device"),
        ("-drive file=nbd:x:1,format=raw", "write it as a -blockdev"),
        ("-drive file=a.raw,if=sd", "use if=none and a -device"),
        ("-drive file=a.raw,cache=x", "QEMU has writeback, none"),
        ("-drive file=a.raw,discard=x", "QEMU has unmap and ignore"),
        ("-drive file=a.raw,detect-zeroes=unmap,discard=off", "say detect-zeroes=on"),
        ("-drive file=a.raw,index=x", "is not the number of a place"),
        ("-drive file=a.raw,format=luks", "write it as a -blockdev with driver=luks"),
        ("-drive help", "it asks for help"),
        ("-net nic -net nic -net user", "use a -netdev and a -device"),
        ("-monitor none", "with -nodefaults it can go"),
        ("-cpu host,+a,a=off", "give each once"),
        ("-usbdevice braille", "-usb and -device say both"),
        ("-serial msmouse:x", "write a -chardev"),
        ("-set device.x.y=z", "write the property where it belongs"),
    ],
)
def test_a_note_on_what_stays_names_the_remedy(line: str, remedy: str) -> None:
    _, changes = modern(line)
    assert remedy in next(change.why for change in changes if not change.after)


LEGACY = sorted(
    {
        "action",
        "balloon",
        "boot",
        "cdrom",
        "cpu",
        "device",
        "display",
        "drive",
        "hda",
        "machine",
        "monitor",
        "net",
        "nic",
    }
    | {"parallel", "pflash", "qmp", "serial", "set", "smp", "usbdevice", "virtfs", "watchdog", "watchdog-action"}
)
keys = st.sampled_from(
    ["file", "if", "index", "unit", "bus", "media", "format", "cache", "discard", "id", "model", "type"]
)
words = st.sampled_from(
    ["virtio", "ide", "none", "x", "-1", "on", "a.raw", "cdrom", "", "nbd:x", "user", "é,,", "\udcff", "1e9", "help"]
)
pairs = st.lists(st.tuples(keys, words), max_size=4).map(lambda items: ",".join(f"{k}={v}" for k, v in items))
legacy = st.tuples(st.sampled_from(LEGACY), st.one_of(pairs, words)).map(lambda item: [f"-{item[0]}", item[1]])
other = st.one_of(
    st.sampled_from(sorted(FLAGS)).map(lambda name: [f"-{name}"]),
    st.tuples(st.sampled_from(sorted(VALUED)), words).map(lambda item: [f"-{item[0]}", item[1]]),
)


@given(st.lists(st.one_of(legacy, other), max_size=6))
@settings(max_examples=100)
def test_whatever_is_written_can_be_printed_and_has_nothing_left_to_rewrite(lines: list[list[str]]) -> None:
    document, _ = modernise(import_argv(["qemu-system-x86_64", *(word for line in lines for word in line)]))
    document_to_argv(document)
    assert modernise(document)[0] == document


def test_a_file_name_beyond_utf8_stays_where_json_could_not_hold_it() -> None:
    document, changes = modernise(import_argv(["qemu-system-x86_64", "-drive", "if=virtio,format=raw,file=/a\udcff"]))
    assert document["options"] == [["-drive", "if=virtio,format=raw,file=/a\udcff"]]
    assert "U+DCFF" in changes[0].why
