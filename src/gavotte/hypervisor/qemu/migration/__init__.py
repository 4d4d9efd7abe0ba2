"""QEMU's migration: a machine saved to a file, loaded from one, and cloned from a template.

Knows: the stream that QEMU writes and reads, and the file format around it.
Doesn't know: who keeps the files.
"""
