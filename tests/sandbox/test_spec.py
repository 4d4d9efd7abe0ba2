"""What may be asked of a sandbox: sizes, and each bad value with the path to it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import HostError, UsageError
from gavotte.sandbox.spec import make_spec
from gavotte.sandbox.words import check_argv, check_env, parse_size

ALL_MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256M", 256 << 20),
        ("2G", 2 << 30),
        ("2g", 2 << 30),
        ("512MiB", 512 << 20),
        ("512mb", 512 << 20),
        ("1T", 1 << 40),
        ("64K", 64 << 10),
        (" 1G ", 1 << 30),
        ("1gb", 1 << 30),
        ("1.5G", 1536 << 20),
        ("0.25g", 256 << 20),
        ("1.3M", 1_363_148),
        ("5m", 5 << 20),
        ("512k", 512 << 10),
        ("7B", 7),
        ("268435456", 256 << 20),
        ("12345", 12345),
        (12345, 12345),
    ],
)
def test_a_size(text: str | int, size: int) -> None:
    assert parse_size(text, "memory") == size


@pytest.mark.parametrize(
    "text",
    [
        *("", "G", ".5G", "1.G", "1,5G", "-1G", "1 000M", "1X", "1GG", "1iB", "0x10", "1e3M", "9" * 5000, "inf"),
        *("١٢M", "1\N{KELVIN SIGN}", "1.5", 1.5, 512.0, True, None, b"1G"),
    ],
)
def test_what_is_no_size_says_how_to_write_one(text: Any) -> None:
    with pytest.raises(UsageError, match=r"^swap: .* is not a size") as caught:
        parse_size(text, "swap")
    assert "256M" in caught.value.hint


def test_the_defaults_make_a_spec() -> None:
    spec = make_spec()
    assert (spec.memory, spec.cpus, spec.accel, spec.machine) == (512 << 20, 1, "auto", "q35")
    assert (spec.kernel, spec.initrd, spec.qemu, spec.append) == (None, None, None, "")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("memory", "much"),
        ("memory", 1.5),
        ("memory", None),
        ("cpus", 0),
        ("cpus", -1),
        ("cpus", 241),
        ("cpus", 1.0),
        ("cpus", True),
        ("cpus", "2"),
        ("accel", "hvf"),
        ("accel", ""),
        ("accel", None),
        ("machine", "toaster"),
        ("machine", ""),
        ("boot_timeout", 0),
        ("boot_timeout", -1.0),
        ("boot_timeout", float("nan")),
        ("append", "a\0b"),
    ],
)
def test_a_bad_value_is_refused_with_the_path_to_it(path: str, value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        make_spec(**{path: value})
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path}: ")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("memory", ["64M", 0, -5, "127M"])
def test_memory_that_no_guest_can_do_with_is_a_wrong_value(memory: str | int) -> None:
    with pytest.raises(UsageError, match=r"^memory: .* is too little") as caught:
        make_spec(memory=memory)
    assert caught.value.hint


@pytest.mark.parametrize("memory", [ALL_MEMORY + (1 << 30), f"{(ALL_MEMORY >> 30) + 2}G"])
def test_memory_that_this_host_lacks(memory: str | int) -> None:
    with pytest.raises(HostError, match=r"^memory: ") as caught:
        make_spec(memory=memory)
    assert caught.value.hint
    assert caught.value.exit_code == 125


@pytest.mark.parametrize("memory", [256, "256"])
def test_a_number_that_was_surely_not_meant_as_bytes_is_refused_with_what_was_meant(memory: str | int) -> None:
    with pytest.raises(UsageError, match=r"^memory: 256 bytes is too little") as small:
        make_spec(memory=memory)
    with pytest.raises(UsageError, match=r"^max_memory: 256 bytes is not between .*\(128M\) and 1T") as limit:
        make_spec(memory="128M", max_memory=memory)
    assert all("did you mean 256M?" in caught.value.hint for caught in (small, limit))
    with pytest.raises(UsageError) as hopeless:
        make_spec(memory=1)
    assert hopeless.value.hint == "give it 128M or more"


def test_memory_is_whole_mebibytes() -> None:
    assert make_spec(memory=(200 << 20) + 4095).memory == 200 << 20


@pytest.mark.parametrize(("option", "hint"), [("mem", "did you mean 'memory'?"), ("cpu", "'cpus'"), ("xyz", "memory")])
def test_an_option_that_there_is_not(option: str, hint: str) -> None:
    given: dict[str, Any] = {option: 1}
    with pytest.raises(UsageError, match=rf"^{option}: there is no such option") as caught:
        make_spec(**given)
    assert hint in caught.value.hint


def test_a_kernel_is_an_elf_file_or_a_bzimage(tmp_path: Path) -> None:
    elf, image, other = tmp_path / "elf", tmp_path / "image", tmp_path / "other"
    elf.write_bytes(b"\x7fELF...")
    image.write_bytes(bytes(0x202) + b"HdrS")
    other.write_bytes(b"MZ" + bytes(1000))
    assert make_spec(kernel=elf).kernel == elf
    assert make_spec(kernel=str(image)).kernel == image
    with pytest.raises(HostError, match=r"other' is not a kernel"):
        make_spec(kernel=other)


def test_relative_paths_are_made_absolute_since_qemu_runs_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("k").write_bytes(b"\x7fELF")
    spec = make_spec(kernel="k", initrd=Path("k"))
    assert spec.kernel == spec.initrd == tmp_path / "k"


@pytest.mark.parametrize("option", ["kernel", "initrd"])
def test_a_file_that_cannot_be_read(option: str, tmp_path: Path) -> None:
    for path, why in ((tmp_path / "none", "No such file"), (tmp_path, "directory")):
        options: dict[str, Any] = {option: path}
        with pytest.raises(HostError, match=f"^{option}: can't read .*{why}") as caught:
            make_spec(**options)
        assert caught.value.hint


@pytest.mark.parametrize(
    ("argv", "path"),
    [
        ("ls -l", "argv"),
        (b"ls", "argv"),
        ([], "argv"),
        ([""], "argv"),
        (["ls", "a\0b"], "argv[1]"),
        (["ls", b"x"], "argv[1]"),
        (["ls", 5], "argv[1]"),
        ([None], "argv"),
    ],
)
def test_a_bad_argv(argv: Any, path: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_argv(argv)
    assert caught.value.path == path


def test_an_argv_of_paths_and_odd_words() -> None:
    words: list[Any] = [Path("/bin/ls"), "", "a b", "\udcff"]
    assert check_argv(words) == ["/bin/ls", "", "a b", "\udcff"]


@pytest.mark.parametrize("env", [{"": "x"}, {"A=B": "x"}, {"A\0": "x"}, {"A": "x\0"}, {"A": 1}, {1: "A"}])
def test_a_bad_environment(env: Any) -> None:
    with pytest.raises(UsageError) as caught:
        check_env(env)
    assert caught.value.path.startswith("env")


def test_an_environment() -> None:
    assert check_env(None) == {}
    assert check_env({"A": "", "b": "x=y\n"}) == {"A": "", "b": "x=y\n"}


# what it may grow to, and what it is called


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"slots": -1}, "slots"),
        ({"slots": 65}, "slots"),
        ({"slots": True}, "slots"),
        ({"slots": "8"}, "slots"),
        ({"cpus": 4, "max_cpus": 3}, "max_cpus"),
        ({"max_cpus": 241}, "max_cpus"),
        ({"max_cpus": -1}, "max_cpus"),
        ({"memory": "512M", "max_memory": "256M"}, "max_memory"),
        ({"max_memory": "2T"}, "max_memory"),
        ({"max_memory": "much"}, "max_memory"),
        ({"shared_memory": 1}, "shared_memory"),
        ({"keep": "yes"}, "keep"),
        ({"name": ""}, "name"),
        ({"name": "../x"}, "name"),
        ({"name": "x" * 64}, "name"),
        ({"name": 7}, "name"),
    ],
)
def test_a_bound_or_name_that_makes_no_sense_names_its_path(options: dict[str, Any], path: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_spec(**options)
    assert caught.value.path == path


def test_bounds_are_what_was_asked_for_in_whole_mebibytes() -> None:
    spec = make_spec(cpus=2, max_cpus=4, memory="256M", max_memory=(1 << 30) + 5, slots=64, name="a.b_c-9", keep=True)
    assert (spec.max_cpus, spec.max_memory, spec.slots, spec.name, spec.keep) == (4, 1 << 30, 64, "a.b_c-9", True)
    assert (make_spec().max_cpus, make_spec().max_memory, make_spec().slots, make_spec().name) == (0, 0, 0, "")
