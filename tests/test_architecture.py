"""The house in docs/architecture.md: a room imports only rooms below it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import maskloop

ROOT = Path(maskloop.__file__).parent
LAYERS = [
    {"errors"},
    {"geometry"},
    {"sam"},
    {"settings", "credentials", "background", "files"},
    {"weights", "engines", "images", "cache"},
    {"dispatch"},
    {"inference"},
    {"official"},
    {"evaluation"},
    {"learning"},
    {"labelstudio"},
    {"annotate"},
    {"server"},
    {"bench", "demo"},
    {"cli"},
]
HEIGHT = {room: height for height, rooms in enumerate(LAYERS) for room in rooms}
CORE = {"geometry", "sam", "engines", "weights"}
WIRE = {"fastapi", "starlette", "httpx", "redis", "rq", "uvicorn", "label_studio_ml", "label_studio_sdk"}


def modules() -> list[tuple[str, Path]]:
    return [(path.relative_to(ROOT).parts[0].removesuffix(".py"), path) for path in ROOT.rglob("*.py")]


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_nothing_imports_upwards() -> None:
    upwards = []
    for room, path in modules():
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "maskloop" and len(parts) > 1 and HEIGHT.get(parts[1], 0) > HEIGHT.get(room, len(LAYERS)):
                upwards.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not upwards


def test_every_room_has_its_place() -> None:
    assert {room for room, _ in modules()} - {"__init__"} <= HEIGHT.keys()


def test_core_knows_no_wire() -> None:
    leaks = [
        f"{path.relative_to(ROOT)} imports {name}"
        for room, path in modules()
        if room in CORE
        for name in imports(path)
        if name.split(".")[0] in WIRE
    ]
    assert not leaks


def test_openvino_is_imported_where_its_telemetry_is_switched_off() -> None:
    files = [*ROOT.rglob("*.py"), *Path(__file__).parent.rglob("*.py")]
    importing = [path.name for path in files if any(name.split(".")[0] == "openvino" for name in imports(path))]
    assert importing == ["openvino_without_telemetry.py"]


@pytest.mark.parametrize("module", ["cli.serve", "server.app", "cli.housekeeping", "cli.worker", "cli.models"])
def test_who_holds_no_model_waits_for_no_torch(module: str) -> None:
    """It takes seconds to import, and hundreds of megabytes."""
    code = f"import sys, maskloop.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
