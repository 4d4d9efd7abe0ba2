"""The hypervisor interface on QEMU.

Knows: which QEMU devices make a disk, a port, a console; when a QEMU machine runs and why it ended.
Doesn't know: what the guest runs, whose files it sees, who uses it.
"""
