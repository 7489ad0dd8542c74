"""Who records or processes events may be killed at any moment: none is lost, none counts twice."""

import random
import signal
import subprocess
import sys
import threading
import zlib
from pathlib import Path

from sqlalchemy import select

from maskloop.learning.events import read
from maskloop.learning.store import FeedbackStore
from maskloop.learning.tables import Event, Outcome

RECORDER = """
import sys
from pathlib import Path
from maskloop.learning.store import FeedbackStore
store = FeedbackStore.open(Path(sys.argv[1]), sys.argv[2])
for line in sys.stdin:
    store.record_event(line.encode())
    print(line.strip(), flush=True)
    store.process_pending()
"""


def test_events_whose_recorder_is_killed_again_and_again(tmp_path: Path, url: str) -> None:
    events = [f'{{"action": "ANNOTATIONS_DELETED", "annotations": [{{"id": {number}}}]}}' for number in range(30)]
    waiting, answered, rounds = list(events), set[str](), 0
    chance = random.Random(5)
    while waiting:
        rounds += 1
        process = subprocess.Popen(
            [sys.executable, "-c", RECORDER, str(tmp_path), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin
        assert process.stdout
        process.stdin.write("\n".join(waiting) + "\n")
        process.stdin.flush()
        for _ in range(chance.randint(3, 12)):  # what is killed next is somewhere between two answers
            if not (line := process.stdout.readline()):
                break
            answered.add(line.strip())
            if len(answered) == len(events):
                break
        killer = threading.Timer(chance.random() * 0.01, process.send_signal, [signal.SIGKILL])
        killer.start()
        answered |= {line.strip() for line in process.stdout}
        process.wait()
        killer.join()
        waiting = [event for event in events if event not in answered]
    store = FeedbackStore.open(tmp_path, url)
    assert store.process_pending().waiting == 0
    with store.session() as session:
        found = session.scalars(select(Event)).all()
    assert rounds > 2
    assert sorted(read(zlib.decompress(one.payload))["annotations"][0]["id"] for one in found) == list(range(30))
    assert {one.outcome for one in found} == {Outcome.APPLIED}
