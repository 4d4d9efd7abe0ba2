"""A template's memory, as it is given to the machines that are copies of it, such that none can write to it.

A binary that can map a file which it may only read gets the file. An older one opens it for writing, though it writes
nothing there. So a process that makes several copies, or can't write the file, gives it a memfd that is sealed against
writing, shrinking and growing (fcntl(2), F_ADD_SEALS), and holds that until it ends. Any other gives it the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from gavotte.sandbox.template.store import Template

__all__ = ["lend_memory"]

_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL

_sealed: dict[tuple[str, float], int] = {}  # by the template and its time of making: for as long as the process lives


@contextmanager
def lend_memory(template: Template, *, sealed: bool, readable: bool = False) -> Iterator[int]:
    """A descriptor of the memory for the block. Unless it is enough that it is `readable`, it is that of a copy which
    nobody can change, if `sealed` asks for one or the file can't be written.

    Raises OSError, and ValueError when the template is damaged.
    """
    sealed = not readable and (sealed or _is_read_only(template))
    # Of a sealed one a copy of the descriptor: another start may close it meanwhile, for a template that was made anew
    fd = os.dup(_seal(template)) if sealed else template.open_memory()
    try:
        yield fd
    finally:
        os.close(fd)


def _is_read_only(template: Template) -> bool:
    return os.access(template.memory, os.R_OK) and not os.access(template.memory, os.W_OK)


def _seal(template: Template) -> int:
    """The sealed copy that this process has of it."""
    key = (template.key, template.created)
    if key not in _sealed:
        for old in [each for each in _sealed if each[0] == template.key]:  # it was made anew since
            os.close(_sealed.pop(old))
        _sealed[key] = _copy(template)
    return _sealed[key]


def _copy(template: Template) -> int:
    source = template.open_memory()
    try:
        target = os.memfd_create(f"template-{template.key}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(target, template.layout.memory)
            for start, end in _written(source, template.layout.memory):
                os.lseek(target, start, os.SEEK_SET)
                while start < end:
                    start += os.sendfile(target, source, start, end - start)
            fcntl.fcntl(target, fcntl.F_ADD_SEALS, _SEALS)
        except BaseException:
            os.close(target)
            raise
        return target
    finally:
        os.close(source)


def _written(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """The parts of a file that aren't holes, each from its start to its end (lseek(2))."""
    end = 0
    with contextlib.suppress(OSError):  # ENXIO: nothing but a hole is left
        while end < size:
            start = os.lseek(fd, end, os.SEEK_DATA)
            end = os.lseek(fd, start, os.SEEK_HOLE)
            yield start, end
