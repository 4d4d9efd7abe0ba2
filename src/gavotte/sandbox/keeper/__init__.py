"""Detached sandboxes: a process that keeps each, and the line by which short commands talk to it.

Knows: a sandbox's life and its register, and how a request and a command's streams go over a socket.
Doesn't know: terminals, arguments, or how an answer is shown.
"""
