"""Guests of every architecture, booted for real: `make test-arches` runs these and says how long each took."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gavotte
from gavotte.faces.loop import call
from gavotte.guest.image import find_image
from gavotte.guest.image.manifest import agent_files
from gavotte.guest.image.python import Interpreter, byte_code_name
from gavotte.qemu.binary import find_program
from gavotte.qemu.machines import ARCHES, host_arch, machines_of
from gavotte.sandbox.images import build_image
from tests.support.command_line import gavotte as command_line
from tests.support.leaks import exempt

pytestmark = [pytest.mark.vm, pytest.mark.arch]

UNAME = {"ppc64": "ppc64le"}  # where the kernel's name isn't QEMU's
BIG_ENDIAN = {"s390x"}


@pytest.fixture(scope="module", params=ARCHES)
def arch(request: pytest.FixtureRequest) -> str:
    """An architecture whose emulator is here, with its image: the first run builds that, which takes minutes."""
    arch: str = request.param
    if find_program(f"qemu-system-{arch}") is None:
        pytest.skip(f"qemu-system-{arch} is not installed: make setup-arches")
    with exempt():
        call(asyncio.sleep(0))  # the API's own loop, which lives as long as the process
        build_image(arch, progress=lambda _phase, _fraction: None)
    return arch


@pytest.fixture(scope="module")
def guest(arch: str, run_directory: None) -> Iterator[gavotte.Sandbox]:
    """One running guest for the tests of an architecture."""
    box = gavotte.Sandbox(arch=arch, accel="tcg")
    with exempt():
        box.start()
    yield box
    box.close()


def test_the_command_line_boots_it(arch: str) -> None:
    ended = command_line("run", "--arch", arch, "--accel", "tcg", "--", "uname", "-m")
    assert (ended.returncode, ended.stdout.decode(), ended.stderr.decode()) == (0, f"{UNAME.get(arch, arch)}\n", "")


def test_the_first_image_of_all_is_built_by_the_first_run(tmp_path: Path) -> None:
    """On an empty cache, as the README has it. One architecture stands for those that aren't this host's."""
    arch = "aarch64" if host_arch() != "aarch64" else "riscv64"
    if find_program(f"qemu-system-{arch}") is None:
        pytest.skip(f"qemu-system-{arch} is not installed: make setup-arches")
    ended = command_line(
        "run", "--arch", arch, "--", "uname", "-m", env={"XDG_CACHE_HOME": str(tmp_path)}, timeout=3600
    )
    assert (ended.returncode, ended.stdout.decode()) == (0, f"{arch}\n"), ended.stderr


def test_python_runs_with_the_processor_s_byte_order(arch: str, guest: gavotte.Sandbox) -> None:
    code = "import sys, json, ssl, subprocess; print(sys.byteorder)"
    order = "big" if arch in BIG_ENDIAN else "little"
    assert guest.run(["python3", "-c", code]).check().stdout.decode() == f"{order}\n"


def test_status_signal_input_and_files_are_as_at_home(guest: gavotte.Sandbox) -> None:
    assert guest.run(["sh", "-c", "exit 7"]).returncode == 7
    assert guest.run(["sh", "-c", "kill -9 $$"]).returncode == -9
    assert guest.run(["sh", "-c", "cat > /root/f; cat /root/f"], input=b"x" * 300_000).stdout == b"x" * 300_000
    assert guest.run(["stat", "-c", "%U %a %s", "/root/f"]).stdout == b"root 644 300000\n"


def test_a_command_has_its_terminal_of_the_size_asked_for(guest: gavotte.Sandbox) -> None:
    with guest.spawn(["stty", "size"], tty=(33, 111)) as process:
        assert process.stdout.read() == b"33 111\r\n"
        assert process.wait(timeout=60) == 0


def test_a_user_other_than_root_runs_commands(guest: gavotte.Sandbox) -> None:
    assert guest.run(["id", "-un"], user="nobody").check().stdout == b"nobody\n"


def test_its_packages_are_all_configured(guest: gavotte.Sandbox) -> None:
    audit = guest.run(["dpkg", "--audit"]).check()
    assert (audit.stdout, audit.stderr) == (b"", b"")
    states = guest.run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev}\n"]).check().stdout.split()
    assert set(states) == {b"ii"}


def test_nothing_of_the_way_it_was_made_is_left(guest: gavotte.Sandbox) -> None:
    places = "/var/cache/apt/archives /usr/sbin/policy-rc.d /usr/share/doc /usr/share/man"
    assert guest.run(["sh", "-c", f"find {places} -type f 2>/dev/null"]).stdout == b""


def test_owners_and_modes_are_those_of_the_packages(guest: gavotte.Sandbox) -> None:
    wanted = {
        "/": "root root 755",
        "/tmp": "root root 1777",
        "/usr/bin/mount": "root root 4755",
        "/usr/sbin/unix_chkpwd": "root shadow 2755",
    }
    said = guest.run(["stat", "-c", "%n %U %G %a", *wanted]).check().stdout.decode().splitlines()
    assert said == [f"{name} {facts}" for name, facts in wanted.items()]


def test_the_smallest_memory_of_its_row_boots(arch: str) -> None:
    smallest = machines_of(arch)[0].smallest
    with gavotte.Sandbox(arch=arch, accel="tcg", memory=smallest, boot_timeout=300) as box:
        assert box.run(["echo", "here"]).check().stdout == b"here\n"


def test_a_second_processor_is_there(arch: str) -> None:
    with gavotte.Sandbox(arch=arch, accel="tcg", cpus=2, boot_timeout=300) as box:
        assert box.run(["nproc"]).check().stdout == b"2\n"


def test_its_image_is_listed_with_its_architecture(arch: str) -> None:
    image = find_image(arch)
    assert image is not None
    rows = command_line("image", "list").stdout.decode().splitlines()
    (row,) = [row for row in rows if row.startswith(image.id)]
    assert image.manifest.recipe.architecture in row
    assert row.endswith("current")


def test_the_byte_code_of_the_agent_is_in_the_image(arch: str) -> None:
    image = find_image(arch)
    assert image is not None
    data = image.initrd.read_bytes()[image.manifest.base_length :]
    tag = image.manifest.python.tag
    packed = Interpreter("", "", "", tag, "")
    missing = [name for name in agent_files() if byte_code_name(name, packed).encode() not in data]
    assert missing == [], f"this host: {sys.implementation.cache_tag}, the image: {tag}"
