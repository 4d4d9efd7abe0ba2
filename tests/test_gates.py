"""The rules of the code, each read from the code: style, types, floors, sizes, imports, words."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gavotte
from gavotte import errors
from tests.support.checkers import ROOT, checker
from tests.support.order import LONGEST
from tests.support.signatures import public_overloads

SRC = ROOT / "src"
AGENT = SRC / "gavotte/guest/agent"  # copied into the guest, alone

MAX_LINES = 600
MAX_FUNCTION_LINES = 80

# What the modules of each floor may import, beside their own. "" is the package itself, which the command line asks
# for its version. The guest's side stands beside QEMU's: neither knows the other, and sandboxes bring them together.
_GROUND = {"arguments", "compat", "errors", "flock", "places", "signals", "text", "values"}
FLOORS: dict[str, set[str]] = {
    "arguments": {"errors"},
    "compat": set(),
    "errors": set(),
    "flock": {"errors", "places", "signals"},
    "signals": set(),
    "places": {"errors"},
    "text": set(),
    "values": set(),
    "qmp": {"compat", "errors", "text", "values"},
    "qemu": {*_GROUND, "qmp"},
    "hypervisor": {*_GROUND, "qmp", "qemu"},
    "guest": {*_GROUND, "qmp"},
    "sandbox": {*_GROUND, "qmp", "qemu", "hypervisor", "guest"},
    "faces": {"", *_GROUND, "qmp", "qemu", "hypervisor", "guest", "sandbox"},
    "": {*_GROUND, "qmp", "qemu", "hypervisor", "guest", "sandbox", "faces"},
}

# None of these is loaded by importing the module: what a short command doesn't use, it doesn't wait for.
_HEAVY = {"asyncio", "dataclasses", "hashlib", "inspect", "json", "logging", "pathlib", "rich", "shutil", "socket"}
_HEAVY |= {"ssl", "subprocess", "tempfile", "threading", "unittest", "urllib"}
# What few machines have done to them.
_RARE = {
    *(f"gavotte.hypervisor.qemu.{name}" for name in ("dump", "migration.file", "takeover.attach")),
    *(f"gavotte.hypervisor.qemu.operations.{name}" for name in ("inspect", "reset", "resize")),
}
_RARE |= {"concurrent.futures.thread", "difflib", "random", "secrets"}
_BUILDERS = {"rich", "tarfile", "gzip", "tempfile", "gavotte.guest.image.build"}
IMPORT_BUDGETS = {
    "gavotte": _HEAVY | {"argparse"},
    "gavotte.faces.cli": _HEAVY,
    "gavotte.sandbox.headstart": _HEAVY - {"json", "socket", "subprocess", "threading"},
    "gavotte.faces.run": _BUILDERS | _RARE,
    "gavotte.faces.api": _BUILDERS | _RARE | {"argparse"},
}

# Written so that the patterns don't find themselves. A guest has a /root of its own, which tests may write to.
MACHINE_PATHS = re.compile(r"(?<![\w/.-])/(?:work/|home/\w+/|root/(?:\.|\w+/))")
REGISTRIES = re.compile(
    r"\b(?:pypi|pythonhosted|npmjs|crates|docker|quay|ghcr|(?:deb|security|ftp)\.debian)\.(?:org|io|com)\b"
)


def python_files(*places: str) -> list[Path]:
    chosen = places or ("src", "tests", "bench", "tools")
    return sorted(path for place in chosen for path in (ROOT / place).rglob("*.py"))


def text_files() -> Iterator[Path]:
    """What a clone of the project holds, whether or not this copy has a history."""
    for place in (".ci", "bench", "bin", "docs", "src", "tests", "tools"):
        for path in (ROOT / place).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path
    for path in ROOT.iterdir():
        if (
            path.is_file() and path.suffix in (".md", ".toml", "") and path.name != ".git"
        ):  # a file in a linked worktree
            yield path


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def tool(*words: str) -> None:
    run = checker(*words)
    if run.returncode:
        pytest.fail(run.stdout + run.stderr, pytrace=False)


# --- style and types ------------------------------------------------------------------------------------------------


def test_ruff_has_no_complaint() -> None:
    tool("ruff", "check", "--quiet", ".")


def test_the_code_is_formatted() -> None:
    tool("ruff", "format", "--check", "--quiet", ".")


def test_mypy_has_no_complaint_and_is_strict() -> None:
    mypy = settings()["tool"]["mypy"]
    assert mypy["strict"] is True
    assert mypy["enable_error_code"] == ["explicit-override"]  # an override says so: it can't outlive what it replaces
    tool("mypy")


def settings() -> dict[str, dict[str, dict[str, object]]]:
    tools: dict[str, dict[str, dict[str, object]]] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return tools


def test_warnings_are_errors() -> None:
    pytest_settings = settings()["tool"]["pytest"]["ini_options"]
    assert isinstance(pytest_settings, dict)
    assert pytest_settings["filterwarnings"] == ["error"]


def test_the_files_that_are_to_run_first_exist() -> None:
    assert [file for file in LONGEST if not (ROOT / "tests" / file).is_file()] == []


# --- floors ---------------------------------------------------------------------------------------------------------


def imports(tree: ast.Module) -> Iterator[str]:
    """The modules, or the names of modules, that a file imports at any depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "." * node.level + (node.module or "")
            else:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor_of(module: str) -> str:
    first = (*module.split("."), "")[1]
    return first if first in FLOORS else ""


def climbs(floor: str, tree: ast.Module) -> list[str]:
    """Imports that the floor's rule forbids."""
    found = []
    for module in imports(tree):
        if module.startswith("."):
            found.append(f"{module} (write it in full)")
        elif module.split(".")[0] == "gavotte" and floor_of(module) not in {floor, *FLOORS[floor]}:
            found.append(module)
    return found


@pytest.mark.parametrize("path", sorted((SRC / "gavotte/guest").glob("*.py")), ids=name_of)
def test_what_a_guest_says_is_decoded_in_one_place_with_bounds(path: Path) -> None:
    assert path.name == "replies.py" or {"json", "pickle"}.isdisjoint(imports(tree_of(path)))
    assert "from_json" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", python_files("src"), ids=name_of)
def test_a_module_imports_from_its_own_floor_and_below(path: Path) -> None:
    floor = floor_of(".".join(path.relative_to(SRC).with_suffix("").parts))
    assert climbs(floor, tree_of(path)) == []


def test_a_climbing_import_is_found_wherever_it_stands() -> None:
    code = "from gavotte.qemu import props\nfrom . import x\ndef f():\n    import gavotte.hypervisor.qemu.vm"
    found = climbs("guest", ast.parse(code))
    assert sorted(found) == [". (write it in full)", "gavotte.hypervisor.qemu.vm", "gavotte.qemu.props"]


def test_every_floor_has_its_rule_and_the_rules_form_no_circle() -> None:
    floors = {path.name.removesuffix(".py") for path in (SRC / "gavotte").iterdir() if path.suffix in ("", ".py")}
    assert floors - {"__pycache__", "__init__"} == FLOORS.keys() - {""}
    for floor, below in FLOORS.items():
        assert all(floor not in FLOORS[other] for other in below if other and floor)


@pytest.mark.parametrize("path", python_files(AGENT.relative_to(ROOT).as_posix()), ids=name_of)
def test_the_agent_needs_nothing_but_the_standard_library(path: Path) -> None:
    others = {module for module in imports(tree_of(path)) if not module.startswith("gavotte.guest.agent.")}
    assert {module.split(".")[0] for module in others} <= sys.stdlib_module_names


# --- sizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", python_files(), ids=name_of)
def test_a_file_is_no_longer_than_allowed(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES


def long_functions(tree: ast.Module) -> list[str]:
    return [
        f"{node.name}: {length} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]


@pytest.mark.parametrize("path", python_files(), ids=name_of)
def test_no_function_is_longer_than_allowed(path: Path) -> None:
    assert long_functions(tree_of(path)) == []


def test_a_long_function_is_found() -> None:
    code = "def f():\n" + "    pass\n" * MAX_FUNCTION_LINES
    assert long_functions(ast.parse(code)) == [f"f: {MAX_FUNCTION_LINES + 1} lines"]


# --- habits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", python_files("src", "bench", "tools", "tests/support"), ids=name_of)
def test_a_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree_of(path))


@pytest.mark.parametrize("path", [p for p in python_files("src") if p.name == "__init__.py"], ids=name_of)
def test_a_package_says_what_it_knows_and_what_it_does_not(path: Path) -> None:
    text = ast.get_docstring(tree_of(path)) or ""
    assert path.parent.name == "gavotte" or ("Knows: " in text and "Doesn't know: " in text)


def bad_habits(tree: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="shell", value=ast.Constant(value=True)):
                found.append("shell=True")
            case ast.Attribute(value=ast.Name(id="time" | "asyncio" as module), attr="sleep"):
                found.append(f"{module}.sleep")
            case ast.ImportFrom(module="time" | "asyncio", names=names) if "sleep" in {n.name for n in names}:
                found.append("sleep, imported")
            case ast.Assert():
                found.append("assert: it is gone under -O; raise Bug")
    return found


@pytest.mark.parametrize("path", python_files("src", "bench", "tools"), ids=name_of)
def test_the_code_has_no_sleep_no_shell_and_no_assert(path: Path) -> None:
    assert bad_habits(tree_of(path)) == []


def test_a_bad_habit_is_found() -> None:
    code = "import time\ntime.sleep(1)\nfrom asyncio import sleep\nrun(x, shell=True)\nassert x"
    assert len(bad_habits(ast.parse(code))) == 4


def dropped_tasks(tree: ast.Module) -> list[int]:
    """The lines that begin a task which nobody holds: a loop refers to its tasks weakly, and can't end what is lost."""
    groups = {
        item.optional_vars.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncWith)
        for item in node.items
        if isinstance(item.optional_vars, ast.Name) and "TaskGroup" in ast.unparse(item.context_expr)
    }
    nodes = list(ast.walk(tree))
    dropped = {node.value for node in nodes if isinstance(node, ast.Expr)}
    held = {node.func for node in nodes if isinstance(node, ast.Call) and node not in dropped}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in ("create_task", "ensure_future")
        and node not in held
        and not (isinstance(node.value, ast.Name) and node.value.id in groups)
    ]


@pytest.mark.parametrize("path", python_files("src", "bench", "tools"), ids=name_of)
def test_a_task_is_held_by_who_begins_it(path: Path) -> None:
    assert dropped_tasks(tree_of(path)) == []


def test_a_dropped_task_is_found() -> None:
    code = """
async def f():
    loop.create_task(x())
    asyncio.ensure_future(x())
    loop.call_soon_threadsafe(loop.create_task, x())
    async with asyncio.TaskGroup() as group:
        group.create_task(x())
    keep(loop.create_task(x()))
    task = asyncio.create_task(x())
    return asyncio.ensure_future(x())
"""
    assert dropped_tasks(ast.parse(code)) == [3, 4, 5]


def test_a_size_is_put_into_words_by_one_function() -> None:
    """`text.size_text`, or `rough_size`: `{size >> 20}M` drops what isn't a whole number of them."""
    own_form = re.compile(r">> ?[1-4]0\} ?[KMGT]")
    places = [name_of(path) for path in python_files("src") if own_form.search(path.read_text(encoding="utf-8"))]
    assert places == ["src/gavotte/text.py"]


def test_a_path_is_made_absolute_by_one_function() -> None:
    """`places.absolute`: the others raise FileNotFoundError where the working directory was removed."""
    others = re.compile(r"\bgetcwd\(|\bcwd\(\)|\.absolute\(\)|\babspath\(")
    paths = [path for path in python_files("src") if not path.is_relative_to(AGENT)]
    places = [name_of(path) for path in paths if others.search(path.read_text(encoding="utf-8"))]
    assert places == ["src/gavotte/places.py"]


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in text_files():
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{name_of(path)}: {hit[0]}" for rule in (MACHINE_PATHS, REGISTRIES) for hit in rule.finditer(text)]
    assert found == []


def test_a_machine_path_and_a_registry_are_found() -> None:
    assert MACHINE_PATHS.search('open("/' + 'root/.cache/x")')
    assert MACHINE_PATHS.search("cd /" + "work/main")
    assert not MACHINE_PATHS.search("touch /root/x")
    assert REGISTRIES.search("https://pypi" + ".org/simple")


# --- the public names -----------------------------------------------------------------------------------------------


def test_all_holds_each_public_name_once_and_each_can_be_had() -> None:
    assert len(set(gavotte.__all__)) == len(gavotte.__all__)
    assert sorted(gavotte.__all__) == sorted({*gavotte._HOMES, *errors.__all__})
    for name in gavotte.__all__:
        assert getattr(gavotte, name).__name__ == name


def hidden_parameters(name: str, function: Any) -> list[str]:
    """Those of which neither an editor nor a type checker knows anything."""
    return [
        f"{name}: {parameter}"
        for parameter in inspect.signature(function).parameters.values()
        if parameter.annotation in ("Any", "object", parameter.empty) and parameter.name not in ("self", "cls")
    ]


def test_each_parameter_of_a_public_function_has_a_type_and_no_options_are_hidden() -> None:
    found = [each for name, function in public_overloads() for each in hidden_parameters(name, function)]
    assert found == []


def test_hidden_options_are_found() -> None:
    def hiding(one: int, other, **options: Any) -> None:  # type: ignore[no-untyped-def]
        """Takes who knows what."""

    assert hidden_parameters("hiding", hiding) == ["hiding: other", "hiding: **options: 'Any'"]


def test_the_package_tells_type_checkers_that_it_has_types() -> None:
    assert (SRC / "gavotte/py.typed").is_file()
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"packages": ["src/gavotte"]}  # all that is in it, with that file


@pytest.mark.parametrize("path", python_files("src"), ids=name_of)
def test_what_a_module_promises_is_there(path: Path) -> None:
    module = importlib.import_module(".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"))
    for name in getattr(module, "__all__", ()):
        assert hasattr(module, name)


def test_the_tree_of_errors_is_the_one_that_is_drawn() -> None:
    drawn: dict[str, str] = {}
    line_of_ancestors: list[str] = []
    for branch, name in re.findall(
        r"^((?:│   |    |├── |└── )*)([A-Z]\w+)(?= {2})", errors.__doc__ or "", re.MULTILINE
    ):
        depth = len(branch) // 4
        line_of_ancestors[depth:] = [name]
        drawn[name] = line_of_ancestors[depth - 1] if depth else "Exception"
    real = {
        name: value.__bases__[0].__name__
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert drawn == real
    assert errors.__all__ == sorted(real)


# --- imports that a start waits for ---------------------------------------------------------------------------------


@pytest.mark.parametrize("module", IMPORT_BUDGETS)
def test_an_import_loads_only_what_it_may(module: str) -> None:
    assert loaded_by(module) & IMPORT_BUDGETS[module] == set()


def test_a_broken_import_budget_is_found() -> None:
    assert "asyncio" in loaded_by("gavotte.faces.run")


def loaded_by(module: str) -> set[str]:
    """What a fresh interpreter has loaded after this import and hadn't before."""
    code = f"import sys; before = set(sys.modules)\nimport {module}\nprint(*sys.modules.keys() - before)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    return set(out.split())
