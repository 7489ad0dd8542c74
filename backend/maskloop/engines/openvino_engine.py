"""MobileSAM run by OpenVINO on the CPU: two to three times as fast as PyTorch there.

Both halves are converted from our own modules (``conversion``). Points are embedded by PyTorch, which takes a tenth of
a millisecond; the shapes of points vary from prompt to prompt, and the decoder takes them as they come.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray

from maskloop.engines.conversion import build, converted_decoder, converted_encoder
from maskloop.engines.identity import build_of, embedding_identity
from maskloop.engines.network_engine import WANTED, NetworkEngine, Precision
from maskloop.engines.openvino_without_telemetry import openvino
from maskloop.sam.network import MobileSam
from maskloop.sam.preprocess import FRAMES, SQUARE
from maskloop.sam.prompts import PromptBatch
from maskloop.sam.values import ImageSize

PROMPTS_AT_ONCE = 16
WARM_POINTS = ((True, 2), (False, 2), (False, 3), (False, 4))
"""For which of the decoders and how many points kernels are made before the first click: it, a box, two and three
clicks."""


class OpenVinoEngine(NetworkEngine):
    """cache_dir: where converted networks are kept. like: an engine whose encoder is taken if it is the same, in place
    of a third of a gigabyte and two seconds."""

    encoding: Lock
    encoders: dict[ImageSize, openvino.InferRequest]

    def __init__(
        self,
        model: MobileSam,
        precision: Precision,
        threads: int,
        cache_dir: Path | None = None,
        like: NetworkEngine | None = None,
    ) -> None:
        super().__init__(
            f"openvino-cpu-{precision}",
            embedding_identity(model, precision, FRAMES),
            build=build_of(build(), NetworkEngine, OpenVinoEngine),
            frames=FRAMES,
            images_at_once=1,
            prompts_at_once=PROMPTS_AT_ONCE,
        )
        self.prompt_encoder = model.prompt_encoder
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        }
        core = openvino.Core()

        def ready(part: openvino.Model) -> openvino.InferRequest:
            return core.compile_model(part, "CPU", settings).create_infer_request()

        if isinstance(like, OpenVinoEngine) and like.identity == self.identity:
            self.encoding, self.encoders = like.encoding, like.encoders
            self.blank = like.blank
        else:
            encoder = converted_encoder(model, cache_dir)
            self.encoding = Lock()
            self.encoders = {frame: ready(framed(encoder, frame)) for frame in FRAMES}
            for frame in {*FRAMES} - {SQUARE}:  # makes their kernels now, not at the first click; `blank` the square's
                self.run_encoder(np.zeros((1, *frame, 3), np.float32))
        three = single = ready(converted_decoder(model.mask_decoder, model.prompt_encoder, cache_dir))
        if model.single_mask_decoder is not None:
            single = ready(converted_decoder(model.single_mask_decoder, model.prompt_encoder, cache_dir))
        self.decoders = {True: three, False: single}
        for multimask, points in WARM_POINTS:
            batch = PromptBatch(np.zeros((1, points, 2), np.float32), np.ones((1, points), np.int64), None)
            self.run_decoder([self.blank], batch, multimask=multimask)

    def run_encoder(self, framed: NDArray[np.float32]) -> NDArray[np.float16]:
        encoder = self.encoders[ImageSize(*framed.shape[1:3])]
        with self.encoding:
            features = [
                torch.from_numpy(
                    encoder.infer([framed[index : index + 1]], share_inputs=True, share_outputs=True)[0]
                ).half()
                for index in range(len(framed))
            ]
        return torch.cat(features).numpy()

    @torch.inference_mode()
    def run_decoder(
        self, features: Sequence[NDArray[np.float16]], batch: PromptBatch, *, multimask: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        encoder = self.prompt_encoder
        points = encoder.embed_points(torch.from_numpy(batch.points), torch.from_numpy(batch.kinds)).numpy()
        masks = encoder.embed_masks(None if batch.masks is None else torch.from_numpy(batch.masks)).numpy()
        decoder, wanted = self.decoders[multimask], WANTED[multimask]
        if len(masks) == len(features) == 1:
            return decoded(decoder, features[0], masks, points, wanted)
        each = [
            decoded(decoder, features[i % len(features)], masks[i % len(masks)][None], points[i : i + 1], wanted)
            for i in range(len(points))
        ]
        logits, scores = zip(*each, strict=True)
        return np.concatenate(logits), np.concatenate(scores)


def decoded(
    decoder: openvino.InferRequest,
    features: NDArray[np.float16],
    masks: NDArray[np.float32],
    points: NDArray[np.float32],
    wanted: slice,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    answer = decoder.infer([features, masks, points], share_inputs=True, share_outputs=True)
    return np.array(answer[0][:, wanted]), np.array(answer[1][:, wanted])


def framed(encoder: openvino.Model, frame: ImageSize) -> openvino.Model:
    """The encoder for inputs of this size alone: a fifth faster than for any size."""
    model = encoder.clone()
    model.reshape([1, *frame, 3])
    return model
