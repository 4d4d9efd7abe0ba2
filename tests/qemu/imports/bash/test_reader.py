"""Scripts through the reader and through bash itself: what is read is what bash does, the rest is refused by name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gavotte.errors import HostError, UsageError
from gavotte.qemu.imports.bash import read_script
from gavotte.qemu.imports.launchers import program_at
from tests.support.programs import DEADLINE

Words = list[tuple[bytes, ...]]

READ: dict[str, str | bytes] = {
    "plain": "qemu-system-x86_64 -m 1G 'a b'",
    "shebang": "#!/usr/bin/env bash\nqemu-system-x86_64 -m 1G",
    "shebang with flags": "#!/bin/bash -eu\nqemu-system-x86_64 -m 1G",
    "continued lines": "qemu-system-x86_64 \\\n  -m 1G \\\n\t-S",
    "comment behind": "qemu-system-x86_64 -m 1G # -S",
    "a hash within a word": "qemu-system-x86_64 -name a#b '#c' \\#d",
    "a comment that ends in a backslash":
        "args=(\n  -m 256M\n  # -cpu host \\\n  -smp 2\n)\nqemu-system-x86_64 \"${args[@]}\"",
    "a comment before, with a backslash": "# see below \\\nqemu-system-x86_64 -m 1",
    "single quotes": "qemu-system-x86_64 -append 'a \"b\" $c `d` \\e'",
    "double quotes": 'qemu-system-x86_64 -append "a \'b\' \\$c \\`d\\` \\"e\\" \\\\ \\f"',
    "a new line in quotes": "qemu-system-x86_64 -append 'a\nb' \"c\nd\\\ne\"",
    "joined quotes": "qemu-system-x86_64 -name a'b c'\"d e\"f\\ g",
    "blanks beside a variable in quotes": 'A=x\nqemu-system-x86_64 -name " $A  $A "',
    "escaped everything": "qemu-system-x86_64 \\a \\' \\\" \\\\ \\$x \\;",
    "ansi quotes": "qemu-system-x86_64 -name $'it\\'s' $'\\x41\\101\\t\\e' $'\\xc3\\xa9'",
    "empty words": "qemu-system-x86_64 '' \"\" -m 1",
    "bytes that are not UTF-8": b"qemu-system-x86_64 -name '\xff\xfe' \xfd",
    "an assignment": "M=1G\nqemu-system-x86_64 -m $M -name ${M}x",
    "an unquoted variable is split": "O='-m  1G\t-S\n'\nqemu-system-x86_64 $O x$O\"y\"$O",
    "a quoted variable is not": "O=' a  b '\nqemu-system-x86_64 \"$O\" x\"$O\"",
    "an empty variable is no word": "O=\nqemu-system-x86_64 $O -m 1 $O\"\" \"$O\"",
    "text added to text": "M='-machine q35'\nM+=\",accel=tcg\"\nO=\"-m 256M\"\nO+=' -smp 2'\nqemu-system-x86_64 $M $O",
    "a variable of itself": 'A=a\nA="$A b $A"\nqemu-system-x86_64 "$A"',
    "several in one line": "A=1 B=2$A; C=$B$A\nqemu-system-x86_64 $A $B $C",
    "export": "export M=1G N='a b'\nexport M\nqemu-system-x86_64 -m $M \"$N\"",
    "declare -a": "declare -a ARGS=(-m 256M -smp 2)\nARGS+=(-display none)\nqemu-system-x86_64 \"${ARGS[@]}\"",
    "a declaration has the values from before it":
        "N=old\nexport N=new M=$N\ndeclare N=newer O=$N\nreadonly N=newest P=$N\nqemu-system-x86_64 $N $M $O $P",
    "arrays of a declaration are set at once":
        "N=a M=m\ndeclare -a N=(b c) M=$N O=($M $N)\nqemu-system-x86_64 $M ${O[@]}",
    "set in front of nothing": "A=1\nE=\nA=2 $E\nB=3 $E $E\nqemu-system-x86_64 $A $B",
    "readonly": "readonly M=1\nqemu-system-x86_64 -m $M",
    "an empty array": "A=()\nqemu-system-x86_64 -m 1 \"${A[@]}\" ${A[@]} ${A[*]} \"${A[*]}\"",
    "an array in every form":
        "A=('a b' '' c)\nqemu-system-x86_64 \"${A[@]}\" ${A[@]} ${A[*]} \"${A[*]}\" x\"${A[@]}\"y $A \"$A\"",
    "an element": "A=(a 'b c')\nqemu-system-x86_64 \"${A[1]}\" ${A[1]} ${A[0]}",
    "an array as text": "A=(a 'b c')\nB=\"${A[@]}\"\nC=${A[*]}\nqemu-system-x86_64 \"$B\" \"$C\"",
    "text for an array is its first element": "A=(a b)\nA=x\nA+=y\nqemu-system-x86_64 \"${A[@]}\"",
    "an array added to text": "A=x\nA+=(y z)\nqemu-system-x86_64 \"${A[@]}\"",
    "array of arrays": 'A=(a "b c")\nB=(-S "${A[@]}" "${A[@]}x")\nqemu-system-x86_64 "${B[@]}"',
    "sudo": "sudo -E -u qemu -g kvm qemu-system-x86_64 -m 1",
    "env": "P=/usr/bin\nenv -u X A=b B=$P qemu-system-x86_64 -m 1",
    "exec": "exec qemu-system-x86_64 -m 1\nqemu-system-x86_64 -m 2",
    "nice and taskset": "nice -n 5 taskset -c 0 setsid -w qemu-system-x86_64 -m 1",
    "an assignment in front": "A=b LC_ALL=C qemu-system-x86_64 -m 1",
    "redirections": "qemu-system-x86_64 -m 1 >/dev/null 2>&1 </dev/null",
    "in the background": "qemu-system-x86_64 -m 1 &\nwait",
    "a pipeline": "echo x | qemu-system-x86_64 -m 1 2>&1 | cat",
    "variables of the background are its own": "A=1\nA=2 &\nwait\nqemu-system-x86_64 $A",
    "variables of a pipeline are its own": "A=1\ntrue | A=2\nqemu-system-x86_64 $A",
    "the binary in a variable": "QEMU=qemu-system-x86_64\n\"$QEMU\" -m 1",
    "all of it in a variable": "Q='qemu-system-x86_64 -m 1G'\n$Q -S",
    "what changes nothing": "set -eu\numask 022\necho \"$0 $$\"\nmkdir -p x\n[ -e x ]\nqemu-system-x86_64 -m 1",
    "a test that may end it": "[ -e /dev/null ] || { echo no; exit 1; }\nqemu-system-x86_64 -m 1",
    "an `if` that sets nothing used": "A=1\nif [ -e x ]; then B=2; touch y; fi\nqemu-system-x86_64 $A",
    "a function that nobody calls": "A=1\nf() { A=2; }\nqemu-system-x86_64 $A",
    "a loop that sets nothing used": "for i in a b; do echo $i; done\nqemu-system-x86_64 -m 1",
    "unknown until it is set": "A=(\"$(free)\")\nA=(-m 1)\nqemu-system-x86_64 \"${A[@]}\"",
    "QEMU asked for its version":
        "V=$(qemu-system-x86_64 --version)\ncommand -v qemu-system-x86_64\nqemu-system-x86_64 -m 1",
    "a directory called qemu": "qemu-system-x86_64 -L /usr/share/qemu -m 1",
    "and behind": "qemu-system-x86_64 -m 1 && echo fine || exit 1",
    "cd": "cd /tmp && qemu-system-x86_64 -hda disk.img",
    "sh": "#!/bin/sh\nM=1\nqemu-system-x86_64 -m \"$M\" $M",
    "an end before it": "exit\nqemu-system-x86_64 -m 1",
    "nothing behind": "qemu-system-x86_64",
}  # fmt: skip

REFUSED: dict[str, tuple[str, str]] = {
    "if": ("if [ -e /x ]; then A=kvm; else A=tcg; fi\nqemu-system-x86_64 -accel $A", r"2: \$A .*an `if` in line 1"),
    "if around it": ("if true; then\nqemu-system-x86_64 -m 1\nfi", "2: an `if` is around"),
    "case": ("case $1 in a) A=1;; *) A=2;; esac\nqemu-system-x86_64 $A", r"2: \$A .*a `case` in line 1"),
    "for": ("for A in 1 2; do :; done\nqemu-system-x86_64 $A", r"2: \$A .*a `for` loop"),
    "for around it": ("for A in 1 2; do qemu-system-x86_64 -m $A; done", "1: a `for` loop is around"),
    "while": ("while read A; do :; done\nqemu-system-x86_64 $A", r"2: \$A .*a `while`"),
    "and": ("M=512M\n[ -z $M ] && M=1G\nqemu-system-x86_64 -m $M", r"3: \$M .*`&&` or `\|\|` in line 2"),
    "and in front": ("false && qemu-system-x86_64 -m 1", "1: `&&` or `.*` is around"),
    "or": ("A=1\nfalse || A=2\nqemu-system-x86_64 $A", r"3: \$A"),
    "an array on a condition": (
        "args=(-m 1)\n[[ a = b ]] && {\n  args+=(-S)\n}\nqemu-system-x86_64 \"${args[@]}\"",
        r"5: \$\{args\[@\]\} has no value that can be told without running the script",
    ),
    "subshell": ("A=1\n(A=2)\nqemu-system-x86_64 $A", r"3: \$A .*a subshell in line 2"),
    "subshell around it": ("(qemu-system-x86_64 -m 1)", "1: a subshell is around"),
    "group": ("A=1\n{ A=2; }\nqemu-system-x86_64 $A", r"3: \$A .*a group"),
    "function": ("f() { A=2; }\nA=1\nf\nqemu-system-x86_64 $A", "3: the function f is called"),
    "function of a launcher's name":
        ("sudo() { \"$@\" -S; }\nsudo qemu-system-x86_64 -m 1", "2: the function sudo is called"),
    "function of QEMU's name":
        ("qemu-system-x86_64() { echo x; }\nqemu-system-x86_64 -m 1", "2: the function qemu-system-x86_64 is called"),
    "function around it": ("main() {\n qemu-system-x86_64 -m 1\n}\nmain", "4: the function main is called"),
    "eval": ('C="qemu-system-x86_64 -m 1"\neval $C', "2: QEMU's name is among the words of eval"),
    "eval of something": ("A=1\neval 'A=2'\nqemu-system-x86_64 $A", "2: `eval A=2` changes what bash reads"),
    "source": ("A=1\n. ./settings\nqemu-system-x86_64 $A", "2: `. ./settings` changes"),
    "here-document": ("cat <<EOF >x\nA=1\nEOF\nqemu-system-x86_64 -m 1", "1: a here-document"),
    "brace expansion": ("qemu-system-x86_64 -device x,id=r{1,2}", "1: .* a brace expansion"),
    "braces of an export": ("export A={a,b}\nqemu-system-x86_64 $A", "2: .*a brace expansion"),
    "JSON without quotes": ('qemu-system-x86_64 -blockdev {"driver":"file"}', "1: .*JSON that has lost its quotes"),
    "glob": ("qemu-system-x86_64 -cdrom *.iso", "1: .*a pattern"),
    "glob in a variable": ("A='*.iso'\nqemu-system-x86_64 -cdrom $A", "2: .*a pattern"),
    "command substitution": ("qemu-system-x86_64 -m $(free)", r"1: \$\(free\) has no value"),
    "back quotes": ("M=`free`\nqemu-system-x86_64 -m $M", r"2: \$M .*line 1 sets it to `free`"),
    "process substitution": ("qemu-system-x86_64 -kernel <(x)", "1: .*a process substitution"),
    "unset": ("qemu-system-x86_64 -m $M", r"1: \$M .*the script doesn't set it"),
    "unset again": ("M=1\nunset M\nqemu-system-x86_64 -m $M", r"3: \$M"),
    "arguments": ('qemu-system-x86_64 -m 1 "$@"', r"1: \$@ .*what the script is called with"),
    "default": ("qemu-system-x86_64 -m ${M:-1G}", r"1: \$\{M:-1G\} .*an expansion with an operator"),
    "assigning default": ("M=\n: ${M:=2}\nqemu-system-x86_64 -m $M", r"3: \$M"),
    "substring": ("A=abc\nqemu-system-x86_64 ${A%c} ${A/b/x} ${#A}", r"2: \$\{A%c\}"),
    "arithmetic": ("A=1\nqemu-system-x86_64 -m $((A+1))", r"2: \$\(\(A\+1\)\) .*arithmetic"),
    "arithmetic that sets": ("A=1\n((A++))\nqemu-system-x86_64 -m $A", r"3: \$A"),
    "let": ("A=1\nlet A=2\nqemu-system-x86_64 -m $A", r"3: \$A"),
    "read": ("A=1\nread A\nqemu-system-x86_64 -m $A", r"3: \$A .*`read A` in line 2"),
    "printf -v": ("A=1\nprintf -v A 2\nqemu-system-x86_64 -m $A", r"3: \$A"),
    "printf -v without a blank": ("A=1\nprintf -vA 2\nqemu-system-x86_64 -m $A", r"3: \$A .*`printf -vA 2` in line 2"),
    "read -a without a blank": ("A=1\nread -raA <<< '2 3'\nqemu-system-x86_64 -m $A", r"3: \$A"),
    "an octal index":
        ("A=(0 1 2 3 4 5 6 7 8 9)\nqemu-system-x86_64 ${A[010]}", r"2: \$\{A\[010\]\} .*an expansion with an operator"),
    "text that is an array":
        ("declare -a A='(b c)'\nqemu-system-x86_64 ${A[@]}", r"2: \$\{A\[@\]\} .*text that may be read as an array"),
    "set in front of sh's own commands":
        ("#!/bin/sh\nA=1\nA=2 :\nqemu-system-x86_64 $A", r"4: \$A .*`A=2 :` in line 3"),
    "set in front of sh's own commands in an if":
        ("#!/bin/sh\nA=1\nif true; then A=2 :; fi\nqemu-system-x86_64 $A", r"4: \$A .*an `if` in line 3"),
    "tilde": ("I=~/a.iso\nqemu-system-x86_64 -hda ~/vms/disk.qcow2 -cdrom $I", "2: ~ has no value .*the home of who"),
    "tilde in an option": ("qemu-system-x86_64 -drive file=~/x", "1: ~ has no value"),
    "IFS": ("IFS=,\nA=a,b\nqemu-system-x86_64 $A", "1: IFS is a variable that changes how bash itself works"),
    "RANDOM": ("RANDOM=1\nqemu-system-x86_64 $RANDOM", "1: RANDOM is a variable"),
    "local outside": ("local -a A=(1)\nqemu-system-x86_64 ${A[@]}", "1: `local` is not in a function"),
    "declare -i": ("declare -i A=1+1\nqemu-system-x86_64 $A", "1: .*gives a variable an attribute"),
    "declare -A": ("declare -A A=([a]=b)\nqemu-system-x86_64 ${A[a]}", "1: .*gives a variable an attribute"),
    "an element set": ("A=(a b)\nA[1]=c\nqemu-system-x86_64 ${A[@]}", "2: an element of an array is set"),
    "read-only": ("readonly A=1\nA=2\nqemu-system-x86_64 $A", "2: A is read-only, and set again"),
    "shopt": ("shopt -s nullglob\nqemu-system-x86_64 x", "1: `shopt -s nullglob` changes what bash reads"),
    "set": ("set -- a b\nqemu-system-x86_64 $1", "1: `set -- a b` changes"),
    "a trap between": ("trap 'A=2' DEBUG\nA=1\nqemu-system-x86_64 $A", "1: `trap` runs"),
    "a descriptor's variable":
        ("A=1\nexec {A}>/dev/null\nqemu-system-x86_64 $A", "2: `exec {A}>/dev/null` sets a variable"),
    "words behind a redirection": ("qemu-system-x86_64 -m 1 >x -S", "1: words behind a redirection aren't read"),
    "a word in two lines": ("qemu-system-x86_64 -na\\\nme x", "1: .*a form of a word that isn't read"),
    "translated": ('qemu-system-x86_64 $"x"', "1: .*a form of a word"),
    "an escaped blank at the end": ("qemu-system-x86_64 x \\ \n", "1: the last word is of a form that isn't read"),
    "unicode escape": ("qemu-system-x86_64 $'\\u00e9'", r"1: .*the escape \\u"),
    "the command in quotes": ("bash -c 'qemu-system-x86_64 -m 1'", "1: QEMU's name is among the words of bash"),
    "an unknown launcher": ("frobnicate qemu-system-x86_64 -m 1", "1: QEMU's name is among the words of frobnicate"),
    "an unknown command": ("$LAUNCH qemu-system-x86_64 -m 1", r"1: \$LAUNCH has no value"),
    "another language": ("#!/usr/bin/python3\nqemu = 1", "1: it is a script for /usr/bin/python3"),
    "arrays in sh": ("#!/bin/sh\nA=(a b)\nqemu-system-x86_64 $A", "2: sh has no `A="),
    "+= in sh": ("#!/bin/sh\nA=a\nA+=b\nqemu-system-x86_64 $A", "3: sh has no `A\\+=b`"),
    "$'…' in sh": ("#!/bin/sh\nqemu-system-x86_64 $'a'", "2: .*sh has no"),
    "not bash": ("qemu-system-x86_64 -name 'a", "1: this can't be read as bash"),
}  # fmt: skip


def test_without_the_grammar_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tree_sitter_bash", None)
    with pytest.raises(HostError, match="tree_sitter_bash is not installed") as raised:
        read("qemu-system-x86_64 -m 1")
    assert raised.value.hint == "pip install tree-sitter tree-sitter-bash"


def test_a_command_line_that_is_no_script_needs_no_grammar() -> None:
    code = """
from gavotte.faces.cli import main
import sys
main(["qemu", "import", "--", "qemu-system-x86_64", "-m", "1G"])
sys.exit("tree_sitter" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, timeout=DEADLINE, check=True)


def read(script: str | bytes) -> Words:
    data = script if isinstance(script, bytes) else script.encode()
    return [command.words[1:] for command in read_script(data, program_at)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str | bytes], Words]:
    """Runs a script in bash, or in sh if it says so, and gives the words of each QEMU that it starts."""
    folder = tmp_path_factory.mktemp("bash")
    (folder / "bin").mkdir()
    for name, code in {
        "qemu-system-x86_64": f'[ "$1" = --version ] || printf "%s\\0" "$#" "$@" >>{folder}/words',
        "sudo": 'while [ "$1" != qemu-system-x86_64 ]; do shift; done; exec "$@"',
    }.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{code}\n")
        (folder / "bin" / name).chmod(0o755)

    def run(script: str | bytes) -> Words:
        (folder / "script").write_bytes(script if isinstance(script, bytes) else script.encode())
        (folder / "words").write_bytes(b"")
        shell = "sh" if (folder / "script").read_bytes().startswith(b"#!/bin/sh") else "bash"
        subprocess.run(
            [shell, "../script"],
            cwd=folder / "bin",
            env={"PATH": f"{folder}/bin:/usr/bin:/bin", "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
        items = (folder / "words").read_bytes().split(b"\0")[:-1]
        found = []
        while items:
            count = int(items[0])
            found.append(tuple(items[1 : count + 1]))
            items = items[count + 1 :]
        return found

    return run


@pytest.mark.parametrize("name", READ)
def test_what_is_read_is_what_bash_does(name: str, run: Callable[[str | bytes], Words]) -> None:
    assert read(READ[name]) == run(READ[name])


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_told_is_refused_by_its_name_and_line(name: str) -> None:
    script, said = REFUSED[name]
    with pytest.raises(UsageError, match=f"^{said}") as raised:
        read(script)
    assert len(str(raised.value)) < 600
    assert raised.value.hint


@pytest.mark.parametrize("name", REFUSED)
def test_the_same_scripts_never_give_anything_but_what_bash_does(
    name: str, run: Callable[[str | bytes], Words]
) -> None:
    """Each with further text behind it, so that a refusal can't be one of the end alone."""
    script = f"{REFUSED[name][0]}\ntrue\n"
    try:
        found = read(script)
    except UsageError:
        return
    assert found == run(script)


SIGNS = "a1-='\"\\#*~$!`(){};,[]|&<>é"
PIECES = (
    *("'b c'", '"$X"', '"${A[@]}"', "${A[@]}", '"${A[*]}"', "${A[1]}", "$X", "$X$Y", '"$Y $X"', "\\'", '\\"', "a=b"),
    *("{a,b}", "$'a\\tb'", '"a\\"b"', '""', "''", "x#y", "0x1", "10#3", "${X:-1}", "$1", '"${E[@]}"', "${E[*]}"),
    *("$Z", '"$Z"', "\\x", "\\ ", "\\\n"),
)
pieces = st.sampled_from([*SIGNS, *PIECES])
word = st.lists(pieces, min_size=1, max_size=3).map("".join)
name = st.sampled_from("XYAEZ")
statement = st.one_of(
    st.builds("{}={}".format, name, word),
    st.builds("{}+={}".format, name, word),
    st.builds("{}=({} {})".format, name, word, word),
    st.builds("export {}={}".format, name, word),
    st.builds("declare {}={} {}={}".format, name, word, name, word),
    st.builds("{}={} $Z".format, name, word),
    st.builds("printf -v{} %s {}".format, name, word),
    st.builds("true && {}={}".format, name, word),
    st.builds("if true; then {}={}; fi".format, name, word),
    st.builds("{}={} &".format, name, word),
    st.builds("# {}{}".format, name, word),
    st.builds("unset {}".format, name),
)


@given(st.lists(statement, max_size=2), st.lists(word, min_size=1, max_size=3))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_random_script_gives_what_bash_gives_or_is_refused(
    run: Callable[[str | bytes], Words], statements: list[str], words: list[str]
) -> None:
    lines = ["X='a  b'; Y=1; A=(p 'q r' s); E=(); Z=", *statements, f"qemu-system-x86_64 {' '.join(words)}", ""]
    script = "\n".join(lines)
    try:
        found = read(script)
    except UsageError:
        return
    started = run(script)
    assert started in ([], found)  # bash stops at an error, such as a name that can't be set
