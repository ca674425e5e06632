"""How the loops of the queue end."""

from twisted.internet.defer import Deferred

from modabatchd.looping import Repeating
from modabatchd.queue.htcondor import frames
from modabatchd.queue.htcondor.frames import Answer
from modabatchd.queue.rounds import Rounds
from modabatchd.stack import Stack
from tests.deferreds import now
from tests.queue.test_htcondor import Pool, ticket
from tests.queue.world import World


def test_the_service_ends_soon_although_the_scheduler_is_frozen() -> None:
    pool = Pool(transfer="spool", remembered="main@host")
    stack = Stack()
    calls = {"look": pool.queue.sightings, "send": lambda: pool.queue.submit([ticket()])}
    loops = [Repeating(pool.machine, 1, call, name) for name, call in calls.items()]  # type: ignore[arg-type]
    for service in (pool.queue, *loops):
        service.setServiceParent(stack)
    stack.startService()
    pool.machine.advance(0)
    pool.is_at("main@host")
    assert isinstance(pool.machine.children[1].heard[-1].operation, frames.Submit)
    pool.machine.children[1].say(Answer(0, last=False, sending=True))
    pool.queue.hurry()
    stopped = stack.stopService()
    for _ in range(9):
        pool.machine.advance(1)
        for child in pool.machine.children:
            if child.killed and not child.ended:
                child.end()
    now(stopped)
    assert pool.machine.getDelayedCalls() == []


def test_results_that_are_slow_do_not_make_the_stop_fail(world: World) -> None:
    world.real_queue.finish(world.submitted())
    world.queue.gates = {"fetch": Deferred()}
    rounds = Rounds(world.watching, world.submission)
    now(rounds.look())
    stopped = rounds.stopService()
    world.clock.advance(5)
    now(stopped)
