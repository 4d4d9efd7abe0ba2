"""The agent in the image's own interpreter: what isn't packed, or isn't of the standard library, is found here."""

from __future__ import annotations

import ast
import importlib.util
import io
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gavotte.guest import agent
from gavotte.guest.image import cpio, find_image, initramfs
from gavotte.guest.image.manifest import agent_files

SOURCES = agent_files()
DEADLINE = 20.0


def is_module(name: str) -> bool:
    """Whether it is one; `from typing import Any` names typing.Any too."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


MODULES = sorted(filter(is_module, initramfs.imports_of(SOURCES)))


def read_initramfs(path: Path) -> cpio.Tree:
    """The files of all archives that the initramfs is made of, as the kernel would unpack them."""
    source = io.BytesIO(path.read_bytes())
    tree: cpio.Tree = {}
    while source.tell() < len(source.getbuffer()):
        tree.update(cpio.read(source))
        while (padding := source.read(1)) == b"\0":
            pass
        source.seek(-len(padding), os.SEEK_CUR)
    return tree


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's initramfs, unpacked without its device nodes."""
    image = find_image()
    if image is None:
        pytest.skip("there is no guest image with this agent: `gavotte image build` makes one")
    root = tmp_path_factory.mktemp("initramfs")
    for name, entry in read_initramfs(image.initrd).items():
        path = root / name
        if stat.S_ISDIR(entry.mode):
            path.mkdir(parents=True, exist_ok=True)
        elif stat.S_ISLNK(entry.mode):
            path.symlink_to(entry.data.decode())
        elif stat.S_ISREG(entry.mode):
            path.write_bytes(entry.data)
            path.chmod(entry.mode & 0o777)
    return root


def packed_python(root: Path, code: str, *arguments: str) -> list[str]:
    """The command line that runs `code` by the image's interpreter, its loader and its libraries."""
    (loader,) = {path.resolve() for path in (root / "usr").glob("lib*/**/ld-*.so*")}
    libraries = next((root / "usr/lib").glob("*/libc.so.*")).parent
    (python,) = (root / "usr/bin").glob("python3.*")
    where = f"import sys; sys.path.insert(0, {os.fspath(root)!r})\n"
    words: list[Path | str] = [loader, "--library-path", libraries, python, "-SEB", "-c", where + code, *arguments]
    return [os.fspath(word) for word in words]


def run_packed(root: Path, code: str) -> str:
    command = packed_python(root, code)
    done = subprocess.run(command, env={}, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def served(root: Path) -> Iterator[socket.socket]:
    """The host's end of a line to the packed agent."""
    ours, theirs = socket.socketpair()
    code = "from gavotte.guest.agent import boot, server; server.Agent(int(sys.argv[1]), boot.Boot()).run()"
    with ours:
        ours.settimeout(DEADLINE)
        with theirs:
            process = subprocess.Popen(
                packed_python(root, code, str(theirs.fileno())),
                env={},
                pass_fds=[theirs.fileno()],
            )
        try:
            yield ours
            ours.close()
            assert process.wait(DEADLINE) == 0
        finally:
            process.kill()
            process.wait()


def receive_frames(sock: socket.socket, count: int) -> list[agent.Frame]:
    decoder = agent.Decoder()
    frames: list[agent.Frame] = []
    while len(frames) < count:
        data = sock.recv(65536)
        assert data, "the packed agent ended"
        frames += decoder.feed(data)
    return frames


def test_the_image_holds_this_agent(root: Path) -> None:
    assert {name: (root / name).read_bytes() for name in SOURCES} == SOURCES
    assert all(list((root / name).parent.glob(f"__pycache__/{Path(name).stem}.*.pyc")) for name in SOURCES)


def test_the_packed_interpreter_imports_the_agent_and_nothing_from_elsewhere(root: Path) -> None:
    code = """
from gavotte.guest.agent import boot, online
for name, module in sorted(sys.modules.items()):
    if getattr(module, "__file__", None):
        print(module.__file__)
"""
    files = run_packed(root, code).split()
    assert files
    assert not [file for file in files if not file.startswith(os.fspath(root))]


@pytest.mark.parametrize("module", [*MODULES, "linecache", "tokenize", "encodings.idna"])
def test_the_packed_interpreter_has_each_module_that_the_agent_imports(root: Path, module: str) -> None:
    run_packed(root, f"import {module}")


def test_the_packed_interpreter_can_say_where_an_error_came_from(root: Path) -> None:
    code = """
import traceback
from gavotte.guest.agent import system
try:
    system.mount("none", "/proc/self/no/such", "none")
except OSError as error:
    print("".join(traceback.format_exception(error)))
"""
    said = run_packed(root, code)
    assert "in mount" in said
    assert "makedirs" in said


def test_the_packed_agent_serves_a_request(served: socket.socket) -> None:
    served.sendall(agent.encode_json(agent.REQUEST, 1, {"op": "no such operation"}))
    hello, refusal = receive_frames(served, 2)
    assert hello.kind == agent.HELLO
    assert json.loads(hello.payload)["protocol"] == agent.PROTOCOL
    assert (refusal.kind, refusal.channel) == (agent.ERROR, 1)


def test_the_agent_imports_nothing_but_the_standard_library_and_itself() -> None:
    names: set[str] = set()
    for source in SOURCES.values():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, "a relative import"
                names.add(node.module or "")
    own = {name for name in names if name.startswith("gavotte.")}
    assert {name.partition(".")[0] for name in names - own} <= sys.stdlib_module_names
    assert {f"{name.replace('.', '/')}.py" for name in own - {"gavotte.guest.agent"}} < SOURCES.keys()


def test_the_agent_runs_without_the_rest_of_this_package(tmp_path: Path) -> None:
    for name, source in SOURCES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(source)
    code = "import sys; sys.path[:0] = sys.argv[1:]; import gavotte.guest.agent.boot; print(*sys.modules)"
    command = [sys.executable, "-SIB", "-W", "error", "-c", code, os.fspath(tmp_path)]
    subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=True)
