"""A copy of a template started and spoken to without Gavotte, with the standard library alone: the measure of a clone.

It takes the files of a template of Gavotte's, and does with QEMU what has to be done to have a copy of that guest.
Run as `python -m bench.bare_clone TEMPLATE QEMU KERNEL INITRD ROOTFS [ACCEL]`; prints the seconds to a command's first
byte.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Self

from typing_extensions import override

from bench.bare import EMULATED, HEADER, MAGIC, REPLY, REQUEST, Guest

TAKES_OVER = 1 << 31  # the lowest number of a request that is sent behind a token
SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class Template:
    """A template's files. With `sealed`, the memory is copied once to a memfd that nobody can write to; but for a QEMU
    which can map a file that it may only read: it gets the file, whose mode says so."""

    def __init__(self, path: Path, *, sealed: bool = True) -> None:
        about = json.loads((path / "template.json").read_bytes())
        self.size, self.most, self.cpus = (about["layout"][name] for name in ("memory", "max_memory", "cpus"))
        self.token, self.stopped = bytes.fromhex(about["token"]), about["stopped"]
        self.state = path / "state"
        self.memory = os.open(path / "memory", os.O_RDONLY)
        self.readable = not os.fstat(self.memory).st_mode & 0o200
        if sealed and not self.readable:
            self.memory = seal(self.memory, self.size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.memory)


def seal(source: int, size: int) -> int:
    """A memfd with what the file has, which nobody can write to. Closes the file."""
    target = os.memfd_create("bare", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(target, size)
    start = end = 0
    while end < size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError:  # nothing but a hole is left
            break
        end = os.lseek(source, start, os.SEEK_HOLE)
        os.lseek(target, start, os.SEEK_SET)
        while start < end:
            start += os.sendfile(target, source, start, end - start)
    os.close(source)
    fcntl.fcntl(target, fcntl.F_ADD_SEALS, SEALS)
    return target


class BareClone(Guest):
    """A copy that answers to `prepare`, and then runs commands. It gets `growth` bytes of memory more than it had."""

    def __init__(
        self, template: Template, qemu: str, kernel: str, initrd: str, rootfs: str, accel: str, growth: int = 0
    ) -> None:
        self.template, self.growth = template, growth
        files = (kernel, initrd, rootfs)
        state = os.memfd_create("state", os.MFD_CLOEXEC)
        os.write(state, template.state.read_bytes())
        os.lseek(state, 0, os.SEEK_SET)
        super().__init__(
            ("console", "monitor", "agent"),
            lambda fds: [qemu, *command_line(template, *files, accel, {**fds, "memory": template.memory})],
            template.memory,
            state,
        )
        self.ends["monitor"].settimeout(30)
        self.lines = self.ends["monitor"].makefile("rb")
        wanted = [{"capability": name, "state": True} for name in ("events", "x-ignore-shared")]
        self.say("qmp_capabilities")
        self.say("migrate-set-capabilities", capabilities=wanted)
        self.say("migrate-incoming", uri=f"fd:{state}")
        self.say("cont")  # which it does when the state is loaded
        os.close(state)

    def prepare(self) -> None:
        """Have it run, and have the agent make it a guest of its own."""
        self.wait_for_the_state()
        if self.growth:
            path = "/machine/peripheral/vmem0"
            self.execute("qom-set", path=path, property="requested-size", value=self.growth)
        self.restore()

    def restore(self) -> None:
        """Behind the template's token, so that nothing of what that was sent is taken for it; so is the answer."""
        request: dict[str, Any] = {"op": "restore", "hostname": "bare", "token": None, "cpus": 1, "latent": {}}
        shift = time.time() - self.template.stopped
        request.update(seed=os.urandom(32).hex(), shift=shift, memory=self.growth)
        payload, token = json.dumps(request).encode(), self.template.token
        self.ends["agent"].sendall(token + HEADER.pack(MAGIC, REQUEST, 0, TAKES_OVER, len(payload)) + payload)
        came = b""
        while not came.endswith(token):
            came += self.input.read(1)
        self.wait_for(REPLY, TAKES_OVER)

    def say(self, command: str, **arguments: Any) -> None:
        self.ends["monitor"].sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")

    def execute(self, command: str, **arguments: Any) -> None:
        """One QMP command, and QEMU's answer. Events before that are dropped."""
        self.say(command, **arguments)
        while "event" in self.read_line():
            pass

    def wait_for_the_state(self) -> None:
        """Until it is loaded and the guest runs: two events, in one order or the other."""
        wanted = {"RESUME", "MIGRATION"}
        while wanted:
            line = self.read_line()
            status = line["data"].get("status") if line.get("event") == "MIGRATION" else ""
            if status == "failed":
                raise ConnectionError("the bare QEMU can't load the state")
            if status in ("", "completed"):
                wanted.discard(line.get("event", ""))

    def read_line(self) -> dict[str, Any]:
        """What QEMU says next. An error is one here as well."""
        line = self.lines.readline()
        said = dict(json.loads(line)) if line else {"error": {"desc": "the bare QEMU has gone"}}
        if "error" in said:
            raise ConnectionError(said["error"]["desc"])
        return said

    @override
    def __exit__(self, *details: object) -> None:
        super().__exit__(*details)
        self.lines.close()


# fmt: off
def command_line(
    template: Template, kernel: str, initrd: str, rootfs: str, accel: str, fds: dict[str, int]
) -> list[str]:
    """QEMU's arguments, typed by hand; a test holds them to what Gavotte gives for the same machine."""
    grows = template.most > 0
    return [
        "-name", "bare,debug-threads=on",
        "-nodefaults", "-no-user-config",
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-display", "none", "-no-reboot", "-S",
        "-machine", "q35,usb=off,vmport=off,smbus=off,hpet=off,sata=off,memory-backend=ram0",
        "-accel", accel, "-cpu", "host" if accel == "kvm" else "max",
        "-smp", f"{template.cpus}",
        "-m", f"{template.size >> 10}K" + (f",maxmem={template.most >> 10}K" if grows else ""),
        "-kernel", kernel, "-initrd", initrd,
        "-append", "console=ttyS0 quiet panic=-1 reboot=t" + ("" if accel == "kvm" else EMULATED)
                   + (" memhp_default_state=online_movable swiotlb=2048" if grows else ""),
        "-object", '{"qom-type":"rng-random","id":"entropy.file","filename":"/dev/urandom"}',
        "-object", f'{{"qom-type":"memory-backend-file","id":"ram0","size":{template.size},"share":false,'
                   f'"mem-path":"/proc/self/fd/{fds["memory"]}"'
                   + (',"readonly":true,"rom":"off"}' if template.readable else "}"),
        *(["-object", '{"qom-type":"memory-backend-ram","id":"vmem0-ram",'
                      f'"size":{template.most - template.size},"reserve":false}}'] if grows else []),
        "-chardev", f"socket,fd={fds['console']},id=console",
        "-chardev", f"socket,fd={fds['monitor']},id=monitor",
        "-chardev", f"socket,fd={fds['agent']},id=agent",
        "-mon", "monitor,mode=control",
        "-blockdev", '{"driver":"raw","node-name":"root","read-only":true,'
                     f'"file":{{"driver":"file","filename":{json.dumps(rootfs)},"read-only":true}}}}',
        "-device", '{"driver":"isa-serial","chardev":"console"}',
        "-device", '{"driver":"virtio-rng-pci","id":"entropy","rng":"entropy.file"}',
        "-device", '{"driver":"virtio-serial-pci","id":"ports"}',
        "-device", '{"driver":"virtserialport","id":"agent","bus":"ports.0","nr":1,"chardev":"agent",'
                   '"name":"gavotte.agent"}',
        "-device", '{"driver":"virtio-blk-pci","id":"root","drive":"root","serial":"gavotte-root"}',
        "-device", '{"driver":"vmgenid","id":"generation","guid":"auto"}',
        *(["-device", '{"driver":"virtio-mem-pci","id":"vmem0","memdev":"vmem0-ram","block-size":2097152,'
                      '"requested-size":0}'] if grows else []),
        "-incoming", "defer",
    ]
# fmt: on


def first_output(template: Template, setting: tuple[str, str, str, str, str], growth: int = 0) -> float:
    """Seconds from nothing to the first byte that a command in a copy writes."""
    began = time.perf_counter()
    with BareClone(template, *setting, growth) as guest:
        guest.prepare()
        guest.first_byte(2, ["echo", "hello"])
        return time.perf_counter() - began


if __name__ == "__main__":
    folder, qemu, kernel, initrd, rootfs, *accel = sys.argv[1:]
    with Template(Path(folder), sealed=False) as opened:
        print(f"{first_output(opened, (qemu, kernel, initrd, rootfs, (accel or ['tcg'])[0])):.3f}")
