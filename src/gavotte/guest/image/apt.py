"""Debian packages through apt's own client, in a state directory of our own.

No root rights, and nothing of the host's package state is read or changed, but for its sources, proxies and
credentials (apt.conf(5), apt_auth.conf(5)). Signatures and checksums are apt's business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from gavotte.errors import ImageError
from gavotte.guest.image import tools
from gavotte.guest.image.sources import Source

Progress = Callable[[str, float | None], None]

OFFLINE_HINT = "connect to the network, or import an image with `gavotte image import FILE`"

# Read after the host's own configuration, whose hooks are meant for the host's packages (apt.conf(5), #clear).
OVERRIDES = """\
#clear APT::Architectures;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons-small;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
#clear Acquire::IndexTargets::deb::DEP-11-icons-hidpi;
#clear Acquire::IndexTargets::deb::DEP-11-icons-large;
#clear Acquire::IndexTargets::deb::DEP-11-icons-large-hidpi;
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
"""


class Package(NamedTuple):
    """A package that apt chose. `checksum` is `ALGORITHM:HEX` as apt prints it."""

    name: str
    version: str
    filename: str
    size: int
    checksum: str


class Apt:
    """apt for one suite and architecture, with all its state in `directory`."""

    def __init__(self, directory: Path, sources: Sequence[Source], *, architecture: str) -> None:
        self._directory = directory
        self._sources = sources
        self._architecture = architecture
        self.archives = directory / "archives"
        self.sources_list = directory / "sources.list"
        self._prepare()

    def update(self, progress: Progress) -> None:
        """Fetch the package lists. Raises ImageError when an archive can't be reached or its signature is wrong."""
        try:
            self._run_reporting(["update"], "reading package lists", progress)
        except ImageError as error:
            raise ImageError(f"the package lists can't be fetched: {error}", hint=OFFLINE_HINT) from error
        self._stamp.write_text(self._sources_text())

    def has_lists(self) -> bool:
        """Whether lists of these very sources were fetched before."""
        return self._stamp.is_file() and self._stamp.read_text() == self._sources_text()

    def dependency(self, name: str, *, prefix: str) -> str:
        """The package beginning with `prefix` that the metapackage `name` stands for."""
        output = tools.run(["apt-cache", *self._options(), "depends", "--important", name]).decode()
        words = (line.strip().partition(": ") for line in output.splitlines())
        found = [target for kind, _, target in words if kind == "Depends" and target.startswith(prefix)]
        if len(found) != 1:
            raise ImageError(f"package {name!r} doesn't name one package {prefix}…: {found}")
        return found[0]

    def closure(self, names: Iterable[str]) -> list[str]:
        """The names of the packages `names` and all that they depend on, onto an empty system."""
        command = ["install", "--print-uris", "--no-install-recommends", "-qq", *names]
        return [package.name for package in self._printed(command)]

    def candidates(self, names: Iterable[str]) -> list[Package]:
        """What apt would download now for `names`, sorted by name. Raises ImageError when one doesn't exist."""
        return sorted(self._printed(["download", "--print-uris", "-qq", *sorted(set(names))]))

    def download(self, packages: Sequence[Package], phase: str, progress: Progress) -> list[Path]:
        """The files of `packages`, fetched as far as they aren't here yet. Raises ImageError without network."""
        missing = [package for package in packages if not self._is_here(package)]
        if missing:
            for package in missing:  # what a broken download left isn't apt's to trust
                (self.archives / package.filename).unlink(missing_ok=True)
            try:
                wanted = [f"{package.name}={package.version}" for package in missing]
                self._run_reporting(["download", *wanted], phase, progress)
            except ImageError as error:
                raise ImageError(f"packages can't be downloaded: {error}", hint=OFFLINE_HINT) from error
        broken = [package.name for package in missing if not self._is_here(package)]
        if broken:
            raise ImageError(f"downloaded packages are damaged: {', '.join(broken)}", hint="try again")
        return [self.archives / package.filename for package in packages]

    def drop_archives_except(self, kept: Iterable[Package]) -> None:
        """Delete downloaded packages other than `kept`, so that the cache doesn't grow with each update."""
        names = {package.filename for package in kept}
        for path in self.archives.glob("*.deb"):
            if path.name not in names:
                path.unlink(missing_ok=True)

    def _prepare(self) -> None:
        for path in (self.archives, self._directory / "lists" / "partial", self._directory / "cache"):
            path.mkdir(parents=True, exist_ok=True)
        (self._directory / "status").write_text("")
        (self._directory / "overrides.conf").write_text(OVERRIDES)
        self.sources_list.write_text(self._sources_text())

    def _sources_text(self) -> str:
        return "".join(source.one_line() for source in self._sources)

    @property
    def _stamp(self) -> Path:
        return self._directory / "lists-are-of"

    def _options(self) -> list[str]:
        settings = {
            "APT::Architecture": self._architecture,
            "APT::Architectures": self._architecture,
            "Dir::State": self._directory / "state",
            "Dir::State::Lists": self._directory / "lists",
            "Dir::State::status": self._directory / "status",
            "Dir::State::extended_states": self._directory / "extended_states",
            "Dir::Cache": self._directory / "cache",
            "Dir::Cache::pkgcache": "pkgcache.bin",  # off in container images; without it each call parses the lists
            "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
            "Dir::Etc::SourceList": self.sources_list,
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
        }
        options = [f"--config-file={self._directory / 'overrides.conf'}"]
        for key, value in settings.items():
            options += ["-o", f"{key}={value}"]
        return options

    def _printed(self, command: list[str]) -> list[Package]:
        output = tools.run(["apt-get", *self._options(), *command]).decode()
        return [_package(line) for line in output.splitlines() if line.startswith("'")]

    def _run_reporting(self, command: list[str], phase: str, progress: Progress) -> None:
        """Run apt-get with its machine-readable status on stdout: `dlstatus:ITEM:PERCENT:TEXT`."""
        progress(phase, None)
        argv = ["apt-get", *self._options(), "-q", "-o", "APT::Status-Fd=1", *command]
        for line in tools.lines(argv, cwd=self.archives):
            kind, _, rest = line.partition(":")
            percent = rest.split(":")[1:2]
            if kind == "dlstatus" and percent and percent[0].replace(".", "", 1).isdigit():
                progress(phase, min(float(percent[0]) / 100, 1.0))

    def _is_here(self, package: Package) -> bool:
        path = self.archives / package.filename
        algorithm, _, expected = package.checksum.partition(":")
        if not path.is_file() or path.stat().st_size != package.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, algorithm.lower()).hexdigest() == expected


def host_acquire_settings() -> list[str]:
    """How this host reaches archives (proxies, time checks), as lines of an apt configuration."""
    kept = ("Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::ForceIP", "Acquire::Max-")
    dump = tools.run(["apt-config", "dump", "--no-empty"]).decode(errors="replace")
    return [line for line in dump.splitlines() if line.startswith(kept)]


def _package(line: str) -> Package:
    """A line of `--print-uris`: 'URI' FILENAME SIZE CHECKSUM."""
    try:
        _uri, filename, size, *checksum = line.split(" ")
        name, version, _architecture = filename.split("_")
        checksum_text = checksum[0] if checksum else ""
        return Package(name, unquote(version), filename, int(size), checksum_text.replace("MD5Sum", "md5"))
    except ValueError as error:
        raise ImageError(f"apt-get printed a line that isn't understood: {line!r}") from error
