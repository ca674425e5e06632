"""
A process that hosts an embedded queue, for tests that kill it.

C{python -m tests.queue.hosting QUEUE_DIRECTORY TICKET_JSON...} starts the queue, submits the tickets and stays.
"""

import sys
from pathlib import Path

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import Deferred

import modabatchd.queue
from modabatchd.queue.embedded.machine import this_machine
from modabatchd.queue.embedded.queue import EmbeddedQueue
from modabatchd.queue.interfaces import Ticket
from modabatchd.queue.job import JobRequest
from modabatchd.workers import ThreadWorkers

WRAPPER = Path(modabatchd.queue.__file__).with_name("wrapper.sh")


async def main(directory: Path, tickets: list[Ticket]) -> None:
    workers = ThreadWorkers(reactor, "embedded", 2)
    workers.startService()
    queue = EmbeddedQueue(reactor, directory, WRAPPER, workers, this_machine(), slots=4)
    queue.startService()
    print(*await queue.submit(tickets), flush=True)


if __name__ == "__main__":
    pairs = msgspec.json.decode(sys.argv[2], type=list[tuple[JobRequest, str]])
    reactor.callWhenRunning(
        lambda: Deferred.fromCoroutine(main(Path(sys.argv[1]), [Ticket(request, Path(files)) for request, files in pairs]))
    )
    reactor.run()
