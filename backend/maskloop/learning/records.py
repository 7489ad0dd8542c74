"""Small JSON files beside the versions of the model, and the names that those may have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from maskloop.errors import WeightsError
from maskloop.files import replacing

T = TypeVar("T")
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


def valid(name: str) -> bool:
    return re.fullmatch(NAME, name) is not None


def read(path: Path, of: TypeAdapter[T]) -> T:
    """Raises WeightsError if the file is damaged or can't be read, FileNotFoundError if there is none."""
    try:
        return of.validate_json(path.read_bytes())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise WeightsError(
            f"{path} can't be read: {error.strerror}.", "Check the data directory (MASKLOOP_DATA_DIR)."
        ) from error
    except ValidationError as error:
        raise WeightsError(f"{path} is damaged: {error}", "Restore it from a backup, or remove it.") from error


def write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode())
