"""Each spelling of a command line, and what it is in a machine file."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gavotte.errors import UsageError
from gavotte.qemu.document import document_to_argv
from gavotte.qemu.imports import import_argv
from gavotte.qemu.imports.options import FLAGS, VALUED
from gavotte.qemu.props import Json

QEMU = "qemu-system-x86_64"


def imported(line: str, qemu: str = QEMU) -> dict[str, Any]:
    document = dict(import_argv([qemu, *shlex.split(line)]))
    document.pop("qemu")
    return document


@pytest.mark.parametrize(
    ("line", "section", "value"),
    [
        ("-m 1024", "memory", {"size": "1024M"}),
        ("-m 1G,slots=2,maxmem=4G", "memory", {"size": "1G", "slots": "2", "maxmem": "4G"}),
        ("-m 128 -m maxmem=1G", "memory", {"size": "128M", "maxmem": "1G"}),
        ("-smp 2,sockets=2", "smp", {"cpus": "2", "sockets": "2"}),
        ("-M q35 -machine usb=off,smp.cpus=2", "machine", {"type": "q35", "usb": "off", "smp": {"cpus": "2"}}),
        ("-machine q35,sgx-epc.0.memdev=e", "machine", {"type": "q35", "sgx-epc": [{"memdev": "e"}]}),
        ("-name vm,process=p -name debug-threads=on", "name", {"guest": "vm", "process": "p", "debug-threads": "on"}),
        ("-cpu host,pmu=off", "cpu", {"model": "host", "pmu": "off"}),
        ("-accel kvm -accel tcg,thread=multi", "accels", [{"accel": "kvm"}, {"accel": "tcg", "thread": "multi"}]),
        ("-boot d", "boot", {"order": "d"}),
        ("-rtc base=utc -rtc clock=host", "rtc", {"base": "utc", "clock": "host"}),
        ("-global a.b.c=x,y=z", "globals", [{"driver": "a", "property": "b.c", "value": "x,y=z"}]),
        ("-global driver=a,property=b,value=x,,y", "globals", [{"driver": "a", "property": "b", "value": "x,y"}]),
        ("-device virtio-rng-pci,id=r", "devices", [{"driver": "virtio-rng-pci", "id": "r"}]),
        ("-device driver=virtio-rng-pci", "devices", [{"driver": "virtio-rng-pci"}]),
        ('-device \'{"driver":"x","addr":5}\'', "devices", [{"driver": "x", "addr": 5}]),
        ("-device x,multifunction,nohotplug", "devices", [{"driver": "x", "multifunction": "on", "hotplug": "off"}]),
        ("-device x,a=1,a=2", "devices", [{"driver": "x", "a": "2"}]),
        (
            "-chardev socket,id=c,path=/a,,b,server,nowait,nodelay",
            "chardevs",
            [{"backend": "socket", "id": "c", "path": "/a,b", "server": "on", "wait": "off", "delay": "off"}],
        ),
        ("-mon c,mode=control,pretty", "monitors", [{"chardev": "c", "mode": "control", "pretty": "on"}]),
        (
            "-netdev user,id=n,hostfwd=tcp::1-:2,hostfwd=tcp::3-:4,restrict",
            "netdevs",
            [{"type": "user", "id": "n", "hostfwd": [{"str": "tcp::1-:2"}, {"str": "tcp::3-:4"}], "restrict": "on"}],
        ),
        (
            "-netdev user,id=n,ipv6-net=fec0::/48",
            "netdevs",
            [{"type": "user", "id": "n", "ipv6-prefix": "fec0::", "ipv6-prefixlen": "48"}],
        ),
        (
            "-netdev stream,id=n,addr.type=unix,addr.path=/x",
            "netdevs",
            [{"type": "stream", "id": "n", "addr": {"type": "unix", "path": "/x"}}],
        ),
        (
            "-blockdev driver=qcow2,node-name=d,file.driver=file,file.filename=/x,,y",
            "blockdevs",
            [{"driver": "qcow2", "node-name": "d", "file": {"driver": "file", "filename": "/x,y"}}],
        ),
        (
            "-blockdev quorum,node-name=q,vote-threshold=1,children.0=a,children.1=b",
            "blockdevs",
            [{"driver": "quorum", "node-name": "q", "vote-threshold": "1", "children": ["a", "b"]}],
        ),
        (
            "-object memory-backend-ram,id=m,size=1G,host-nodes=0-2,host-nodes=5",
            "objects",
            [{"qom-type": "memory-backend-ram", "id": "m", "size": "1G", "host-nodes": [0, 1, 2, 5]}],
        ),
        ("-numa node,cpus=0-1,cpus=3", "numa", [{"type": "node", "cpus": ["0-1", "3"]}]),
        ("-smbios type=11,value=a,value=b", "smbios", [{"type": "11", "value": ["a", "b"]}]),
        ("-fw_cfg opt/a,string=b,,c", "fw_cfg", [{"name": "opt/a", "string": "b,c"}]),
        ("-append 'a,b=c,,d'", "append", "a,b=c,,d"),
        ("--no-reboot", "no-reboot", True),
        ("-incoming exec:cat,x", "incoming", "exec:cat,x"),
    ],
)
def test_a_map_becomes_a_map(line: str, section: str, value: Json) -> None:
    assert imported(line) == {section: value}


@pytest.mark.parametrize(
    "line",
    [
        "-drive file=x,if=none,id=d",
        "-hda x -cdrom y",
        "disk.img",
        "-net nic -net user",
        "-serial mon:stdio -parallel none -monitor stdio -qmp unix:/x,server",
        "-nographic",
        "-usbdevice tablet",
        "-soundhw hda",
        "-cpu host,+x,-y",
        "-cpu host,x",
        "-device x,help",
        "-global ''",
        "-global driver=a,property=b",
        "-global driver=a,property=b,value=c,more=d",
        """-device "{'driver':'x'}" """,
        """-device '{"driver":"x","driver":"y"}' """,
        "-kernel a -kernel b",
        "-cpu a -cpu b",
        "-display none -nographic",
        "-nographic -display gtk",
        "-M q35,usb=off -usb",
        "-usb -M q35,usb=off",
        "-kernel a -M q35,kernel=b",
        "-no-reboot -action reboot=reset",
        "-device x,id=a -set device.a.b=c",
        "-device x -readconfig f",
        "-device x -drive if=virtio,file=y",
        "-virtfs local,mount_tag=t,path=/x,security_model=none -device x",
        "-frobnicate x -y z",
        "-blockdev a.b=1,a=2",
        "-object memory-backend-ram,id=m,size=1G -object x,help",
    ],
)
def test_what_would_lose_something_stays_word_for_word_in_its_order(line: str) -> None:
    document = imported(line)
    assert set(document) == {"options"}
    assert [word for words in document["options"] for word in words] == shlex.split(line)


def test_devices_stay_where_a_drive_may_be_a_device_among_them() -> None:
    """On Arm's `virt` a drive without an interface is virtio; on a PC it is IDE, and the devices are free."""
    line = "-device x -hda disk.img"
    assert "devices" in imported(line)
    assert "devices" not in imported(line, "qemu-system-aarch64")
    assert "devices" not in imported(f"-M microvm {line}")


def test_json_devices_come_after_the_others_in_either_form() -> None:
    document = imported("""-device '{"driver":"j"}' -device k -drive if=virtio,file=x""")
    assert document["devices"] == [{"driver": "j"}]
    assert document["options"] == [["-device", "k"], ["-drive", "if=virtio,file=x"]]


def test_json_devices_come_behind_key_value_ones_as_qemu_makes_them() -> None:
    document = imported("""-device '{"driver":"j","id":"lan"}' -device k,id=wan -device '{"driver":"j"}' -device k""")
    assert document["devices"] == [
        {"driver": "k", "id": "wan"},
        {"driver": "k"},
        {"driver": "j", "id": "lan"},
        {"driver": "j"},
    ]


def test_modern_network_backends_come_first_as_qemu_makes_them_first() -> None:
    document = imported("-netdev hubport,id=h,hubid=0,netdev=s -netdev stream,id=s,addr.type=unix,addr.path=/x")
    assert [netdev["id"] for netdev in document["netdevs"]] == ["s", "h"]


def test_a_configuration_file_holds_back_what_it_could_add_to_and_nothing_else() -> None:
    document = imported(
        """-readconfig f -m 1G -device x -uuid u -device '{"driver":"j"}' -blockdev null-co,node-name=n"""
    )
    assert set(document) == {"uuid", "devices", "blockdevs", "options"}
    assert document["options"] == [["-readconfig", "f"], ["-m", "1G"], ["-device", "x"]]


def test_bytes_that_are_not_utf8_stay_as_they_are() -> None:
    document = import_argv([QEMU, "-kernel", "/a\udcff", "-chardev", "file,id=c,path=/\udcfe"])
    assert document["kernel"] == "/a\udcff"
    assert document_to_argv(document) == ["-kernel", "/a\udcff", "-chardev", "file,id=c,path=/\udcfe"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "there is no command line"),
        ([""], "there is no command line"),
        (["-m", "1G"], "is an option"),
        (["ls", "-l"], "doesn't look like a QEMU"),
        (["timeout", "60", "qemu-system-x86_64", "-machine", "q35"], "'timeout' doesn't look like a QEMU"),
        (["LC_ALL=C", "-m"], "doesn't look like a QEMU"),
        (["qemu-img", "create", "x"], "runs no machine"),
        ([QEMU, "-S", "-m"], r"argv\[2\]: -m needs a value"),
        ([QEMU, "-m", "1\0"], r"argv\[2\]: no argument can hold a NUL"),
        ([QEMU, "-m", "\ud800"], r"argv\[2\]: no argument can hold U\+D800"),
    ],
)
def test_what_is_no_command_line_of_qemu_is_refused(argv: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        import_argv(argv)


def test_any_name_will_do_where_options_of_qemu_follow() -> None:
    assert import_argv(["/opt/vmm", "-nodefaults"]) == {"qemu": "/opt/vmm", "nodefaults": True}


def test_no_option_is_in_both_tables() -> None:
    assert FLAGS.isdisjoint(VALUED)


values = st.text(st.sampled_from("ab,=.{}[]\"' -+:01no\\\udc80é"), max_size=12)
pairs = st.lists(st.tuples(st.sampled_from(["id", "a", "b.c", "x.0", "server", "noq", "type"]), values), max_size=4)
texts = st.one_of(values, pairs.map(lambda items: ",".join(f"{k}={v}" if v else k for k, v in items)))
options = st.one_of(
    st.sampled_from(sorted(FLAGS)).map(lambda name: [f"-{name}"]),
    st.tuples(st.sampled_from(sorted(VALUED)), texts).map(lambda item: [f"--{item[0]}", item[1]]),
    values.filter(lambda word: not word.startswith("-")).map(lambda word: [word]),
)


@given(st.lists(options, max_size=8))
def test_importing_what_was_printed_changes_nothing_more(lines: list[list[str]]) -> None:
    document = import_argv([QEMU, *(word for line in lines for word in line)])
    assert import_argv([QEMU, *document_to_argv(document)]) == document
