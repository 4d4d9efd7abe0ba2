"""Which kernel modules an image carries, and in which order each is loaded.

Debian makes modules.dep only when the package is installed, so the order comes from what the modules say of themselves
(`depends` and `softdep` in .modinfo, as depmod(8) reads them).
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field

from gavotte.guest.image import elf, tools
from gavotte.guest.image.deb import Files

WANTED = (
    "virtio_pci",
    "virtio_console",
    "virtio_blk",
    "virtio_net",
    "virtio_scsi",
    "virtio_rng",
    "virtio_balloon",
    "virtio_mem",
    "vmw_vsock_virtio_transport",
    "sd_mod",
    "9p",
    "9pnet_virtio",
    "virtiofs",
    "overlay",
    "squashfs",
    "erofs",
    "ext4",
    "i6300esb",
    "pvpanic_mmio",
    "pvpanic_pci",
)


@dataclass
class Selection:
    """`order`: the files to load for a module, first to last, none if built in; `content`: these files.

    `aliases` has the names under which something asks for a module: devices by a pattern with colons, which the file
    itself calls MODALIAS, and the kernel by words such as fs-9p.
    """

    order: dict[str, list[str]] = field(default_factory=dict)
    aliases: list[tuple[str, str]] = field(default_factory=list)  # pattern or word, module
    content: dict[str, bytes] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def select(files: Files, release: str, wanted: Sequence[str] = WANTED) -> Selection:
    """The modules `wanted` of the kernel `release`, decompressed, with all that they need."""
    return _Selector(files, release).select(wanted)


class _Selector:
    def __init__(self, files: Files, release: str) -> None:
        self._files = files
        root = f"usr/lib/modules/{release}/"
        self._paths = {_name_of(name): name for name in files.names(f"{root}kernel/") if ".ko" in name}
        builtin = files.read(f"{root}modules.builtin").decode().split()
        self._builtin = {_name_of(path) for path in builtin}
        self._aliases: dict[str, str] | None = None
        self._content: dict[str, bytes] = {}
        self._info: dict[str, dict[str, list[str]]] = {}

    def select(self, wanted: Sequence[str]) -> Selection:
        selection = Selection()
        for name in wanted:
            if name in self._paths:
                self._order(name, selection)
            elif name in self._builtin:
                selection.order[name] = []
            else:
                selection.missing.append(name)
        for name, info in sorted(self._info.items()):
            if "alias" in info:
                self._order(name, selection)
                selection.aliases += [(alias, name) for alias in info["alias"]]
        selection.content = {self._target(name): data for name, data in self._content.items()}
        return selection

    def _order(self, name: str, selection: Selection) -> None:
        loaded: list[str] = []
        self._load(name, loaded, ())
        selection.order[name] = [self._target(module) for module in loaded]

    def _load(self, name: str, loaded: list[str], above: tuple[str, ...]) -> None:
        if name in loaded or name in above:
            return
        info = self._modinfo(name)
        before, after = _soft_dependencies(info)
        depends = [_underscored(one) for one in ",".join(info.get("depends", [])).split(",") if one]
        for other in [*map(self._known, before), *depends]:
            if other in self._paths:
                self._load(other, loaded, (*above, name))
        loaded.append(name)
        for other in map(self._known, after):
            if other in self._paths:
                self._load(other, loaded, (*above, name))

    def _modinfo(self, name: str) -> dict[str, list[str]]:
        if name not in self._info:
            data = _decompressed(self._paths[name], self._files.read(self._paths[name]))
            self._content[name] = data
            self._info[name] = elf.modinfo(data)
        return self._info[name]

    def _known(self, name: str) -> str:
        """The module that a soft dependency means: its own name, or an alias that a crypto module claims."""
        plain = _underscored(name)
        if plain in self._paths or plain in self._builtin:
            return plain
        if self._aliases is None:
            self._aliases = self._crypto_aliases()
        return self._aliases.get(plain, "")

    def _crypto_aliases(self) -> dict[str, str]:
        """Aliases of the portable implementations; those for special instructions don't load on every CPU."""
        found: dict[str, str] = {}
        for name, path in self._paths.items():
            if "/kernel/crypto/" in path:
                info = elf.modinfo(_decompressed(path, self._files.read(path)))
                for alias in info.get("alias", []):
                    if "generic" in name or _underscored(alias) not in found:
                        found[_underscored(alias)] = name
        return found

    def _target(self, name: str) -> str:
        """Where the module lies in the initramfs; /lib is a link to /usr/lib there."""
        return self._paths[name].removeprefix("usr/").partition(".ko")[0] + ".ko"


def _soft_dependencies(info: dict[str, list[str]]) -> tuple[list[str], list[str]]:
    """The `pre:` and `post:` names of all softdep lines (modprobe.d(5))."""
    found: dict[str, list[str]] = {"pre:": [], "post:": []}
    for line in info.get("softdep", []):
        into: list[str] = []
        for word in line.split():
            if word in found:
                into = found[word]
            else:
                into.append(word)
    return found["pre:"], found["post:"]


def _name_of(path: str) -> str:
    return _underscored(posixpath.basename(path).partition(".ko")[0])


def _underscored(name: str) -> str:
    return name.replace("-", "_")


def _decompressed(path: str, data: bytes) -> bytes:
    if path.endswith(".xz"):
        import lzma

        return lzma.decompress(data)
    if path.endswith(".zst"):
        return tools.run(["zstd", "-dcq"], stdin=data)
    return data
