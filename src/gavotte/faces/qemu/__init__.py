"""The commands of `gavotte qemu`: machine files, what a binary supports, and machines that others started.

Knows: arguments and terminals.
Doesn't know: how anything of it is done.
"""
