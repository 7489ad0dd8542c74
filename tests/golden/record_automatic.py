"""Write automatic.npz: what the official automatic generator finds in a photo that scikit-image carries.

Runs where the `mobile_sam` package imports (the extra `reference`):

    python tests/golden/record_automatic.py --weights weights/mobile_sam.pt --photos .../site-packages/skimage/data
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mobile_sam import SamAutomaticMaskGenerator, sam_model_registry
from PIL import Image

CASES: dict[str, dict[str, Any]] = {
    "grid": {"points_per_side": 12},
    "crops": {"points_per_side": 6, "crop_n_layers": 1, "crop_n_points_downscale_factor": 2},
    "cleared": {"points_per_side": 6, "min_mask_region_area": 400},
}
"""Settings by name; tests/sam/test_automatic.py has the same."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    model = sam_model_registry["vit_t"](checkpoint=str(options.weights))
    model.eval()  # again: the builder's own comes before it loads
    photo = np.asarray(Image.open(options.photos / "coffee.png").convert("RGB"))
    kept: dict[str, np.ndarray] = {}
    for name, settings in CASES.items():
        found = SamAutomaticMaskGenerator(model, **settings).generate(photo)
        kept[f"{name}_masks"] = np.packbits(np.stack([one["segmentation"] for one in found]), axis=-1)
        kept[f"{name}_scores"] = np.array([one["predicted_iou"] for one in found], np.float32)
    np.savez_compressed(Path(__file__).with_name("automatic.npz"), **kept)


if __name__ == "__main__":
    main()
