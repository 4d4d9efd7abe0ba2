"""Calls of Python functions in guests: what is sent, what runs it there, and what comes back.

Knows: how a function's source, what it needs, its arguments and its result are written down.
Doesn't know: in which sandbox it runs, nor when.
"""
