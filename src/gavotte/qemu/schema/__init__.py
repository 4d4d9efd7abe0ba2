"""What one QEMU binary supports, learnt from that binary and remembered by its identity.

Knows: how a binary is asked, and the form of its answers.
Doesn't know: machines that run, or what anybody wants of them.
"""

from gavotte.qemu.schema.cache import load_schema
from gavotte.qemu.schema.find import get_schema, learn_schema, schema_of
from gavotte.qemu.schema.model import (
    Alternate,
    Array,
    Command,
    CpuModel,
    DeviceType,
    Enum,
    MachineType,
    Member,
    Property,
    QapiType,
    Scalar,
    Struct,
)
from gavotte.qemu.schema.view import Schema

__all__ = [
    "Alternate",
    "Array",
    "Command",
    "CpuModel",
    "DeviceType",
    "Enum",
    "MachineType",
    "Member",
    "Property",
    "QapiType",
    "Scalar",
    "Schema",
    "Struct",
    "get_schema",
    "learn_schema",
    "load_schema",
    "schema_of",
]
