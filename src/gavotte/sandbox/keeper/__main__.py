"""A keeper's process: `python -m gavotte.sandbox.keeper NAME FD`. It leaves whoever started it behind at once."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Fork once more, so that the keeper is nobody's child, then keep the sandbox to its end."""
    name, fd = sys.argv[1], int(sys.argv[2])
    if os.fork():
        os._exit(0)  # before anything big is imported: who waits for this process waits shortly
    os.umask(0o077)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, lambda *_: None)  # unlike SIG_IGN, not inherited by QEMU
    # OpenSSL is 8 MB, for which a keeper has no use; asyncio and hashlib do without it
    sys.modules["ssl"] = sys.modules["_hashlib"] = None  # type: ignore[assignment]  # how import is told so
    from gavotte.sandbox.keeper.server import keep

    keep(name, fd)


if __name__ == "__main__":
    main()
