"""The interpreter that an image packs, and byte code made for it.

Under emulation, compiling the agent costs the guest far more than loading its byte code, so each packed .py has a .pyc
beside it: an unchecked hash-based one (PEP 552), for which the guest looks at no time stamp. Byte code is the same on
every architecture: that of an image for another one is made by the same release's interpreter for this host.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import py_compile
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gavotte.errors import ImageError
from gavotte.guest.image import cpio, elf, stdlib, tools

# Runs in the packed interpreter, with nothing but its built-in modules.
COMPILE = """\
import os, sys, _imp
from importlib._bootstrap_external import _RAW_MAGIC_NUMBER, _code_to_hash_pyc, cache_from_source
root, below = sys.argv[1:]
for directory, _, names in os.walk(os.path.join(root, below)):
    for name in names:
        path = os.path.join(directory, name)
        if path.endswith(".py"):
            with open(path, "rb") as file:
                source = file.read()
            code = compile(source, path[len(root):], "exec", dont_inherit=True)
            target = cache_from_source(path, optimization="")
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as file:
                file.write(_code_to_hash_pyc(code, _imp.source_hash(_RAW_MAGIC_NUMBER, source), False))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python as files of an image, their names relative to the root; and what its byte code files are called."""

    executable: str  # usr/bin/python3.X
    loader: str  # usr/lib64/ld-….so.2
    libraries: str  # usr/lib/ARCHITECTURE
    tag: str  # cpython-3XX
    magic: str  # the first four bytes of its pyc files, in hex

    def is_like_ours(self) -> bool:
        """Whether byte code made by the Python that runs this program serves it too."""
        return self.magic == importlib.util.MAGIC_NUMBER.hex()


def probe(tree: Mapping[str, cpio.Entry], executable: str) -> Interpreter:
    """The interpreter packed in `tree` as `executable`, asked for its names."""
    program = "import sys, _imp, importlib.util as u; print(sys.implementation.cache_tag, u.MAGIC_NUMBER.hex())"
    unnamed = places(tree, executable)
    with _unpacked(tree) as root:
        tag, magic = _run(unnamed, root, "-c", program).decode().split()
    return replace(unnamed, tag=tag, magic=magic)


def places(tree: Mapping[str, cpio.Entry], executable: str) -> Interpreter:
    """The interpreter packed in `tree` as `executable`, which needn't run here; its names aren't known."""
    loader = elf.interpreter(tree[executable].data)
    loader = f"usr/{loader.lstrip('/').removeprefix('usr/')}"
    libraries = next(name for name in tree if name.rpartition("/")[2].startswith("libc.so")).rpartition("/")[0]
    return Interpreter(executable, loader, libraries, "", "")


def needed_modules(tree: Mapping[str, cpio.Entry], interpreter: Interpreter, seeds: Iterable[str]) -> set[str]:
    """The modules that `seeds` import, found by the packed interpreter: ours may not know its syntax.

    `tree` holds the interpreter with its whole library.
    """
    library = f"usr/lib/{interpreter.executable.rpartition('/')[2]}"
    with _unpacked(tree) as root:
        return set(_run(interpreter, root, stdlib.__file__, str(root), library, *seeds).decode().split())


def byte_code(tree: Mapping[str, cpio.Entry], interpreter: Interpreter, *, below: str = "") -> cpio.Tree:
    """The .pyc of each .py in `tree`, or of those `below` a directory, made by the `interpreter` that `tree` holds."""
    with _unpacked(tree) as root:
        existing = set(root.rglob("*.pyc"))
        _run(interpreter, root, "-c", COMPILE, str(root), below)
        made = set(root.rglob("*.pyc")) - existing
        return {str(path.relative_to(root)): cpio.file(path.read_bytes()) for path in made}


def compile_ourselves(sources: Mapping[str, bytes], interpreter: Interpreter) -> cpio.Tree:
    """The .pyc of each of `sources`, files of the image, by the Python that runs this program; see `is_like_ours`."""
    with tempfile.TemporaryDirectory(prefix="gavotte-python-") as directory:
        return {
            byte_code_name(name, interpreter): _compiled(Path(directory), name, source)
            for name, source in sources.items()
        }


def byte_code_name(name: str, interpreter: Interpreter) -> str:
    """What the byte code of the file `name` is called (PEP 3147)."""
    directory, _, file = name.rpartition("/")
    return f"{directory}/__pycache__/{file.removesuffix('.py')}.{interpreter.tag}.pyc".lstrip("/")


def _compiled(scratch: Path, name: str, source: bytes) -> cpio.Entry:
    path, compiled = scratch / "source", scratch / "compiled"
    path.write_bytes(source)
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    try:
        py_compile.compile(str(path), str(compiled), dfile=f"/{name}", doraise=True, optimize=0, invalidation_mode=mode)
    except py_compile.PyCompileError as error:
        raise ImageError(f"{name} doesn't compile: {error.msg}") from error
    return cpio.file(compiled.read_bytes())


@contextlib.contextmanager
def _unpacked(tree: Mapping[str, cpio.Entry]) -> Iterator[Path]:
    """A temporary directory with the regular files of `tree`."""
    with tempfile.TemporaryDirectory(prefix="gavotte-python-") as directory:
        for name, entry in tree.items():
            if stat.S_ISREG(entry.mode):
                path = Path(directory, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(entry.data)
                path.chmod(entry.mode & 0o777)
        yield Path(directory)


def _run(interpreter: Interpreter, root: Path, *arguments: str) -> bytes:
    """Run the interpreter below `root` on this host, by its own loader and with its own libraries."""
    names = (interpreter.loader, interpreter.libraries, interpreter.executable)
    loader, libraries, executable = (str(root / name) for name in names)
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PYTHONHOME": str(root / "usr")}
    return tools.run([loader, "--library-path", libraries, executable, "-SsB", *arguments], env=environment)
