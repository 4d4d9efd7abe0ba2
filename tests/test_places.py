from __future__ import annotations

import os
from pathlib import Path

import pytest

from gavotte.places import cache_directory, cache_path


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/users/anna")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


def test_the_cache_is_in_the_users_home() -> None:
    assert cache_path() == "/users/anna/.cache/gavotte"
    assert cache_directory() == Path("/users/anna/.cache/gavotte")


def test_the_cache_is_where_the_user_wants_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/anna")
    assert cache_path() == "/var/cache/anna/gavotte"


@pytest.mark.parametrize("value", ["", "relative", "./relative", "~/relative"])
def test_a_relative_place_for_caches_counts_for_nothing(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert cache_path() == "/users/anna/.cache/gavotte"


def test_without_a_home_there_is_no_cache_unless_it_was_given_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as it does where there is none
    with pytest.raises(FileNotFoundError, match="no home"):
        cache_path()
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/anna")
    assert cache_path() == "/var/cache/anna/gavotte"
