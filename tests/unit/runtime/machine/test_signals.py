from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from runtime.machine.signals import stoppable
from tests.unit.runtime.machinery import environ


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_asks_and_the_second_stops(number: signal.Signals) -> None:
    heard: list[int] = []
    with stoppable(heard.append) as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        assert (stop.signal, heard) == (number, [number])
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    woken = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(woken)
    with stoppable():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.set_wakeup_fd(woken) == woken


#: deaf to the second signal: its main thread is inside of a call of the operating system, or eats what is raised
DEAF = """
import hashlib, os, sys, time
from runtime.machine.signals import stoppable
with stoppable(dying=lambda number: os.write(1, b"dying\\n")):
    print("ready", flush=True)
    while True:
        try:
            if sys.argv[1] == "inside":
                # minutes in a library, which Python cannot interrupt
                hashlib.pbkdf2_hmac("sha256", b"x", b"y", 500_000_000)
            else:
                time.sleep(60)
        except KeyboardInterrupt:
            pass
"""


@pytest.mark.parametrize("how", ["eats", "inside"])
def test_the_third_signal_ends_a_process_that_hears_nothing(how: str) -> None:
    command = [sys.executable, "-c", DEAF, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for number in (signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
            time.sleep(0.05)
            assert process.poll() is None
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM
        assert time.monotonic() - began < 5
        assert process.stdout.read() == "dying\n"
