"""Write reference.npz: what the official `mobile_sam` package answers to cases.json.

Runs where that package imports (the extra `reference`), on the photos that scikit-image carries:

    python tests/golden/record_reference.py --weights weights/mobile_sam.pt --photos .../site-packages/skimage/data

The official builder switches the network to eval mode before it loads the weights, and the encoder then keeps a
table of attention biases from before: zeros. Masks come out plausible and wrong. Hence the second `eval()` here.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mobile_sam import SamPredictor, sam_model_registry
from PIL import Image

HERE = Path(__file__).parent
FEATURES = np.s_[::8, ::4, ::4]
LOGITS = np.s_[:, ::8, ::8]
"""What is kept of an embedding (256, 64, 64) and of logits (4, 256, 256)."""


def photo(case: dict[str, Any], folder: Path) -> np.ndarray:
    """The case's photo, uint8 (H, W, 3): mirrored along the diagonal and enlarged as it says."""
    pixels = np.asarray(Image.open(folder / case["file"]).convert("RGB"))
    if case.get("transpose"):
        pixels = pixels.transpose(1, 0, 2)
    return np.ascontiguousarray(pixels.repeat(case.get("repeat", 1), 0).repeat(case.get("repeat", 1), 1))


def answer(predictor: SamPredictor, prompt: dict[str, Any], mask: np.ndarray | None) -> list[np.ndarray]:
    """Masks (4, H, W), scores (4,) and logits (4, 256, 256): the mask for clear prompts, then the three."""
    given = {
        "point_coords": np.array(prompt["points"], float) if "points" in prompt else None,
        "point_labels": np.array(prompt["labels"]) if "labels" in prompt else None,
        "box": np.array(prompt["box"], float) if "box" in prompt else None,
        "mask_input": mask,
    }
    single, three = (predictor.predict(**given, multimask_output=multimask) for multimask in (False, True))
    return [np.concatenate(pair) for pair in zip(single, three, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    options = parser.parse_args()
    model = sam_model_registry["vit_t"](checkpoint=str(options.weights))
    model.eval()
    predictor = SamPredictor(model)
    kept: dict[str, np.ndarray] = {}
    for name, case in json.loads((HERE / "cases.json").read_text()).items():
        predictor.set_image(photo(case, options.photos))
        features = predictor.features[0].numpy()
        kept[f"{name}/features"] = features[FEATURES]
        kept[f"{name}/means"] = features.mean(axis=(1, 2))
        kept[f"{name}/deviations"] = features.std(axis=(1, 2))
        logits_of: dict[str, np.ndarray] = {}
        for title, prompt in case["prompts"].items():
            mask = logits_of[prompt["mask_of"]][1:2] if "mask_of" in prompt else None
            masks, scores, logits_of[title] = answer(predictor, prompt, mask)
            kept[f"{name}/{title}/masks"] = np.packbits(masks, axis=-1)
            kept[f"{name}/{title}/scores"] = scores
            kept[f"{name}/{title}/logits"] = logits_of[title][LOGITS]
    np.savez_compressed(HERE / "reference.npz", **kept)
    print(f"{len(kept)} arrays, mobile_sam with torch {torch.__version__}")


if __name__ == "__main__":
    main()
