"""What a command finds in its guest: a normal small Debian. This is the list of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import gavotte

pytestmark = pytest.mark.vm

ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
USER_PATH = "/usr/local/bin:/usr/bin:/bin"
ENVIRONMENT = 'echo "$HOME $USER $LOGNAME $SHELL $LANG $PATH $PWD"'


def said(box: gavotte.Sandbox, script: str, user: str | None = None) -> str:
    """The stdout of a line of shell that must succeed."""
    return box.run(["sh", "-c", script], user=user, timeout=60).check().stdout.decode().strip()


@pytest.mark.parametrize(
    ("script", "answer"),
    [
        # file systems
        ("stat -f -c %T /proc /sys /dev /dev/pts /dev/shm /run /sys/fs/cgroup",
         "proc sysfs tmpfs devpts tmpfs tmpfs cgroup2fs"),
        ("stat -c %a / /tmp /run /dev/shm /root /run/lock", "755 1777 755 1777 700 1777"),
        ("test -w / && test -w /usr/bin && test -w /etc && echo writable", "writable"),
        ("cd /usr/lib; echo x > new && cat new && rm new && rm /etc/motd && ls /etc/motd 2>/dev/null; echo", "x"),
        ("mkdir -p /sys/fs/cgroup/mine && rmdir /sys/fs/cgroup/mine && echo made", "made"),
        # devices
        ("cd /dev; stat -c '%n %a %t:%T' null zero full random urandom tty",
         "null 666 1:3 zero 666 1:5 full 666 1:7 random 666 1:8 urandom 666 1:9 tty 666 5:0"),
        ("cd /dev; readlink fd stdin stdout stderr ptmx", "/proc/self/fd fd/0 fd/1 fd/2 pts/ptmx"),
        ("head -c 3 /dev/zero | od -An -tx1; head -c 16 /dev/urandom | wc -c", "00 00 00 16"),
        ("echo x 2>/dev/null > /dev/full || echo refused", "refused"),
        ("echo through > /dev/stdout; echo in | cat /dev/stdin", "through in"),
        ("python3 -c 'import pty; pty.spawn([\"tty\"])'", "/dev/pts/0"),
        ("python3 -c 'from multiprocessing import Lock; Lock(); print(1)'", "1"),
        # the process
        ("umask; pwd", "0022 /root"),
        ("ulimit -n; ulimit -Hn; ulimit -s; ulimit -v; ulimit -t; ulimit -f",
         "1024 1048576 8192 unlimited unlimited unlimited"),
        ("ls /proc/self/fd", "0 1 2 3"),  # 3 is that of `ls` itself
        ("grep -E 'Sig(Blk|Ign)' /proc/self/status | cut -f2", "0000000000000000 0000000000000000"),
        ("cat /proc/self/oom_score_adj; nproc", "0 1"),
        ("id -u; id -g; id -G; id -un", "0 0 0 root"),
        # programs
        ("for p in bash ls sed awk grep find tar gzip ps perl dpkg; do command -v $p >&2 || echo no $p; done", ""),
        ("python3 -c 'import json, ssl, ctypes, sqlite3, venv, lzma, hashlib; print(6*7)'", "42"),
        ("bash -c 'echo $((6*7)) ${BASH_VERSION%%.*}'", "42 5"),
        ("python3 -c 'import sys, locale; print(sys.getfilesystemencoding(), locale.getpreferredencoding())'",
         "utf-8 UTF-8"),
        ("test -s /etc/ssl/certs/ca-certificates.crt && echo trusted", "trusted"),
        ("command -v pip; python3 -c 'import pip, ensurepip; print(ensurepip.version() > \"\")'", "/usr/bin/pip True"),
        ("cd /tmp; python3 -mvenv --without-pip v; v/bin/python -c 'import sys; print(sys.prefix)'; rm -r v", "/tmp/v"),
        ("grep -c . /etc/machine-id; wc -c < /etc/machine-id", "1 33"),
        # the network that there always is
        ("cat /sys/class/net/lo/operstate /sys/class/net/lo/carrier; ls /sys/class/net", "unknown 1 lo"),
        ("ip -br addr show lo", "lo UNKNOWN 127.0.0.1/8 ::1/128"),
        ("python3 -c 'from socket import *; print(gethostbyname(\"localhost\"))'", "127.0.0.1"),
    ],
    ids=lambda value: value[:60],
)  # fmt: skip
def test_a_command_finds(box: gavotte.Sandbox, script: str, answer: str) -> None:
    assert " ".join(said(box, script).split()) == answer


def test_home_user_shell_and_path_are_those_of_passwd(box: gavotte.Sandbox) -> None:
    assert said(box, ENVIRONMENT) == f"/root root root /bin/bash C.UTF-8 {ROOT_PATH} /root"
    assert (
        said(box, ENVIRONMENT, "daemon") == f"/usr/sbin daemon daemon /usr/sbin/nologin C.UTF-8 {USER_PATH} /usr/sbin"
    )
    no_home = f"/nonexistent nobody nobody /usr/sbin/nologin C.UTF-8 {USER_PATH} /"
    assert said(box, ENVIRONMENT, "nobody") == said(box, ENVIRONMENT, "65534") == no_home
    assert said(box, "id -u; id -g; id -G", "daemon:games").split() == ["1", "60", "60"]
    assert said(box, "id -u; id -g; id -G", "4321:1234").split() == ["4321", "1234", "1234"]
    assert said(box, "touch /tmp/x && rm /tmp/x; touch /root/x /etc/x 2>&1 | wc -l", "nobody") == "2"


def test_nothing_else_is_in_the_environment(box: gavotte.Sandbox) -> None:
    names = said(box, "cat /proc/self/environ | tr '\\0' '\\n' | cut -d= -f1 | sort")
    assert names.split() == ["HOME", "LANG", "LOGNAME", "PATH", "PWD", "SHELL", "USER"]  # PWD is the shell's


def test_the_hostname_agrees_with_its_files(box: gavotte.Sandbox) -> None:
    assert set(said(box, "hostname; cat /etc/hostname; uname -n").split()) == {box.name}
    assert said(box, "getent hosts $(hostname) | cut -d' ' -f1") == "127.0.1.1"


def test_loopback_carries_connections_without_a_network_card(box: gavotte.Sandbox) -> None:
    code = """
import socket, threading
for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    with socket.create_server((address, 0), family=family) as server:
        threading.Thread(target=lambda: server.accept()[0].sendall(b"hello")).start()
        with socket.create_connection(server.getsockname()[:2], timeout=10) as client:
            print(client.recv(9).decode())
"""
    assert box.run(["python3", "-c", code], timeout=60).check().stdout == b"hello\nhello\n"


def test_a_card_that_was_plugged_is_set_up_by_dhcp(lab: gavotte.Sandbox) -> None:
    lab.plug(gavotte.Nic("dhcp", gavotte.User()))
    try:
        card = said(lab, "until ls /sys/class/net | grep -v lo; do :; done")
        said(lab, f"udhcpc -q -n -i {card}")
        assert said(lab, f"ip -br -4 addr show {card}").split()[2] == "10.0.2.15/24"
        assert said(lab, "ip route show default").startswith(f"default via 10.0.2.2 dev {card}")
        assert said(lab, "cat /etc/resolv.conf") == "nameserver 10.0.2.3"
    finally:
        lab.unplug("dhcp")


def test_a_disk_that_was_plugged_is_formatted_and_mounted(lab: gavotte.Sandbox, tmp_path: Path) -> None:
    image = tmp_path / "disk"
    image.write_bytes(b"")
    os.truncate(image, 16 << 20)
    lab.plug(gavotte.Disk("data", image, "gavotte-data"))
    try:
        disk = said(lab, "until ls /dev/disk/by-id/*gavotte-data 2>/dev/null; do :; done")
        said(lab, f"mkfs.ext4 -q {disk} && mount {disk} /mnt && echo kept > /mnt/file && umount /mnt")
        assert said(lab, f"mount -o ro {disk} /mnt && cat /mnt/file; umount /mnt") == "kept"
    finally:
        lab.unplug("data")


def test_the_root_is_as_large_as_the_sandbox_says(box: gavotte.Sandbox) -> None:
    size = int(said(box, "df -B1 --output=size / | tail -1"))
    assert abs(size - box.root_size) <= 4096
    assert (200 << 20) < size < (256 << 20)  # half of what the kernel left of 512M


def test_the_agent_is_out_of_sight_and_out_of_reach(box: gavotte.Sandbox) -> None:
    processes = said(box, "ps -eo pid=,ppid=,comm=").splitlines()
    assert [line.split()[1] for line in processes][:2] == ["0", "1"]  # the stage, this shell
    assert len(processes) == 3  # and `ps`
    assert said(box, "find /dev /run -name 'vport*' -o -name 'vd*' -o -name 'hvc*'") == ""
    assert said(box, "ls -d /init /gavotte /modules.json /newroot 2>/dev/null | wc -l") == "0"
    assert said(box, "kill -9 1; kill 1; echo unimpressed") == "unimpressed"
    assert box.run(["true"]).returncode == 0


def test_the_clock_is_right(box: gavotte.Sandbox) -> None:
    import time

    assert abs(float(said(box, "date +%s.%N")) - time.time()) < 30


def test_what_cannot_be_seen_is_the_host(box: gavotte.Sandbox) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\S+-amd64", said(box, "uname -r"))
    assert "QEMU" in said(box, "cat /sys/class/dmi/id/sys_vendor /proc/cpuinfo")
