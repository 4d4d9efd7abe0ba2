"""The initramfs: Python, busybox and kernel modules as the base, and the agent in a small archive behind it.

The kernel unpacks concatenated archives one after the other, so another agent needs no new base.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gavotte.errors import ImageError
from gavotte.guest.image import cpio, elf, modules, python, stdlib
from gavotte.guest.image.deb import Files

# What the interpreter imports while it starts, and the codecs that matter.
CORE = (
    "abc",
    "codecs",
    "encodings",
    "encodings.aliases",
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.utf_8",
    "importlib.util",
    "io",
    "os",
    "posixpath",
    "stat",
    "warnings",
)

# Run by the kernel as `modprobe -q -- NAME`, once the agent has told it to; /modules.alias has NAME and its files.
MODPROBE = b"""\
#!/usr/bin/busybox sh
for name; do :; done
while read -r alias files; do
    if [ "$alias" = "${name//-/_}" ]; then
        for file in $files; do busybox insmod "/$file"; done
    fi
done < /modules.alias
"""

INIT = b"""\
#!/usr/bin/python3 -SEBu
import sys
sys.path.insert(0, "/")
from gavotte.guest.agent import boot
boot.main()
"""


@dataclass(frozen=True)
class Base:
    """The base archive's content, and what the manifest says of it."""

    tree: cpio.Tree
    interpreter: python.Interpreter
    missing_modules: tuple[str, ...]
    left_out: tuple[str, ...]  # modules of the standard library that aren't in the image


def kernel_release(files: Files) -> str:
    """The release of the one kernel among `files`, as `uname -r` says it. Raises ImageError when there isn't one."""
    found = {name.split("/")[3] for name in files.names("usr/lib/modules/")}
    if len(found) != 1:
        raise ImageError(f"the kernel package should have modules of one release, not of {sorted(found)}")
    return found.pop()


def base(files: Files, agent: Mapping[str, bytes], local: Files) -> Base:
    """The base archive for an `agent` whose imports it has to serve.

    `local` has the same release's Python for this host: `files` itself where the architectures agree.
    """
    selection = modules.select(files, kernel_release(files))
    tree: cpio.Tree = _skeleton() | {
        "init": cpio.file(INIT, executable=True),
        "modprobe": cpio.file(MODPROBE, executable=True),
        "modules.alias": cpio.file(kernel_aliases(selection)),
        "modules.json": cpio.file(json.dumps(device_aliases(selection)).encode()),
        "usr/bin/busybox": cpio.file(files.read("usr/bin/busybox"), executable=True),
        "usr/bin/sh": cpio.symlink("busybox"),
    }
    tree |= {f"usr/{name}": cpio.file(data) for name, data in selection.content.items()}
    pythons, interpreter, left_out = _python(files, agent, local)
    return Base(tree | pythons, interpreter, tuple(selection.missing), tuple(left_out))


def device_aliases(selection: modules.Selection) -> dict[str, object]:
    """What the agent loads modules by: their names, and which devices they drive, as [pattern, its start, module]."""
    devices = [(alias, re.split(r"[*?[]", alias)[0], name) for alias, name in selection.aliases if ":" in alias]
    return {"order": selection.order, "aliases": devices}


def kernel_aliases(selection: modules.Selection) -> bytes:
    """What `MODPROBE` reads: a name that the kernel asks for, then the files to load, on each line."""
    words = [(alias, name) for alias, name in selection.aliases if ":" not in alias]
    words += [(name, name) for name in selection.order]
    lines = [f"{alias.replace('-', '_')} {' '.join(selection.order[name])}\n" for alias, name in words]
    return "".join(lines).encode()


def agent_tree(agent: Mapping[str, bytes]) -> cpio.Tree:
    """The second archive, but for the byte code, which may be missing."""
    return {name: cpio.file(source) for name, source in agent.items()}


def imports_of(agent: Mapping[str, bytes]) -> set[str]:
    """The modules that the agent's files import, without these files themselves."""
    named = {module for source in agent.values() for module in stdlib.imported_by(source)}
    return {module for module in named if module.partition(".")[0] != "gavotte"}


def _skeleton() -> cpio.Tree:
    mount_points = ("dev", "etc", "mnt", "newroot", "proc", "root", "run", "sys", "tmp", "var")
    return {
        **{name: cpio.directory() for name in mount_points},
        **{name: cpio.symlink(f"usr/{name}") for name in ("bin", "lib", "lib64", "sbin")},
        "usr/lib64": cpio.directory(),
        "usr/sbin": cpio.directory(),
        "tmp": cpio.directory(0o1777),
        "dev/console": cpio.character_device(5, 1),
        "dev/null": cpio.character_device(1, 3, 0o666),
    }


def _python(files: Files, agent: Mapping[str, bytes], local: Files) -> tuple[cpio.Tree, python.Interpreter, list[str]]:
    """The interpreter with that part of its library which the agent needs, and the names of the rest."""
    executable = files.resolve("usr/bin/python3")
    if executable is None:
        raise ImageError("the Python package has no /usr/bin/python3")
    name = posixpath.basename(executable)
    bare, runs = bare_interpreter(files, executable), bare_interpreter(local, executable)
    library, helps = _library(files, name), _library(local, name)
    interpreter = python.probe(runs | helps, executable)  # of this host
    available = stdlib.modules_in(library, f"usr/lib/{name}")
    seeds = {*CORE, *stdlib.ALWAYS, *imports_of(agent)}
    chosen = python.needed_modules(library | helps | runs, interpreter, seeds) & available.keys()
    tree = bare | {available[module]: library[available[module]] for module in chosen}
    tree |= _shared_libraries(files, (entry.data for entry in tree.values()))
    tree |= python.byte_code(tree | runs, interpreter)
    tree["usr/bin/python3"] = cpio.symlink(name)
    packed = replace(python.places(bare, executable), tag=interpreter.tag, magic=interpreter.magic)
    return tree, packed, sorted(available.keys() - chosen)


def _library(files: Files, name: str) -> cpio.Tree:
    return {file: cpio.file(files.read(file)) for file in files.names(f"usr/lib/{name}/")}


def bare_interpreter(files: Files, executable: str) -> cpio.Tree:
    """The program, its loader where it asks for it, and its libraries."""
    if files.resolve(executable) is None:
        raise ImageError(f"this host's Python package has no /{executable}, which is to make byte code for the image")
    program = cpio.file(files.read(executable), executable=True)
    loader = "usr/" + elf.interpreter(program.data).lstrip("/").removeprefix("usr/")
    return {
        executable: program,
        loader: cpio.file(files.read(loader), executable=True),
        **_shared_libraries(files, [program.data]),
    }


def _shared_libraries(files: Files, binaries: Iterable[bytes]) -> cpio.Tree:
    """The libraries that `binaries` need, and those that these need, under the names that they are looked up by."""
    where = {
        posixpath.basename(name): name
        for name in files.names("usr/lib")
        if ".so" in posixpath.basename(name) and name.count("/") == 3
    }
    tree: cpio.Tree = {}
    waiting = list(binaries)
    while waiting:
        data = waiting.pop()
        for soname in elf.needed(data) if elf.is_elf(data) else ():
            if soname not in where:
                raise ImageError(f"no package has the library {soname} that Python needs")
            if (
                not soname.startswith(("ld-", "ld64.")) and where[soname] not in tree
            ):  # the loader has a place of its own
                tree[where[soname]] = cpio.file(files.read(where[soname]))
                waiting.append(tree[where[soname]].data)
    return tree
