"""A virtual machine by what it is made of and what can be done with it.

Knows: disks, ports, memory and processors by their purpose; how a machine starts and ends.
Doesn't know: what the guest runs, whose files it sees, who uses it.
"""
