"""The command line without a guest: usage, errors with a way out, and the commands that only look."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

import gavotte as package
from gavotte.faces import cli, detached
from gavotte.faces.detached import change
from gavotte.guest.image import Image
from gavotte.text import rough_size
from tests.support.command_line import GAVOTTE, Ended, gavotte, read_until, started
from tests.support.programs import start_options

ALL_MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def assert_refused(ended: Ended, status: int, *words: str) -> None:
    """Nothing on stdout; on stderr one message, with what was wrong, and one line on what to do next."""
    assert ended.returncode == status, ended.stderr
    assert ended.stdout == b""
    lines = ended.stderr.decode().splitlines()
    assert [line.startswith("gavotte: ") for line in lines] == [True, False], lines
    assert lines[1].startswith("  next: "), lines
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "soon"])
def test_a_time_to_stop_in_that_is_none_is_refused(seconds: str) -> None:
    assert_refused(gavotte("stop", "--time", seconds, "lab"), 2, "--time")


def test_a_name_that_nobody_has_keeps_stop_from_ending_any(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    monkeypatch.setattr(change, "find_entry", _known)
    monkeypatch.setattr(change, "end", lambda entry, **how: ended.append(f"{entry} {how}"))
    assert cli.main(["stop", "one", "typo", "--time", "3"]) == 2
    assert ended == []
    assert cli.main(["stop", "one", "two", "--time", "3"]) == 0
    assert sorted(ended) == [f"{name} {{'force': False, 'grace': 3.0}}" for name in ("one", "two")]


def _known(name: str) -> str:
    if name == "typo":
        raise package.NoSuchSandbox(name)
    return name


# usage errors


@pytest.mark.parametrize(
    ("words", "culprit"),
    [
        ([], "COMMAND"),
        (["dance"], "dance"),
        (["run"], "no command"),
        (["run", "--"], "no command"),
        (["run", "--", ""], "no command"),
        (["run", "--no-such-option", "--", "true"], "--no-such-option"),
        (["run", "--mem", "1G", "--", "true"], "gavotte run has no option --mem"),
        (["run", "--no-such-option", "uname"], "gavotte run has no option --no-such-option"),
        (["run", "-itx", "true"], "gavotte run has no option -x"),
        (["run", "-x", "run"], "gavotte run has no option -x"),
        (["-x", "run"], "gavotte has no option -x"),
        (["run", "--rm=yes", "true"], "--rm: it takes no value"),
        (["run", "--memory"], "--memory: its SIZE is missing"),
        (["run", "--env", "--", "true"], "--env: its K[=V] is missing"),
        (["run", "-", "true"], "'-' stands where the command is to begin"),
        (["run", "-5", "true"], "'-5' stands where the command is to begin"),
        (["exec", "lab", "--user", "nobody", "id"], "'--user' stands where the command is to begin"),
        (["exec"], "NAME is missing"),
        (["ps", "lab"], "'lab' is one word too many for gavotte ps"),
        (["image", "rm"], "ID is missing"),
        (["qemu", "adopt"], "--qmp is missing"),
        (["qemu", "argv", "--shell", "--json", "x"], "--json: it is one form or the other"),
        (["run", "--memory", "much", "--", "true"], "--memory: 'much'"),
        (["run", "--memory", "-5", "--", "true"], "--memory"),
        (["run", "--memory", "1.5", "--", "true"], "--memory: '1.5'"),
        (["run", "--memory", "256", "--", "true"], "memory: 256 bytes is too little"),
        (["run", "--cpus", "0", "--", "true"], "--cpus"),
        (["run", "--cpus", "two", "--", "true"], "--cpus: 'two' is not a whole number"),
        (["run", "--cpus", "9" * 5000, "--", "true"], "--cpus: '999"),
        (["run", "--cpus", "9999", "--", "true"], "--cpus"),
        (["run", "--accel", "hvf", "--", "true"], "--accel: 'hvf'"),
        (["run", "--machine", "toaster", "--", "true"], "--machine: no machine 'toaster'"),
        (["run", "--timeout", "0", "--", "true"], "--timeout"),
        (["run", "--timeout", "-1", "--", "true"], "--timeout"),
        (["run", "--timeout", "nan", "--", "true"], "--timeout"),
        (["run", "--timeout", "soon", "--", "true"], "--timeout: 'soon' is not a number"),
        (["run", "--boot-timeout", "0", "--", "true"], "--boot-timeout"),
        (["run", "--boot-timeout", "nan", "--", "true"], "--boot-timeout"),
        (["run", "--env", "=value", "--", "true"], "--env: '=value' has no name"),
        (["run", "--env", "", "--", "true"], "--env"),
        (["explain", "--machine", "toaster"], "--machine: no machine 'toaster'"),
        (["image"], "ACTION"),
        (["image", "paint"], "paint"),
        (["template"], "ACTION"),
        (["template", "paint"], "paint"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_usage_error_names_the_culprit_and_has_a_status_that_is_no_commands(words: list[str], culprit: str) -> None:
    """`run` ends with the status of the guest's command, which may well be 2."""
    assert_refused(gavotte(*words), 125 if words[0:1] in (["run"], ["exec"]) else 2, culprit)


@pytest.mark.parametrize(
    ("words", "meant"),
    [("run --momery 1G -- true", "--memory"), ("runs", "run"), ("image lst", "list"), ("ps --jsn", "--json")],
)
def test_what_is_misspelt_is_answered_with_what_may_be_meant(words: str, meant: str) -> None:
    assert f"  next: did you mean {meant}? gavotte ".encode() in gavotte(*words.split()).stderr


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("-v=.:/work", "gavotte.Share"),
        ("--mount=type=bind,src=.,dst=/x", "gavotte.Share"),
        ("-p80:80", "gavotte plug"),
        ("--network=none", "gavotte plug"),
        ("--privileged", "leave it out"),
        ("--platform=linux/arm64", "--arch"),
        ("--env-file=x", "--env NAME=VALUE"),
        ("--entrypoint=sh", "behind --"),
    ],
)
@pytest.mark.parametrize("command", [["run"], ["exec"]], ids=str)
def test_an_option_that_only_podman_has_is_refused_with_what_there_is_instead(
    command: list[str], option: str, hint: str
) -> None:
    ended = gavotte(*command, option, "lab", "true")
    assert_refused(ended, 125, f"gavotte {command[0]} has no option {option[:2] if option[1] != '-' else ''}")
    assert hint in ended.stderr.decode()


def test_podmans_spelling_is_taken_where_the_option_is_there() -> None:
    parser = cli._parser(["run"])
    podmans = ["-it", "--rm", "-d", "--name", "lab", "-e", "A=b", "-eC", "-w", "/x", "-u", "nobody", "-m", "1G"]
    ours = ["--interactive", "--tty", "--rm", "--detach", "--name", "lab", "--env", "A=b", "--env", "C"]
    ours += ["--cwd", "/x", "--user", "nobody", "--memory", "1G"]
    assert parser.parse_args(["run", *podmans, "id", "-u"]) == parser.parse_args(["run", *ours, "id", "-u"])
    assert parser.parse_args(["run", "--workdir=/y", "id"]).cwd == "/y"


def test_a_command_keeps_its_own_two_dashes(monkeypatch: pytest.MonkeyPatch) -> None:
    def argv_of(*words: str) -> list[str]:
        found: list[str] = []

        def run(options: argparse.Namespace) -> int:
            found.extend(options.argv)
            return 0

        monkeypatch.setattr(cli, "_run", run)
        assert cli._dispatch(["run", *words]) == 0
        return found

    assert argv_of("git", "checkout", "--", "file") == ["git", "checkout", "--", "file"]
    assert argv_of("-t", "--", "git", "checkout", "--", "file") == ["git", "checkout", "--", "file"]
    assert argv_of("--", "-odd") == ["-odd"]


@pytest.mark.parametrize("words", [["-v", ".:/work"], ["-v.:/work"], ["--volume=.:/work"], ["--volume", ".:/work"]])
@pytest.mark.parametrize("command", ["run", "explain"])
def test_a_volume_is_refused_with_what_there_is_instead_and_not_taken_for_verbose(
    command: str, words: list[str]
) -> None:
    ended = gavotte(command, *words, "--", "true")
    assert_refused(ended, 125 if command == "run" else 2, "--volume" if "--volume" in words[0] else "-v")
    assert b"gavotte.Share" in ended.stderr


@pytest.mark.parametrize(
    "words", [["--no-such-option", "lab", "--", "true"], ["nobody", "--", "true"], ["n b", "--", "true"], ["lab"], []]
)
def test_what_exec_refuses_has_a_status_that_is_no_commands(words: list[str]) -> None:
    assert gavotte("exec", *words).returncode == 125


@pytest.mark.parametrize(
    ("words", "way_out"),
    [
        ("run --xyzzy -- true", "gavotte run --help"),
        ("image build --xyzzy", "gavotte image build --help"),
        ("run", "gavotte run [options] -- CMD [ARG…]"),
    ],
)
def test_a_usage_error_points_to_the_help_of_its_own_command(words: str, way_out: str) -> None:
    ended = gavotte(*words.split())
    message = "gavotte: there is no command to run" if words == "run" else "--xyzzy"
    assert_refused(ended, 125 if words.startswith("run") else 2, message)
    assert ended.stderr.decode().endswith(f"  next: {way_out}\n")


def test_what_follows_the_command_is_the_commands() -> None:
    ended = gavotte("run", "--qemu", "/no/such/qemu", "ls", "--no-such-option", "--memory", "x")
    assert_refused(ended, 125, "/no/such/qemu")


@pytest.mark.parametrize(
    "words", [["--help"], ["run", "--help"], ["check", "--help"], ["image", "--help"], ["template", "--help"]]
)
def test_help_is_status_0_on_stdout(words: list[str]) -> None:
    ended = gavotte(*words)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.startswith(b"usage: gavotte")


COMMANDS = {"run", "explain", "check", "image", "template", "qemu", "qmp", *detached.COMMANDS}


def test_help_lists_every_command() -> None:
    text = gavotte("--help").stdout.decode()
    assert set(re.findall(r"^    (\w+) ", text, re.MULTILINE)) == COMMANDS


@pytest.mark.parametrize("words", [["dance"], ["runs"], ["dance", "run"], [""]], ids=str)
def test_a_word_that_is_no_command_is_answered_with_all_that_there_are(words: list[str]) -> None:
    ended = gavotte(*words)
    assert_refused(ended, 2, f"gavotte has no command {words[0]!r}; it has ")
    choices = ended.stderr.decode().splitlines()[0].partition("it has ")[2]
    assert set(re.findall(r"\w+", choices)) == COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_a_help_of_its_own(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"usage: gavotte {command} ")
    assert "options:" in out


def test_version() -> None:
    ended = gavotte("--version")
    assert (ended.returncode, ended.stdout) == (0, f"gavotte {package.__version__}\n".encode())


# what this host lacks


def test_memory_too_small_to_boot() -> None:
    assert_refused(gavotte("run", "--memory", "64M", "--", "true"), 125, "memory", "64M", "too little")


def test_more_memory_than_the_host_has() -> None:
    wanted = f"{(ALL_MEMORY >> 30) + 2}G"
    assert_refused(gavotte("run", "--memory", wanted, "--", "true"), 125, wanted, rough_size(ALL_MEMORY))


def test_a_kernel_that_is_no_kernel() -> None:
    ended = gavotte("run", "--kernel", "/etc/passwd", "--", "true")
    assert_refused(ended, 125, "/etc/passwd", "not a kernel")


@pytest.mark.parametrize("option", ["--kernel", "--initrd"])
def test_a_file_that_is_not_there_or_a_directory(option: str, tmp_path: Path) -> None:
    assert_refused(gavotte("run", option, "/no/such/file", "--", "true"), 125, "/no/such/file", "No such file")
    assert_refused(gavotte("run", option, str(tmp_path), "--", "true"), 125, str(tmp_path), "directory")


def test_no_qemu_on_path_says_what_to_install() -> None:
    ended = gavotte("run", "--", "true", env={"PATH": "/nowhere"})
    assert_refused(ended, 125, "no QEMU")
    assert b"apt-get install qemu-system-x86" in ended.stderr


def test_a_qemu_that_was_named_and_is_none(tmp_path: Path) -> None:
    plain = tmp_path / "qemu"
    plain.write_text("")
    assert_refused(gavotte("run", "--qemu", str(plain), "--", "true"), 125, str(plain), "not executable")
    assert_refused(gavotte("run", "--", "true", env={"GAVOTTE_QEMU": "/no/qemu"}), 125, "/no/qemu")


def test_a_program_that_is_no_qemu_is_shown_with_its_words(image: Image) -> None:
    ended = gavotte("run", "--accel", "tcg", "--qemu", "/bin/ls", "--", "true")
    assert ended.returncode == 125
    assert b"ls: " in ended.stderr
    assert b"\n  next: " in ended.stderr


def test_a_run_directory_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    ended = gavotte("run", "--accel", "tcg", "--", "true", env={"GAVOTTE_RUN_DIR": str(link)})
    assert_refused(ended, 125, str(link))


# a working directory that was removed


def from_nowhere(*words: str, **more: str) -> Ended:
    line = ["sh", "-c", 'd=$(mktemp -d) && cd "$d" && rmdir "$d" && exec "$@"', "sh", *GAVOTTE, *words]
    return subprocess.run(
        line, stdin=subprocess.DEVNULL, capture_output=True, timeout=90, env={**os.environ, **more}, check=False
    )


@pytest.mark.parametrize("words", ["ps", "image list", "template list", "check", "explain", "qemu check FILE"])
def test_what_needs_no_working_directory_does_without_one(words: str, tmp_path: Path, image: Image) -> None:
    file = tmp_path / "machine.json"
    file.write_text('{"machine": {"type": "q35"}}')
    ended = from_nowhere(*words.replace("FILE", str(file)).split(), PATH=f".:{os.environ['PATH']}")
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize(
    "words", ["run --kernel k -- true", "run -d --initrd k", "image export k", "explain --kernel k"]
)
def test_a_relative_path_in_a_directory_that_was_removed_says_so(words: str, image: Image) -> None:
    assert_refused(from_nowhere(*words.split()), 125, "'k' is relative to the working directory, which was removed")
    assert_refused(from_nowhere("ps", GAVOTTE_RUN_DIR="k"), 125, "'k' is relative to the working directory")


# the first image


def test_bad_options_are_told_before_the_first_image_is_built(tmp_path: Path) -> None:
    empty = {"XDG_CACHE_HOME": str(tmp_path)}
    assert_refused(gavotte("run", "--memory", "64M", "--", "true", env=empty), 125, "too little")
    assert_refused(gavotte("run", "--qemu", "/no/such/qemu", "--", "true", env=empty), 125, "/no/such/qemu")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT], ids=lambda number: number.name)
def test_a_signal_ends_the_first_build_and_what_it_runs(number: signal.Signals, tmp_path: Path) -> None:
    """The build waits for another one, in a program that would do so for an hour."""
    (tmp_path / "gavotte").mkdir()
    with (tmp_path / "gavotte" / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with started("run", "--", "true", env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)}) as process:
            read_until(process.stderr, b"waiting for another process, which builds an image\n", 20)
            process.send_signal(number)
            out, err = process.communicate(timeout=15)
            assert (process.returncode, out, err) == (128 + number, b"", b"")
    assert not list((tmp_path / "gavotte" / "images").iterdir())


# explain


def explain(*options: str, **more: str) -> str:
    ended = gavotte("explain", *options, env=more)
    assert (ended.returncode, ended.stderr) == (0, b""), ended.stderr
    return ended.stdout.decode()


def read_by_a_shell(text: str) -> list[str]:
    line = ["sh", "-c", f"printf '%s\\0' {text}"]
    return subprocess.run(line, capture_output=True, text=True, timeout=10, check=True).stdout.split("\0")[:-1]


def test_explain_prints_one_option_a_line_that_a_shell_reads_as_one_command(image: Image) -> None:
    text = explain("--accel", "tcg", "--append", "quote=' and space", "--memory", "1G", "--cpus", "3", "--", "ls", "-l")
    first, *lines = text.splitlines()
    assert first.endswith("/qemu-system-x86_64 \\")
    assert all(line.startswith("  -") for line in lines)
    assert [line.endswith(" \\") for line in lines] == [True] * (len(lines) - 1) + [False]
    words = read_by_a_shell(text)
    assert words[words.index("-m") + 1] == "1048576K"
    assert words[words.index("-smp") + 1] == "3"
    assert words[words.index("-append") + 1].endswith(" quote=' and space")


def test_explain_names_the_files_of_its_user(tmp_path: Path, image: Image) -> None:
    for name in ("a kernel", "init,rd"):
        (tmp_path / name).write_bytes(b"\x7fELF")
    text = explain("--kernel", str(tmp_path / "a kernel"), "--initrd", str(tmp_path / "init,rd"), "--accel", "kvm")
    words = read_by_a_shell(text)
    assert words[words.index("-kernel") + 1] == str(tmp_path / "a kernel")
    assert words[words.index("-initrd") + 1] == str(tmp_path / "init,rd")
    assert words[words.index("-accel") + 1] == "kvm"


def test_explain_shows_the_same_boot_for_a_run_that_is_to_boot(image: Image) -> None:
    assert explain("--accel", "tcg", "--cold") == explain("--accel", "tcg")


def test_the_real_qemu_accepts_what_explain_prints(tmp_path: Path, image: Image) -> None:
    _, *options = read_by_a_shell(explain("--accel", "tcg"))
    start_options(options, tmp_path)


# check and image


def test_check_finds_that_runs_work_here(image: Image) -> None:
    ended = gavotte("check", "--json")
    findings = {finding["name"]: finding for finding in json.loads(ended.stdout)}
    assert ended.returncode == 0, findings
    assert {"qemu", "image", "kvm", "templates", "vsock", "vhost-net", "memory", "disk", "permissions"} <= set(findings)
    assert all({"name", "ok", "text", "remedy", "needed"} == set(finding) for finding in findings.values())
    assert all(finding["remedy"] for finding in findings.values() if finding["ok"] is False)
    assert findings["qemu"]["ok"] is True
    assert image.id in findings["image"]["text"]


def test_check_without_a_qemu_is_status_125_with_the_remedy(image: Image) -> None:
    ended = gavotte("check", "--qemu", "/no/such/qemu")
    assert ended.returncode == 125
    assert b"no  qemu " in ended.stdout
    assert b"next: " in ended.stdout
    assert ended.stderr == b""


def test_image_list_and_path_agree_on_the_current_image(image: Image) -> None:
    rows = json.loads(gavotte("image", "list", "--json").stdout)
    assert [row["id"] for row in rows if row["current"]] == [image.id]
    lines = gavotte("image", "list").stdout.decode().splitlines()
    assert [line.split()[0] for line in lines if line.endswith(" current")] == [image.id]
    assert gavotte("image", "path").stdout.decode().strip() == str(image.path)
    assert gavotte("image", "path", image.id[:8]).stdout.decode().strip() == str(image.path)


def test_an_image_that_is_not_there(tmp_path: Path) -> None:
    assert_refused(gavotte("image", "path", "ffff0000"), 125, "ffff0000")
    assert_refused(gavotte("image", "rm", "ffff0000"), 125, "ffff0000")
    assert_refused(gavotte("image", "import", str(tmp_path / "none")), 125, str(tmp_path / "none"))
    empty = {"XDG_CACHE_HOME": str(tmp_path)}
    assert_refused(gavotte("image", "path", env=empty), 125, "no current image")
    assert_refused(gavotte("explain", env=empty), 125, "no guest image")
    assert gavotte("image", "list", env=empty).stdout == b""


# the program's own streams


@pytest.mark.parametrize("words", ["image list", "explain --accel tcg", "--help", "qemu props virtio-blk-pci --json"])
def test_a_listing_into_a_full_device_or_a_broken_pipe_says_so_without_a_traceback(words: str, image: Image) -> None:
    full = ["sh", "-c", f'exec "$@" {words} > /dev/full', "sh", *GAVOTTE]
    ended = subprocess.run(full, capture_output=True, timeout=30, check=False)
    assert ended.returncode == 125
    assert ended.stderr.startswith(b"gavotte: can't write")
    assert b"Traceback" not in ended.stderr
    reader, writer = os.pipe()
    os.close(reader)
    try:
        broken = subprocess.run(
            [*GAVOTTE, *words.split()], stdout=writer, stderr=subprocess.PIPE, timeout=30, check=False
        )
    finally:
        os.close(writer)
    assert (broken.returncode, broken.stderr) == (128 + 13, b"")


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_the_exit_status_is_right_without_standard_streams_and_with_full_ones(closed: str) -> None:
    for words, status in (("ps --nope", 2), ("run --qemu /no/such/qemu -- true", 125), ("image path ffff0000", 125)):
        line = ["sh", "-c", f'"$@" {words} {closed}', "sh", *GAVOTTE]
        ended = subprocess.run(line, capture_output=True, timeout=30, check=False)
        assert (ended.returncode, ended.stdout, ended.stderr) == (status, b"", b"")


def test_nothing_heavy_is_imported_for_a_usage_error() -> None:
    code = "import sys; from gavotte.faces.cli import main\ntry: main(['dance'])\nfinally: print(*sorted(sys.modules))"
    ended = subprocess.run([GAVOTTE[0], "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert not {"asyncio", "rich", "json", "subprocess"} & set(ended.stdout.split())


STRIKES = """
import os, signal, sys, weakref

class Strikes:  # Python drops what is raised in a callback of this kind; imports have some, too
    def find_spec(self, name, path, target=None):
        if name == os.environ["AT"]:
            self.reference = weakref.ref(Strikes(), self.strike)

    def strike(self, reference):
        os.kill(os.getpid(), int(os.environ["STRIKE"]))
        [None for _ in range(1000)]

sys.meta_path.insert(0, Strikes())
"""


@pytest.mark.parametrize(
    ("words", "at"),
    [
        ("run true", "gavotte.sandbox.headstart"),
        ("run true", "gavotte.faces.run"),
        ("run -d --rm -- true", "gavotte.faces.run"),
        ("exec nobody true", "gavotte.sandbox.keeper.client"),
        ("explain true", "gavotte.faces.explain"),
        ("check", "gavotte.sandbox.host"),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_that_comes_in_the_midst_of_an_import_is_not_lost(
    number: signal.Signals, words: str, at: str, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(STRIKES)
    strikes = {"PYTHONPATH": os.fspath(tmp_path), "STRIKE": str(number.value), "AT": at}
    ended = gavotte(*words.split(), env=strikes)
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + number, b"", b"")
