"""What a machine's devices need and where they sit: places, sockets, files and helper processes on this host.

Knows: the plan of a device, and what it uses on the host.
Doesn't know: the state of the machine, or QMP.
"""
