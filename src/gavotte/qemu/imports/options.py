"""A command line cut into QEMU's options.

The table holds all options from QEMU 2 to 10.2, the removed ones too, since old scripts still have them
(`DEFHEADING` and `HAS_ARG` in QEMU's qemu-options.hx; the removed in docs/about/removed-features.rst).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gavotte.errors import UsageError

__all__ = ["DISK_IMAGE", "FLAGS", "VALUED", "Option", "check_passable", "split_argv", "words"]


def words(text: str) -> frozenset[str]:
    """Gives the set of the words in `text`."""
    return frozenset(text.split())


FLAGS: Final = words(
    """
    S alt-grab async-teardown audio-help ctrl-grab curses daemonize enable-fips enable-kvm enable-sync-profile
    full-screen h help jitdump kernel-kqemu localtime mem-prealloc no-acpi no-fd-bootchk no-frame no-hpet no-kqemu
    no-kvm no-kvm-irqchip no-kvm-pit no-kvm-pit-reinjection no-quit no-reboot no-shutdown no-user-config nodefaults
    nodefconfig nographic old-param only-migratable perfmap portrait preconfig rtc-td-hack s sdl semihosting
    show-cursor singlestep snapshot tdf usb version win2k-hack xen-attach xen-create xen-domid-restrict
    """
)

VALUED: Final = words(
    """
    D L M accel acpitable action add-fd append audio audiodev balloon bios blockdev boot bt cdrom chardev chroot clock
    compat cpu d debugcon device dfilter display drive drive_add dtb dump-vmstate dumpdtb echr fda fdb fsdev fw_cfg g
    gdb global hda hdb hdc hdd icount incoming initrd iscsi k kernel loadvm m machine mem-path mon monitor msg mtdblock
    name net netdev nic numa object option-rom overcommit parallel pflash pidfile plugin prom-env qmp qmp-pretty qtest
    qtest-log readconfig realtime redir rotate rtc run-with runas sandbox sd seed semihosting-config serial set shim smb
    smbios smp soundhw spice startdate tb-size tftp bootp tpmdev trace usbdevice uuid vga virtfs virtioconsole vnc
    watchdog watchdog-action writeconfig xen-domid
    """
)

DISK_IMAGE: Final = ""
"""The name of an option that is a bare word: the image of the first disk, as with `-hda`."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its name without dashes, its value if it takes one, and both as they were written."""

    name: str
    value: str | None
    words: tuple[str, ...]


def split_argv(argv: Sequence[str]) -> list[Option]:
    """Gives the options of a command line without its first word, in order, as QEMU cuts it (`lookup_opt` in vl.c).

    `--option` is the same as `-option`. An option that no QEMU here knows of takes along the word behind it, unless
    that begins with a dash: in their order the words mean the same either way.

    Raises UsageError, with the place of the word as its path, for an option at the end that lacks its value, and for
    what can't be an argument.
    """
    for index, word in enumerate(argv, 1):
        check_passable(word, f"argv[{index}]")
    options = []
    at = 0
    while at < len(argv):
        options.append(_option_at(argv, at))
        at += len(options[-1].words)
    return options


def check_passable(word: str, path: str) -> None:
    """Raises UsageError for what can't be an argument. Bytes that aren't UTF-8 stand as `os.fsdecode` writes them."""
    try:
        nul = b"\0" in word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as e:
        raise UsageError(f"no argument can hold U+{ord(word[e.start]):04X}", path=path) from None
    if nul:
        raise UsageError("no argument can hold a NUL", path=path, hint="a file with NULs between words is --from-file")


def _option_at(argv: Sequence[str], at: int) -> Option:
    word = argv[at]
    if not word.startswith("-"):
        return Option(DISK_IMAGE, word, (word,))
    name = word[2:] if word.startswith("--") else word[1:]
    following = argv[at + 1] if at + 1 < len(argv) else None
    if name in VALUED:
        if following is None:
            raise UsageError(
                f"{word} needs a value, and the command line ends there",
                path=f"argv[{at + 1}]",
                hint="give the whole command line",
            )
        return Option(name, following, (word, following))
    if name in FLAGS or following is None or following.startswith("-"):
        return Option(name, None, (word,))
    return Option(name, following, (word, following))
