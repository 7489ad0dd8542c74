"""How many processes `maskloop annotate` takes, if nobody says."""

import pytest

from maskloop.cli import annotate


@pytest.mark.parametrize(
    ("memory", "cores", "engine", "count"),
    [
        (0, 16, "auto", 8),
        (0, 1, "auto", 1),
        (8 << 30, 16, "auto", 2),
        (2 << 30, 16, "torch-cuda", 1),
        (80 << 30, 16, "auto", 8),
        (8 << 30, 16, "openvino", 8),
    ],
)
def test_as_many_as_the_cores_suggest_and_the_gpu_has_room_for(
    memory: int, cores: int, engine: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotate, "gpu_memory", lambda: memory)
    assert annotate.processes_for(cores, engine) == count
