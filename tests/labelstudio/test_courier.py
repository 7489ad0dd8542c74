"""Late predictions reach Label Studio, once, and what prevents it is told."""

import time

import pytest
from redis import Redis

from labelstudio.fake_label_studio import FakeLabelStudio
from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.labelstudio import courier as couriers
from maskloop.labelstudio import ledger as ledgers
from maskloop.labelstudio.courier import Courier
from maskloop.labelstudio.ledger import Ledger, Wanted
from maskloop.labelstudio.troubles import Troubles

MADE = {"result": [{"id": "a"}], "score": 0.5, "model_version": "v"}
FAILED = {"result": [], "score": None, "model_version": "v failed: no image"}


@pytest.fixture
def ledger(redis: Redis) -> Ledger:
    return Ledger(redis)


@pytest.fixture
def label_studio() -> FakeLabelStudio:
    return FakeLabelStudio()


@pytest.fixture
def troubles(redis: Redis) -> Troubles:
    return Troubles(redis)


@pytest.fixture
def courier(ledger: Ledger, dispatcher: Dispatcher, label_studio: FakeLabelStudio, troubles: Troubles) -> Courier:
    return Courier(ledger, dispatcher, label_studio.api(), troubles)


def late(ledger: Ledger, task: int, prediction: dict = MADE, *, failed: bool = False) -> None:
    entry = f"{task}-{prediction['model_version']}"
    ledger.enlist([Wanted(entry, 7, task, "v")], lease=time.time() - 60)
    ledger.finish((entry, 7), prediction, failed=failed)


def test_what_is_due_is_delivered_once(ledger: Ledger, courier: Courier, label_studio: FakeLabelStudio) -> None:
    for task in (1, 2, 3):
        late(ledger, task)
    assert courier.deliver_due() == 3
    assert courier.deliver_due() == 0
    assert [label_studio.versions(task) for task in (1, 2, 3)] == [["v"]] * 3
    (stored,) = label_studio.of(1)
    assert (stored["result"], stored["score"], stored["project"]) == (MADE["result"], 0.5, 7)


def test_a_task_that_has_a_prediction_of_the_version_gets_no_second(
    ledger: Ledger, courier: Courier, label_studio: FakeLabelStudio
) -> None:
    label_studio.store(1, MADE)
    late(ledger, 1)
    courier.deliver_due()
    late(ledger, 1, FAILED, failed=True)
    courier.deliver_due()
    assert label_studio.versions(1) == ["v"]


def test_predictions_of_other_versions_stay(ledger: Ledger, courier: Courier, label_studio: FakeLabelStudio) -> None:
    label_studio.store(1, {**MADE, "model_version": "older"})
    late(ledger, 1)
    courier.deliver_due()
    assert label_studio.versions(1) == ["older", "v"]


def test_a_prediction_takes_the_place_of_earlier_failures_and_so_does_another_failure(
    ledger: Ledger, courier: Courier, label_studio: FakeLabelStudio
) -> None:
    label_studio.store(1, {**FAILED, "model_version": "v failed: timeout"})
    late(ledger, 1, FAILED, failed=True)
    courier.deliver_due()
    assert label_studio.versions(1) == ["v failed: no image"]
    late(ledger, 1)
    courier.deliver_due()
    assert label_studio.versions(1) == ["v"]


def test_the_same_failure_is_not_told_twice(ledger: Ledger, courier: Courier, label_studio: FakeLabelStudio) -> None:
    for _ in range(2):
        late(ledger, 1, FAILED, failed=True)
        courier.deliver_due()
    assert label_studio.versions(1) == ["v failed: no image"]


def test_a_label_studio_that_is_away_is_waited_for(
    ledger: Ledger,
    courier: Courier,
    label_studio: FakeLabelStudio,
    troubles: Troubles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(courier, "_pause", 0.0)
    label_studio.status = 502
    late(ledger, 1)
    assert courier.deliver_due() == 0
    assert "502" in str(courier.trouble)
    assert "502" in troubles.all()["delivery"]
    label_studio.status = 200
    assert courier.deliver_due() == 1
    assert courier.trouble is None
    assert not troubles.all()
    assert courier._pause == couriers.PAUSE
    assert label_studio.versions(1) == ["v"]


def test_a_refused_token_is_told_with_what_to_do(
    ledger: Ledger, courier: Courier, label_studio: FakeLabelStudio, caplog: pytest.LogCaptureFixture
) -> None:
    label_studio.status = 401
    late(ledger, 1)
    courier.deliver_due()
    assert "MASKLOOP_LABEL_STUDIO_API_KEY" in str(courier.trouble)
    assert "can't be delivered now" in caplog.text
    assert "0" * 40 not in caplog.text


def test_a_task_that_is_gone_holds_up_nobody(ledger: Ledger, courier: Courier, label_studio: FakeLabelStudio) -> None:
    label_studio.gone = {1}
    late(ledger, 1)
    late(ledger, 2)
    assert courier.deliver_due() == 1
    assert label_studio.versions(2) == ["v"]
    assert ledger.take() is None


def test_a_task_whose_request_died_before_it_submitted_the_job_is_told_as_failed(
    ledger: Ledger, courier: Courier, label_studio: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.enlist([Wanted(f"{task}", 7, task, "v") for task in range(1, 12)], lease=time.time() - 60)
    assert courier.find_lost() == 0
    monkeypatch.setattr(ledgers, "SUBMITTING", 0.0)
    assert courier.find_lost() + courier.find_lost() == 11
    assert courier.find_lost() == 0
    assert courier.deliver_due() == 11
    assert label_studio.versions(1)[0].startswith("v failed: Its job is lost")


def test_pauses_grow_while_nothing_can_be_delivered(
    ledger: Ledger, courier: Courier, label_studio: FakeLabelStudio
) -> None:
    label_studio.status = 500
    for task in range(12):
        late(ledger, task)
        courier.deliver_due()
    assert courier._pause == couriers.LONGEST_PAUSE


def test_an_earlier_failure_that_can_not_be_removed_holds_up_nothing(
    ledger: Ledger, courier: Courier, label_studio: FakeLabelStudio
) -> None:
    label_studio.store(1, FAILED)
    label_studio.keeps = True
    late(ledger, 1)
    assert courier.deliver_due() == 1
    assert courier.trouble is None
    assert label_studio.versions(1) == ["v failed: no image", "v"]
