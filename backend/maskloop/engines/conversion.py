"""The network as OpenVINO's intermediate representation, made once for each set of weights and kept on disk.

A converted half is kept in a folder named by the hash of its weights, of OpenVINO's version and of the code that it
came from. Encoder and decoder are kept apart: a decoder trained further finds the encoder that is there. The folder
gets its name when everything in it is on the disk, and a checksum is compared before it is read: what a crash, a full
disk or another version left behind is made again. Those used last stay.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import torch
from torch import Tensor, nn

from maskloop.engines.identity import build_of
from maskloop.engines.openvino_without_telemetry import openvino
from maskloop.sam.decoder import MaskDecoder
from maskloop.sam.layers import fold
from maskloop.sam.network import MobileSam, weights_hash
from maskloop.sam.preprocess import SQUARE
from maskloop.sam.prompt_encoder import PromptEncoder
from maskloop.sam.values import EMBEDDING_SHAPE

KEPT = 24
"""Converted halves, some 20 MB each: enough for all versions that a worker holds."""
ABANDONED = 3600.0
"""Seconds after which nobody writes a half any more."""

log = logging.getLogger(__name__)


class Decoding(nn.Module):
    """The decoder from what is kept of an image, with the grid's encoding as a constant."""

    def __init__(self, decoder: MaskDecoder, grid: Tensor) -> None:
        super().__init__()
        self.decoder = decoder
        self.grid = grid

    def forward(self, features: Tensor, masks: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        pixels = features.float().flatten(1).transpose(0, 1) + masks
        return self.decoder(pixels, self.grid, points)  # type: ignore[no-any-return]


def converted_encoder(model: MobileSam, cache_dir: Path | None) -> openvino.Model:
    """float32 (1, H, W, 3) to features (1, 256, H / 16, W / 16), H and W being multiples of 16.

    From ``cache_dir`` if it is there. Folds ``model``'s encoder, which can't be trained then.
    """
    return kept(cache_dir, "encoder", weights_hash(model.image_encoder), lambda: convert_encoder(model))


def converted_decoder(decoder: MaskDecoder, prompts: PromptEncoder, cache_dir: Path | None) -> openvino.Model:
    """Features float16 (256, 64, 64), embedded masks (1, 1 or 4096, 256) and embedded points (N, P, 256) to logits
    (N, 4, 256, 256) and scores (N, 4), float32. From ``cache_dir`` if it is there."""
    key = hashlib.sha256((weights_hash(decoder) + weights_hash(prompts.pe_layer)).encode()).hexdigest()
    return kept(cache_dir, "decoder", key, lambda: convert_decoder(decoder, prompts.grid()))


def convert_encoder(model: MobileSam) -> openvino.Model:
    fold(model.image_encoder)
    return convert(model.image_encoder, [(1, -1, -1, 3)], [torch.zeros(1, *SQUARE, 3)])


def convert_decoder(decoder: MaskDecoder, grid: Tensor) -> openvino.Model:
    decoding = Decoding(decoder, grid)
    channels = EMBEDDING_SHAPE[0]
    features, masks, points = (
        torch.zeros(EMBEDDING_SHAPE).half(),
        torch.zeros(1, 1, channels),
        torch.zeros(3, 2, channels),
    )
    return convert(decoding, [EMBEDDING_SHAPE, (1, -1, channels), (-1, -1, channels)], [features, masks, points])


@torch.inference_mode()
def convert(module: nn.Module, shapes: Sequence[tuple[int, ...]], example: Sequence[Tensor]) -> openvino.Model:
    """The module as OpenVINO has it, -1 in a shape being any size; ``example`` is only to see what it computes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated for torch.export, whose decoder takes twice the time
        traced = torch.jit.trace(module, tuple(example), check_trace=False)  # type: ignore[no-untyped-call]
        return openvino.convert_model(traced, example_input=tuple(example), input=list(shapes))


def kept(cache_dir: Path | None, name: str, key: str, convert: Callable[[], openvino.Model]) -> openvino.Model:
    """The model of this name and key in ``cache_dir``, put there if it wasn't."""
    if cache_dir is None:
        return convert()
    version = hashlib.sha256(f"{key} {build()}".encode()).hexdigest()[:16]
    folder = cache_dir / f"{name}-{version}"
    if (model := read(folder)) is None:
        model = convert()
        try:
            write(model, folder)
            tidy(cache_dir)
        except (OSError, RuntimeError) as error:
            log.warning("The converted %s can't be kept in %s, and is made anew at each start: %s", name, folder, error)
    return model


def build() -> str:
    """Another for each version of OpenVINO and of the code that decides what is computed."""
    return build_of(f"OpenVINO {openvino.__version__}", Decoding)


def read(folder: Path) -> openvino.Model | None:
    """The model in the folder, None if there is none or it isn't whole."""
    try:
        whole = (folder / "sha256").read_text() == checksum(folder)
    except OSError:
        return None
    if not whole:
        return None
    with suppress(OSError):
        os.utime(folder)  # used last now, for `tidy`
    return openvino.Core().read_model(folder / "model.xml")


def write(model: openvino.Model, folder: Path) -> None:
    """Put the model into the folder, all of it or nothing. Raises OSError or RuntimeError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.{uuid4().hex}.part")
    try:
        part.mkdir()
        openvino.save_model(model, part / "model.xml", compress_to_fp16=False)
        (part / "sha256").write_text(checksum(part))
        for file in part.iterdir():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def tidy(cache_dir: Path) -> None:
    """Remove all but the KEPT folders used last, and what crashes left half-written."""
    changed = {folder: folder.stat().st_mtime for folder in cache_dir.iterdir() if folder.is_dir()}
    parts = {folder for folder in changed if folder.suffix == ".part"}
    used = sorted(changed.keys() - parts, key=changed.__getitem__, reverse=True)
    abandoned = [part for part in parts if changed[part] < time.time() - ABANDONED]
    for folder in [*used[KEPT:], *abandoned]:
        shutil.rmtree(folder, ignore_errors=True)


def checksum(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in ("model.xml", "model.bin"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()
