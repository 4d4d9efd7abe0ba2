"""QMP, QEMU's monitor protocol: JSON lines, ids, events, file descriptors.

Knows: how messages look on the wire, which reply belongs to which command, and what it means when no reply comes.
Doesn't know: a single QEMU command, except `qmp_capabilities`, which opens every connection.
"""
