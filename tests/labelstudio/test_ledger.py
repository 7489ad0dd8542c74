"""Who gets a prediction: whatever the order of things, one and only one."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from maskloop.labelstudio import ledger as ledgers
from maskloop.labelstudio.ledger import Ledger, Tally, Wanted

MADE = {"result": [{"id": "a"}], "score": 0.5, "model_version": "v"}
FAILED = {"result": [], "score": None, "model_version": "v failed: no image"}


@pytest.fixture
def ledger(redis: Redis) -> Ledger:
    return Ledger(redis)


def enlist(ledger: Ledger, entry: str = "e", lease: float = 0.0, *, delivers: bool = True, **more: Any) -> str:
    wanted = Wanted(entry, **{"project": 7, "task": 1, "version": "v", **more})
    [verdict] = ledger.enlist([wanted], lease=time.time() + lease, delivers=delivers)
    return verdict


def claim(ledger: Ledger, entry: str = "e") -> Any:
    [claimed] = ledger.claim([(entry, 7)], 1)
    return claimed


def test_a_request_that_waits_gets_the_prediction_and_no_courier_does(ledger: Ledger) -> None:
    assert enlist(ledger, lease=60) == "waiting"
    assert claim(ledger, "e") is None
    assert ledger.finish(("e", 7), MADE)
    assert ledger.take() is None
    claimed = claim(ledger, "e")
    assert claimed is not None
    assert claimed[0] == MADE
    assert claim(ledger, "e") is None
    assert ledger.take() is None


def test_what_nobody_waits_for_is_delivered_by_one_courier(ledger: Ledger) -> None:
    enlist(ledger, lease=-60)
    ledger.finish(("e", 7), MADE)
    delivery = ledger.take()
    assert delivery is not None
    assert (delivery.project, delivery.task, delivery.version, delivery.prediction) == (7, 1, "v", MADE)
    assert ledger.take() is None
    assert claim(ledger, "e") is None
    assert enlist(ledger, lease=60) == "elsewhere"
    ledger.delivered(delivery)
    assert enlist(ledger, lease=60) == "elsewhere"
    assert ledger.take() is None


def test_a_prediction_that_is_ready_is_there_for_the_next_request(ledger: Ledger) -> None:
    enlist(ledger, lease=-60)
    ledger.finish(("e", 7), MADE)
    assert enlist(ledger, lease=60) == "ready"
    assert ledger.take() is None
    assert claim(ledger, "e") is not None


def test_the_lease_of_a_request_that_died_ends_by_itself(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "MARGIN", 0.0)
    enlist(ledger, lease=0.2)
    ledger.finish(("e", 7), MADE)
    assert ledger.take() is None
    end = time.monotonic() + 10
    while ledger.take() is None:
        assert time.monotonic() < end


def test_what_a_dead_courier_took_is_taken_by_another(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "GRASP", 0.0)
    enlist(ledger, lease=-60)
    ledger.finish(("e", 7), MADE)
    assert ledger.take() is not None
    again = ledger.take()
    assert again is not None
    ledger.delivered(again)
    assert ledger.take() is None


def test_what_another_courier_has_delivered_meanwhile_is_not_postponed(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "GRASP", 0.0)
    enlist(ledger, lease=-60)
    ledger.finish(("e", 7), MADE)
    slow, quick = ledger.take(), ledger.take()
    assert slow is not None
    assert quick is not None
    ledger.delivered(quick)
    ledger.postpone(slow, -60)
    assert ledger.take() is None


def test_the_longest_of_several_leases_counts(ledger: Ledger) -> None:
    enlist(ledger, lease=60)
    enlist(ledger, lease=-60)
    ledger.finish(("e", 7), MADE)
    assert ledger.take() is None


def test_label_studio_may_need_longer_to_store_more(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "SETTLE", 0.0)
    enlist(ledger, lease=60)
    ledger.finish(("e", 7), MADE)
    ledger.claim([("e", 7)], 600)
    assert enlist(ledger, lease=60) == "elsewhere"


def test_a_delivery_that_is_postponed_comes_again_or_goes_to_a_request(ledger: Ledger) -> None:
    enlist(ledger, lease=-60)
    ledger.finish(("e", 7), MADE)
    delivery = ledger.take()
    assert delivery is not None
    ledger.postpone(delivery, 3600)
    assert ledger.take() is None
    assert enlist(ledger, lease=60) == "ready"
    assert claim(ledger, "e") is not None


def test_a_job_that_was_run_twice_changes_nothing(ledger: Ledger) -> None:
    enlist(ledger, lease=60)
    assert ledger.finish(("e", 7), MADE)
    assert not ledger.finish(("e", 7), FAILED, failed=True)
    claim(ledger, "e")
    assert not ledger.finish(("e", 7), MADE)
    assert ledger.take() is None


def answered(ledger: Ledger, prediction: dict[str, Any] = MADE) -> None:
    enlist(ledger, lease=60)
    ledger.finish(("e", 7), prediction, failed=prediction is FAILED)
    assert claim(ledger, "e")


def test_an_answer_that_may_be_on_its_way_is_brought_by_a_courier_if_it_got_lost(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "MARGIN", 0.0)
    monkeypatch.setattr(ledgers, "SETTLE", 0.5)
    answered(ledger)
    assert enlist(ledger, lease=60) == "elsewhere"
    assert claim(ledger, "e") is None
    assert ledger.take() is None
    end = time.monotonic() + 10
    while ledger.take() is None:
        assert time.monotonic() < end


def test_a_failure_that_may_be_on_its_way_is_tried_again_for_a_courier(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered(ledger, FAILED)
    assert enlist(ledger, lease=60) == "later"
    assert enlist(ledger, lease=60) == "elsewhere"
    assert ledger.finish(("e", 7), MADE)
    assert claim(ledger, "e") is None


def test_without_a_courier_such_an_answer_is_left_alone_and_such_a_failure_tried_again(ledger: Ledger) -> None:
    answered(ledger)
    assert enlist(ledger, lease=60, delivers=False) == "elsewhere"
    ledger.drop(("e", 7))
    answered(ledger, FAILED)
    assert enlist(ledger, lease=60, delivers=False) == "waiting"


def test_a_failure_is_tried_again_once_it_is_stored(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "SETTLE", -10.0)
    answered(ledger, FAILED)
    assert enlist(ledger, lease=60) == "waiting"
    ledger.finish(("e", 7), MADE)
    assert claim(ledger, "e") is not None


def test_what_takes_the_place_of_a_stored_failure_is_brought_by_a_courier(ledger: Ledger) -> None:
    assert enlist(ledger, lease=60, replaces=True) == "later"
    assert ledger.finish(("e", 7), FAILED, failed=True)
    assert claim(ledger, "e") is None
    assert enlist(ledger, lease=60, replaces=True) == "elsewhere"
    assert enlist(ledger, "other", lease=60, replaces=True, delivers=False) == "waiting"


def test_what_was_reserved_is_anybodys_once_label_studio_has_settled(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "SETTLE", 0.3)
    answered(ledger)
    assert enlist(ledger, lease=60) == "elsewhere"
    end = time.monotonic() + 10
    while enlist(ledger, lease=60) != "ready":
        assert time.monotonic() < end
    assert claim(ledger, "e") is not None


def test_an_answer_that_label_studio_lost_is_there_once_more(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "SETTLE", -10.0)
    enlist(ledger, lease=60)
    ledger.finish(("e", 7), MADE)
    claim(ledger, "e")
    assert enlist(ledger, lease=60) == "ready"
    assert claim(ledger, "e") is not None


def test_a_delivered_prediction_that_people_deleted_is_made_anew(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "SETTLE", -10.0)
    enlist(ledger, lease=-60)
    ledger.finish(("e", 7), MADE)
    delivery = ledger.take()
    assert delivery is not None
    ledger.delivered(delivery)
    assert enlist(ledger, lease=60) == "waiting"


def test_what_is_dropped_begins_anew(ledger: Ledger) -> None:
    enlist(ledger, lease=60)
    ledger.drop(("e", 7))
    assert not ledger.finish(("e", 7), MADE)
    assert enlist(ledger, lease=60) == "waiting"


def test_many_requests_and_couriers_at_once_share_without_overlap(ledger: Ledger, redis: Redis) -> None:
    count = 200
    for number in range(count):
        enlist(ledger, f"e{number}", lease=-60, task=number)
        ledger.finish((f"e{number}", 7), MADE)
    got: list[str] = []

    def claim_all() -> None:
        for number in range(count):
            if claim(ledger, f"e{number}"):
                got.append(f"e{number}")

    def take_all() -> None:
        while delivery := ledger.take():
            ledger.delivered(delivery)
            got.append(delivery.id)

    run_together(claim_all, take_all, claim_all, take_all)
    assert sorted(got) == sorted(f"e{number}" for number in range(count))
    tally = ledger.tallies()[7]
    assert (tally.waiting, tally.ready, tally.answered + tally.delivered) == (0, 0, count)


def run_together(*works: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_the_tally_tells_what_became_of_each_projects_tasks(ledger: Ledger) -> None:
    enlist(ledger, "a", lease=60)
    enlist(ledger, "a", lease=60)
    enlist(ledger, "b", lease=60)
    enlist(ledger, "c", lease=-60, project=8)
    ledger.finish(("b", 7), FAILED, failed=True)
    claim(ledger, "b")
    ledger.finish(("c", 8), MADE)
    assert ledger.tallies() == {7: Tally(waiting=1, answered=1, failed=1), 8: Tally(ready=1)}
    delivery = ledger.take()
    assert delivery is not None
    ledger.postpone(delivery, 0)
    delivery = ledger.take()
    assert delivery is not None
    ledger.delivered(delivery)
    ledger.drop(("a", 7))
    assert ledger.tallies() == {7: Tally(answered=1, failed=1), 8: Tally(delivered=1)}


def test_many_are_enlisted_claimed_and_dropped_at_once(ledger: Ledger) -> None:
    wanted = [Wanted(f"{task}", 7, task, "v") for task in range(3)]
    assert ledger.enlist(wanted, lease=time.time() + 60) == ["waiting"] * 3
    ledger.finish(wanted[1].key, MADE)
    assert ledger.enlist(wanted, lease=time.time() + 60) == ["waiting", "ready", "waiting"]
    first, second, third = ledger.claim([one.key for one in wanted], 3)
    assert (first, third) == (None, None)
    assert second is not None
    assert second[0] == MADE
    ledger.drop(*[one.key for one in wanted])
    assert ledger.tallies()[7] == Tally(answered=1)


def test_what_expired_is_counted_no_more(
    ledger: Ledger, redis: Redis, monkeypatch: pytest.MonkeyPatch, until: Callable[..., None]
) -> None:
    """Of predictions that couldn't be delivered, or made, for a week."""
    monkeypatch.setattr(ledgers, "KEEP_READY", 1)
    enlist(ledger, "made", lease=-60)
    enlist(ledger, "never made", lease=-60)
    ledger.finish(("made", 7), MADE)
    assert ledger.tallies() == {7: Tally(waiting=1, ready=1)}
    until(lambda: ledger.tallies() == {7: Tally()})
    until(lambda: not redis.exists("maskloop:batch:entry:made"))
    assert ledger.take() is None


def test_those_that_wait_longest_are_told_of_each_project_once_they_should_have_jobs(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second", "third", "fourth"):
        enlist(ledger, name, lease=60)
    enlist(ledger, "other", lease=60, project=8)
    enlist(ledger, "second", lease=60)
    ledger.finish(("first", 7), MADE)
    assert not list(ledger.oldest_waiting(2))
    monkeypatch.setattr(ledgers, "SUBMITTING", 0.0)
    assert [(one.id, one.project) for one in ledger.oldest_waiting(2)] == [("third", 7), ("fourth", 7), ("other", 8)]


def test_predictions_of_all_projects_are_taken_in_the_order_in_which_they_are_due(ledger: Ledger) -> None:
    """From the lease's end, or from when they were ready if that was later."""
    for name, project, lease in (("a", 8, -60), ("b", 7, -70), ("c", 8, -80)):
        enlist(ledger, name, lease=lease, project=project)
        ledger.finish((name, project), MADE)
    assert [ledger.take().id for _ in "abc"] == ["a", "b", "c"]  # type: ignore[union-attr]
