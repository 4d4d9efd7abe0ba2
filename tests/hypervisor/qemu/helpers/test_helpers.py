"""virtiofsd and passt: started with what they need, watched, confined, ended with their device."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import signal
import socket
import stat
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import HostError, Unsupported, UsageError
from gavotte.hypervisor.devices import Passt, Share
from gavotte.hypervisor.qemu.helpers.passt import start_passt
from gavotte.hypervisor.qemu.helpers.process import Helper
from gavotte.hypervisor.qemu.helpers.virtiofsd import Virtiofsd, find_virtiofsd, start_virtiofsd
from gavotte.qemu.binary import find_program
from gavotte.qemu.pids import ProcessId, start_time
from tests.support.network import default_gateway
from tests.support.programs import DEADLINE, SOURCES, python

VIRTIOFSD = pytest.mark.skipif(
    not any(find_program(path) for path in ("virtiofsd", "/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd")),
    reason="virtiofsd is not installed",
)
PASST = pytest.mark.skipif(
    find_program("passt") is None or default_gateway() is None, reason="no passt, or no default route for it"
)
Start = Callable[[Path], Awaitable[tuple[Helper, int]]]


async def virtiofsd(folder: Path) -> tuple[Helper, int]:
    return await start_virtiofsd(Share("fs", folder, kind="virtiofs"))


async def passt(folder: Path) -> tuple[Helper, int]:
    return await start_passt("net", Passt())


BOTH = [pytest.param(virtiofsd, marks=VIRTIOFSD), pytest.param(passt, marks=PASST)]


async def soon(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not what():  # noqa: ASYNC110  # of other processes, there is no event
            await asyncio.sleep(0.01)


def youngest_of(session: int) -> int:
    return max(processes_of(session), key=lambda pid: (start_time(pid), pid))


def processes_of(session: int) -> list[int]:
    """Those of a session that run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_bytes().rpartition(b") ")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] not in (b"Z", b"X"):
            found.append(int(path.parent.name))
    return found


def heard(helper: Helper) -> list[str]:
    reasons: list[str] = []
    helper.watch(lambda _helper, why: reasons.append(why))
    return reasons


@pytest.mark.parametrize("start", BOTH)
def test_a_helper_ends_when_qemu_closes_its_connection_and_that_is_no_news(start: Start, tmp_path: Path) -> None:
    async def main() -> None:
        helper, end = await start(tmp_path)
        reasons = heard(helper)
        assert helper.running
        os.close(end)
        await soon(lambda: not helper.running)
        await asyncio.sleep(0)
        assert reasons == []
        await helper.stop()

    asyncio.run(main())


@pytest.mark.parametrize("start", BOTH)
def test_a_helper_that_is_killed_is_heard_of_and_nothing_of_it_is_left(start: Start, tmp_path: Path) -> None:
    async def main() -> None:
        helper, end = await start(tmp_path)
        reasons = heard(helper)
        os.kill(helper.pid, signal.SIGKILL)
        await soon(lambda: bool(reasons))
        assert "killed by SIGKILL" in reasons[0]
        await soon(lambda: not processes_of(helper.pid))
        os.close(end)
        await helper.stop()
        await asyncio.sleep(0)
        assert len(reasons) == 1

    asyncio.run(main())


@pytest.mark.parametrize("start", BOTH)
def test_a_helper_that_is_ended_is_gone_with_all_its_processes(start: Start, tmp_path: Path) -> None:
    async def main() -> None:
        helper, end = await start(tmp_path)
        reasons = heard(helper)
        await helper.stop()
        os.close(end)
        assert not helper.running
        await soon(lambda: not processes_of(helper.pid))
        assert reasons == []

    asyncio.run(main())


@pytest.mark.parametrize("start", BOTH)
def test_a_helper_has_only_what_it_needs(start: Start, tmp_path: Path) -> None:
    async def main() -> None:
        ours = os.open("/dev/zero", os.O_RDONLY)
        os.set_inheritable(ours, True)  # as if another part of the program had been careless
        helper, end = await start(tmp_path)
        try:
            for pid in processes_of(helper.pid):
                links = [path.readlink() for path in Path(f"/proc/{pid}/fd").iterdir()]
                assert not [link for link in links if link == Path("/dev/zero")]
                assert "NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()
            served = youngest_of(helper.pid)
            assert Path(f"/proc/{served}/status").read_text().split("Seccomp:\t")[1][0] == "2"
            assert Path(f"/proc/{served}/ns/mnt").readlink() != Path("/proc/self/ns/mnt").readlink()
        finally:
            os.close(ours)
            os.close(end)
            await helper.stop()

    asyncio.run(main())


@PASST
@pytest.mark.skipif(os.geteuid() != 0, reason="passt changes its user when root starts it")
def test_passt_is_nobody_when_root_starts_it() -> None:
    async def main() -> None:
        helper, end = await start_passt("net", Passt())
        status = Path(f"/proc/{helper.pid}/status").read_text()
        assert status.split("Uid:\t")[1].split()[:4] == [str(pwd.getpwnam("nobody").pw_uid)] * 4
        os.close(end)
        await helper.stop()

    asyncio.run(main())


@PASST
def test_passt_that_does_not_come_up_says_why() -> None:
    with pytest.raises(HostError, match=r"passt didn't come up; passt: exit status 1; last words") as caught:
        asyncio.run(start_passt("net", Passt(("--no-such-option",))))
    assert "passt(1)" in caught.value.hint


@VIRTIOFSD
def test_virtiofsd_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"virtiofsd didn't come up; virtiofsd: exit status 1; last words: .*no-such"):
        asyncio.run(start_virtiofsd(Share("fs", tmp_path / "no-such", kind="virtiofs")))


@VIRTIOFSD
def test_virtiofsd_confines_itself_for_an_ordinary_user_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)  # what is run is the same

    async def main() -> None:
        helper, end = await virtiofsd(tmp_path)
        served = youngest_of(helper.pid)
        assert Path(f"/proc/{served}/ns/user").readlink() != Path("/proc/self/ns/user").readlink()
        assert Path(f"/proc/{served}/uid_map").read_text().split()[2] == "1"
        os.close(end)
        await helper.stop()

    asyncio.run(main())


@VIRTIOFSD
@pytest.mark.parametrize("name", ["a,b", "a\\b", "a b", "ä"])
def test_a_directory_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()

    async def main() -> None:
        helper, end = await virtiofsd(tmp_path / name)
        os.close(end)
        await helper.stop()

    asyncio.run(main())


@pytest.mark.parametrize("start", [start_passt, start_virtiofsd], ids=["passt", "virtiofsd"])
def test_a_helper_that_is_not_installed_is_named_with_its_package(
    start: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    monkeypatch.setattr("gavotte.hypervisor.qemu.helpers.virtiofsd._PLACES", ("virtiofsd",))
    with pytest.raises(HostError) as caught:
        asyncio.run(start_passt("net", Passt()) if start is start_passt else virtiofsd(tmp_path))
    assert "apt-get install" in caught.value.hint


# --- two virtiofsds ---------------------------------------------------------------------------------------------------


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize(
    ("told", "separate"),
    [({"type": "fs"}, False), ({"type": "fs", "features": ["migrate-precopy", "separate-options"]}, True)],
    ids=["c", "rust"],
)
def test_a_virtiofsd_is_known_by_what_it_tells_of_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: object, separate: bool
) -> None:
    program(tmp_path / "virtiofsd", f"echo '{json.dumps(told)}'")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert asyncio.run(find_virtiofsd()) == Virtiofsd(str(tmp_path / "virtiofsd"), separate)


@pytest.mark.parametrize("text", ["echo no JSON", "echo '[]'", "exit 3"])
def test_a_virtiofsd_that_tells_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    program(tmp_path / "virtiofsd", text)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(HostError, match="doesn't tell what it can"):
        asyncio.run(find_virtiofsd())


def test_each_virtiofsd_gets_its_own_options() -> None:
    share = Share("fs", Path("/srv/a,b"), kind="virtiofs")
    rust, c = (Virtiofsd("/v", separate).argv(share, 7) for separate in (True, False))
    assert {"--fd=7", "--shared-dir=/srv/a,b", "--sandbox=namespace"} <= set(rust)
    assert {"--fd=7", "source=/srv/a\\,b", "sandbox=namespace"} <= set(c)
    fixed = replace(share, read_only=True)
    assert "--readonly" in Virtiofsd("/v", True).argv(fixed, 7)
    with pytest.raises(Unsupported, match="read-only virtiofs") as caught:
        Virtiofsd("/v", False).argv(fixed, 7)
    assert "9p" in caught.value.hint


# --- who dies with whom -----------------------------------------------------------------------------------------------

_MANAGER = """
import asyncio, json, os, socket, sys
from pathlib import Path
from gavotte.hypervisor.devices import Passt, Share
from gavotte.hypervisor.qemu.helpers.passt import start_passt
from gavotte.hypervisor.qemu.helpers.virtiofsd import start_virtiofsd
async def main():
    which, folder, keep, line = sys.argv[1:]
    directory = Path(folder) if keep else None
    if which == "passt":
        helper, end = await start_passt("it", Passt(), directory=directory)
    else:
        helper, end = await start_virtiofsd(Share("it", Path(folder), kind="virtiofs"), directory=directory)
    socket.send_fds(socket.socket(fileno=int(line)), [json.dumps(helper.to_json()).encode()], [end])
    await asyncio.sleep(1000)
asyncio.run(main())
"""


@contextmanager
def orphaned(which: str, folder: Path, *, keep: bool) -> Iterator[dict[str, Any]]:
    """The record of a helper whose manager was killed. We hold QEMU's end of its socket, as QEMU would."""
    code = f"import sys; sys.path.insert(0, {SOURCES!r})\n{_MANAGER}"
    ours, theirs = socket.socketpair()
    with ours:
        argv = [*python(code), which, os.fspath(folder), "keep" if keep else "", str(theirs.fileno())]
        child = subprocess.Popen(argv, pass_fds=[theirs.fileno()])
        theirs.close()
        with child:
            ours.settimeout(DEADLINE)
            data, (end, *_), _flags, _address = socket.recv_fds(ours, 1000, 1)
            child.kill()
    try:
        yield json.loads(data)
    finally:
        os.close(end)


WHICH = [pytest.param("passt", marks=PASST), pytest.param("virtiofsd", marks=VIRTIOFSD)]


@pytest.mark.parametrize("which", WHICH)
def test_a_helper_dies_with_its_manager(which: str, tmp_path: Path) -> None:
    with orphaned(which, tmp_path, keep=False) as record:
        asyncio.run(soon(lambda: not processes_of(record["pid"])))


@pytest.mark.parametrize("which", WHICH)
def test_a_kept_helper_is_taken_over_by_pid_and_start_time(which: str, tmp_path: Path) -> None:
    async def main(record: dict[str, Any]) -> None:
        assert Helper.adopt({**record, "started": record["started"] + 1}, tmp_path) is None  # another process
        taken = Helper.adopt(record, tmp_path)
        assert taken is not None
        assert (taken.id, taken.program, taken.running) == ("it", which, True)
        assert taken.to_json() == record
        reasons = heard(taken)
        await taken.stop()
        assert (taken.running, reasons) == (False, [])
        assert Helper.adopt(record, tmp_path) is None
        await soon(lambda: not processes_of(record["pid"]))

    with orphaned(which, tmp_path, keep=True) as record:
        assert ProcessId(record["pid"], record["started"]).lives
        asyncio.run(main(record))
    assert list(tmp_path.glob("*.helper")) == []


@PASST
def test_a_helper_that_was_taken_over_is_heard_of_when_it_is_killed(tmp_path: Path) -> None:
    async def main(record: dict[str, Any]) -> None:
        taken = Helper.adopt(record, tmp_path)
        assert taken is not None
        reasons = heard(taken)
        os.kill(taken.pid, signal.SIGKILL)
        await soon(lambda: bool(reasons))
        taken.close()

    with orphaned("passt", tmp_path, keep=True) as record:
        asyncio.run(main(record))


def test_a_record_of_no_helper_is_refused() -> None:
    for record in (None, {}, {"id": "a", "program": "b", "pid": "1", "started": 2}):
        with pytest.raises(UsageError, match=r"^helpers: not the record of a helper"):
            Helper.adopt(record)
