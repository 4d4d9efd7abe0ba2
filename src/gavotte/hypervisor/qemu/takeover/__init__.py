"""A machine that outlives its manager, and the next manager that takes it over.

Knows: the record of a kept machine, and how to compare it with what QEMU has.
Doesn't know: what the guest runs.
"""
