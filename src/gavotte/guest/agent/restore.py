"""A copy of a template becomes a guest of its own, before the first command of its user.

The request comes behind the template's token, so that nothing of what the template was sent is taken for it; the answer
begins with that token too. From then on the guest has another.
"""

from __future__ import annotations

from gavotte.guest.agent import REPLY, encode_json
from gavotte.guest.agent.online import total_memory, turn_processors
from gavotte.guest.agent.packets import NONSENSE, Refusal, problem
from gavotte.guest.agent.renewal import Identity, hold_random, reseed, shift_clock

TYPE_CHECKING = False  # as `typing` has it, whose import costs the guest's start 50 ms under emulation
if TYPE_CHECKING:
    from gavotte.guest.agent import Json
    from gavotte.guest.agent.server import Agent

SLACK = 1 << 20  # bytes: memory comes in larger steps


class Restore:
    """One `restore`. `request` has:

    `seed`, in hex, and `shift`, in seconds: see `renewal`, and a shift of 0 is one that follows; `hostname`; `token`,
    in hex, or null for none; `cpus` to have online; `memory` that is being plugged, in bytes; `latent`: how many of the
    latent devices of each kind are there.
    """

    identity: Identity | None = None
    root_size = 0

    @classmethod
    def prepare(cls, agent: Agent, hostname: str) -> None:
        """Do beforehand what a copy needn't wait for."""
        if agent.stage is not None:
            cls.identity = Identity(agent.boot.ROOT, agent.stage.pid, hostname)
        hold_random()
        cls.root_size = agent.boot.root_size()

    def __init__(self, agent: Agent, channel: int, request: dict[str, Json]) -> None:
        self.agent, self.channel, self.request = agent, channel, request
        self.wanted = 0

    def begin(self) -> None:
        """Do it; what takes its time is waited for. The answer says what went wrong: an ERROR would not be heard."""
        try:
            self.renew()
        except (Refusal, OSError, *NONSENSE) as error:
            self.answer({"problem": problem(error)["message"]})
            return
        self.wait_for_memory()

    def renew(self) -> None:
        agent, request = self.agent, self.request
        if agent.world is None or self.identity is None:
            raise Refusal("state", "the guest was restored already")
        self.token = self.agent.check_token(request["token"])
        reseed(bytes.fromhex(request["seed"]))
        if request["shift"] != 0:
            shift_clock(request["shift"])
        root, _hostname, memory = agent.world
        agent.world = (root, request["hostname"], memory)
        self.identity.change(request["hostname"])
        type(self).identity = None
        agent.last_channel = 0
        agent.ended.clear()
        if request["latent"]:
            self.bind(request["latent"])
        if request["cpus"] > 1:
            turn_processors(request["cpus"])
        self.wanted = agent.reserved + memory + request["memory"] - SLACK if request["memory"] else 0

    def bind(self, counts: dict[str, int]) -> None:
        """Have the drivers look at the devices, and commands see their nodes."""
        from gavotte.guest.agent import nodes
        from gavotte.guest.agent.latent import bind_first

        for kind, count in counts.items():
            bind_first(kind, count)
        self.agent.show_nodes(nodes.present(self.agent.boot.devices.root_disk))

    def wait_for_memory(self) -> None:
        if self.wanted and total_memory() < self.wanted:
            self.agent.boot.devices.on_memory = self.wait_for_memory
            return
        self.agent.boot.devices.on_memory = None
        self.finish()

    def finish(self) -> None:
        answer = {"root_size": self.agent.give_memory() if self.request["memory"] else self.root_size}
        self.answer(answer)
        self.agent.take_token(self.token)

    def answer(self, value: Json) -> None:
        listing = {"last": 0, "commands": [], "exits": []}
        self.agent.send(self.agent.token + encode_json(REPLY, self.channel, {**listing, **value}))
