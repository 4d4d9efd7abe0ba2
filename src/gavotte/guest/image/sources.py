"""Which Debian archives to build from: the host's own apt sources, third-party ones left out.

Formats: sources.list(5), one-line and deb822.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from gavotte.errors import ImageError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
APT_DIRECTORY = Path("/etc/apt")
COMPONENT = "main"
ONE_LINE = re.compile(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>[^#]+)")


@dataclass(frozen=True)
class Source:
    """One archive: where it is, one suite of it, and the keyring that its signature is checked with."""

    uri: str
    suite: str
    keyring: str

    def one_line(self) -> str:
        """The line for a sources.list."""
        return f"deb [signed-by={self.keyring}] {self.uri} {self.suite} {COMPONENT}\n"


def choose(suite: str, *, mirror: str | None = None, like: str = "", directory: Path = APT_DIRECTORY) -> list[Source]:
    """The archives to build `suite` from: suite, updates and security, as far as they are known.

    `mirror` replaces the host's archives for the suite and its updates. An archive has many suites: those that the
    host names for the suite `like` are taken for one that it doesn't name. Raises ImageError when there is none.
    """
    wanted = (suite, f"{suite}-updates", f"{suite}-security")
    known = list(_of_host(directory))
    if like and not any(source.suite == suite for source in known):
        known = [replace(source, suite=re.sub(rf"^{re.escape(like)}(?=-|$)", suite, source.suite)) for source in known]
    found = [source for source in known if source.suite in wanted]
    if mirror:
        if not re.fullmatch(r"[a-z][a-z+]*:/[^\s\[\]]+", mirror):
            raise ImageError(
                f"not an archive's URL: {mirror!r}", hint="give it as in an apt source, http://HOST/debian"
            )
        given = [Source(mirror, name, str(KEYRING)) for name in wanted[:2]]
        found = given + [source for source in found if source.suite == wanted[2]]
    found = list(dict.fromkeys(found))
    if not any(source.suite == suite for source in found):
        raise ImageError(
            f"the apt sources of this host don't name a Debian archive of {suite!r}",
            hint="say which one with --mirror URL, or import an image with `gavotte image import FILE`",
        )
    _require_keyrings(found)
    return found


def _require_keyrings(sources: Iterable[Source]) -> None:
    for source in sources:
        if not Path(source.keyring).is_file():
            raise ImageError(
                f"the keyring {source.keyring} is missing, so that signatures can't be checked",
                hint="apt-get install debian-archive-keyring",
            )


def _of_host(directory: Path) -> Iterator[Source]:
    parts = directory / "sources.list.d"
    for path in (directory / "sources.list", *sorted(parts.glob("*.list"))):
        yield from _one_line_sources(_text(path))
    for path in sorted(parts.glob("*.sources")):
        yield from _deb822_sources(_text(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # not there, or not for us to read: then it isn't one of our sources
        return ""


def _one_line_sources(text: str) -> Iterator[Source]:
    for line in text.splitlines():
        match = ONE_LINE.match(line.strip())
        if match:
            options = dict(word.partition("=")[::2] for word in (match["options"] or "").split())
            yield from _sources([match["uri"]], [match["suite"]], match["components"].split(), options)


def _deb822_sources(text: str) -> Iterator[Source]:
    for stanza in re.split(r"\n\s*\n", text):
        fields = _fields(stanza)
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() not in ("no", "false"):
            options = {"signed-by": fields["signed-by"]} if "signed-by" in fields else {}
            uris, suites, components = (fields.get(key, "").split() for key in ("uris", "suites", "components"))
            yield from _sources(uris, suites, components, options)


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    key = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace():
            fields[key] = f"{fields.get(key, '')} {line.strip()}".strip()
        else:
            key, _, value = line.partition(":")
            key = key.strip().lower()
            fields[key] = value.strip()
    return fields


def _sources(uris: list[str], suites: list[str], components: list[str], options: dict[str, str]) -> Iterator[Source]:
    """Those that are Debian's: a third party may use the same suite and component names, but not Debian's keyring."""
    keyring = options.get("signed-by", str(KEYRING))
    if COMPONENT not in components or not re.fullmatch(r"/\S*/debian-archive-[^/\s]*", keyring):
        return
    for uri in uris:
        for suite in suites:
            yield Source(uri, suite, keyring)
