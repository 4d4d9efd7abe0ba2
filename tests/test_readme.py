"""README.md's examples: the Python ones run against a real guest, the shell ones are what the command line takes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gavotte.errors import UsageError
from gavotte.faces import cli
from tests.support.checkers import ROOT, checker

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str, text: str = TEXT) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def claims(code: str) -> list[str]:
    """What the comments behind `print` say that it prints."""
    return [line.partition("#")[2].strip() for line in code.splitlines() if "print(" in line and "#" in line]


def run_example(code: str) -> str:
    """What the code prints, run as a program of its own, as a reader would."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        env={**os.environ, "PYTHONDEVMODE": "1"},
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def commands(code: str) -> list[list[str]]:
    """The calls of `gavotte` in lines of shell, as lists of arguments."""
    words = [shlex.split(part) for line in code.splitlines() for part in line.split("|")]
    return [words[1:] for words in words if words[:1] == ["gavotte"]]


def check_command(words: list[str]) -> None:
    """Raises UsageError for what the command line doesn't take."""
    cut = words.index("--") if "--" in words else len(words)
    cli._parser(words[:1]).parse_args(words[:cut])


def complaints_of(codes: list[str], folder: Path) -> str:
    """What mypy has to say of them as a reader's own files, who has settings of no kind but `--strict`."""
    files = [folder / f"example_{number}.py" for number, _ in enumerate(codes)]
    for file, code in zip(files, codes, strict=True):
        file.write_text(code, encoding="utf-8")
    own_cache = ("--config-file=", "--cache-dir", ".mypy_cache/examples")
    return checker("mypy", "--strict", "--no-error-summary", *own_cache, *map(str, files)).stdout


def test_the_examples_in_python_satisfy_a_strict_type_checker(tmp_path: Path) -> None:
    codes = [code for document in DOCUMENTS for code in blocks("python", document.read_text(encoding="utf-8"))]
    assert len(codes) >= 4
    assert complaints_of(codes, tmp_path) == ""


def test_a_mistake_in_an_example_is_found(tmp_path: Path) -> None:
    code = 'import gavotte\n\nwith gavotte.Sandbox(mem="1G") as box:\n    box.spawn(["sh"]).stdin.write(b"x")\n'
    found = complaints_of([code], tmp_path)
    assert 'Unexpected keyword argument "mem"' in found
    assert '"None" has no attribute "write"' in found


def test_there_are_ten_examples() -> None:
    assert (len(blocks("sh")), len(blocks("python"))) == (7, 4)


@pytest.mark.vm
@pytest.mark.parametrize("code", blocks("python"), ids=["synchronous", "asynchronous", "changed", "pool"])
def test_an_example_in_python_runs_and_prints_what_it_says(code: str) -> None:
    printed = run_example(code).splitlines()
    assert len(printed) >= 1
    for claim in claims(code):
        assert claim in printed


@pytest.mark.parametrize("code", blocks("sh"))
def test_an_example_in_shell_is_a_command_line(code: str) -> None:
    assert subprocess.run(["sh", "-n", "-c", code], check=False).returncode == 0
    assert commands(code)
    for words in commands(code):
        check_command(words)


@pytest.mark.parametrize("words", re.findall(r"`(gavotte [^`]+)`", TEXT))
def test_a_command_named_in_the_text_is_there(words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*shlex.split(words)[1:2], "--help"])
    assert ended.value.code == 0


def test_every_option_named_in_the_text_is_there() -> None:
    known = ""
    for command in ("run", "stop"):
        asked = [sys.executable, "-m", "gavotte.faces.cli", command, "--help"]
        known += subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    for option in set(re.findall(r"`(--?[a-z]+)`", TEXT)):
        assert re.search(rf"(?<![\w-]){option}\b", known), option


def test_a_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert len(links) >= 5
    assert [link for link in links if not (Path(__file__).parents[1] / link).is_file()] == []


def test_an_example_that_fails_or_lies_is_found() -> None:
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run_example("1/0")
    assert claims("print(1)  # 2\n") == ["2"]
    with pytest.raises(UsageError):
        check_command(["run", "--momery", "1G", "--", "true"])
