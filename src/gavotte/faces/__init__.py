"""What people use: the Python API and the command line.

Knows: terminals, arguments, exit codes, threads.
Doesn't know: how anything is decided; that is the floors below.
"""
