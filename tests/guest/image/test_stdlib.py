from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gavotte.guest.image import stdlib

LIBRARY = "usr/lib/python3.11"
SOURCES = {
    f"{LIBRARY}/json/__init__.py": b"from .decoder import JSONDecoder\n",
    f"{LIBRARY}/json/decoder.py": (
        b"import re\nfrom json import scanner\ntry:\n    from _json import x\nexcept ImportError:\n    x = 1\n"
    ),
    f"{LIBRARY}/json/scanner.py": b"def f():\n    import lazy\n",
    f"{LIBRARY}/re.py": b"if __name__ == '__main__':\n    import script\n",
    f"{LIBRARY}/lazy.py": b"",
    f"{LIBRARY}/script.py": b"",
}
NAMES = [
    *SOURCES,
    f"{LIBRARY}/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so",
    f"{LIBRARY}/__pycache__/re.py",
    f"{LIBRARY}/config-3.11/x.py",
    "usr/x.py",
]
AVAILABLE = stdlib.modules_in(NAMES, LIBRARY)


def test_modules_packages_and_extensions_are_found_by_their_names() -> None:
    assert set(AVAILABLE) == {"json", "json.decoder", "json.scanner", "re", "lazy", "script", "_json"}


def test_what_is_imported_at_the_top_level_is_followed() -> None:
    found = stdlib.closure(["json.decoder", "sys"], AVAILABLE, SOURCES)
    assert found == {"json", "json.decoder", "json.scanner", "re", "_json"}


def test_an_agent_s_lazy_imports_count() -> None:
    assert {"pty", "os.path"} <= stdlib.imported_by(b"def f():\n    import pty\n    from os import path\n")


def test_relative_imports_start_at_the_package() -> None:
    found = stdlib.imported_by(b"from . import a\nfrom ..b import c\n", module="top.package.module")
    assert {"top.package.a", "top.b", "top.b.c"} <= found


def test_the_file_runs_as_a_program_of_the_interpreter_it_asks(tmp_path: Path) -> None:
    for name, text in SOURCES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text)
    command = [sys.executable, "-SsB", stdlib.__file__, str(tmp_path), LIBRARY, "json", "sys"]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    assert output.split() == ["json", "json.decoder", "json.scanner", "re"]
