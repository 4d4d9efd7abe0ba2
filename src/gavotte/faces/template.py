"""`gavotte template …`: what sandboxes are copies of, listed, built, removed."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from gavotte.faces.machine import MACHINE_OPTIONS, add_machine_options

__all__ = ["add_actions"]

_ROOM = ("slots", "max_cpus", "max_memory")


def add_actions(add: Callable[..., Any]) -> None:
    """The actions with their arguments; `add` makes a parser of a name, a handler and a help."""
    listing = add("list", _list, "list the templates, the last used first; those that nothing can use say why")
    listing.add_argument("--json", action="store_true", help="for programs")
    build = add("build", _build, "build the template of such a sandbox unless it is there; prints its key")
    add_machine_options(build)
    room = build.add_argument_group("what the sandbox may grow to")
    room.add_argument("-d", "--detach", action="store_true", help="as much as with `run -d`, but for what is given")
    room.add_argument("--slots", type=int, metavar="N", help="devices that can be plugged into it")
    room.add_argument("--max-cpus", type=int, metavar="N", help="processors")
    room.add_argument("--max-memory", metavar="SIZE", help="memory")
    build.add_argument("-q", "--quiet", action="store_true", help="no notes on stderr")
    rm = add("rm", _rm, "remove templates; sandboxes that are copies of them run on")
    rm.add_argument("key", nargs="*", metavar="KEY", help="the key, or its beginning")
    rm.add_argument("--all", action="store_true", help="remove all, and what builders left that were killed")


def _list(options: argparse.Namespace) -> int:
    from gavotte.faces import tables
    from gavotte.sandbox.template.stale import why_stale
    from gavotte.sandbox.template.store import list_damaged, list_templates

    templates = [(template, why_stale(template)) for template in list_templates()]
    tables.print_templates(templates, list_damaged(), as_json=options.json)
    return 0


def _build(options: argparse.Namespace) -> int:
    import asyncio

    from gavotte.faces.notes import take_notes
    from gavotte.faces.run import ensure_image
    from gavotte.faces.terminal import say
    from gavotte.sandbox.spec import make_spec
    from gavotte.sandbox.template.prepare import prepare_template

    take_notes(quiet=options.quiet)
    wanted = _wanted(options)
    spec = make_spec(**wanted)
    ensure_image(wanted, quiet=options.quiet)
    template, made = asyncio.run(prepare_template(spec))
    if not made and not options.quiet:
        say("note: it is there already")
    print(template.key)
    return 0


def _wanted(options: argparse.Namespace) -> dict[str, Any]:
    wanted = {name: getattr(options, name) for name in MACHINE_OPTIONS}
    if options.detach:
        from gavotte.faces.detached.run import with_room

        return with_room(wanted, options)
    return wanted | {name: value for name in _ROOM if (value := getattr(options, name)) is not None}


def _rm(options: argparse.Namespace) -> int:
    from gavotte.errors import UsageError
    from gavotte.sandbox.template.store import remove_all, remove_template

    if bool(options.key) == options.all:
        problem = "there are keys beside --all" if options.all else "there is no KEY"
        raise UsageError(
            problem, path="", hint="gavotte template rm KEY… | --all; gavotte template list shows the keys"
        )
    for key in remove_all() if options.all else map(remove_template, options.key):
        print(key)
    return 0
