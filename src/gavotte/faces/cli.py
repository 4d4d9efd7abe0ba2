"""The command line: arguments in, one call to a floor below, an exit status out."""

from __future__ import annotations

import argparse
import contextlib
import errno
import functools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from gavotte.errors import GavotteError, HostError, InvalidMachine, NoSuchSandbox, UsageError
from gavotte.faces.command import add_command_options, add_lacking_options
from gavotte.faces.machine import MACHINE_OPTIONS, OWN_OPTIONS, add_machine_options, add_own_options
from gavotte.faces.parser import Parser
from gavotte.signals import ENDING, signals_held
from gavotte.text import harmless

__all__ = ["main", "program"]

# Exit statuses: the command's own; 124 timeout, 125 Gavotte failed, 126 not executable, 127 not found (as docker run)
_FAILED = 125
_INTERRUPTED = 130

_NAME = "gavotte"

_OPTIONS = (*MACHINE_OPTIONS, *OWN_OPTIONS)

_STAYING = ("name", "stop_signal", "slots", "max_cpus", "max_memory")  # for a sandbox that is detached

_MORE_OPTIONS = ("timeout", "time", "env", "cwd", "user", "detach", *_STAYING)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; gives the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    for number in ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
    _reserve_standard_streams()
    try:
        try:
            return _dispatch(words)
        finally:
            _flush()
    except GavotteError as error:
        _complain(error, words)
        return _unlike_the_command(error.exit_code, words[0] if words else "")
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # `gavotte image list | head -1`
        _silence_stdout()
        return 128 + 13
    except Exception as error:  # an exit status of 1 would be taken for the command's
        if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
            _complain(_unwritable(error), words)  # more was printed than waits for _flush
            return _FAILED
        if os.environ.get("GAVOTTE_DEBUG"):
            raise
        _tell(f"gavotte: a bug: {error!r}\n  next: run again with GAVOTTE_DEBUG=1 and report it")
        return _FAILED


def _unlike_the_command(status: int, command: str) -> int:
    """`run` and `exec` end with the status of the guest's command, which may be 2. There, what is refused is 125, as in
    podman-run(1)."""
    return _FAILED if status == UsageError.exit_code and command in ("run", "exec") else status


def program() -> NoReturn:
    """Run this process's command line, and end the process at once: to take the interpreter down in good order would
    take 30 ms and more, with nothing in it that needs that."""
    try:
        status = main()
    except SystemExit as end:  # of --help and --version, or of a signal
        status = end.code if isinstance(end.code, int) else 0
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(status)


def _reserve_standard_streams() -> None:
    """A standard stream that is closed stays of no use: the next file opened would get its number, and its bytes.

    As glibc does for set-user-id programs, 0 can't be read then, and 1 and 2 can't be written.
    """
    for fd, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, mode)  # the lowest free number is this one
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123  # for as long as the process lives


def _tell(text: str) -> None:
    """A line on stderr. Where it can't be written there is still the exit status."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr)


def _flush() -> None:
    """What can't be written is told here, not by the interpreter's end."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(error) from error


def _unwritable(error: OSError) -> HostError:
    _silence_stdout()
    return HostError(f"can't write to stdout: {error.strerror}", hint="free some space where it goes")


def _silence_stdout() -> None:
    """What is still buffered goes nowhere, or the interpreter's end would complain about it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _end(number: int, _frame: object) -> NoReturn:
    """End by an exception, so that whatever was begun is cleaned up. (`run` forwards signals once it has begun.)"""
    raise SystemExit(128 + number)


def _dispatch(words: list[str]) -> int:
    command: list[str] | None = None
    takes_command = words[:1] in (["run"], ["explain"], ["exec"]) or words[:2] == ["qemu", "import"]
    if takes_command and "--" in words:  # what follows is the command's, whatever it looks like
        cut = words.index("--")
        words, command = words[:cut], words[cut + 1 :]
    with signals_held():  # commands bring their arguments
        parser = _parser(words[:1])
    options = parser.parse_args(words)
    if takes_command and options.argv[:1] and options.argv[0].startswith("-"):
        hint = f"options come before {'NAME' if words[0] == 'exec' else 'it'}; one that begins with - comes behind --"
        raise UsageError(f"{options.argv[0]!r} stands where the command is to begin", hint=hint)
    if command is not None:
        options.argv = [*options.argv, "--", *command] if options.argv else command
    handler: Callable[[argparse.Namespace], int] = options.handler
    return handler(options)


def _complain(error: GavotteError, words: Sequence[str]) -> None:
    if isinstance(error, InvalidMachine):
        for problem in error.problems:
            text = f"{problem}; {problem.hint}" if problem.hint else str(problem)
            _tell(f"gavotte: {harmless(text)}")
        if words[0] != "qemu":  # there, the problems are in a file of the user's
            _tell(f"  next: gavotte {words[0]} --help")
        return
    message, hint = error.message, error.hint
    if isinstance(error, UsageError) and error.path == "argv":
        name = " NAME" if words[0] == "exec" else ""
        message, hint = error.problem, f"gavotte {words[0]} [options]{name} -- CMD [ARG…]"
    if isinstance(error, UsageError) and error.path in (*_OPTIONS, *_MORE_OPTIONS):
        message = f"--{error.path.replace('_', '-')}: {error.problem}"
    if isinstance(error, NoSuchSandbox):
        message = error.problem
    _tell(f"gavotte: {message}")
    if isinstance(error, UsageError):
        hint = hint or f"gavotte {words[0]} --help"
    if hint:
        _tell(f"  next: {hint}")
    own = words[: words.index("--")] if "--" in words else words
    if error.argv and ("--verbose" in own or os.environ.get("GAVOTTE_DEBUG")):
        import shlex

        _tell(f"  command line: {harmless(shlex.join(error.argv))}")


# --- run and explain -------------------------------------------------------------------------------------------------


def _sandbox_options(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in _OPTIONS}


def _run(options: argparse.Namespace) -> int:
    if "asyncio" not in sys.modules:  # in a process of our own: it does without ssl, a tenth of all that is imported
        sys.modules["ssl"] = None  # type: ignore[assignment]  # how import is told so
    if options.detach:
        return _run_detached(options)
    with signals_held():
        from gavotte.faces.environment import read_environment
        from gavotte.sandbox.headstart import Headstart
        from gavotte.sandbox.words import check_argv

    for name in _STAYING:
        if getattr(options, name) is not None:
            raise UsageError("it is for a sandbox that stays", path=name, hint="add --detach, or leave it out")
    if options.timeout is not None and not options.timeout > 0:
        raise UsageError(f"{options.timeout:g} is not a number of seconds above 0", path="timeout")
    argv, env = check_argv(options.argv), read_environment(options.env)
    wanted = _sandbox_options(options)
    with Headstart(wanted) as headstart:  # what is imported from here on takes longer than QEMU's start
        with signals_held():
            from gavotte.faces import run
            from gavotte.faces.notes import take_notes

        take_notes(quiet=options.quiet)
        request = run.RunRequest(
            argv=argv,
            env=env,
            cwd=options.cwd,
            user=options.user,
            timeout=options.timeout,
            interactive=options.interactive,
            tty=options.tty,
            verbose=options.verbose,
            quiet=options.quiet,
        )
        return run.run(request, wanted, headstart)


def _run_detached(options: argparse.Namespace) -> int:
    with signals_held():
        from gavotte.faces.detached import run
        from gavotte.faces.notes import take_notes

    take_notes(quiet=options.quiet)
    for name in ("timeout", "interactive", "tty"):
        if getattr(options, name):
            raise UsageError(f"a detached command has no --{name}", path="detach", hint="gavotte exec takes it")
    return run.run(options, _sandbox_options(options))


def _explain(options: argparse.Namespace) -> int:
    with signals_held():
        from gavotte.faces import explain

    for line in explain.explain(_sandbox_options(options)):
        print(line)
    return 0


# --- check -----------------------------------------------------------------------------------------------------------


def _check(options: argparse.Namespace) -> int:
    with signals_held():
        import asyncio

        from gavotte.faces import tables
        from gavotte.sandbox.host import examine

    findings = asyncio.run(examine(qemu=options.qemu, probe_again=options.probe))
    if options.json:
        tables.print_json([finding.as_dict() for finding in findings])
    else:
        tables.print_findings(findings)
    return 0 if all(finding.ok is not False or not finding.needed for finding in findings) else _FAILED


# --- the arguments ---------------------------------------------------------------------------------------------------


def _parser(first: list[str]) -> argparse.ArgumentParser:
    """A parser of the command that is the `first` word; of all of them, to list them, where it is none."""
    from gavotte import __version__
    from gavotte.faces import detached

    parser = Parser(prog=_NAME, description="Run commands, each in a virtual machine of its own.")
    parser.add_argument("--version", action="version", version=f"gavotte {__version__}")
    # Told their name, it doesn't format a usage line to find it, for which it would import shutil
    commands = parser.add_subparsers(metavar="COMMAND", prog=_NAME)
    known = dict.fromkeys(("run", "explain"), _add_run) | {"check": _add_check, "image": _add_image}
    known |= {"template": _add_template, **dict.fromkeys(detached.COMMANDS, _add_detached)}
    known |= {"qemu": _add_qemu, "qmp": _add_qmp}
    chosen = next((word for word in first if word in known), None)
    for name in known if chosen is None else (chosen,):
        known[name](commands, name, chosen=name == chosen)
    return parser


def _add_detached(commands: Any, name: str, *, chosen: bool) -> None:
    from gavotte.faces.detached import COMMANDS, add_command

    _module, help = COMMANDS[name]
    parser = commands.add_parser(name, help=help, description=help)
    if chosen:
        add_command(parser, name)


def _add_qemu(commands: Any, name: str, *, chosen: bool) -> None:
    help = "machine files: check, argv, run, import; what a QEMU binary has: devices, props, …; adopt a running QEMU"
    parser = commands.add_parser(name, help=help, description=help)
    if chosen:
        from gavotte.faces.qemu import adopt, files, imports, tables

        actions = parser.add_subparsers(metavar="ACTION")
        for module in (files, imports, tables, adopt):
            module.add_actions(functools.partial(_add_command, actions))


def _add_image(commands: Any, name: str, *, chosen: bool) -> None:
    parser = commands.add_parser(name, help="the guest image: build, list, rm, path, export, import")
    if chosen:
        from gavotte.faces import image

        actions = parser.add_subparsers(metavar="ACTION")
        image.add_actions(functools.partial(_add_command, actions))


def _add_template(commands: Any, name: str, *, chosen: bool) -> None:
    help = "what sandboxes are copies of: list, build, rm"
    parser = commands.add_parser(name, help=help, description=help)
    if chosen:
        from gavotte.faces import template

        actions = parser.add_subparsers(metavar="ACTION")
        template.add_actions(functools.partial(_add_command, actions))


def _add_qmp(commands: Any, name: str, *, chosen: bool) -> None:
    help = "talk to a QMP socket: one command, or a prompt with completion and history"
    parser = commands.add_parser(name, help=help, description=help)
    if chosen:
        from gavotte.faces import qmp

        parser.set_defaults(handler=qmp.run)
        qmp.add_arguments(parser)


def _add_command(commands: Any, name: str, handler: Callable[[argparse.Namespace], int], help: str) -> Any:
    parser = commands.add_parser(name, help=help, description=help)
    parser.set_defaults(handler=handler)
    return parser


_RUN = "run a command in a fresh guest; its exit status is the command's"
_EXPLAIN = "print the QEMU command line of a boot, as `run --cold` would start it"


def _add_run(commands: Any, name: str, *, chosen: bool) -> None:
    """`run`, or `explain`, which takes the same."""
    handler, help = (_run, _RUN) if name == "run" else (_explain, _EXPLAIN)
    parser = _add_command(commands, name, handler, help)
    if chosen:
        add_own_options(add_machine_options(parser))
        _add_command_options(parser)
        parser.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD [ARG…]", help="the command")
        if name == "run":
            from gavotte.faces import detached

            detached.add_options(parser)


def _add_command_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the command")
    add_command_options(group)
    add_lacking_options(group)
    group.add_argument("--verbose", action="store_true", help="show phases with times, and the guest's console")
    group.add_argument("-q", "--quiet", action="store_true", help="no notes on stderr")


def _add_check(commands: Any, name: str, *, chosen: bool) -> None:
    check = _add_command(commands, name, _check, "say what this host can do, and how to get what is missing")
    if chosen:
        check.add_argument("--json", action="store_true", help="for programs")
        check.add_argument(
            "--probe", action="store_true", help="boot guests to see which accelerators work, whatever is remembered"
        )
        check.add_argument("--qemu", metavar="PATH", help="the QEMU binary to look at")


if __name__ == "__main__":
    program()
