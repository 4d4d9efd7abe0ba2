"""From the path of a QMP socket to a connection, whatever the path's length."""

from __future__ import annotations

import errno
import os
import socket
import stat

from gavotte.errors import HostError, QmpNotSent, UsageError

__all__ = ["dial"]


def dial(path: str) -> socket.socket:
    """Gives a connected socket, the caller's to close. It doesn't wait: a Unix socket takes a client at once or not.

    It goes through /proc/self/fd, since a path of more than 107 bytes doesn't fit into an address (unix(7)).
    Raises UsageError, whose path is "socket", when it isn't a socket; QmpNotSent when nothing listens on it, or when as
    many clients as the kernel queues are waiting already; HostError without a free fd.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (OSError, ValueError) as e:  # a NUL in it is a ValueError
        _check_limit(e, path)
        why = e.strerror if isinstance(e, OSError) else str(e)
        raise UsageError(f"{path}: {why}", path="socket", hint="give the path of QEMU's QMP socket") from e
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise UsageError(f"{path} is not a socket", path="socket", hint="give the path of QEMU's QMP socket")
        return _connect(f"/proc/self/fd/{fd}", path)
    finally:
        os.close(fd)


def _connect(address: str, path: str) -> socket.socket:
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as e:
        _check_limit(e, path)
        raise
    try:
        sock.setblocking(False)
        sock.connect(address)
    except BlockingIOError:
        sock.close()
        raise QmpNotSent(
            f"{path} is busy: others wait there already", hint="QEMU serves one client at a time"
        ) from None
    except OSError as e:
        sock.close()
        raise QmpNotSent(f"can't connect to {path}: {e.strerror}", hint="see whether that QEMU still runs") from e
    return sock


def _check_limit(error: Exception, path: str) -> None:
    """Without a free fd, the fault is neither the path's nor QEMU's."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        hint = "`ulimit -n` shows how many a process may have"
        raise HostError(f"can't connect to {path}: {error.strerror}", hint=hint) from error
