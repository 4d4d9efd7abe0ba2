"""What changes or inspects a machine that runs: one module for each operation.

Knows: the QMP commands of its operation.
Doesn't know: how a machine starts, and who manages it.
"""
