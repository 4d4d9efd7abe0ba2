"""Whether a QEMU binary would take what it is given, asked of its schema before anything starts.

Knows: QEMU's types and names, and which of them refer to which.
Doesn't know: how an option is written, or what a machine is for.
"""

from gavotte.qemu.check.document import check_document
from gavotte.qemu.check.step import check_step

__all__ = ["check_document", "check_step"]
