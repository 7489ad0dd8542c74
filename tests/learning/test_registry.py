"""Versions never change, and the one in service is always one that can be loaded."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from maskloop.errors import BadRequest, WeightsError
from maskloop.learning.registry import OFFICIAL, Judgement, ModelVersion, Registry, UnknownVersion
from maskloop.learning.service import Challenge, Promotion
from maskloop.learning.versions import registry_of
from maskloop.sam.network import MobileSam, load_model, weights_hash
from maskloop.settings import Settings


@pytest.fixture(scope="module")
def model() -> MobileSam:
    torch.manual_seed(0)
    return MobileSam()


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    official = tmp_path / "mobile_sam.pt"
    official.write_bytes(b"official")
    return Registry(tmp_path / "models", lambda: official)


def test_a_new_installation_serves_the_official_weights(registry: Registry, tmp_path: Path) -> None:
    assert registry.in_service() == OFFICIAL
    assert [version.name for version in registry.versions()] == [OFFICIAL]
    assert registry.weights(OFFICIAL) == tmp_path / "mobile_sam.pt"


def test_a_version_comes_back_as_it_was_registered(registry: Registry, model: MobileSam) -> None:
    added = registry.add(ModelVersion(name="v1", parent=OFFICIAL, settings={"seed": 3}), model)
    assert registry.get("v1") == added
    assert (added.parent, added.settings) == (OFFICIAL, {"seed": 3})
    assert added.made_at is not None
    assert weights_hash(load_model(registry.weights("v1"))) == weights_hash(model)


def test_promoting_and_rolling_back_walk_the_same_way(registry: Registry, model: MobileSam) -> None:
    for name in ("v1", "v2"):
        registry.add(ModelVersion(name=name), model)
        registry.promote(name)
        registry.promote(name)
    assert registry.in_service() == "v2"
    taken_back = [registry.rollback().name, registry.in_service(), registry.rollback().name, registry.in_service()]
    assert taken_back == ["v2", "v1", "v1", OFFICIAL]
    with pytest.raises(BadRequest, match="No version was in service before official"):
        registry.rollback()


def test_a_project_has_a_version_of_its_own(registry: Registry, model: MobileSam) -> None:
    for name in ("v1", "v2"):
        registry.add(ModelVersion(name=name), model)
    registry.promote("v1", project=7)
    registry.promote("v2", project=8)
    registry.promote("v1", project=7)  # again: nothing changes, nor has it to be taken back twice
    assert [registry.in_service(project) for project in (7, 8, 9, None)] == ["v1", "v2", OFFICIAL, OFFICIAL]
    assert list(registry.answering().items()) == [(8, "v2"), (7, "v1"), (None, OFFICIAL)]
    assert registry.rollback(project=7) == Promotion(name="v1", project=7)
    assert [registry.in_service(project) for project in (7, 8)] == [OFFICIAL, "v2"]
    with pytest.raises(BadRequest, match="no version of its own"):
        registry.rollback(project=7)


def test_what_is_promoted_everywhere_takes_the_place_of_projects_own(registry: Registry, model: MobileSam) -> None:
    for name in ("v1", "v2"):
        registry.add(ModelVersion(name=name), model)
    registry.promote("v1", project=7)
    registry.promote("v2")
    assert registry.answering() == {None: "v2"}
    assert registry.in_service(7) == "v2"
    with pytest.raises(BadRequest, match="v2 answers everywhere"):
        registry.rollback(project=7)
    assert registry.rollback().name == "v2"
    assert registry.answering() == {7: "v1", None: OFFICIAL}


def test_what_was_judged_against_another_is_not_put_in_its_place(registry: Registry, model: MobileSam) -> None:
    for name in ("v1", "v2"):
        registry.add(ModelVersion(name=name), model)
    registry.promote("v1", project=7)
    assert not registry.promote("v2", project=7, instead_of=OFFICIAL)
    assert registry.in_service(7) == "v1"
    assert registry.promote("v2", project=7, instead_of="v1")
    assert registry.promote("v1", instead_of=OFFICIAL)
    assert registry.answering() == {None: "v1"}


def test_no_version_that_is_gone_comes_back(registry: Registry, model: MobileSam, tmp_path: Path) -> None:
    for name in ("old", "v1"):
        registry.add(ModelVersion(name=name), model)
    registry.promote("old", project=7)
    registry.promote("v1")
    (tmp_path / "models" / "old" / "weights.pt").unlink()
    with pytest.raises(WeightsError, match="old are gone"):
        registry.rollback()
    assert registry.answering() == {None: "v1"}


def test_a_version_that_answers_nobody_can_be_removed_and_rollbacks_go_past_it(
    registry: Registry, model: MobileSam
) -> None:
    for name in ("a", "b", "c", "d"):
        registry.add(ModelVersion(name=name), model)
        if name != "d":
            registry.promote(name)
    registry.promote("a", project=7)
    registry.start_challenge(Challenge(name="d", against="c", share=0.5))
    for used in (OFFICIAL, "a", "c", "d"):
        with pytest.raises(BadRequest, match=r"always there|in service|challenger"):
            registry.remove(used)
    registry.remove("b")
    assert registry.size("b") == 0 < registry.size("a")
    assert registry.get("b").sha256, "its record stays"
    with pytest.raises(WeightsError, match="removed"):
        registry.promote("b")
    registry.rollback()
    registry.rollback()
    assert registry.answering() == {None: "a"}
    registry.remove("b")


def test_one_damaged_record_does_not_hide_the_others(
    registry: Registry, model: MobileSam, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("v1", "v2"):
        registry.add(ModelVersion(name=name), model)
    (tmp_path / "models" / "v1" / "model.json").write_text("{")
    assert [version.name for version in registry.versions()] == [OFFICIAL, "v2"]
    assert "v1/model.json is damaged" in caplog.text


def test_a_damaged_file_is_refused_and_what_is_in_service_stays(registry: Registry, model: MobileSam) -> None:
    registry.add(ModelVersion(name="v1"), model)
    path = registry.weights("v1")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="not those that were registered"):
        registry.promote("v1")
    assert registry.in_service() == OFFICIAL


def test_a_version_never_changes(registry: Registry, model: MobileSam) -> None:
    registry.add(ModelVersion(name="v1"), model)
    with pytest.raises(BadRequest, match="already"):
        registry.add(ModelVersion(name="v1"), model)


def test_a_version_that_was_being_written_when_the_disk_filled_is_not_there(
    registry: Registry, model: MobileSam, tmp_path: Path
) -> None:
    (tmp_path / "models" / "v1").mkdir(parents=True)
    (tmp_path / "models" / "v1" / "weights.pt").write_bytes(b"half")
    assert [version.name for version in registry.versions()] == [OFFICIAL]
    registry.add(ModelVersion(name="v1"), model)
    registry.weights("v1")


@pytest.mark.parametrize("name", ["nope", "../models", "", "a/b", ".lock"])
def test_an_unknown_version_is_named_with_those_there_are(registry: Registry, name: str) -> None:
    with pytest.raises(UnknownVersion, match="There are: official"):
        registry.weights(name)


@pytest.mark.parametrize("name", [OFFICIAL, "../v1", "a b", "", "x" * 65])
def test_names_that_no_version_can_have(registry: Registry, model: MobileSam, name: str) -> None:
    with pytest.raises(BadRequest, match="can't be called"):
        registry.check_free(name)


def test_what_was_promoted_before_projects_had_their_own_answers_everywhere(
    registry: Registry, model: MobileSam, tmp_path: Path
) -> None:
    for name in ("v1", "v2"):
        registry.add(ModelVersion(name=name), model)
    (tmp_path / "models" / "service.json").write_text('["official", "v1"]')
    assert (registry.in_service(), registry.in_service(7)) == ("v1", "v1")
    registry.promote("v2", project=7)
    assert registry.answering() == {7: "v2", None: "v1"}


def test_the_gates_word_stays_with_the_version(registry: Registry, model: MobileSam, tmp_path: Path) -> None:
    registry.add(ModelVersion(name="v1"), model)
    assert registry.judgement("v1") is None
    said = Judgement(passed=False, reason="too few", against=OFFICIAL, metrics={"click": 0.5})
    registry.record_judgement("v1", said)
    assert registry.judgement("v1") == said
    (tmp_path / "models" / "v1" / "gate.json").write_text('{"passed": true, "reason": "better", "against": "v0"}')
    before = registry.judgement("v1")
    assert before is not None, "as it was kept before it said what a version was judged on"
    assert before.judged_on == ""


def test_promotions_at_the_same_moment_are_all_kept(registry: Registry, model: MobileSam, tmp_path: Path) -> None:
    names = [f"v{number}" for number in range(4)]
    for name in names:
        registry.add(ModelVersion(name=name), model)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(registry.promote, names))
    kept = json.loads((tmp_path / "models" / "service.json").read_text())
    assert sorted(one["name"] for one in kept) == [OFFICIAL, *names]


@pytest.mark.parametrize("file", ["service.json", "challenge.json", "v1/model.json", "v1/gate.json"])
def test_a_damaged_record_is_named(registry: Registry, model: MobileSam, tmp_path: Path, file: str) -> None:
    registry.add(ModelVersion(name="v1"), model)
    (tmp_path / "models" / file).write_text('{"name": ')
    with pytest.raises(WeightsError, match=f"{file} is damaged"):
        registry.in_service(), registry.challenge(), registry.get("v1"), registry.judgement("v1")


def test_what_can_not_be_read_is_not_said_to_be_damaged(tmp_path: Path) -> None:
    """Or somebody removes it, as they are told to."""
    (tmp_path / "data").write_text("a file")
    with pytest.raises(WeightsError, match=r"service\.json can't be read: Not a directory\. .*MASKLOOP_DATA_DIR"):
        registry_of(Settings(data_dir=tmp_path / "data")).in_service()


def test_versions_can_be_asked_about_where_the_official_weights_are_missing(tmp_path: Path) -> None:
    registry = registry_of(Settings(data_dir=tmp_path, weights_dir=tmp_path))
    assert (registry.in_service(), registry.versions()) == (OFFICIAL, [ModelVersion(name=OFFICIAL)])
    with pytest.raises(WeightsError, match="maskloop weights fetch"):
        registry.promote(OFFICIAL)
