"""Signals that are held come later, and not too late."""

from __future__ import annotations

import signal

import pytest

from gavotte.signals import ENDING, signals_held


def test_an_interrupt_comes_behind_the_block() -> None:
    reached = False
    with pytest.raises(KeyboardInterrupt), signals_held():
        signal.raise_signal(signal.SIGINT)  # to this thread, whatever others there are
        reached = True
    assert reached


def test_an_interrupt_comes_when_it_is_let_go() -> None:
    with signals_held() as let_go:
        signal.raise_signal(signal.SIGINT)  # to this thread, whatever others there are
        with pytest.raises(KeyboardInterrupt):
            let_go()


def test_what_was_blocked_before_stays_blocked() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        with signals_held() as let_go:
            assert {signal.SIGINT, *ENDING} <= signal.pthread_sigmask(signal.SIG_BLOCK, ())
            let_go()
            assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before | {signal.SIGTERM}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
