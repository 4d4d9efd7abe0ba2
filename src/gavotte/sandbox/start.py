"""From a request to a guest that runs: a copy of a template, or a boot where there can be none."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gavotte.errors import AgentError, GuestDied, HostError, QemuError, QemuExited, SaveFailed
from gavotte.guest.agent import TOKEN_LENGTH
from gavotte.guest.channel import Channel
from gavotte.hypervisor.interface import MachineConfig, MemoryFile
from gavotte.hypervisor.qemu.launch import can_map_readable
from gavotte.hypervisor.qemu.migration.incoming import STATE, words_to_load
from gavotte.hypervisor.qemu.plan import MEMORY, MONITOR
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.ahead import Ahead
from gavotte.qemu.binary import QemuBinary
from gavotte.qemu.schema import get_schema
from gavotte.qmp.wire import encode_opening
from gavotte.sandbox.artifacts import Artifacts
from gavotte.sandbox.boot import AGENT_PORT, ROOT, machine_config, start_machine
from gavotte.sandbox.headstart import Headstart, Start, traits
from gavotte.sandbox.phases import Phases
from gavotte.sandbox.spec import Spec
from gavotte.sandbox.store import run_root
from gavotte.sandbox.template.clone import Clone, clone_template, told_to_copy
from gavotte.sandbox.template.find import Wanted, drop_template, template_for, wanted_template
from gavotte.sandbox.template.memory import lend_memory
from gavotte.sandbox.template.store import Template, path_of
from gavotte.values import dataclass

__all__ = ["Started", "Starter"]

_LOG = logging.getLogger("gavotte")
_NO_TEMPLATE = (HostError, SaveFailed, AgentError)  # what a boot may do without
_UNUSABLE = (OSError, ValueError, QemuError, AgentError, GuestDied)
_SIGBUS = -7


@dataclass(frozen=True)
class Started:
    """A guest that can run commands. `template` is the key of the one that it is a copy of; else `cold` says why not.

    `token` is what another manager takes the line over with; None where none is to.
    """

    vm: QemuVm
    channel: Channel
    root_size: int
    token: str | None
    template: str = ""
    cold: str = ""


@dataclass(frozen=True)
class Starter:
    """What a guest is started with. `seen` is told of each machine before it starts."""

    name: str
    spec: Spec
    accel: str
    binary: QemuBinary
    files: Artifacts
    directory: Path
    phases: Phases
    seen: Callable[[QemuVm], None]
    headstart: Headstart | None = None

    async def start(self, *, sealed: bool) -> Started:
        """Start it. `sealed`: this process may start several, and holds a copy of the template that nobody can change.

        Raises as a boot does; nothing is left then.
        """
        with self.phases.phase("template"):
            wanted, cold = await self._wanted()
            if self.headstart and not (wanted and self.headstart.uses(os.fspath(path_of(wanted.key)))):
                self.headstart.drop_child()  # to make a template takes a while
            template, problem = await self._template(wanted) if wanted else (None, "")
        if wanted and template:
            with self.phases.phase("clone"):
                started, problem = await self._clone(wanted, template, sealed)
            if started:
                return started
        return await self._boot(cold or problem)

    async def _wanted(self) -> tuple[Wanted | None, str]:
        schema = await get_schema(self.binary)
        return wanted_template(self.spec, self.accel, self.binary, self.files, schema)

    async def _template(self, wanted: Wanted) -> tuple[Template | None, str]:
        try:
            return await template_for(wanted), ""
        except _NO_TEMPLATE as error:
            problem = error.message
        except QemuExited as error:
            if error.returncode != _SIGBUS:
                raise  # it would end so at a boot as well
            problem = "the disk is full, or the template was cut off while it was made"
        _LOG.warning("there can be no template, booting: %s", problem)
        return None, problem

    async def _clone(self, wanted: Wanted, template: Template, sealed: bool) -> tuple[Started | None, str]:
        """A copy; or None, and what is wrong with the template, which is removed then."""
        token = self._token()
        told = told_to_copy(template, self.spec, token)
        readable = can_map_readable(wanted.schema)
        facts = partial(_facts, self.binary, template, told, readable)
        try:
            with lend_memory(template, sealed=sealed, readable=readable) as fd:
                ahead = self.headstart.child_for(facts) if self.headstart else None
                vm = self._machine(wanted.config(self.name, MemoryFile(fd, private=True)), ahead)
                asked = self.headstart.asked if self.headstart else 0
                clone: Clone = await clone_template(vm, template, self.spec, self.name, told, asked)
        except _UNUSABLE as error:
            if isinstance(error, QemuExited) and self.spec.devices and error.returncode > 0:
                raise  # QEMU says what is wrong with a device: a boot would end with the same words
            problem = str(error).splitlines()[0] if str(error) else type(error).__name__
            _LOG.warning("the template %s can't be used, booting instead: %s", template.key, problem)
            drop_template(template)
            return None, problem
        if self.headstart and not vm.begun_ahead and _is_plain(told, template):
            self.headstart.remember(lambda: _as_started(vm, facts))
        return Started(vm, clone.channel, clone.root_size, token, template=template.key), ""

    async def _boot(self, why: str) -> Started:
        if self.headstart is not None:
            self.headstart.drop_child()
        with self.phases.phase("boot"):
            vm = self._machine(machine_config(self.name, self.spec, self.accel, self.files))
            for device in self.spec.devices:
                await vm.plug(device)
            channel = await start_machine(vm, self.spec.boot_timeout)
        try:
            with self.phases.phase("setup"):
                token = self._token()
                reply = await channel.request("setup", root=ROOT, hostname=self.name, time=time.time(), token=token)
            return Started(vm, channel, reply["root_size"], token, cold=why)
        except BaseException:
            await channel.close()
            await vm.stop(force=True)
            raise

    def _machine(self, config: MachineConfig, ahead: Ahead | None = None) -> QemuVm:
        vm = QemuVm(self.binary, config, directory=self.directory, keep=self.spec.keep, ahead=ahead)
        self.seen(vm)
        return vm

    def _token(self) -> str | None:
        return os.urandom(TOKEN_LENGTH).hex() if self.spec.keep else None


def _is_plain(told: Mapping[str, Any], template: Template) -> bool:
    """Whether another copy can be begun with nothing but a name of its own."""
    return not (told["token"] or told["memory"] or told["latent"] or template.macs)


def _as_started(vm: QemuVm, facts: Callable[[Mapping[str, int]], dict[str, Any]]) -> Start:
    """What is worth knowing of the start of `vm` for the next one."""
    numbers = {entry.why: entry.number for entry in vm.process.given}
    return Start(name=vm.config.name, argv=list(vm.process.argv), numbers=numbers, **facts(numbers))


def _facts(
    binary: QemuBinary, template: Template, told: dict[str, Any], readable: bool, numbers: Mapping[str, int]
) -> dict[str, Any]:
    """What two copies have to have in common for one of them to be begun as the other was. `readable`: the memory's
    file needn't be opened for writing."""
    return {
        "files": {MEMORY: os.fspath(template.memory), STATE: os.fspath(template.state)},
        "written": [] if readable else [os.fspath(template.memory)],
        "words": {MONITOR: encode_opening(words_to_load(numbers[STATE])).decode()},
        "agent": AGENT_PORT,
        "token": template.token,
        "told": told,
        "binary": traits(os.fspath(binary.path)),
        "root": os.fspath(run_root()),
    }
