"""One format for the log of every process, on standard error."""

from __future__ import annotations

import logging

CHATTY = ("httpx", "httpcore", "rq", "rq.worker", "rq.job", "uvicorn", "alembic")
"""Libraries of which only warnings are worth a line."""


class OneLine(logging.Formatter):
    """Messages hold what others sent, names of files say: none must look like another line, or steer a terminal.
    Tracebacks stay as they are."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return "".join(
            each if each.isprintable() else each.encode("unicode_escape").decode()
            for each in super().formatMessage(record)
        )


def log_to_stderr(level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
