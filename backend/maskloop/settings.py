"""Every setting, once. Read from ``MASKLOOP_*`` environment variables and, in the commands, from flags.

The README's table of settings is made from this class: the description of a field is its documentation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, Field, HttpUrl, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from redis.connection import parse_url

PREFIX = "MASKLOOP_"
CHECKOUT_WEIGHTS = Path(__file__).parents[2] / "weights"


def default_data_dir() -> Path:
    return Path("~/.local/share/maskloop").expanduser()


def default_weights_dir() -> Path:
    """``weights/`` of the checkout that runs, else below the default data directory."""
    return CHECKOUT_WEIGHTS if (CHECKOUT_WEIGHTS / "manifest.json").is_file() else default_data_dir() / "weights"


class Settings(BaseSettings):
    """Times are in seconds, sizes in bytes unless the name says otherwise."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=None,
        env_ignore_empty=True,
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    host: str = Field("127.0.0.1", description="Address that the HTTP server listens on.")
    port: int = Field(9090, ge=0, le=65535, description="Port that the HTTP server listens on.")
    data_dir: Path = Field(
        default_factory=default_data_dir, description="Where Redis, caches, feedback and models are kept."
    )
    weights_dir: Path = Field(
        default_factory=default_weights_dir, description="Where the official weights are looked for and put."
    )
    database_url: SecretStr | None = Field(
        None,
        description="Database of the feedback, e.g. postgresql://user:password@host/maskloop. Without it a file in "
        "data_dir.",
    )
    redis_url: str | None = Field(
        None, description="Redis to use, e.g. redis://host:6379/0. Without it `maskloop serve` starts a private one."
    )

    label_studio_url: HttpUrl | None = Field(
        None,
        validation_alias=AliasChoices("label_studio_url", "MASKLOOP_LABEL_STUDIO_URL", "LABEL_STUDIO_URL"),
        description="Address of Label Studio, for images and for delivering predictions.",
    )
    label_studio_api_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("label_studio_api_key", "MASKLOOP_LABEL_STUDIO_API_KEY", "LABEL_STUDIO_API_KEY"),
        description="Personal access token or legacy token of a Label Studio user who sees the projects.",
    )
    basic_auth_user: str | None = Field(None, description="User name that Label Studio must send; none: no check.")
    basic_auth_pass: SecretStr | None = Field(None, description="Password that Label Studio must send.")

    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Hosts besides Label Studio's to fetch images from, with commas between: `example.org`, "
        "`*.example.org` (its subdomains), `*`; with `:port`, or meaning the ports 80 and 443.",
    )
    allow_private_addresses: bool = Field(
        False,
        description="Whether allowed hosts may have private or loopback addresses (an image server or MinIO of your "
        "own network). Label Studio itself always may.",
    )
    local_files_root: Path | None = Field(
        None,
        description="Label Studio's LOCAL_FILES_DOCUMENT_ROOT when this machine has it too: such images are then read "
        "from disk; otherwise through Label Studio.",
    )
    max_image_bytes: int = Field(64 << 20, gt=0, description="Largest image file that is read.")
    max_image_pixels: int = Field(100_000_000, gt=0, description="Largest image that is decoded, pixels.")
    image_timeout: float = Field(10.0, gt=0, description="Time to fetch one image.")

    engine: Literal["auto", "torch-cuda", "torch-cpu", "openvino"] = Field(
        "auto", description="What runs the network; `auto` takes the fastest that this machine has."
    )
    threads: int = Field(
        0,
        ge=0,
        description="CPU threads of one worker's engine; 0: all cores. Batch workers of one `maskloop serve` share "
        "them, and its train workers all but one.",
    )
    memory_cache_bytes: int = Field(192 << 20, ge=0, description="Embeddings kept in each worker's memory.")
    shared_cache_bytes: int = Field(8 << 30, ge=0, description="Embeddings kept on disk for all workers.")
    shared_cache_redis_url: str | None = Field(
        None,
        description="Redis that keeps embeddings for the workers of several machines, in place of the disk.",
    )

    interactive_workers: int = Field(1, ge=0, description="Workers that answer clicks.")
    clicks_at_once: int = Field(
        0,
        ge=0,
        description="Clicks that each of them answers side by side, decoding together those that wait; `/metrics` "
        "counts a worker for each. 0: 8 on a GPU, 1 without, where more gain nothing.",
    )
    batch_workers: int = Field(1, ge=0, description="Workers that pre-annotate.")
    train_workers: int = Field(1, ge=0, description="Workers that train.")
    encode_ahead: int = Field(
        8, ge=0, description="Tasks after the one that somebody works on, whose images are encoded ahead of clicks."
    )
    click_deadline: float = Field(10.0, gt=0, description="A click is answered, or told so, within this time.")
    batch_deadline: float = Field(
        85.0, gt=0, description="A batch is answered within this time; Label Studio gives up after 100."
    )
    max_waiting_clicks: int = Field(64, gt=0, description="Clicks that may wait before new ones are turned away.")
    max_waiting_tasks: int = Field(100_000, gt=0, description="Tasks that may wait for pre-annotation.")
    train_every: int = Field(
        200, ge=0, description="A project's model is trained anew after so many reviewed masks; 0: only when asked."
    )
    train_schedule: str | None = Field(
        None, description="Times at which projects with new reviews are trained, as a cron line, e.g. `0 3 * * *`."
    )
    train_adapters: int = Field(
        0, ge=0, description="Rank of adapters by which the encoder learns too; wants a GPU. 0: it stays as it is."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("data_dir", "weights_dir", "local_files_root")
    @classmethod
    def _at_home(cls, value: Path | None) -> Path | None:
        return value and value.expanduser()

    @field_validator("redis_url", "shared_cache_redis_url")
    @classmethod
    def _is_of_a_redis(cls, value: str | None) -> str | None:
        if value is not None:
            parse_url(value)  # type: ignore[no-untyped-call]
        return value

    @model_validator(mode="after")
    def _asks_for_a_user_and_a_password_or_neither(self) -> Self:
        missing = [variable(name) for name in ("basic_auth_user", "basic_auth_pass") if not getattr(self, name)]
        if len(missing) == 1:
            raise ValueError(f"{missing[0]} is missing: user and password are given both, or neither")
        return self

    def environment(self) -> dict[str, str]:
        """Variables from which another process reads the same settings. They hold secrets."""
        fields = type(self).model_fields
        return {variable(name): _text(value) for name in fields if (value := getattr(self, name)) is not None}


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return name if name.isupper() else PREFIX + name.upper()


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return ",".join(value) if isinstance(value, tuple) else str(value)
