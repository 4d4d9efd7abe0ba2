from __future__ import annotations

from pathlib import Path

import pytest

from gavotte.qemu.schema import Alternate, Array, Enum, Scalar, Schema, Struct
from tests.support.binaries import BINARIES
from tests.support.schemas import schema_for


@pytest.fixture(params=BINARIES)
def schema(request: pytest.FixtureRequest) -> Schema:
    qemu: Path | None = request.param
    return schema_for(qemu)


def test_the_binary_says_who_it_is(schema: Schema) -> None:
    assert (7, 2, 0) <= schema.version < (100, 0, 0)
    assert schema.target == "x86_64"


# --- devices --------------------------------------------------------------------------------------------------------


def test_a_device_type_has_its_properties_with_type_default_and_description(schema: Schema) -> None:
    device = schema.device("virtio-blk-pci")
    assert device
    assert device.properties
    assert list(device.properties) == sorted(device.properties)
    queues = device.properties["num-queues"]
    assert (queues.name, queues.type, queues.default, queues.values) == ("num-queues", "uint16", 65535, ())
    assert "Slot" in device.properties["addr"].description
    assert device.properties["multifunction"].default is False
    assert device.properties["serial"].default is None
    assert device.properties["iothread"].type == "link<iothread>"


def test_ancestors_come_nearest_first_and_then_the_interfaces(schema: Schema) -> None:
    device = schema.device("virtio-blk-pci")
    assert device
    assert device.parents[:5] == ("virtio-blk-pci-base", "virtio-pci", "pci-device", "device", "object")
    assert {"conventional-pci-device", "pci-express-device"} <= set(device.parents[5:])


def test_device_types_are_found_by_ancestor_and_by_interface(schema: Schema) -> None:
    assert "virtio-rng-pci" in schema.types("virtio-pci")
    assert "e1000" in schema.types("conventional-pci-device")
    assert "e1000" not in schema.types("pci-express-device")
    assert "nvme" in schema.types("pci-express-device")
    assert schema.types("no-such-type") == ()


def test_abstract_types_and_what_is_no_device_are_no_device_types(schema: Schema) -> None:
    for name in ("pci-device", "virtio-pci", "rng-random", "pc-q35-7.2-machine", "no-such-type", ""):
        assert name not in schema.devices
        assert schema.device(name) is None


@pytest.mark.parametrize(
    ("device", "name", "words"),
    [
        ("virtio-blk-pci", "disable-legacy", {"on", "off", "auto"}),  # the description is the words
        ("virtio-blk-pci", "werror", {"report", "ignore", "enospc", "stop", "auto"}),  # they follow a text
        ("floppy", "drive-type", {"120", "144", "288", "auto", "none"}),  # no enumeration of QMP
        ("pcie-root-port", "x-width", {"1", "2", "4", "8", "12", "16", "32"}),
        ("virtio-blk-pci", "multifunction", set()),  # on/off of a bool
        ("virtio-blk-pci", "addr", set()),
        ("virtio-blk-pci", "drive", set()),
    ],
)
def test_the_words_of_an_enumeration_are_known(schema: Schema, device: str, name: str, words: set[str]) -> None:
    found = schema.device(device)
    assert found
    assert found.properties
    assert set(found.properties[name].values) == words


def test_every_on_off_auto_has_its_words_whatever_its_description_says(schema: Schema) -> None:
    devices = filter(None, map(schema.device, schema.devices))
    found = [one for device in devices for one in (device.properties or {}).values() if one.type == "OnOffAuto"]
    assert len(found) > 100
    assert {frozenset(one.values) for one in found} == {frozenset({"on", "off", "auto"})}


# --- objects, machines, CPUs ----------------------------------------------------------------------------------------


def test_an_object_type_has_the_properties_of_qom_and_the_words_of_qapi(schema: Schema) -> None:
    memory = schema.object("memory-backend-ram")
    assert memory
    assert memory["size"].type == "int"
    assert memory["policy"].values == ("default", "preferred", "bind", "interleave")
    assert schema.object("virtio-blk-pci") is None
    assert schema.object("memory-backend") is None


def test_an_object_type_whose_introspection_ends_the_process_has_what_qapi_tells(schema: Schema) -> None:
    compare = schema.object("colo-compare")
    assert compare
    assert compare["primary_in"].type == "string"


def test_a_machine_type_is_found_by_its_name_and_its_alias(schema: Schema) -> None:
    q35 = schema.machine("q35")
    assert q35
    assert q35.alias == "q35"
    assert q35.name in schema.machines
    assert "q35" not in schema.machines
    assert schema.machine(q35.name) == q35
    assert q35.max_cpus >= 255
    assert q35.default_cpu in schema.devices
    assert q35.properties["smm"].values == ("on", "off", "auto")
    assert sum(machine.default for machine in filter(None, map(schema.machine, schema.machines))) == 1
    assert schema.machine("virt") is None


def test_a_cpu_model_has_its_device_type(schema: Schema) -> None:
    models = {model.name: model for model in schema.cpus}
    assert models["max"].type == "max-x86_64-cpu"
    assert {model.type for model in models.values()} <= set(schema.devices)


def test_an_option_has_its_parameters_where_the_binary_tells_them(schema: Schema) -> None:
    machine, overcommit = schema.option("machine"), schema.option("overcommit")
    assert machine
    assert overcommit
    assert machine["usb"].type == "boolean"
    assert overcommit["mem-lock"].name == "mem-lock"
    assert schema.option("no-such-option") is None


# --- QAPI -----------------------------------------------------------------------------------------------------------


def test_a_command_has_types_for_what_it_takes_and_gives(schema: Schema) -> None:
    command = schema.command("query-cpu-model-expansion")
    assert command
    arguments, returned = schema.type(command.arguments), schema.type(command.returns)
    assert isinstance(arguments, Struct)
    assert isinstance(returned, Struct)
    assert arguments.members["type"].optional is False
    assert isinstance(schema.type(arguments.members["type"].type), Enum)
    assert schema.command("no-such-command") is None
    assert "query-status" in schema.commands
    assert "SHUTDOWN" in schema.events


def test_out_of_band_and_deprecated_commands_are_marked(schema: Schema) -> None:
    commands = [command for command in map(schema.command, schema.commands) if command]
    assert {command.name for command in commands if command.oob} >= {"migrate-pause", "migrate-recover", "query-yank"}
    assert "query-status" not in {command.name for command in commands if command.oob or command.deprecated}


def test_every_type_that_anything_refers_to_is_there(schema: Schema) -> None:
    seen: set[str] = set()
    commands = filter(None, map(schema.command, schema.commands))
    open_ = [id for command in commands for id in (command.arguments, command.returns)]
    while open_:
        id = open_.pop()
        if id in seen:
            continue
        seen.add(id)
        match schema.type(id):
            case Array(element):
                open_.append(element)
            case Alternate(types):
                open_.extend(types)
            case Struct(members, tag, variants):
                open_ += [member.type for member in members.values()]
                open_ += variants.values()
                assert not variants or tag in members
            case Scalar() | Enum():
                pass
    assert len(seen) > 500


def test_a_type_that_is_not_there_is_a_key_error(schema: Schema) -> None:
    with pytest.raises(KeyError):
        schema.type("no-such-type")
    with pytest.raises(KeyError):
        schema.struct("str")
    with pytest.raises(KeyError):
        schema.backend("device")


@pytest.mark.parametrize(
    ("kind", "tag", "variant", "member"),
    [
        ("object", "qom-type", "rng-random", "filename"),
        ("netdev", "type", "user", "hostfwd"),
        ("blockdev", "driver", "null-co", "size"),
        ("chardev", "type", "socket", "data"),
    ],
)
def test_a_backend_is_a_struct_whose_tag_chooses_a_variant(
    schema: Schema, kind: str, tag: str, variant: str, member: str
) -> None:
    backend = schema.backend(kind)
    assert backend.tag == tag
    assert member in schema.struct(backend.variants[variant]).members
    words = schema.type(backend.members[tag].type)
    assert isinstance(words, Enum)
    assert variant in words.values
