"""What later Pythons have in their standard library, and 3.11 doesn't."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["TypeVar", "override"]

if TYPE_CHECKING:
    from typing_extensions import TypeVar, override
else:
    import typing

    def override(method: object) -> object:
        """As `typing.override` (PEP 698): the method replaces one of a base class. Type checkers hold it to that, and
        mypy's explicit-override demands it, so that no override outlives the method that it was to replace."""
        return method

    def TypeVar(name: str, *constraints: object, default: object = None, **options: object) -> object:
        """As `typing.TypeVar` of Python 3.13, which has a `default` (PEP 696); only type checkers ask for that."""
        return typing.TypeVar(name, *constraints, **options)
