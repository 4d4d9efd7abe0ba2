"""Sandboxes: what may be asked for, which accelerator runs them, what they own, how they end.

Knows: policy and lifetime.
Doesn't know: command lines, terminals, tables; nor QEMU's words for anything.
"""
