"""The nodes in the commands' /dev for devices that are the user's: which they are, and their making and removal.

What there is, is read from /sys each time. The kernel's events only say when to look again: a guest's root can forge
them, and some get lost. Names, links and owners are those that udev gives on Debian (50-udev-default.rules,
60-persistent-storage.rules).
"""

from __future__ import annotations

import os
import stat

from gavotte.guest.agent import PORT_NAME
from gavotte.guest.agent.system import log, read_file

TYPE_CHECKING = False  # as `typing` has it, whose import costs the guest's start 50 ms under emulation
if TYPE_CHECKING:
    from gavotte.guest.agent import Json

CLASS = "/sys/class"
SHOWN = {  # by class, how the names begin there of what has a node
    "block": ("",),
    "misc": ("fuse", "hw_random", "vsock", "watchdog"),
    "tty": ("hvc",),
    "virtio-ports": ("vport",),
    "watchdog": ("watchdog",),
}
EVENTS = frozenset(f"SUBSYSTEM={name}".encode() for name in SHOWN)  # those after which another look is worth it
PSEUDO = ("loop", "ram", "zram")  # block devices that the kernel makes up
MODES = {"fuse": 0o666, "vsock": 0o666}
DISK = 6  # the group of disks in Debian's base-passwd
MOST = 256  # nodes and links: with names this long, they fit in what a child can say (`Loop.aside`)
LONGEST = 100  # characters of a name that a link is made of
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789#+-.:=@_")


def present(root_disk: str) -> dict[str, Json]:
    """What is to be in /dev, by its path there: [mode, group, major, minor] of a node, or the text of a link.

    Without the disk of that name, which has the root, the agent's own port, and the kernel's console.
    """
    found: dict[str, Json] = {}
    consoles = attribute(f"{CLASS}/tty/console/active").split()
    for kind, beginnings in SHOWN.items():
        top = f"{CLASS}/{kind}"
        for name in sorted(os.listdir(top)) if os.path.isdir(top) else []:
            if not name.startswith(beginnings) or name in consoles:
                continue
            for path, what in entries(kind, f"{top}/{name}", root_disk).items():
                if len(found) < MOST:
                    found.setdefault(path, what)  # of two disks with one serial, the first keeps the link
    return found


def entries(kind: str, device: str, root_disk: str) -> dict[str, Json]:
    """The node of one device, which /sys has at `device`, and the link to it; nothing when it isn't for commands."""
    fields = dict(line.partition("=")[::2] for line in attribute(f"{device}/uevent").splitlines())
    name, major, minor = (fields.get(key, "") for key in ("DEVNAME", "MAJOR", "MINOR"))
    if not is_plain(name) or not (major.isdecimal() and minor.isdecimal()):
        return {}  # it has just gone, or has a directory of its own
    number = [int(major), int(minor)]
    if kind == "block":
        part = fields.get("PARTN", "")
        disk = os.path.dirname(os.path.realpath(device)) if part else device
        if name.startswith(PSEUDO) or os.path.basename(disk) == root_disk:
            return {}
        link = disk_id(disk)
        link = f"{link}-part{part}" if link and part else link
        return linked(name, [stat.S_IFBLK | 0o660, DISK, *number], "disk/by-id", link)
    node = [stat.S_IFCHR | MODES.get(name, 0o600), 0, *number]
    said = attribute(f"{device}/name") if kind == "virtio-ports" else ""
    return {} if said == PORT_NAME else linked(name, node, "virtio-ports", plain(said))


def linked(name: str, node: Json, directory: str, link: str) -> dict[str, Json]:
    """The node, and the link to it in that directory if it has a name there."""
    up = "../" * (directory.count("/") + 1)
    return {name: node, **({f"{directory}/{link}": up + name} if is_plain(link) else {})}


def disk_id(disk: str) -> str:
    """What udev calls the disk by its serial; "" for one without."""
    if serial := attribute(f"{disk}/serial"):  # virtio
        return f"virtio-{plain(serial)}"[:LONGEST]
    if serial := attribute(f"{disk}/device/vpd_pg80")[4:]:  # SCSI: Unit Serial Number (SPC-4, 7.8.15), after its header
        words = (attribute(f"{disk}/device/vendor"), attribute(f"{disk}/device/model"), serial)
        return f"scsi-0{'_'.join(map(plain, words))}"[:LONGEST]
    return ""


def attribute(path: str) -> str:
    """What a file of /sys says; "" when there is none, or it can't be read."""
    try:
        return read_file(path).strip()
    except OSError:
        return ""


def plain(text: str) -> str:
    """`text` as part of a file's name, as udev makes it (udev_replace_whitespace, udev_replace_chars)."""
    return "".join(one if one in PLAIN else "_" for one in "_".join(text.split())[:LONGEST])


def is_plain(name: str) -> bool:
    return 0 < len(name) <= LONGEST + 10 and name not in (".", "..") and PLAIN.issuperset(name)


class Nodes:
    """The nodes and links in one /dev that were made here. What commands made or changed there is theirs, and stays."""

    def __init__(self, top: str = "/dev") -> None:
        self.top = top
        self.made: dict[str, Json] = {}

    def update(self, wanted: dict[str, Json]) -> None:
        """Have what `present` gave, and nothing else of ours. What can't be is said on the console."""
        for path in [path for path, what in self.made.items() if wanted.get(path) != what]:
            remove(f"{self.top}/{path}", self.made.pop(path))
        for path in [path for path in wanted if path not in self.made]:
            try:
                make(f"{self.top}/{path}", wanted[path])
                self.made[path] = wanted[path]
            except FileExistsError:
                pass
            except OSError as error:
                log(f"no {path} in /dev: {error}")


def make(path: str, what: Json) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if type(what) is str:
        os.symlink(what, path)
        return
    mode, group, major, minor = what
    os.mknod(path, mode, os.makedev(major, minor))
    os.chown(path, 0, group)
    os.chmod(path, stat.S_IMODE(mode))


def remove(path: str, what: Json) -> None:
    try:
        if type(what) is str:
            ours = os.readlink(path) == what
        else:
            found = os.lstat(path)
            ours = (stat.S_IFMT(found.st_mode), found.st_rdev) == (stat.S_IFMT(what[0]), os.makedev(*what[2:]))
        if ours:
            os.unlink(path)
    except OSError:
        pass  # a command was quicker
