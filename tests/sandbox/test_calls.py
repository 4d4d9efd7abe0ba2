"""Functions as they are sent to a guest, run by the runner in a process of this host: no guest is needed for that."""

from __future__ import annotations

import base64
import datetime
import functools
import json
import math as maths
import subprocess
import sys
from collections import Counter, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import FunctionFailed, UsageError
from gavotte.sandbox.calls import returned
from gavotte.sandbox.calls.parcel import Function
from gavotte.sandbox.calls.runner import encode
from gavotte.sandbox.calls.source import code_of
from gavotte.sandbox.result import Result

LIMIT = 10
TABLE: dict[str, Any] = {"a": (1, 2), "when": datetime.date(2020, 1, 2)}
OPEN_FILE = sys.stderr
Pair = namedtuple("Pair", "left right")


def run(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What it gives in another Python, without this module and its imports."""
    call = Function.of(function)
    argv = [sys.executable, "-I", *call.argv[1:]]
    ended = subprocess.run(argv, input=call.pack(args, kwargs), capture_output=True, timeout=60, check=False, cwd="/")
    return call.open(Result(argv, ended.returncode, ended.stdout, ended.stderr))


def echo(value: Any, *, more: Any = None) -> Any:
    return value if more is None else (value, more)


def helper(x: int) -> int:
    return doubled(x) + LIMIT


def doubled(x: int) -> int:
    return 2 * x


other_name = doubled


def twice(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*args: Any) -> Any:
        return [function(*args), function(*args)]

    return wrapped


@dataclass
class Point:
    x: int

    def far(self) -> float:
        return sqrt(self.x) + LIMIT


@twice
def uses_all(x: Unknown) -> Any:  # type: ignore[name-defined]  # noqa: F821  # annotations aren't evaluated
    path: NoType = TABLE["a"]  # type: ignore[name-defined]  # noqa: F821
    return [helper(x), maths.floor(2.5), Point(4).far(), other_name(1), path, TABLE["when"].year, factorial(5)]


def factorial(n: int) -> int:
    return 1 if n < 2 else n * factorial(n - 1)


def test_a_function_brings_what_it_refers_to() -> None:
    assert run(uses_all, 4) == [[18, 2, 12.0, 2, (1, 2), 2020, 120]] * 2


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        -(2**80),
        0.5,
        "tëxt\n\0",
        b"\0\xff",
        [1, [2]],
        (1, (2,)),
        {1, 2},
        pytest.param(frozenset("ab"), id="frozenset"),  # whose repr differs from process to process
        {},
        {(1, 2): [b"x"]},
        float("inf"),
        [{}, (), [], set(), b"", ""],
        pytest.param("\N{SNOWMAN}\U0001f600" * 100_000, id="long-text"),
        pytest.param(bytes(range(256)) * 1000, id="many-bytes"),
        pytest.param(list(range(-100_000, 100_000)), id="many-numbers"),
        pytest.param([[n, str(n)] for n in range(20_000)], id="many-lists"),
        pytest.param({n: [{}] for n in range(20_000)}, id="many-keys"),
        pytest.param({1 << 13_000, 1}, id="many-digits"),
    ],
    ids=repr,
)
def test_plain_values_go_and_come_back_as_they_are(value: Any) -> None:
    back = run(echo, value)
    assert back == value
    assert type(back) is type(value)


def test_keyword_arguments_and_types_of_the_standard_library_go_there() -> None:
    assert run(echo, 1, more={"k": 2}) == (1, {"k": 2})
    assert run(str, datetime.date(2020, 1, 2)) == "2020-01-02"
    assert run(dates, [datetime.date(2020, 1, 2)]) == ["2020-01-02"]


def dates(values: list[datetime.date]) -> list[str]:
    return [value.isoformat() for value in values]


def kinds() -> Any:
    made = namedtuple("made", "left right")
    return [Counter("aab"), bytearray(b"x"), made(1, 2)]


def test_what_is_like_a_plain_type_comes_back_as_that() -> None:
    assert run(kinds) == [{"a": 2, "b": 1}, b"x", (1, 2)]


async def coroutine(x: int) -> int:
    return x + 1


def test_a_coroutine_function_is_run() -> None:
    assert run(coroutine, 1) == 2


# what goes wrong there


def fails(x: int) -> int:
    print("printed", x)  # noqa: T201
    return helper_that_fails(x)


def helper_that_fails(x: int) -> int:
    raise KeyError(f"no \x1b[31m{x}")


def test_an_exception_comes_with_the_lines_of_the_source_and_with_nothing_that_a_terminal_acts_on() -> None:
    with pytest.raises(FunctionFailed, match="fails raised KeyError") as caught:
        run(fails, 3)
    error = caught.value
    line = fails.__code__.co_firstlineno + 2
    assert error.kind == "KeyError"
    assert f'{Path(__file__).name}", line {line}, in fails\n    return helper_that_fails(x)\n' in error.traceback
    assert "runner" not in error.traceback
    assert "\x1b" not in str(error) + error.traceback
    assert error.output == "printed 3"
    assert error.traceback in error.__notes__[0]


def leaves() -> None:
    import os

    os._exit(3)


def exits() -> None:
    raise SystemExit(4)


def prints_a_result() -> int:
    print('{"returned": 1}', flush=True)  # noqa: T201
    return 2


def test_one_that_never_returns_is_told_from_one_that_raises() -> None:
    with pytest.raises(FunctionFailed, match="leaves ended with status 3 and returned nothing"):
        run(leaves)
    with pytest.raises(FunctionFailed, match="exits raised SystemExit: 4"):
        run(exits)
    assert run(prints_a_result) == 2


def gives_an_object() -> object:
    return object()


def goes_round() -> object:
    ring: list[object] = []
    ring.append(ring)
    return ring


def gives_many(kind: str) -> object:
    numbers = dict.fromkeys(range((1 << 20) + 1))
    return list(numbers) if kind == "list" else set(numbers) if kind == "set" else numbers


def gives_wide_text() -> str:
    return "a" * (24 << 20) + "\U0001f600"


@pytest.mark.parametrize("kind", ["list", "set", "dict"])
def test_more_values_than_others_can_be_kept_waiting_for_are_refused_in_the_guest(kind: str) -> None:
    with pytest.raises(UsageError, match="gives_many returned what can't be sent back: more than 1048576 values"):
        run(gives_many, kind)


def test_a_text_that_one_wide_character_makes_too_large_is_refused_in_the_guest() -> None:
    with pytest.raises(UsageError, match="can't be sent back: a text that takes more than 96M of memory"):
        run(gives_wide_text)


def test_no_line_of_an_honest_answer_is_longer_than_the_host_reads() -> None:
    values = ["\U0001f600" * 100_000, ["\0" * 6000] * 100, [2**13_000] * 100, bytes(1_000_000), ["é"] * 10_000]
    for line in encode(values).encode().split(b"\n"):
        assert len(line) <= returned._LINE, line[:100]


def test_a_result_that_cannot_come_back_is_told() -> None:
    with pytest.raises(UsageError, match="gives_an_object returned what can't be sent back: a object"):
        run(gives_an_object)
    with pytest.raises(UsageError, match="can't be sent back"):
        run(goes_round)


# what can't be sent


def makes_a_closure() -> Callable[[], int]:
    secret = 1

    def inner() -> int:
        return secret

    return inner


class Thing:
    def method(self) -> None: ...


def uses_pytest() -> None:
    pytest.fail("no")


def uses_a_file() -> None:
    OPEN_FILE.write("x")


def uses_another_module() -> Any:
    return Function.of(helper)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda: 1, "a lambda has no source"),
        (makes_a_closure(), "uses secret of the function around it"),
        (Thing().method, "Thing.method is a method, bound to an object"),
        (functools.partial(helper, 1), "is no Python function"),
        (uses_pytest, "uses the module 'pytest', which a guest hasn't"),
        (uses_a_file, "uses a global that can't be sent"),
        (uses_another_module, "uses 'Function' of the module 'gavotte.sandbox.calls.parcel'"),
        (eval("type(helper)(helper.__code__.replace(co_filename='<x>'), {}, 'made')"), "isn't to be found|'made'"),
    ],
    ids=["lambda", "closure", "method", "partial", "module", "file", "other", "no-source"],
)
def test_a_function_that_cannot_be_sent_is_refused_with_a_reason(function: Callable[..., Any], why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        Function.of(function)
    assert caught.value.path == "function"
    assert caught.value.hint


@pytest.mark.parametrize(
    "value", [Point(1), sys.stderr, helper, [Pair(1, 2)]], ids=["class", "file", "function", "named"]
)
def test_an_argument_that_cannot_be_sent_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="arguments: an argument can't be sent"):
        Function.of(echo).pack([value], {})


def test_the_standard_library_is_imported_there() -> None:
    assert code_of(maths.sqrt).imports == [("function", "math", "sqrt")]
    assert run(maths.sqrt, 9) == 3.0


# what a hostile guest sends

RETURNED = b'{"returned":true}\n'
ONE_HASH = [n * (2**61 - 1) for n in range(3000)]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no json",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        *[
            RETURNED + lines
            for lines in [
                b"",
                b"[]",
                b"1",
                b"{}",
                b"[1,2]",
                b"[1]\n[2]",
                b'["one',
                b'[["list",2],1]',
                b'[["list",1],1,2]',
                b'[["list",-1]]',
                b'[["list",1.0],1]',
                b'[["list",true],1]',
                b'[["list"]]',
                b"[[[],0]]",
                b'[["no such type",0]]',
                b'[{"list":0}]',
                b'[["list",1],{}]',
                b'[["bytes",1],"%%%"]',
                b'[["bytes",1],1]',
                b'[["text",1],1]',
                b'[["set",1],["list",0]]',
                b'[["dict",2],["list",0],1]',
                b'[["dict",1],1]',
                b"[" * 100_000 + b"]" * 100_000,
                b"[" + b'["list",1],' * 2000 + b"1]",
                b"[" + b"9" * 10_000 + b"]",
                b"[" + b"9" * 400_000 + b"]",
                b'[["list",150001]' + b",0" * 150_001 + b"]",
                b"\n".join(
                    [b'[["list",2000000]' + b',["list",0]' * 20_000 + b"]"]
                    + [b'[["list",0]' + b',["list",0]' * 20_000 + b"]"] * 99
                ),
                *[
                    b'[["%s",2000000]]\n' % kind + b"\n".join([b"[" + item * 19_999 + item[:-1] + b"]"] * 100)
                    for kind, item in [(b"list", b"0,"), (b"bytes", b'"",'), (b"text", b'"a",'), (b"set", b"0,")]
                ],
                b'[["text",1001]]\n' + b'["%s"]\n' % (b"a" * 26_000) * 1000 + '["\U0001f600"]'.encode(),
                json.dumps([["set", len(ONE_HASH)], *ONE_HASH]).encode(),
                json.dumps([["dict", 2 * len(ONE_HASH)], *ONE_HASH, *ONE_HASH]).encode(),
            ]
        ],
        b'{"problem": "the result"}',
        b'{"raised": 1, "kind": "x"}',
        b"cposix\nsystem\n(S'true'\ntR.",
        base64.b64encode(b"x"),
    ],
)
def test_an_answer_that_makes_no_sense_is_a_failure_of_the_function(answer: bytes) -> None:
    with pytest.raises(FunctionFailed, match="echo ended with status 0 and returned nothing"):
        Function.of(echo).open(Result(["x"], 0, answer, b""))


def test_a_hostile_traceback_is_cut_and_harmless() -> None:
    answer = {"raised": 1, "kind": "\x1b]0;x", "message": ["not", "text"], "traceback": "\r" * 1_000_000}
    with pytest.raises(FunctionFailed) as caught:
        Function.of(echo).open(Result(["x"], 0, json.dumps(answer).encode(), b""))
    assert len(caught.value.traceback) <= 64 << 10
    assert "\x1b" not in str(caught.value)
    assert "\r" not in caught.value.traceback
