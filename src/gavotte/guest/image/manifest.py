"""What an image is made of, as its manifest.json says it; and what an image should be made of now: the recipe."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from gavotte.errors import ImageError
from gavotte.values import dataclass

FORMAT = 1
BUILDER_VERSION = 2  # raise it when what is built from the same packages changes
AGENT = Path(__file__).parents[1] / "agent"
AGENT_PLACE = "gavotte/guest/agent"  # in the image, as here, so that its files find each other by one name

KERNEL, INITRD, ROOTFS = "vmlinux", "initramfs", "rootfs.squashfs"
FILES = (KERNEL, INITRD, ROOTFS)
MANIFEST = "manifest.json"
WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+~/-]{0,127}")
LINES = re.compile(rf"{WORD.pattern}(\n{WORD.pattern})*")
MAX_MANIFEST = 1 << 20  # bytes
MAX_FILE = 4 << 30  # bytes
MAX_BASE = 512 << 20  # bytes; it is held in memory while it is copied


def agent_files() -> dict[str, bytes]:
    """The agent's files by their names in the image, sorted; the packages around them are empty there."""
    files = {f"{AGENT_PLACE}/{path.name}": path.read_bytes() for path in AGENT.glob("*.py")}
    return dict(sorted({"gavotte/__init__.py": b"", "gavotte/guest/__init__.py": b"", **files}.items()))


def agent_digest(files: Mapping[str, bytes]) -> str:
    """The SHA-256 of the agent's files and their names."""
    digest = hashlib.sha256()
    for name, source in files.items():
        digest.update(f"{name} {len(source)}\n".encode() + source)
    return digest.hexdigest()


class FileInfo(NamedTuple):
    """Size in bytes and SHA-256 of one file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Recipe:
    """All that decides what an image contains, but for the versions that the archive has on the day."""

    suite: str
    architecture: str
    initramfs_packages: tuple[str, ...]
    rootfs_packages: tuple[str, ...]
    builder: int
    agent: str  # SHA-256; see `agent_digest`

    def but_for_agent(self) -> Recipe:
        """The same recipe with any agent: images that agree in it can share all but the agent."""
        return replace(self, agent="")


@dataclass(frozen=True)
class Python:
    """The interpreter in the initramfs; see `gavotte.guest.image.python.Interpreter`."""

    executable: str
    loader: str
    libraries: str
    tag: str
    magic: str
    left_out: tuple[str, ...]  # modules of its standard library that aren't packed


@dataclass(frozen=True)
class Manifest:
    """A finished image: its recipe, the version of each package in it, its files. `created` is in Unix time."""

    created: float
    recipe: Recipe
    kernel_release: str
    base_length: int  # bytes at the start of the initramfs that don't depend on the agent
    python: Python
    missing_modules: tuple[str, ...]
    initramfs_versions: Mapping[str, str]
    rootfs_versions: Mapping[str, str]
    files: Mapping[str, FileInfo]

    def encode(self) -> bytes:
        """The text of manifest.json."""
        files = {name: info._asdict() for name, info in self.files.items()}
        # One string, not 500 of them: manifests are read at each start.
        python = {**asdict(self.python), "left_out": " ".join(self.python.left_out)}
        content = {"format": FORMAT, **asdict(replace(self, files={})), "files": files, "python": python}
        return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"

    @staticmethod
    def decode(text: bytes) -> Manifest:
        """The manifest in `text`, each field checked. Raises ImageError."""
        try:
            return _manifest(json.loads(text))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ImageError(f"the manifest is damaged: {type(error).__name__}: {error}") from error


def identity(text: bytes) -> str:
    """The id of the image whose manifest.json is `text`. The manifest has the hash of each file, so this covers all."""
    return hashlib.sha256(text).hexdigest()[:16]


def _manifest(raw: Any) -> Manifest:
    number = _typed(raw["format"], int)
    if number != FORMAT:
        raise ValueError(f"format {number}, and this version of Gavotte reads {FORMAT}")
    files = {name: _file_info(raw["files"][name]) for name in FILES}
    if raw["files"].keys() != files.keys():
        raise ValueError(f"files other than {', '.join(FILES)}")
    base_length = _typed(raw["base_length"], int)
    if not 0 < base_length <= min(files[INITRD].size, MAX_BASE):
        raise ValueError("base_length is out of bounds")
    return Manifest(
        created=float(_typed(raw["created"], int, float)),
        recipe=_recipe(raw["recipe"]),
        kernel_release=_word(raw["kernel_release"]),
        base_length=base_length,
        python=_python(raw["python"]),
        missing_modules=_words(raw["missing_modules"]),
        initramfs_versions=_versions(raw["initramfs_versions"]),
        rootfs_versions=_versions(raw["rootfs_versions"]),
        files=files,
    )


def _recipe(raw: Any) -> Recipe:
    return Recipe(
        suite=_word(raw["suite"]),
        architecture=_word(raw["architecture"]),
        initramfs_packages=_words(raw["initramfs_packages"]),
        rootfs_packages=_words(raw["rootfs_packages"]),
        builder=_typed(raw["builder"], int),
        agent=_word(raw["agent"]),
    )


def _python(raw: Any) -> Python:
    return Python(
        executable=_word(raw["executable"]),
        loader=_word(raw["loader"]),
        libraries=_word(raw["libraries"]),
        tag=_word(raw["tag"]),
        magic=_word(raw["magic"]),
        left_out=_joined_words(raw["left_out"]),
    )


def _file_info(raw: Any) -> FileInfo:
    size, sha256 = _typed(raw["size"], int), _typed(raw["sha256"], str)
    if not 0 < size <= MAX_FILE or not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError("a file's size or hash is out of bounds")
    return FileInfo(size, sha256)


def _versions(raw: Any) -> dict[str, str]:
    words = [word for pair in _typed(raw, dict).items() for word in pair]
    if all(type(word) is str for word in words):  # some hundred: looked at together, in a tenth of the time
        text = "\n".join(words)
        if LINES.fullmatch(text) and text.count("\n") == len(words) - 1 and ".." not in text:
            return dict(raw)
    return {_word(name): _word(version) for name, version in raw.items()}


def _words(raw: Any) -> tuple[str, ...]:
    return tuple(_word(item) for item in _typed(raw, list))


def _joined_words(raw: Any) -> tuple[str, ...]:
    text: str = _typed(raw, str)
    if not re.fullmatch(r"[A-Za-z0-9_. ]*", text):
        raise ValueError("not a list of module names")
    return tuple(text.split())


def _word(raw: Any) -> str:
    """A name, version, hash or relative path: printable, and no step upwards."""
    text: str = _typed(raw, str)
    if not WORD.fullmatch(text) or ".." in text.split("/"):
        raise ValueError(f"not a plain word: {text[:128]!r}")
    return text


def _typed(raw: Any, *types: type) -> Any:
    if not isinstance(raw, types) or isinstance(raw, bool):
        raise TypeError(f"{str(raw)[:64]!r} should be {types[0].__name__}")
    return raw
