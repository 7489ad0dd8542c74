"""The whole benchmark, as short as it can be, with the official weights and a real server."""

import shutil
from pathlib import Path

import pytest
import skimage

from maskloop.bench.machine import Machine
from maskloop.bench.runner import Bench, Effort
from maskloop.engines.choose import choose_engine

SHORT = Effort(encodes=1, clicks=2, users=(2,), restarts=1, images=(1, 2))
NAMES = """encode decode_click cold_click rle encode_batch queue_overhead start_up cold_click_http warm_click_http
warm_click_http_p50 warm_click_http_p99 click_overhead click_overhead_p50 click_overhead_p99 click_2_users_p50
click_2_users_p99 memory click_after_restart click_other_worker worker_memory_1_images worker_memory_2_images"""


@pytest.mark.weights
@pytest.mark.timeout(300)
def test_every_row_is_measured(official_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKLOOP_WEIGHTS_DIR", str(official_weights.parent))
    photos = [
        Path(shutil.copy(Path(skimage.__file__).parent / "data" / name, tmp_path))
        for name in ("coffee.png", "rocket.jpg")
    ]
    bench = Bench(photos, choose_engine(official_weights, "torch-cpu"), Machine("any", 2, 1e11, "fp32", 1e10), SHORT)
    (tmp_path / "work").mkdir()
    rows = {row.name: row for row in bench.rows(tmp_path / "work")}
    assert set(rows) == set(NAMES.split())
    assert all(row.ours_ms > 0 for name, row in rows.items() if not name.startswith("click_overhead"))
    assert rows["encode"].limit_ms
