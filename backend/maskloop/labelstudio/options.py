"""What a user may set for a project in Label Studio: the backend's "extra params", a JSON object.

{"outputs": ["brush"], "default_label": "Dog", "polygon_tolerance": 2, "max_regions": 50, "pick": true,
 "automatic": {"points_per_side": 16, "pred_iou_thresh": 0.9}}
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from maskloop.errors import BadRequest
from maskloop.labelstudio.wire import faults
from maskloop.sam.automatic import AutomaticSettings

log = logging.getLogger(__name__)

_AUTOMATIC = TypeAdapter(AutomaticSettings)
_NAMES = frozenset(field.name for field in fields(AutomaticSettings))
BOUNDS: Mapping[str, tuple[float, float]] = {
    "points_per_side": (1, 128),
    "pred_iou_thresh": (0, 1),
    "stability_score_thresh": (0, 1),
    "stability_score_offset": (0, 100),
    "box_nms_thresh": (0, 1),
    "crop_n_layers": (0, 3),
    "crop_nms_thresh": (0, 1),
    "crop_overlap_ratio": (0, 0.75),
    "crop_n_points_downscale_factor": (1, 128),
    "min_mask_region_area": (0, 1_000_000_000),
    "tile_side": (128, 100_000),
    "reach": (0, 16),
    "likeness": (-1, 1),
    "max_masks": (1, 1_000_000),
}
"""Least and most of what a project may set of the generator's parameters, besides what they are by themselves: its
time and memory are those of workers that other projects wait for."""


class Options(BaseModel):
    """outputs: shapes (``brush``, ``rectangle``, ``polygon``) or names of the controls to fill; None is all of them.
    default_label: of automatic regions, where a control has several labels and names none itself.
    polygon_tolerance: pixels by which polygons may leave a mask's outline.
    max_regions: automatic masks of one image, the best.
    pick: all key points are answered from the automatic masks, where one fits.
    automatic: parameters of the automatic generator, named as in :class:`~maskloop.sam.automatic.AutomaticSettings`.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    outputs: tuple[str, ...] | None = None
    default_label: str = ""
    polygon_tolerance: Annotated[float, Field(ge=0, le=100)] | None = None
    max_regions: Annotated[int, Field(ge=1, le=1000)] = 100
    pick: bool = False
    automatic: dict[str, Any] = {}

    @classmethod
    def read(cls, extra_params: Mapping[str, Any] | None) -> Options:
        """Raises BadRequest that says what is wrong; what maskloop doesn't know is logged and left alone."""
        given = extra_params or {}
        if unknown := given.keys() - cls.model_fields.keys():
            log.warning("extra_params has names that mean nothing to maskloop: %s", ", ".join(sorted(unknown)))
        try:
            options = cls.model_validate(given)
            options.automatic_settings()
        except ValidationError as error:
            raise BadRequest(f"The backend's extra params can't be used: {faults(error)}.") from error
        return options

    def automatic_settings(self) -> AutomaticSettings:
        """With what the user set."""
        if unknown := self.automatic.keys() - _NAMES:
            raise BadRequest(
                f"extra_params.automatic has no {', '.join(sorted(unknown))}.", f"It has {', '.join(sorted(_NAMES))}."
            )
        settings, default = _AUTOMATIC.validate_python(self.automatic), AutomaticSettings()
        for name, (least, most) in BOUNDS.items():
            value = getattr(settings, name)
            if value != getattr(default, name) and not least <= value <= most:
                bound = f"at least {least}" if value < least else f"at most {most}"
                raise BadRequest(f"extra_params.automatic.{name} is {value}: {bound} can be used.")
        return settings
