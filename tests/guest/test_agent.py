"""The agent's commands: how they are started, what they find, how they end."""

from __future__ import annotations

import os
import signal

import pytest

from gavotte.guest import agent
from tests.support.agents import PYTHON, AgentProcess, Line, Refused, exec_fields, guest


def python(code: str) -> list[str]:
    return [PYTHON, "-Sc", code]


# how a command ends


@pytest.mark.parametrize("status", [0, 1, 77, 255])
def test_the_exit_status_is_the_commands(line: Line, status: int) -> None:
    assert line.run("sh", "-c", f"exit {status}").exit == {"status": status}


@pytest.mark.parametrize("name", ["TERM", "KILL", "SEGV", "HUP"])
def test_a_command_that_a_signal_ended_says_which(line: Line, name: str) -> None:
    assert line.run("sh", "-c", f"kill -{name} $$").exit == {"signal": signal.Signals[f"SIG{name}"]}


def test_the_reply_gives_the_pid_that_the_command_itself_sees(line: Line) -> None:
    channel = line.request("exec", **exec_fields("sh", "-c", "echo $$"))
    pid = line.answer(channel)["pid"]
    assert int(line.finish(channel).stdout) == pid


def test_a_command_with_no_output_still_ends_both_streams_before_its_exit(line: Line) -> None:
    channel = line.spawn("true")
    kinds: list[tuple[int, int]] = []
    while not kinds or kinds[-1][0] != agent.EXIT:
        frame = line.take(channel)
        kinds.append((frame.kind, frame.stream))
    assert sorted(kinds[:-1]) == [(agent.EOF, agent.STDOUT), (agent.EOF, agent.STDERR)]


def test_a_background_process_that_keeps_stdout_does_not_delay_the_exit(line: Line) -> None:
    outcome = line.run("sh", "-c", "sleep 1000 & echo done; echo $! >&2")
    assert outcome.stdout == b"done\n"
    line.run("kill", outcome.stderr.decode().strip())


def test_a_background_process_does_not_delay_the_exit_when_output_waited_for_credit(line: Line) -> None:
    script = "sleep 1000 & echo $! >&2; echo done"
    channel = line.request("exec", **{**exec_fields("sh", "-c", script), "window": 1})
    shell = line.answer(channel)["pid"]
    line.grant(channel, 100, agent.STDERR)
    sleeper = line.read_until(channel, b"\n", agent.STDERR).decode().strip()
    line.run("sh", "-c", f"while kill -0 {shell} 2>&-; do :; done")
    line.grant(channel, 100, agent.STDOUT)
    assert line.finish(channel).status == 0
    line.run("kill", sleeper)


# what a command finds


def test_argv_arrives_as_it_was_sent(line: Line) -> None:
    words = ["", " ", "a b", "'\"$x", "new\nline", "é", b"caf\xe9".decode(errors="surrogateescape"), "--"]
    outcome = line.run(
        *python("import sys, os; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"), *words
    )
    assert outcome.stdout.split(b"\0") == [os.fsencode(word) for word in words]


def test_the_environment_is_a_logins_and_what_was_asked_for(line: Line) -> None:
    lines = line.run("env", "-0", env={"A": "1\n2", "EMPTY": "", "LANG": "C"}).stdout.decode().rstrip("\0").split("\0")
    env = dict(entry.split("=", 1) for entry in lines)
    assert {k: env[k] for k in ("A", "EMPTY", "LANG")} == {"A": "1\n2", "EMPTY": "", "LANG": "C"}
    assert {k: env[k] for k in ("HOME", "USER", "LOGNAME")} == {"HOME": "/root", "USER": "root", "LOGNAME": "root"}
    assert "/usr/bin" in env["PATH"].split(":")
    assert "TERM" not in env


def test_nothing_of_the_agents_own_environment_reaches_a_command(line: Line) -> None:
    names = {entry.split("=")[0] for entry in line.run("env").stdout.decode().split()}
    assert names == {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG"}


def test_a_command_starts_in_its_cwd(line: Line) -> None:
    assert line.run("pwd", cwd="/usr/bin").stdout == b"/usr/bin\n"


def test_without_a_cwd_a_command_starts_at_home_or_at_the_root(line: Line) -> None:
    assert line.run("pwd", cwd="").stdout == b"/root\n"
    line.run("sh", "-c", "echo nowhere:x:4321:4321::/no/such/home:/bin/sh >> /etc/passwd")
    assert line.run("pwd", cwd="", user="nowhere").stdout == b"/\n"


def test_a_user_gets_the_supplementary_groups_that_name_it(line: Line) -> None:
    line.run("sh", "-c", "echo ann:x:4001:4002:Ann:/tmp:/bin/ann-sh >> /etc/passwd")
    line.run("sh", "-c", "printf 'team:x:4003:bob,ann\\nothers:x:4004:anna\\nlast:x:4005:ann\\n' >> /etc/group")
    script = "id -u; id -g; id -G; echo $USER $HOME $SHELL"
    for name in ("ann", "4001"):
        said = line.run("sh", "-c", script, user=name).stdout.decode().splitlines()
        assert said == ["4001", "4002", "4002 4003 4005", "ann /tmp /bin/ann-sh"]
    assert line.run("id", "-g", user="ann:team").stdout == b"4003\n"


def test_a_user_id_that_has_no_name_is_taken_as_it_is(line: Line) -> None:
    assert line.run("sh", "-c", "id -u; id -G", user="54321:12345").stdout == b"54321\n12345\n"


def test_a_command_has_no_file_open_but_its_three_streams(line: Line) -> None:
    # ls itself opens the directory as 3
    assert line.run("ls", "/proc/self/fd").stdout.split() == [b"0", b"1", b"2", b"3"]


def test_a_command_starts_with_ordinary_signals_and_a_session_of_its_own(line: Line) -> None:
    code = """
import os, signal
print(os.getsid(0) == os.getpid() == os.getpgrp())
status = dict(line.split(':', 1) for line in open('/proc/self/status'))
print(int(status['SigBlk'], 16))
"""
    assert line.run(*python(code)).stdout.split() == [b"True", b"0"]
    ignored = line.run("grep", "SigIgn", "/proc/self/status").stdout.split()[1]
    glibcs_own = 1 << 31 | 1 << 32  # posix_spawn(3) leaves these ignored in what `make` and others start, so in us too
    assert int(ignored, 16) & ~glibcs_own == 0


def test_a_command_without_stdin_reads_an_end(line: Line) -> None:
    assert line.run("cat").exit == {"status": 0}


def test_a_command_sees_neither_the_agent_nor_the_stages_line_to_it(line: Line) -> None:
    assert line.run("ps", "-e", "-o", "pid=").stdout.split()[0] == b"1"
    assert b"socket" not in line.run("sh", "-c", "ls -l /proc/self/fd").stdout


@pytest.mark.parametrize("size", [60 << 10, 64 << 10, 70 << 10, 1 << 20])
def test_a_large_argv_and_environment_arrive_whole(line: Line, size: int) -> None:
    words = ["w" * 1000] * (size // 2000)
    env = {f"V{i}": "v" * 990 for i in range(size // 2000)}
    code = (
        "import os, sys; print(sum(map(len, sys.argv[1:])), sum(len(v) for k, v in os.environ.items() if k[0] == 'V'))"
    )
    said = line.run(*python(code), *words, env=env).stdout.split()
    assert said == [b"%d" % (1000 * len(words)), b"%d" % (990 * len(env))]


# what can't be started


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"argv": ["no-such-program"]}, "not-found"),
        ({"argv": ["/no/such/program"]}, "not-found"),
        ({"argv": [""]}, "invalid"),
        ({"argv": ["true"], "env": {"PATH": "/nowhere"}}, "not-found"),
        ({"argv": ["/etc/passwd"]}, "not-executable"),
        ({"argv": ["/usr"]}, "not-executable"),
        ({"argv": ["/etc/passwd/x"]}, "not-found"),
        ({"argv": ["true"], "cwd": "/no/such/directory"}, "no-cwd"),
        ({"argv": ["true"], "cwd": "/etc/passwd"}, "no-cwd"),
        ({"argv": ["true"], "cwd": "/root", "user": "54321"}, "no-cwd"),
        ({"argv": ["true"], "user": "nobody-of-that-name"}, "no-user"),
        ({"argv": ["true"], "user": "root:no-such-group"}, "no-user"),
        ({"argv": ["true"], "user": ""}, "no-user"),
        ({"argv": ["true"], "user": "-1"}, "no-user"),
        ({"argv": ["a\0b"]}, "invalid"),
        ({"argv": ["true"], "env": {"A": "b\0c"}}, "invalid"),
        ({"argv": ["true"], "env": {"A=B": "c"}}, "invalid"),
        ({"argv": ["true", "\ud800"]}, "invalid"),
    ],
    ids=str,
)
def test_what_cannot_be_started_is_refused_with_a_reason(line: Line, fields: dict[str, object], code: str) -> None:
    with pytest.raises(Refused) as caught:
        line.ask("exec", **{**exec_fields(), **fields})
    assert caught.value.code == code, caught.value
    assert str(caught.value).partition(": ")[2]


def test_a_script_whose_interpreter_is_missing_is_not_executable(line: Line) -> None:
    line.run("sh", "-c", "printf '#!/no/such/interpreter\\n' > /tmp/script; chmod +x /tmp/script")
    with pytest.raises(Refused, match="interpreter is missing") as caught:
        line.spawn("/tmp/script")
    assert caught.value.code == "not-executable"


def test_a_program_that_only_others_may_execute_is_not_executable(line: Line) -> None:
    line.run("sh", "-c", "cp /bin/true /tmp/private; chmod 700 /tmp/private; chmod 755 /tmp")
    for argv, env in ((["/tmp/private"], {}), (["private"], {"PATH": "/nowhere:/tmp"})):
        with pytest.raises(Refused) as caught:
            line.spawn(*argv, env=env, user="54321")
        assert caught.value.code == "not-executable"


def test_one_argument_beyond_the_kernels_limit_is_refused_not_lost(line: Line) -> None:
    with pytest.raises(Refused, match="too long") as caught:
        line.spawn("true", "x" * (128 << 10))  # MAX_ARG_STRLEN, execve(2)
    assert caught.value.code == "not-executable"


def test_a_channel_in_use_starts_no_second_command(line: Line) -> None:
    channel = line.spawn("cat", stdin=True)
    line.send_bytes(agent.encode_json(agent.REQUEST, channel, {"op": "exec", **exec_fields("true")}))
    with pytest.raises(Refused, match="in use"):
        line.answer(channel)
    line.write(channel, b"still mine")
    line.send(agent.EOF, channel)
    assert line.finish(channel).stdout == b"still mine"


# signals


def test_a_signal_reaches_the_whole_process_group(line: Line) -> None:
    child = "trap 'echo child; exit' USR1; echo ready; while :; do sleep 0.01; done"
    script = f'trap "echo parent" USR1; sh -c "{child}" & wait; wait'
    channel = line.spawn("sh", "-c", script)
    line.read_until(channel, b"ready")
    line.ask("signal", target=channel, signal=int(signal.SIGUSR1))
    assert sorted(line.finish(channel).stdout.split()) == [b"child", b"parent"]


def test_sigkill_ends_a_command_that_ignores_all_else(line: Line) -> None:
    channel = line.spawn("sh", "-c", "trap '' TERM INT HUP; echo ready; while :; do sleep 0.01; done")
    line.read_until(channel, b"ready")
    line.ask("signal", target=channel, signal=int(signal.SIGTERM))
    line.ask("signal", target=channel, signal=int(signal.SIGKILL))
    assert line.finish(channel).exit == {"signal": signal.SIGKILL}


def test_a_signal_to_a_command_that_is_over_does_nothing(line: Line) -> None:
    channel = line.spawn("true")
    line.finish(channel)
    assert line.ask("signal", target=channel, signal=9) == {}


def test_a_signal_that_follows_its_exec_at_once_is_not_lost(line: Line) -> None:
    for _ in range(30):
        channel = line.request("exec", **exec_fields("sleep", "1000"))
        line.request("signal", target=channel, signal=int(signal.SIGKILL))
        line.answer(channel)
        assert line.finish(channel).exit == {"signal": signal.SIGKILL}


@pytest.mark.parametrize("number", [-1, 65, 10**9, 2**40, -(2**40)])
def test_a_signal_number_that_does_not_exist_leaves_the_command_running(line: Line, number: int) -> None:
    channel = line.spawn("cat", stdin=True)
    line.request("signal", target=channel, signal=number)
    line.settle()
    line.write(channel, b"alive")
    line.send(agent.EOF, channel)
    outcome = line.finish(channel)
    assert (outcome.stdout, outcome.exit) == (b"alive", {"status": 0})


# many


def test_thirty_commands_at_once_keep_their_streams_apart(line: Line) -> None:
    channels = [line.spawn("cat", stdin=True) for _ in range(30)]
    for channel in channels:
        line.write(channel, b"%d." % channel * 1000)
    for channel in reversed(channels):
        line.send(agent.EOF, channel)
    for channel in channels:
        assert line.finish(channel).stdout == b"%d." % channel * 1000


def test_a_hundred_commands_one_after_the_other_leave_nothing_behind(line: Line) -> None:
    for number in range(100):
        assert line.run("sh", "-c", f"exit {number}").status == number
    assert line.run("sh", "-c", "ps -e -o stat= | grep -c Z || :").stdout == b"0\n"


# before and after


def test_before_the_set_up_no_command_can_be_started() -> None:
    with AgentProcess() as process:
        line = Line(process)
        line.take(0, agent.HELLO)
        with pytest.raises(Refused) as caught:
            line.spawn("true")
        assert caught.value.code == "state"


def test_a_second_set_up_is_refused(line: Line) -> None:
    with pytest.raises(Refused) as caught:
        line.ask("setup", time=0, root={"lower": "/"}, hostname="again")
    assert caught.value.code == "state"


def test_after_sync_no_command_runs_any_more() -> None:
    with guest() as line:
        channel = line.spawn("sleep", "1000")
        line.ask("sync")
        assert "lost" in line.finish(channel).exit
        with pytest.raises(Refused):
            line.spawn("true")


def test_the_agent_ends_by_itself_when_the_host_has_gone() -> None:
    with guest() as line:
        line.spawn("sleep", "1000")
        assert line.process.close() == 0


def test_online_tells_what_there_is_and_leaves_a_guest_of_the_same_size_as_it_is(line: Line) -> None:
    first = line.ask("online")
    assert first == {
        "cpus": os.sysconf("SC_NPROCESSORS_ONLN"),
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "root_size": first["root_size"],
    }
    assert int(line.run("df", "-B1", "--output=size", "/").stdout.split()[-1]) == first["root_size"]
    assert line.ask("online") == line.ask("online", cpus=0) == first


@pytest.mark.parametrize("cpus", [-1, True, "2", 1.5, [1]])
def test_what_is_no_number_of_processors_is_refused(line: Line, cpus: object) -> None:
    with pytest.raises(Refused) as caught:
        line.ask("online", cpus=cpus)
    assert caught.value.code == "malformed"
