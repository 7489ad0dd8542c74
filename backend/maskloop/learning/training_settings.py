"""What a version is trained with."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class TrainingSettings(BaseModel):
    """What a version was trained with; kept beside it."""

    model_config = ConfigDict(frozen=True)

    seed: int = 0
    epochs: int = Field(20, gt=0)
    most_steps: int = Field(3000, gt=0)
    """However many objects there are: of thousands, each has to be seen less often."""
    learning_rate: float = Field(1.5e-4, gt=0)
    warmup_steps: int = Field(20, ge=0)
    prompts_per_step: int = Field(16, gt=0)
    """At least, from several photos: the objects of one alone pull the model to and fro."""
    average: float = Field(0.97, ge=0, lt=1)
    """Of the weights over the steps (exponential)."""
    official_share: float = Field(0.25, ge=0, le=1)
    """Of the official weights in the result, https://arxiv.org/abs/2109.01903: what corrections and boxes could before
    stays, for a part of what one click gained."""
    box_share: float = Field(0.2, ge=0, le=1)
    """Prompts that are a box, among first prompts."""
    refining_share: float = Field(0.15, ge=0, le=1)
    """Lessons about a further click on a mask that isn't right yet; each costs as much as three about a first click."""
    most_clicks: int = Field(12, ge=2)
    """Of which the last is learned from. Taught by at most five, a model needed more of them than the official one."""
    temperature: float = Field(0.1, gt=0)
    """Of scores, when they are read as the chance to be chosen."""
    choice_weight: float = Field(1.0, ge=0)
    distilling_share: float = Field(0.1, ge=0, le=1)
    """Shares of steps on which the official model is asked too."""
    distillation_weight: float = Field(1.0, ge=0)
    views: int = Field(4, ge=1)
    """Looks at each photo: as it is, mirrored, and parts of it; each costs an embedding."""
    adapter_rank: int = Field(0, ge=0)
    """Of adapters on the encoder; 0: it stays as it is. With them, each step encodes its photos and each version has
    embeddings of its own."""
    precision: str = Field("auto", pattern="^(auto|fp32|bf16)$")
