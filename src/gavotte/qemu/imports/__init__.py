"""From an existing QEMU command line to a machine file.

Knows: how QEMU reads its command line, now and formerly.
Doesn't know: any binary. Scalars stay strings, and `check_document` makes them what a binary wants.
"""

from gavotte.qemu.imports.launchers import is_qemu
from gavotte.qemu.imports.lossless import import_argv
from gavotte.qemu.imports.modern import Change, modernise
from gavotte.qemu.imports.sources import CommandLine, command_in_text, command_of_process, inherited_fds
from gavotte.qemu.imports.trace import trace_script

__all__ = [
    "Change",
    "CommandLine",
    "command_in_text",
    "command_of_process",
    "import_argv",
    "inherited_fds",
    "is_qemu",
    "modernise",
    "trace_script",
]
