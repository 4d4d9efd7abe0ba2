"""Which part of Python an image's agent needs: found from its import statements, not kept by hand.

The packed interpreter runs this file as a program, since only it is sure to know the syntax of its own library. So the
file needs nothing but the standard library.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

# What the standard library imports only when it comes to it, and what makes a traceback readable.
ALWAYS = (
    "ctypes",
    "errno",
    "fcntl",
    "json",
    "linecache",
    "pty",
    "resource",
    "select",
    "selectors",
    "signal",
    "socket",
    "struct",
    "termios",
    "threading",
    "tokenize",
    "traceback",
    "tty",
)


def modules_in(names: Iterable[str], directory: str) -> dict[str, str]:
    """Dotted module name -> file, for the library in `directory` (`usr/lib/python3.X`) among the file `names`."""
    found: dict[str, str] = {}
    for name in names:
        inside = name.removeprefix(f"{directory}/")
        if inside == name or "__pycache__" in inside:
            continue
        module = ""
        if inside.endswith(".py"):
            module = inside.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        elif inside.startswith("lib-dynload/") and inside.endswith(".so"):
            module = inside.removeprefix("lib-dynload/").partition(".")[0]
        if all(part.isidentifier() for part in module.split(".")):  # not the scripts of config-3.X-ARCHITECTURE/
            found[module] = name
    return found


def imported_by(source: bytes, *, module: str = "", lazily: bool = True) -> set[str]:
    """The modules that `source` names in its import statements; relative ones are taken from package `module`.

    `lazily`: those inside of functions count as well.
    """
    found: set[str] = set()
    for node in _import_statements(ast.parse(source), lazily=lazily):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        else:
            base = ".".join([*module.split(".")[: -node.level or None], node.module or ""]).strip(".")
            base = base if node.level else node.module or ""
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return found


def closure(seeds: Iterable[str], available: Mapping[str, str], sources: Mapping[str, bytes]) -> set[str]:
    """`seeds` and all that they import at their top level, as far as `available` has a file for it.

    `sources` gives the text of a .py file by its name. Modules without a file are part of the interpreter.
    """
    found: set[str] = set()
    waiting = list(seeds)
    while waiting:
        name = waiting.pop()
        parent = name.rpartition(".")[0]
        if parent:
            waiting.append(parent)
        if name in found or name not in available:
            continue
        found.add(name)
        file = available[name]
        if file.endswith(".py"):
            # A relative import counts from the package: a package's own name carries one more level.
            inside = f"{name}.__init__" if file.endswith("/__init__.py") else name
            waiting.extend(imported_by(sources[file], module=inside, lazily=False))
    return found


def _import_statements(tree: ast.AST, *, lazily: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not lazily and (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _only_as_script(node)):
            continue
        else:
            yield from _import_statements(node, lazily=lazily)


def _only_as_script(node: ast.AST) -> bool:
    """`if __name__ == "__main__":`"""
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Compare)
        and isinstance(node.test.left, ast.Name)
        and node.test.left.id == "__name__"
    )


def _main(root: Path, library: str, *seeds: str) -> None:
    """Write the names of the modules that `seeds` need of the `library` below `root`."""
    names = [str(path.relative_to(root)) for path in (root / library).rglob("*")]
    available = modules_in(names, library)
    texts = {file: (root / file).read_bytes() for file in available.values() if file.endswith(".py")}
    sys.stdout.write("\n".join(sorted(closure(seeds, available, texts))))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), *sys.argv[2:])
