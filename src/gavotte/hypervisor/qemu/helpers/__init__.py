"""Processes that serve one device of a machine: virtiofsd and passt.

Knows: how each is started, confined and ended.
Doesn't know: QEMU, or the machine that it serves.
"""
