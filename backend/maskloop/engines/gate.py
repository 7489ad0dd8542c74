"""No engine serves that is fast and wrong: each is compared with PyTorch in fp32 before it is chosen.

bf16 moves features by 2 to 3 % and mean IoU by less than 0.001; half-converted weights or a broken kernel move them by
far more.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from maskloop.engines.base import Engine
from maskloop.engines.network_engine import NetworkEngine
from maskloop.sam.values import Image, Prompt

LIMIT = 0.06
"""Largest relative error of features and of logits (root mean square)."""


class Inaccurate(Exception):
    """The engine's answers are too far from the original's."""


def check(engine: NetworkEngine, make_reference: Callable[[], Engine], weights: str, record_dir: Path | None) -> None:
    """Raise Inaccurate unless ``engine`` gives, within LIMIT, what the reference gives.

    The outcome is recorded in ``record_dir`` for the engine's build, the ``weights`` (a hash of all) and this kind of
    CPU or GPU, and the comparison, about two seconds, is made once. A GPU has to encode each time: another program may
    have taken its memory since. Raises what the engine raises.
    """
    on_gpu = "cuda" in engine.name
    processor = torch.cuda.get_device_name() if on_gpu else torch.backends.cpu.get_cpu_capability()
    key = f"{engine.name} {engine.build} {engine.identity} {weights} {torch.__version__} {processor}"
    record = record_dir and record_dir / f"accuracy-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    error = read(record)
    if error is None:
        error = relative_error(engine, make_reference())
        if record:
            write(record, error)
    elif on_gpu:
        engine.encode([probe()])
    if not error <= LIMIT:
        raise Inaccurate(f"its answers differ from PyTorch's in fp32 by {error:.0%}")


def relative_error(engine: Engine, reference: Engine) -> float:
    """The largest of the errors of an embedding and, that embedding given, of a click's logits, three masks and one."""
    (embedding,), (expected,) = engine.encode([probe()]), reference.encode([probe()])
    click = Prompt(np.array([[300, 400]], np.float32), np.ones(1, np.int8))
    errors = [distance(embedding.features, expected.features)]
    for multimask in (True, False):
        (given,), (wanted,) = (one.decode(expected, [click], multimask=multimask) for one in (engine, reference))
        errors.append(distance(given.logits, wanted.logits))
    return max(errors)


def distance(given: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    given, expected = given.astype(np.float64), expected.astype(np.float64)
    return float(np.linalg.norm(given - expected) / np.linalg.norm(expected))


def probe() -> Image:
    """A picture with smooth parts, edges and texture, uint8 (768, 1024, 3)."""
    rows, columns = np.mgrid[:768, :1024]
    disc = np.hypot(rows - 400, columns - 300) < 180
    picture = np.stack([rows // 4, columns // 5, 128 + 60 * np.sin(rows / 9) * np.cos(columns / 7)], axis=-1)
    picture[disc] = [220, 60, 40] + 20 * np.sin(columns[disc] / 3)[:, None]
    return picture.astype(np.uint8)


def read(record: Path | None) -> float | None:
    with suppress(OSError, ValueError):
        return float(record.read_text()) if record else None
    return None


def write(record: Path, error: float) -> None:
    """A record that can't be kept is made again next time."""
    with suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        part = record.with_suffix(f".{os.getpid()}.part")
        part.write_text(str(error))
        part.replace(record)
