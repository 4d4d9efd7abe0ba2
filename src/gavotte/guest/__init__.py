"""What runs inside a guest, and the host's end of the line to it.

Knows: the guest image, the agent that is the guest's PID 1, the frames they speak.
Doesn't know: what a sandbox is, how many there are, or how QEMU is started.
"""
