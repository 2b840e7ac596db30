"""Ctrl-C for commands: whatever runs then ends in order, with one word and exit code 130, and without a traceback.

SIGTERM, which a cluster sends before it takes a machine away, does the same, with exit code 143. A signal may come at
any moment, and again: while a library is imported, within somebody else's callback, while the process ends.
"""

from __future__ import annotations

import _thread
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, ClassVar, NoReturn

TOLD = "interrupted"


class State:
    """Where the process's command is.

    Attributes:
        received: The first signal that came; 0 where none did.
        ending: Whether what is left to do is short, and further signals change nothing.
        over: Whether nothing is left to do.
    """

    received: ClassVar[int] = 0
    ending: ClassVar[bool] = False
    over: ClassVar[bool] = False


def run(module: str) -> NoReturn:
    """Run ``main`` of a module as this process's command, and end the process with its exit code.

    Args:
        module: Its name; it is imported here, since Ctrl-C may come while it is.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):  # not where nohup has it ignored
            signal.signal(number, on_signal)
    sys.unraisablehook = on_unraisable
    try:
        with interruptible():
            code = importlib.import_module(module).main()
    except KeyboardInterrupt:
        State.ending = True
        code = report_interruption()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
        State.over = True
    sys.exit(code)


def on_signal(number: int, _: FrameType | None) -> None:
    """Interrupt the running command; where nothing is left to do, end the process."""
    reported, State.received = State.received, State.received or number
    if State.over:
        os.write(2, b"" if reported else f"{TOLD}\n".encode())
        os._exit(exit_code())
    if not State.ending:
        raise KeyboardInterrupt


def on_unraisable(unraisable: Any) -> None:
    """Interrupt again a little later, where it first happened in a destructor, from which nothing can be raised."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        threading.Timer(0.05, _thread.interrupt_main).start()
    else:
        sys.__unraisablehook__(unraisable)


@contextmanager
def interruptible() -> Iterator[None]:
    """Within this, a signal is an interruption, also where a library has swallowed it or taken it for an error.

    Raises:
        KeyboardInterrupt: There was a signal.
    """
    try:
        yield
    except BaseException as error:
        if State.received and not State.ending:
            raise KeyboardInterrupt from error
        raise
    if State.received and not State.ending:
        raise KeyboardInterrupt


def ignore_further_signals() -> None:
    """From now on further signals change nothing, until all is done."""
    State.ending = True


def report_interruption() -> int:
    """Say that the command was interrupted.

    Returns:
        The exit code.
    """
    with suppress(OSError):
        print(f"\n{TOLD}" if sys.stderr.isatty() else TOLD, file=sys.stderr, flush=True)
    return exit_code()


def exit_code() -> int:
    """The exit code of an interrupted command, as shells have it: 128 and the signal's number."""
    return 128 + (State.received or signal.SIGINT)
