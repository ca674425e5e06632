"""What happens to one world: made up from a seed, and from nothing else."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import msgspec
from twisted.web.http_headers import Headers

from modabatchd.idempotency import Key
from modabatchd.queue.form import SubmissionForm
from modabatchd.queue.indices import parse_indices
from modabatchd.queue.job import Action, JobState, Sighting
from modabatchd.rest.operations import Answer
from tests.deferreds import now
from tests.queue.test_bundle import RUN, pack
from tests.simulation.invariants import violations
from tests.simulation.life import Odds
from tests.simulation.world import World

_STEPS: Final = 14
_BUNDLE: Final = pack(RUN)
_DAY: Final = 86400.0
#: Calls of which two have more trouble than others in each story.
_SORE: Final = (
    "queue.submit",
    "queue.find",
    "queue.act",
    "queue.fetch",
    "queue.acknowledge",
    "store.add",
    "store.bind",
    "store.get",
    "store.advance",
    "store.delivered",
    "store.postpone",
    "spool.keep",
    "spool.settle",
    "spool.remove",
    "keys.answer",
)
#: How often each thing happens, one beside the others.
_HAPPENINGS: Final = {
    "submit": 6,
    "ask_again": 2,
    "act": 3,
    "move": 8,
    "vanish": 1,
    "reappear": 1,
    "leap": 1,
    "kill": 1,
    "hush": 1,
    "go_away": 1,
}


class Story:
    """
    Clients, a pool and a clock that do as chance has it.

    @ivar told: by the URL of its notification, the ids that the clients of a submission were told.
    """

    def __init__(self, directory: Path, template: tuple[Path, str], seed: int) -> None:
        self._chance = random.Random(f"simulation {seed}")
        self.world = World(directory, template, self._chance)
        self.told: dict[str, list[str]] = {}
        self._forms: list[tuple[str, SubmissionForm]] = []

    def tell(self) -> list[str]:
        """@return: the rules that were broken, none at best."""
        try:
            self._trouble()
            for _ in range(_STEPS):
                [what] = self._chance.choices(list(_HAPPENINGS), list(_HAPPENINGS.values()))
                getattr(self, f"_{what}")()
                self.world.run(self._chance.choice([0, 2, 4, 10, 20]))
            self._calm()
            return violations(self.world, self.told)
        finally:
            self.world.die()

    def _trouble(self) -> None:
        chance = self._chance
        for part in ("queue", "store", "spool", "keys"):
            self.world.odds[part] = Odds(
                failing=chance.choice([0.0, 0.03, 0.2]),
                late=chance.choice([0.0, 0.1, 0.3]),
                last=chance.choice([0.0, 0.01, 0.04]),
            )
        # What goes wrong once in a while hardly ever goes wrong twice in a row, or at a place that is seldom passed.
        for call in chance.sample(_SORE, 2):
            self.world.odds[call] = Odds(failing=chance.choice([0.0, 0.4]), late=0.1, last=chance.choice([0.0, 0.25]))
        self.world.receivers.failing = chance.choice([0.0, 0.5, 1.0])

    def _calm(self) -> None:
        """Faults end, every job ends, and days go by."""
        world = self.world
        world.odds.clear()
        world.receivers.failing = 0.0
        world.queue.away = world.queue.silent = False
        world.run(160, 20)
        for job in self._live():
            world.queue.finish(*self._ended(job), task=job.task)
        world.run(240, 20)
        world.run(4 * _DAY, _DAY)
        world.run(60, 20)
        for _ in range(2):
            now(world.retention.sweep())

    def _ended(self, job: Sighting) -> tuple[str, int]:
        return job.job_id, self._chance.choice([0, 0, 1])

    def _submit(self) -> None:
        number = len(self._forms)
        array = self._chance.choice([None, None, "1-2", "3,5"])
        form = SubmissionForm(
            notification=f"http://receiver{number % 3}.example.org/{number}", array=parse_indices(array) if array else None
        )
        key = self._chance.choice(["", f"key{number}"])
        self._forms.append((key, form))
        self._post(key, form)

    def _ask_again(self) -> None:
        known = [(key, form) for key, form in self._forms if key]
        if known:
            self._post(*self._chance.choice(known))

    def _post(self, key: str, form: SubmissionForm) -> None:
        self.world.note(f"a client submits {form.notification} with the key {key or None}")
        self.world.begin(lambda: self._posted(key, form))

    async def _posted(self, key: str, form: SubmissionForm) -> None:
        world, life = self.world, self.world.lives[-1]

        async def work(key: Key | None) -> Answer:
            draft = world.spool.draft()
            draft.put("bundle.tar.gz", _BUNDLE)
            return Answer((await world.submission.accept(draft, form, key)).request.id.encode(), 201)

        async def again(job_id: str) -> Answer:
            return Answer(job_id.encode(), 201)

        headers = Headers({"Idempotency-Key": [key]} if key else {})
        request = SimpleNamespace(requestHeaders=headers, method=b"POST", path=b"/jobs")
        answer: Any = await world.once.answer(request, str(form.notification).encode().ljust(32), work, again)
        if not life.over:
            world.note(f"a client is told of {answer.body.decode()}")
            self.told.setdefault(str(form.notification), []).append(answer.body.decode())

    def _act(self) -> None:
        job_ids = self.world.job_ids()
        if job_ids:
            job_id, action = self._chance.choice(job_ids), self._chance.choice(list(Action))
            self.world.note(f"a client asks to {action} {job_id}")
            self.world.begin(lambda: self.world.control.act(job_id, action))

    def _live(self) -> list[Sighting]:
        return [job for job in self.world.queue.shown() if not job.state.final]

    def _move(self) -> None:
        if not (live := self._live()):
            return
        job, queue = self._chance.choice(live), self.world.queue
        move = self._chance.choice(["start", "finish", "finish", "hold", "remove"])
        if move == "start" and job.state is not JobState.IDLE:
            move = "finish"
        self.world.note(f"the pool: {move} {job.subject}")
        if move == "start":
            queue.start(job.job_id, task=job.task)
        elif move == "finish":
            queue.finish(*self._ended(job), task=job.task)
        else:
            getattr(queue, move)(job.job_id, "an administrator", task=job.task)

    def _vanish(self) -> None:
        """Only of jobs that we know to be there: a submission whose answer was lost would rightly be repeated."""
        live = [job for job in self._live() if self._is_bound(job.job_id)]
        if live:
            job = self._chance.choice(live)
            self.world.note(f"the pool loses {job.subject}")
            self.world.queue.vanish(job.job_id, job.task)

    def _is_bound(self, job_id: str) -> bool:
        job = now(self.world.real_store.get(job_id))
        return job is not None and job.backend_id is not None

    def _reappear(self) -> None:
        self.world.note("the pool finds what it lost")
        self.world.queue.reappear()

    def _leap(self) -> None:
        self.world.leap(self._chance.choice([-1, 1]) * self._chance.choice([30, 3600, _DAY]))

    def _kill(self) -> None:
        self.world.note("the daemon is killed")
        self.world.lives[-1].over = True

    def _hush(self) -> None:
        self.world.queue.silent = not self.world.queue.silent

    def _go_away(self) -> None:
        self.world.queue.away = not self.world.queue.away
        self.world.note(f"the queue is {'away' if self.world.queue.away else 'back'}")


class Outcome(msgspec.Struct, frozen=True):
    """
    What came of a story.

    @ivar broken: the rules that were, none at best.
    @ivar lives: of the daemon.
    @ivar jobs: submissions whose clients were told of a job.
    @ivar log: all that happened, line by line.
    """

    broken: list[str]
    lives: int
    jobs: int
    log: list[str]


def simulate(directory: Path, template: tuple[Path, str], seed: int) -> Outcome:
    """
    Tell one story.

    @param directory: an empty one.
    """
    story = Story(directory, template, seed)
    broken = story.tell()
    return Outcome(broken, len(story.world.lives), len(story.told), story.world.log)
