"""What a function consists of: its source, and what that refers to in its module.

A function can't be sent as such: pickle writes down where it is to be imported from, and a guest hasn't that module. So
its source is sent, with that of the functions and classes of its module that it uses, the standard library's modules by
name, and other globals by value.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import symtable
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gavotte.compat import override
from gavotte.errors import UsageError

__all__ = ["Code", "Part", "code_of", "is_standard"]

_PATH = "function"
_ADVICE = "give a function that is defined with `def` at the top of a module, and pass it what it needs as arguments"


@dataclass(frozen=True)
class Part:
    """The source of one definition, and where it stands."""

    source: str
    file: str
    line: int


@dataclass
class Code:
    """A function with all that it refers to.

    `imports` are (name, module, attribute or empty), `values` globals that are data, `aliases` (name, name in the
    source).
    """

    name: str
    parts: list[Part] = field(default_factory=list)
    imports: list[tuple[str, str, str]] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    aliases: list[tuple[str, str]] = field(default_factory=list)


def code_of(function: Callable[..., Any]) -> Code:
    """What is to be sent of `function`. Raises UsageError for one that can't be, with what to do instead."""
    if origin := _origin(function):
        return Code("function", imports=[("function", *origin)])
    plain = inspect.unwrap(function)
    if isinstance(function, types.MethodType):
        _refuse(f"{function.__qualname__} is a method, bound to an object of this process")
    if not isinstance(plain, types.FunctionType):
        _refuse(f"{function!r} is no Python function")
    if plain.__name__ == "<lambda>":
        _refuse("a lambda has no source of its own")
    code = Code(plain.__name__)
    _Collector(code, plain.__globals__, plain.__module__).add(plain)
    return code


def is_standard(module: str | None) -> bool:
    """Whether that is a module of the standard library, which a guest has as well."""
    return (module or "").split(".")[0] in sys.stdlib_module_names


class _Collector:
    """Adds definitions of one module to `code`, each behind those that it needs."""

    def __init__(self, code: Code, space: dict[str, Any], module: str) -> None:
        self.code, self.space, self.module = code, space, module
        self.seen: set[str] = set()

    def add(self, definition: types.FunctionType | type) -> None:
        if definition.__name__ in self.seen:
            return
        self.seen.add(definition.__name__)
        part = _part_of(definition)
        for name in sorted(_globals_in(part.source)):
            if name in self.space and name not in self.seen:
                self.resolve(name, self.space[name])
        self.code.parts.append(part)

    def resolve(self, name: str, value: object) -> None:
        """Have `name` stand for the same there."""
        if isinstance(value, types.ModuleType):
            if not is_standard(value.__name__):
                _refuse(
                    f"it uses the module {value.__name__!r}, which a guest hasn't: only the standard library is there"
                )
            self.code.imports.append((name, value.__name__, ""))
        elif origin := _origin(value):
            self.code.imports.append((name, *origin))
        elif isinstance(value, types.FunctionType | type):
            plain = inspect.unwrap(value)
            if plain.__module__ != self.module or not isinstance(plain, types.FunctionType | type):
                _refuse(f"it uses {name!r} of the module {value.__module__!r}, which a guest hasn't")
            self.add(plain)
            if plain.__name__ != name:
                self.code.aliases.append((name, plain.__name__))
        else:
            self.code.values[name] = value


def _origin(value: object) -> tuple[str, str] | None:
    """Where a thing of the standard library is imported from."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or not is_standard(module):
        return None
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return (module, name) if found is value else None


def _part_of(definition: types.FunctionType | type) -> Part:
    name = definition.__qualname__
    if isinstance(definition, types.FunctionType) and definition.__code__.co_freevars:
        names = ", ".join(definition.__code__.co_freevars)
        _refuse(f"{name} uses {names} of the function around it")
    try:
        lines, line = inspect.getsourcelines(definition)
        file = inspect.getsourcefile(definition) or "?"
    except (OSError, TypeError):
        _refuse(f"the source of {name} isn't to be found")
    return Part(textwrap.dedent("".join(lines)), file, max(1, line))


def _globals_in(source: str) -> set[str]:
    """The names of globals that a definition refers to, but for annotations: these aren't evaluated there."""
    tree = _WithoutAnnotations().visit(ast.parse(source))
    top = symtable.symtable(ast.unparse(tree), "?", "exec")
    found = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}
    found |= {symbol.get_name() for table in _inside(top) for symbol in table.get_symbols() if symbol.is_global()}
    return {name for name in found if not hasattr(builtins, name)}


def _inside(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _inside(child)


class _WithoutAnnotations(ast.NodeTransformer):
    @override
    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    @override
    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    @override
    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    @override
    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def _refuse(why: str) -> Any:
    raise UsageError(f"{why}, so it can't run in a guest", path=_PATH, hint=_ADVICE)
