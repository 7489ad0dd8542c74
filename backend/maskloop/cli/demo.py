"""`maskloop demo`: Label Studio with masks on this machine, to look at or to check."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from maskloop.demo.check import check as run_check
from maskloop.demo.checkout import Checkout
from maskloop.demo.environment import install_label_studio
from maskloop.demo.stack import EMAIL, Stack, stack_running
from maskloop.demo.steps import Steps
from maskloop.errors import MaskloopError

LABEL_STUDIO_PORT, MASKLOOP_PORT = 8080, 9090


def demo(
    check: Annotated[
        bool, typer.Option("--check", help="Try everything once in a fresh project; exit 0 only if all of it held.")
    ] = False,
    install_only: Annotated[bool, typer.Option("--install-only", help="Install Label Studio and stop.")] = False,
) -> None:
    """Start Label Studio and maskloop on this machine, with pre-annotated photos. Ctrl-C stops all of it."""
    leave_on_signals()
    steps = Steps(Console())
    checkout = Checkout.of_this_code()
    try:
        if install_only:
            with steps.step("Label Studio installed") as show:
                install_label_studio(checkout.label_studio_environment, checkout.label_studio_lock, show)
        elif check:
            _check(checkout, steps)
        else:
            _show(checkout, steps)
    except MaskloopError:
        if not steps.failed:
            raise
    if steps.failed:
        raise typer.Exit(1)


def _check(checkout: Checkout, steps: Steps) -> None:
    with stack_running(checkout, checkout.check_data, steps, title="maskloop check", fresh=True, ports=(0, 0)) as stack:
        run_check(stack, checkout.label_config, steps)


def _show(checkout: Checkout, steps: Steps) -> None:
    try:
        ports = LABEL_STUDIO_PORT, MASKLOOP_PORT
        with stack_running(
            checkout, checkout.demo_data, steps, title="maskloop demo", fresh=False, ports=ports
        ) as stack:
            _say_where(stack, steps)
            while True:
                stack.raise_if_ended()
                time.sleep(0.5)
    except KeyboardInterrupt:
        steps.say("Stopped.")


def _say_where(stack: Stack, steps: Steps) -> None:
    steps.say(
        f"\nOpen      {stack.label_studio.url}/projects/{stack.project}\n"
        f"Log in    {EMAIL}  {stack.password}\n"
        "Click     open a photo without predictions, switch Auto-Annotation on, choose a label, choose the smart\n"
        "          key point tool, click an object; Alt-click takes a part away.\n"
        "Stop      Ctrl-C\n"
    )


def leave_on_signals() -> None:
    """Make SIGTERM and SIGHUP leave through every ``finally``, as Ctrl-C does, so that no process is left."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
