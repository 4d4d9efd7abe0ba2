"""One step: a device, an object or a back end, checked by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from gavotte.qemu.check.device import check_device
from gavotte.qemu.check.inspection import Inspection, inside, shown
from gavotte.qemu.check.names import Space
from gavotte.qemu.check.options import check_parameters
from gavotte.qemu.check.qapi import check_struct, define_node
from gavotte.qemu.check.rules import CHARDEV_ALIASES, check_option_rules
from gavotte.qemu.check.scalars import is_on
from gavotte.qemu.props import Json, Kind, PropertyMap, Step

if TYPE_CHECKING:
    from gavotte.qemu.schema import Schema

__all__ = ["check_props", "check_step"]

_Check: TypeAlias = Callable[[PropertyMap, str, Inspection], dict[str, Json]]

# id_wellformed in QEMU's util/id.c
_ID = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")


def check_step(step: Step, schema: Schema, *, hot: bool = False, path: str = "") -> Step:
    """Gives the step with every value in the exact type that the binary wants, so that JSON works cold and hot.

    `hot` says that the machine runs: a device that can't be plugged then is a problem. `path` is where the step stands
    in the caller's own input, for messages.

    Raises InvalidMachine with all problems.
    """
    inspection = Inspection(schema, hot)
    props = check_props(step.kind, step.props, path, inspection)
    inspection.raise_problems()
    return Step(step.kind, props, step.fds)


def check_props(kind: Kind, props: PropertyMap, path: str, inspection: Inspection) -> dict[str, Json]:
    """Gives the properties in the binary's own types. What doesn't fit is reported and comes back as it is."""
    return _CHECKS[kind](inspection.plain(props, path), path, inspection)


def _check_object(props: PropertyMap, path: str, inspection: Inspection) -> dict[str, Json]:
    schema = inspection.schema
    kind = props.get("qom-type")
    checked = check_struct("object", schema.backend("object"), props, path, inspection)
    if isinstance(kind, str) and kind in schema.backend("object").variants and kind not in schema.objects:
        inspection.report_unknown(
            inside(path, "qom-type"), f"this QEMU was built without the object {kind}", kind, schema.objects
        )
    _define("object", props, path, inspection)
    return checked


def _check_netdev(props: PropertyMap, path: str, inspection: Inspection) -> dict[str, Json]:
    _define("netdev", props, path, inspection, wellformed=False)
    return check_struct("netdev", inspection.schema.backend("netdev"), props, path, inspection)


def _check_blockdev(props: PropertyMap, path: str, inspection: Inspection) -> dict[str, Json]:
    if "node-name" not in props:
        inspection.report(path, "a block device needs a 'node-name'")
    define_node(props, path, inspection)
    return check_struct("blockdev", inspection.schema.backend("blockdev"), props, path, inspection)


def _check_chardev(props: PropertyMap, path: str, inspection: Inspection) -> dict[str, Json]:
    """-chardev is flat, where QMP nests the backend, so its keys are those of the option."""
    _define("chardev", props, path, inspection)
    if isinstance(name := props.get("id"), str) and is_on(props.get("mux")):
        inspection.names.shared.add(("chardev", name))
    backends = inspection.schema.backend("chardev").variants
    backend = props.get("backend")
    if not isinstance(backend, str):
        inspection.report(path, "a chardev needs a 'backend'")
    elif CHARDEV_ALIASES.get(backend, backend) not in backends:
        inspection.report_unknown(
            inside(path, "backend"), f"this QEMU has no chardev {shown(backend)}", backend, backends
        )
    elif backend == "mux" and isinstance(front := props.get("chardev"), str):
        inspection.names.refer("chardev", front, inside(path, "chardev"))
    check_option_rules("chardev", props, path, inspection)
    return check_parameters("chardev", props, path, inspection, more=("id", "backend"))


def _check_fsdev(props: PropertyMap, path: str, inspection: Inspection) -> dict[str, Json]:
    _define("fsdev", props, path, inspection)
    if "fsdriver" not in props:
        inspection.report(path, "an fsdev needs an 'fsdriver'")
    if inspection.hot:
        inspection.report(path, "QMP has no command for an fsdev: it can only be there from the start")
    check_option_rules("fsdev", props, path, inspection)
    return check_parameters("fsdev", props, path, inspection, more=("id",))


def _define(
    space: Space, props: Mapping[str, Json], path: str, inspection: Inspection, *, wellformed: bool = True
) -> None:
    """Writes down the id, which -netdev alone takes in any form."""
    name = props.get("id")
    if not isinstance(name, str):
        if space not in ("object", "netdev"):  # their types say it already
            inspection.report(path, f"{space} needs an 'id'")
        return
    if wellformed and not _ID.fullmatch(name):
        inspection.report(
            inside(path, "id"), f"{shown(name)} isn't an id: a letter first, then letters, digits and - . _"
        )
    inspection.names.define(space, name, inside(path, "id"))


_CHECKS: Final[dict[Kind, _Check]] = {
    "object": _check_object,
    "chardev": _check_chardev,
    "netdev": _check_netdev,
    "blockdev": _check_blockdev,
    "fsdev": _check_fsdev,
    "device": check_device,
}
