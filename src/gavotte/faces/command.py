"""The options that say how a command runs, as `run`, `explain` and `exec` take them; podman's spelling is taken too."""

from __future__ import annotations

from typing import Any

from gavotte.faces.parser import Lacking

__all__ = ["add_command_options", "add_lacking_options"]

_SHARES = "share a directory from Python: gavotte.Share among the devices of a Sandbox; --verbose has no short form"
_NETWORK = "there is no network unless a card is plugged in: gavotte.Nic in Python, gavotte plug for a detached sandbox"
_CONFINED = "leave it out: the command is root of a whole machine, and that is what confines it"

# What podman-run(1) has besides, with what there is here instead
_LACKING = (
    (("-v", "--volume", "--mount"), _SHARES),
    (("-p", "--publish", "--network", "--net"), _NETWORK),
    (("--privileged", "--cap-add", "--cap-drop", "--security-opt"), _CONFINED),
    (("--platform",), "--arch names the guest's architecture"),
    (("--env-file",), "--env NAME=VALUE for each, or --env NAME for one of ours"),
    (("--entrypoint",), "give the whole command behind --"),
)


def add_command_options(group: Any) -> None:
    """Who the command runs as, where, with what, how long, and on what terminal."""
    group.add_argument(
        *("-e", "--env"),
        action="append",
        default=[],
        metavar="K[=V]",
        help="set a variable, or pass ours through; repeatable",
    )
    group.add_argument("-w", "--cwd", "--workdir", metavar="DIR", help="where it runs (the user's home)")
    group.add_argument("-u", "--user", metavar="NAME|UID[:GROUP]", help="who it runs as (root)")
    group.add_argument(
        "--timeout", type=float, metavar="S", help="end it after so many seconds; the exit status is then 124"
    )
    group.add_argument(
        "-i", "--interactive", action="store_true", help="pass a terminal's input on (pipes and files always are)"
    )
    group.add_argument("-t", "--tty", action="store_true", help="give it a terminal; implies -i")


def add_lacking_options(group: Any) -> None:
    """Those that are refused with a hint, and never taken for the command."""
    for names, hint in _LACKING:
        group.add_argument(*names, action=Lacking, hint=hint)
