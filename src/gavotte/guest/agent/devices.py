"""The guest's devices, as udev would have it: for each the driver of what it says it is, and a look at its node."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import socket
import time

from gavotte.guest.agent import nodes
from gavotte.guest.agent.system import SYS_FINIT_MODULE, checked, libc, log, read_file

TYPE_CHECKING = False  # as `typing` has it, whose import costs the guest's start 50 ms under emulation
if TYPE_CHECKING:
    from collections.abc import Callable

    from gavotte.guest.agent import Json
    from gavotte.guest.agent.loop import Loop

NETLINK_KOBJECT_UEVENT = 15
BURST = 64  # events taken before others have their turn: a guest's root can make as many as it likes
MOST_KNOWN = 1024
BUSES = {"of": "platform"}  # where the devices are whose modalias begins with a word that is no bus
MODULES = "/modules.json"


class Devices:
    """The kernel's events about devices, and the modules of the image, loaded by name or for a device.

    Nothing is loaded twice, and nothing that fails is tried again: a kernel of the user's own may lack it.
    """

    def __init__(self) -> None:
        self.uevents: socket.socket | None = None
        self.root_disk = ""  # the name of the one that isn't shown
        self.show: Callable[[dict[str, Json]], None] = lambda _nodes: None
        self.on_memory: Callable[[], None] | None = None  # told when memory has come or gone
        self._order: dict[str, list[str]] | None = None
        self._aliases: list[list[str]] = []  # pattern, its literal beginning, module
        self._loaded: set[str] = set()
        self._known: set[str] = set()  # modaliases that were acted upon
        self._missed = False
        self._changed = False  # since the last look at what has a node
        self._looking = False

    def listen(self) -> None:
        """Have the kernel's events from now on."""
        self.uevents = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_KOBJECT_UEVENT)
        self.uevents.bind((0, 1))

    def load(self, name: str) -> None:
        """Load a module and what it needs; nothing for one that is built in, or that the image lacks."""
        load_files(self._claim(name))

    def wait_for(self, base: str, attribute: str, wanted: str, seconds: float = 10) -> str:
        """What `find_device` finds, as soon as a kernel event announces it. OSError after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            found = find_device(base, attribute, wanted)
            if found is not None:
                return found
            left = deadline - time.monotonic()
            if left <= 0 or self.uevents is None:
                raise OSError(errno.ETIMEDOUT, f"no device with {attribute} {wanted!r} appeared in {base}")
            if select.select([self.uevents], [], [], left)[0]:
                self.uevents.recv(16384)

    def serve(self, loop: Loop, show: Callable[[dict[str, Json]], None]) -> None:
        """Load what the devices need that are there, and `show` their nodes; from now on in `loop` as they come and go.

        The kernel asks for the other modules itself, such as file systems; /modprobe answers it.
        """
        self._forget_events()
        load_files(self._claim_present())
        if self.uevents is None:
            return
        self.show = show
        show(nodes.present(self.root_disk))
        try:
            with open("/proc/sys/kernel/modprobe", "wb", buffering=0) as file:
                file.write(b"/modprobe")
        except OSError as error:
            log(f"the kernel loads no modules by itself: {error}")
        self._watch(loop)

    def _forget_events(self) -> None:
        """Of what is there by now: all of that is looked at anyway."""
        if self.uevents is None:
            return
        self.uevents.setblocking(False)
        try:
            for _ in range(MOST_KNOWN):
                self.uevents.recv(16384)
        except OSError:
            pass  # that was the last, or there were more than the kernel keeps

    def _watch(self, loop: Loop) -> None:
        if self.uevents is not None:
            loop.watch(self.uevents.fileno(), select.EPOLLIN, lambda _events: self._on_uevents(loop))

    def _on_uevents(self, loop: Loop) -> None:
        """Take some events; the loading is done aside, since a driver may wait for its device."""
        files: list[str] = []
        done = self._take(files)
        if done and self._missed:
            self._missed = False
            files += self._claim_present()
        if files:
            loop.aside(lambda: load_files(files), lambda _answer: None)
        if self._changed:
            self._look(loop)
        if not done and self.uevents is not None:
            loop.rest(self.uevents.fileno(), lambda: self._watch(loop))

    def _look(self, loop: Loop) -> None:
        """Have a child look at what has a node: to ask a disk for its serial may take time. One at a time."""
        if self._looking:
            return
        self._changed, self._looking = False, True
        loop.aside(lambda: nodes.present(self.root_disk), lambda result: self._seen(loop, result))

    def _seen(self, loop: Loop, result: Json) -> None:
        self._looking = False
        if "answer" in result:
            self.show(result["answer"])
        if self._changed:
            self._look(loop)

    def _take(self, files: list[str]) -> bool:
        """Add what the next events ask for to `files`; False when there may be more of them."""
        for _ in range(BURST if self.uevents else 0):
            try:
                event = self.uevents.recv(16384) if self.uevents else b""
            except BlockingIOError:
                return True
            except OSError:  # ENOBUFS: there were more than the kernel keeps
                self._missed = self._changed = True
                continue
            fields = event.split(b"\0")
            if self.on_memory is not None and b"SUBSYSTEM=memory" in fields:
                self.on_memory()
            self._changed = self._changed or not nodes.EVENTS.isdisjoint(fields)
            if event.startswith(b"add@"):
                for field in fields:
                    if field.startswith(b"MODALIAS="):
                        files += self._claim_for(field[9:].decode(errors="replace"))
        return False

    def _claim_present(self) -> list[str]:
        """The files for the devices that are there."""
        self._read()
        files = []
        for bus in sorted({start.partition(":")[0] for _pattern, start, _name in self._aliases}):
            top = f"/sys/bus/{BUSES.get(bus, bus)}/devices"
            for device in sorted(os.listdir(top)) if os.path.isdir(top) else []:
                try:
                    files += self._claim_for(read_file(f"{top}/{device}/modalias").strip())
                except OSError:
                    continue  # it has none, or has just gone
        return files

    def _claim_for(self, modalias: str) -> list[str]:
        """The files that a device needs which says `modalias`, but for those that are claimed already."""
        if modalias in self._known:
            return []
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known.add(modalias)
        self._read()
        names = [name for pattern, start, name in self._aliases if modalias.startswith(start)]
        if names:
            from fnmatch import fnmatchcase

            names = [name for pattern, _, name in self._aliases if name in names and fnmatchcase(modalias, pattern)]
        return [file for name in names for file in self._claim(name)]

    def _claim(self, name: str) -> list[str]:
        files = [file for file in self._read().get(name, []) if file not in self._loaded]
        self._loaded.update(files)
        return files

    def _read(self) -> dict[str, list[str]]:
        """Which files each module needs, first to last, as the image's maker ordered them."""
        if self._order is None:
            try:
                known = json.loads(read_file(MODULES, limit=1 << 20))
            except OSError as error:
                log(str(error))
                known = {"order": {}, "aliases": []}
            self._order, self._aliases = known["order"], known["aliases"]
        return self._order


def load_files(files: list[str]) -> None:
    """Give these modules to the kernel, in order. What fails is said on the console."""
    for path in files:
        try:
            with open(f"/{path}", "rb", buffering=0) as file:
                fd, flags = ctypes.c_long(file.fileno()), ctypes.c_long(0)
                checked(libc.syscall(ctypes.c_long(SYS_FINIT_MODULE), fd, b"", flags), path)
        except OSError as error:
            if error.errno != errno.EEXIST:
                log(str(error))


def find_device(base: str, attribute: str, wanted: str) -> str | None:
    """The node of the device below `base` whose `attribute` says `wanted`; None as long as there is none."""
    for name in os.listdir(base) if os.path.isdir(base) else []:
        try:
            if read_file(f"{base}/{name}/{attribute}").strip() == wanted and os.path.exists(f"/dev/{name}"):
                return f"/dev/{name}"
        except OSError:
            continue  # a device without that attribute
    return None
