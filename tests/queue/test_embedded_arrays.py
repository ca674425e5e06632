"""Job arrays in the embedded queue, over the lives of daemons."""

from __future__ import annotations

from pathlib import Path

import pytest

from modabatchd.queue.embedded import record
from modabatchd.queue.embedded.journal import Journal
from modabatchd.queue.embedded.machine import Machine
from modabatchd.queue.embedded.record import Record
from modabatchd.queue.indices import parse_indices
from modabatchd.queue.interfaces import Ticket
from modabatchd.queue.job import BackendId, JobRequest

MACHINE = Machine(host="here", cores=4, memory=1000)


def array(cluster: int = 3) -> list[Record]:
    request = JobRequest(id="00000000-0000-4000-8000-000000000001", submitted=1.0, array=parse_indices("1-3,7"))
    return record.submitted(Ticket(request, Path("/files")), BackendId(cluster), MACHINE, 5.0)


def reopened(journal: Journal) -> list[Record]:
    journal.close()
    return journal.open()


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journal(tmp_path)
    assert journal.open() == []
    return journal


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "jobs").iterdir())


def test_an_array_is_one_file_until_its_tasks_change(journal: Journal, tmp_path: Path) -> None:
    tasks = array()
    assert [(each.sighting.task, each.sighting.backend_id.proc, each.suffix) for each in tasks] == [
        (1, 0, ".1"),
        (2, 1, ".2"),
        (3, 2, ".3"),
        (7, 3, ".7"),
    ]
    journal.add(tasks)
    assert files(tmp_path) == ["3.json"]
    assert reopened(journal) == tasks
    running = record.started(tasks[2], MACHINE, 6.0)
    journal.write([running])
    assert files(tmp_path) == ["3.2.json", "3.json"]
    assert reopened(journal) == [tasks[0], tasks[1], running, tasks[3]]
    assert journal.run(running.sighting).name == "3.2.1"


def test_tasks_that_are_forgotten_do_not_come_back(journal: Journal, tmp_path: Path) -> None:
    tasks = array()
    journal.add(tasks)
    journal.write(tasks[:2])
    journal.forget(tasks[:1])
    journal.forget(tasks[:1])
    assert reopened(journal) == tasks[1:]
    journal.forget(tasks[1:3])
    assert reopened(journal) == tasks[3:]
    journal.forget(tasks[3:])
    assert files(tmp_path) == []
    assert reopened(journal) == []
    assert journal.last == 3


def test_a_line_that_a_crash_has_cut_off_forgets_nobody(journal: Journal, tmp_path: Path) -> None:
    tasks = array()
    journal.add(tasks)
    journal.forget(tasks[:1])
    with (tmp_path / "jobs" / "3.forgotten").open("ab") as file:
        file.write(b"2")
    assert reopened(journal) == tasks[1:]
    journal.forget(tasks[1:2])
    assert reopened(journal) == tasks[2:]


def test_what_a_crash_has_left_of_an_array_is_cleared_away(journal: Journal, tmp_path: Path) -> None:
    tasks = array()
    journal.add(tasks)
    journal.write(tasks[:2])
    journal.forget(tasks[2:3])
    (tmp_path / "jobs" / "3.json").unlink()
    assert reopened(journal) == []
    assert files(tmp_path) == []


def test_arrays_stand_beside_other_jobs(journal: Journal) -> None:
    [single] = record.submitted(Ticket(JobRequest(id="x", submitted=1.0), Path("/files")), BackendId(4), MACHINE, 5.0)
    journal.add([*array(), single])
    journal.forget([single])
    assert reopened(journal) == array()
