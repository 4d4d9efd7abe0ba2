"""One QEMU binary, one QEMU process: its command line, the fds it is given, its end.

Knows: QEMU's option syntax, where a binary is found, how a process is started, watched and stopped.
Doesn't know: what a sandbox is, what runs in the guest, which devices anybody wants.
"""
