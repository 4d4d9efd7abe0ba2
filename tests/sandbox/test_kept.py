"""What is written down of a kept sandbox: read as it was written, also what an earlier Gavotte wrote."""

from __future__ import annotations

import json
from pathlib import Path

from gavotte.sandbox.kept import Kept
from gavotte.sandbox.spec import make_spec


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    kept = Kept(make_spec(memory="256M"), "tcg", "as asked for", 1 << 27, "00" * 16, "aa11", "")
    kept.write(tmp_path)
    assert Kept.read(tmp_path) == kept


def test_a_record_from_before_there_were_templates_is_read(tmp_path: Path) -> None:
    Kept(make_spec(), "tcg", "as asked for", 1 << 27, "00" * 16, "aa11", "").write(tmp_path)
    record = tmp_path / "sandbox.json"
    old = json.loads(record.read_text())
    del old["template"], old["cold_reason"], old["spec"]["cold"]
    record.write_text(json.dumps(old))
    kept = Kept.read(tmp_path)
    assert (kept.template, kept.cold_reason, kept.spec.cold) == ("", "", False)
