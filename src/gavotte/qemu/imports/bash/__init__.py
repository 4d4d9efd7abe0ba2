"""Which commands a bash script starts, as far as that can be told without running it.

Only what runs straight on is read, and exactly as bash reads it: assignments, arrays, quotes, expansions of variables.
A construct beside it is passed over when it provably starts none of the wanted programs; the variables that it may set
have no value from there on. Whatever else is refused, by its name and its line.

Knows: bash's grammar (tree-sitter-bash), its expansions (bash(1), EXPANSION), and what its builtins may change.
Doesn't know: QEMU. Which command is wanted is the caller's to say.
"""

from gavotte.qemu.imports.bash.reader import Command, read_script

__all__ = ["Command", "read_script"]
