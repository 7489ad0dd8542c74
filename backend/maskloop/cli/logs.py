"""One format for the log of every process, on standard error."""

from __future__ import annotations

import logging

CHATTY = ("httpx", "httpcore", "rq", "rq.worker", "rq.job", "uvicorn", "alembic")
"""Libraries of which only warnings are worth a line."""


def log_to_stderr(level: str) -> None:
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
