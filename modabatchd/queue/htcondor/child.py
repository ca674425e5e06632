"""
The program in the child process.  With its parts L{child_actions}, L{child_demand} and L{child_nodes}, it alone imports
htcondor2.

C{python -m modabatchd.queue.htcondor.child} reads requests from its standard input and writes answers to its standard
output, one after the other, until the input ends.

Note [Why a child]
==================
htcondor2 holds the interpreter's lock while it waits for the network, and some of its calls have no time-out worth the name: a
scheduler that is frozen would freeze the daemon.  A child process can be killed.  Besides, C{Schedd.submit} loses a
reference to C{None} with each call, which ends the interpreter after some thousands; so each answer tells how many
submissions there were, and the daemon takes a fresh child in time.

Note [What an error means]
==========================
htcondor2 has one exception for everything, so its text must tell.  The texts in C{_REFUSALS} come from a scheduler (or the
submission library) that looked at the job and said no: nothing was committed.  Everything else is taken for silence, after
which nobody knows what happened, and so is any other exception.  Some texts do not even tell silence from a lack of permission;
then we ask the scheduler whether it would let us write.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, Final

import classad2
import htcondor2

from modabatchd.queue.htcondor import child_actions, child_nodes, frames
from modabatchd.queue.htcondor.child_demand import Waiting
from modabatchd.queue.htcondor.classads import Group
from modabatchd.queue.htcondor.ending import end_with_parent
from modabatchd.queue.htcondor.frames import Answer, Number, Problem, Request, Whereabouts
from modabatchd.queue.htcondor.sending import lack, pieces

_PART: Final = 500
_STAGING: Final = 60.0
_LOCATION: Final = ["Name", "MyAddress", "CondorVersion", "MyType", "Machine"]
_REFUSALS: Final = re.compile(r"Failed to create job ad, errmsg=(.*)|Unable to commit transaction, SCHEDD:\d+:(.*)", re.DOTALL)
_LOST: Final = re.compile(r"failed to send file\(s\) to .*\(errno 2\)", re.DOTALL)
_LIMIT: Final = re.compile(r"expected next \w+ to be \d+, but Schedd says -([2-6])\b")
_LIMITS: Final = {
    "2": "The scheduler's queue is full (MAX_JOBS_SUBMITTED).",
    "3": "The owner of the service's jobs has as many as the scheduler allows (MAX_JOBS_PER_OWNER).",
    "4": "The submission has more jobs than the scheduler allows (MAX_JOBS_PER_SUBMISSION).",
    "5": "The scheduler has disabled the owner of the service's jobs.",
    "6": "The scheduler allows no jobs of this owner.",
}
_DENIALS: Final = re.compile(r'"DENIED"|AUTHENTICATE:|PERMISSION DENIED', re.IGNORECASE)
_UNCONNECTED: Final = "Failed to connect to schedd"
_UNCLEAR: Final = frozenset({f"{_UNCONNECTED}.", "Error when performing action on the schedd."})


class Failure(Exception):
    """A call failed in a way that has a name."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.cause)
        self.problem = problem


class Scheduler:
    """
    A scheduler, looked up when it is first needed, and again after it failed.

    @param sending: called with C{True} when files are about to be sent, with C{False} before the scheduler is asked again.
    @ivar submits: how many submissions there were.  See Note [Why a child].
    """

    def __init__(self, sending: Callable[[bool], None] = lambda begins: None) -> None:
        self._location: classad2.ClassAd | None = None
        self._only = ""
        self._sending = sending
        self._waiting = Waiting()
        self.submits = 0

    def insist(self, name: str) -> None:
        """Ask no other scheduler than that one; an empty name allows any."""
        if name != self._only:
            self._only, self._location = name, None

    def forget(self) -> None:
        """Look the scheduler up again."""
        self._location = None

    def carry_out(self, operation: frames.Operation) -> Iterator[Any]:
        """Do what a request asks for; the parts of the result, none if there is no result."""
        try:
            yield from self._carry_out(operation)
        except htcondor2.HTCondorException as problem:
            raise Failure(self._meaning(str(problem))) from problem

    def _carry_out(self, operation: frames.Operation) -> Iterator[Any]:
        match operation:
            case frames.Submit(group, spool):
                yield self._submit_all(group, spool)
            case frames.Query(constraint, projection, limit):
                yield from _parts(self._schedd().query(constraint, list(projection), limit=limit))
            case frames.History(constraint, projection, limit):
                yield from _parts(self._schedd().history(constraint, list(projection), limit))
            case frames.Act(action, jobs, reason):
                yield child_actions.act(self._schedd(), action, jobs, reason)
            case frames.Acknowledge(jobs):
                self._acknowledge(jobs)
            case frames.Discard(jobs):
                self._discard(jobs)
            case frames.Retrieve(jobs):
                yield self._retrieve(jobs)
            case frames.Ping():
                yield self._whereabouts()
            case frames.Demand(offers):
                yield self._waiting.shapes(self._schedd(), offers)
            case frames.Slots():
                for ads in (child_nodes.collector(), child_nodes.slots()):
                    yield from _parts(ads)
            case _:
                child_nodes.carry_out(operation)

    def _schedd(self) -> htcondor2.Schedd:
        return htcondor2.Schedd(self._locate())

    def _locate(self) -> classad2.ClassAd:
        if self._location is None:
            self._location = _only_schedd(self._only) if self._only else _find_schedd(htcondor2.param.get("SCHEDD_HOST", ""))
        return self._location

    def _whereabouts(self) -> Whereabouts:
        self._location = None
        location = self._locate()
        address = re.sub(r"[<>]|\?.*", "", location["MyAddress"])
        version = location.get("CondorVersion", "")
        here = _is_here(address.rpartition(":")[0].strip("[]"))
        return Whereabouts(location.get("Name", ""), address, version, here, htcondor2.param.get("BIN", ""))

    def _submit_all(self, group: Group, spool: bool) -> list[Number | str]:
        """Submit what can be submitted; rows whose files are not there would only be held by the scheduler later."""
        if group.array:
            return [self._submit_array(group, spool)]
        lacks = [lack(group.description, row) for row in group.rows]
        good = [row for row, missing in zip(group.rows, lacks, strict=True) if missing is None]
        parts = pieces(group.description, good) if spool else [good]
        placed = iter([result for part in parts if part for result in self._submit(Group(group.description, part), spool)])
        return [next(placed) if missing is None else missing for missing in lacks]

    def _submit_array(self, group: Group, spool: bool) -> Number | str:
        """@return: the number of the first task, or why the array as a whole is refused."""
        missing = lack(group.description, group.rows[0])
        if missing is not None:
            return missing
        try:
            return self._submit_at_once(group, spool)[0]
        except htcondor2.HTCondorException as problem:
            return _refused(problem)

    def _submit(self, group: Group, spool: bool) -> list[Number | str]:
        """A submission is committed as a whole or not at all: if it is refused, each half is tried."""
        try:
            return list(self._submit_at_once(group, spool))
        except htcondor2.HTCondorException as problem:
            refusal = _refused(problem)
        if len(group.rows) == 1:
            return [refusal]
        middle = len(group.rows) // 2
        halves = (Group(group.description, group.rows[:middle]), Group(group.description, group.rows[middle:]))
        return [result for half in halves for result in self._submit(half, spool)]

    def _submit_at_once(self, group: Group, spool: bool) -> list[Number]:
        schedd = self._schedd()
        self.submits += 1
        result = schedd.submit(htcondor2.Submit(group.description), spool=spool, itemdata=iter(group.rows))
        numbers = [(result.cluster(), result.first_proc() + row) for row in range(len(group.rows))]
        if spool:
            self._send_files(schedd, result, numbers)
        return numbers

    def _send_files(self, schedd: htcondor2.Schedd, result: Any, numbers: Sequence[Number]) -> None:
        """Send the files of jobs, and wait until the scheduler says of all that it has them."""
        self._sending(True)
        try:
            schedd.spool(result)
            waiting = f"ClusterId == {result.cluster():d} && StageInFinish =?= undefined"
            until = time.monotonic() + _STAGING
            while schedd.query(waiting, ["ProcId"], limit=1):
                if time.monotonic() > until:
                    raise htcondor2.HTCondorException("The scheduler took all files, but does not finish storing them")
                time.sleep(0.05)
        except htcondor2.HTCondorException as problem:
            self._sending(False)
            # Whatever the text looks like, the jobs were submitted: nothing here is a refusal.
            self._discard(numbers)
            raise Failure(Problem("away", f"The job's files could not be sent to the scheduler: {problem}")) from problem
        self._sending(False)

    def _acknowledge(self, jobs: Sequence[Number]) -> None:
        try:
            self._schedd().edit(["{:d}.{:d}".format(*job) for job in jobs], "ModabatchAcknowledged", "true")
        except htcondor2.HTCondorException as problem:
            if "nonexistent job" not in str(problem):
                raise
            # One unknown job spoils the whole edit.
            if len(jobs) > 1:
                for job in jobs:
                    self._acknowledge([job])

    def _retrieve(self, jobs: Sequence[Number]) -> list[str | None]:
        """@return: why each could not be retrieved."""
        try:
            self._schedd().retrieve(["{:d}.{:d}".format(*job) for job in jobs])
        except htcondor2.HTCondorException as problem:
            refusal = _refused(problem)
            if len(jobs) > 1:
                return [outcome for job in jobs for outcome in self._retrieve([job])]
            return [refusal]
        return [None] * len(jobs)

    def _discard(self, jobs: Sequence[Number]) -> None:
        self._acknowledge(jobs)
        child_actions.act(self._schedd(), "remove", jobs, "its files never arrived")

    def _meaning(self, text: str) -> Problem:
        """See Note [What an error means]."""
        location, self._location = self._location, None
        refusal = _refusal(text)
        if refusal is not None:
            return Problem("refused", refusal)
        if _DENIALS.search(text) or (text in _UNCLEAR and location is not None and _denies(location)):
            return Problem("denied", text)
        return Problem("away", text, untouched=text.startswith(_UNCONNECTED))


def _find_schedd(name: str) -> classad2.ClassAd:
    """The scheduler of that name; without one, the one of this machine, or else the only one in the pool."""
    collector = htcondor2.Collector()
    if not name:
        try:
            return collector.locate(htcondor2.DaemonType.Schedd)
        except htcondor2.HTCondorException as problem:
            # Either there is none on this machine, or it is only not there yet.
            if "SCHEDD" in htcondor2.param.get("DAEMON_LIST", "").upper():
                cause = "The collector does not know the scheduler of this machine at the moment."
                raise Failure(Problem("away", cause, untouched=True)) from problem
    quoted = classad2.quote(name)
    ads = collector.query(htcondor2.AdType.Schedd, f"Name == {quoted} || Machine == {quoted}" if name else None, _LOCATION)
    if len(ads) == 1:
        return ads[0]
    known = ", ".join(str(ad.get("Name")) for ad in ads) or "none"
    wanted = f"named {name}" if name else "at all"
    raise Failure(
        Problem("away", f"The collector should know one scheduler {wanted}, and knows {len(ads)}: {known}.", untouched=True)
    )


def _only_schedd(name: str) -> classad2.ClassAd:
    """The scheduler of exactly that name, and no other, whatever machine it is on."""
    collector = htcondor2.Collector()
    ads = collector.query(htcondor2.AdType.Schedd, f"Name == {classad2.quote(name)}", _LOCATION)
    if len(ads) == 1:
        return ads[0]
    try:
        here = collector.locate(htcondor2.DaemonType.Schedd).get("Name")
    except htcondor2.HTCondorException:
        here = None
    instead = f"the one of this machine is {here}" if here else "this machine has none"
    cause = f"The jobs are with the scheduler {name}, which the collector does not know at the moment; {instead}."
    raise Failure(Problem("elsewhere", cause, untouched=True))


def _is_here(host: str) -> bool:
    """Whether an IP address is one of this machine's: only those can be bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def _denies(location: classad2.ClassAd) -> bool:
    try:
        htcondor2.ping(location, "WRITE")
    except htcondor2.HTCondorException as problem:
        return "Failed to start command" in str(problem)
    return False


def _refusal(text: str) -> str | None:
    """Why a job was refused; L{None} if the text is of another kind.  See Note [What an error means]."""
    if limit := _LIMIT.search(text):
        return _LIMITS[limit[1]]
    if match := _REFUSALS.search(text):
        return "The scheduler refuses the job: " + " ".join((match[1] or match[2] or "").split())
    if _LOST.search(text):
        return "The scheduler does not have all files of the job."
    return None


def _refused(problem: htcondor2.HTCondorException) -> str:
    """Why a job was refused.  @raise HTCondorException: the problem is of another kind."""
    refusal = _refusal(str(problem))
    if refusal is None:
        raise problem
    return refusal


def _parts(ads: Sequence[classad2.ClassAd]) -> Iterator[list[dict[str, Any]]]:
    """Ads as plain dicts, some hundred at a time, so that whoever reads them need not do it in one go."""
    for start in range(0, max(len(ads), 1), _PART):
        yield [dict(_plain(ad)) for ad in ads[start : start + _PART]]


def _plain(ad: classad2.ClassAd) -> Iterator[tuple[str, Any]]:
    for name in ad:
        try:
            value = ad.get(name)
            if isinstance(value, classad2.ExprTree):
                value = value.eval(ad)
        except Exception:  # noqa: S112 - what cannot be read is not there, and may be of no interest anyway
            continue
        if isinstance(value, str):
            # Whoever wrote a reason may have written no UTF-8.
            yield name, value.encode("utf-8", "replace").decode("utf-8")
        elif isinstance(value, int | float) and not isinstance(value, classad2.Value):
            yield name, value


def _answer(scheduler: Scheduler, request: Request) -> Iterator[Answer]:
    """The parts of an answer, each held back until it is known whether it is the last."""
    held = None
    scheduler.insist(request.schedd)
    try:
        for part in scheduler.carry_out(request.operation):
            if held is not None:
                yield Answer(request.id, held[0], last=False)
            held = (part,)
        yield Answer(request.id, held[0] if held else None, submits=scheduler.submits)
    except Failure as failure:
        yield Answer(request.id, problem=failure.problem, submits=scheduler.submits)
    except Exception as problem:
        # A defect, of ours or of the library: whoever reads standard error is told where.
        traceback.print_exc()
        scheduler.forget()
        yield Answer(request.id, problem=Problem("away", f"{type(problem).__name__}: {problem}"), submits=scheduler.submits)


def _requests(source: BinaryIO) -> Iterator[Request]:
    size = struct.Struct(">I")
    while len(head := source.read(size.size)) == size.size:
        yield frames.unpack_request(source.read(size.unpack(head)[0]))


def _own_channel() -> BinaryIO:
    """Standard output, for ourselves alone: whatever htcondor2 prints goes to standard error."""
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return channel


def main() -> None:
    """Answer requests until there are no more.  See Note [Orphans] in L{modabatchd.queue.htcondor.ending}."""
    end_with_parent()
    # Ctrl-C in a terminal and a service manager's SIGTERM reach us as well as the daemon, which ends us when it is time.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel = _own_channel()
    warnings.simplefilter("ignore")
    scheduler = Scheduler(lambda begins: _say(channel, Answer(0, last=False, sending=begins)))
    _say(channel, Answer(0))
    for request in _requests(sys.stdin.buffer):
        for answer in _answer(scheduler, request):
            _say(channel, answer)


def _say(channel: BinaryIO, answer: Answer) -> None:
    channel.write(frames.pack(answer))
    channel.flush()


if __name__ == "__main__":
    main()
