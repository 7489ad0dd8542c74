"""A real worker whose segmenter finds discs: ``disc_worker.py REDIS_URL QUEUE``.

In a batch it begins an image only when the test lets it (``LPUSH go``), and dies at one that is named so.
"""

import os
import signal
import sys

from labelstudio.discs import DiscSegmenter
from maskloop.dispatch.executor import Service
from maskloop.dispatch.queues import QueueName, connect
from maskloop.dispatch.worker import run_worker
from maskloop.labelstudio import ahead, batch, handlers, proposing
from maskloop.labelstudio.ledger import Ledger
from maskloop.labelstudio.service import KIND
from maskloop.sam.automatic import AutomaticSettings
from maskloop.sam.values import Mask

DEADLY = "/data/upload/1/deadly.jpg"


def main(url: str, queue: str) -> None:
    redis = connect(url)

    class Segmenter(DiscSegmenter):
        def everything(self, reference: str, settings: AutomaticSettings) -> list[Mask]:
            redis.rpush("began", reference)
            while not redis.blpop(["go"], timeout=1):
                ...
            if reference == DEADLY:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().everything(reference, settings)

        def prefetch(self, reference: str) -> bool:
            redis.rpush("encoded", reference)
            return super().prefetch(reference)

    def build() -> Service:
        segmenter = Segmenter()
        return Service(
            {
                batch.KIND: batch.handler(segmenter, Ledger(redis)),
                ahead.KIND: ahead.handler(lambda _: segmenter),
                proposing.KIND: proposing.handler(lambda _: segmenter),
                KIND: lambda payload, _: handlers.click(segmenter, payload),
            }
        )

    run_worker(redis, QueueName(queue), build)


if __name__ == "__main__":
    main(*sys.argv[1:])
