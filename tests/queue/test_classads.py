"""Jobs as HTCondor wants them, and as it shows them."""

from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modabatchd.queue.htcondor import classads
from modabatchd.queue.job import BackendId, JobRequest, JobState, Resources

INSTANCE = "6f1c2f0e-3a55-4a8e-9d2b-0f4a86b1c0de"
ID = "0b8f4a54-55c1-4a53-8a68-3f6e4c1f2d11"
WRAPPER = Path("/opt/modabatchd/wrapper.sh")
AD = {
    "ClusterId": 12,
    "ProcId": 3,
    "ModabatchJobId": ID,
    "JobStatus": 2,
    "GlobalJobId": "test@#12.3#1795540045",
    "JobUniverse": 5,
    "JobPrio": 4,
    "JobRunCount": 2,
    "JobStartDate": 100,
    "JobCurrentStartDate": 200,
    "CompletionDate": 0,
    "ImageSize": 7500,
    "RemoteUserCpu": 1.5,
    "RemoteHost": "slot1_3@node7@host.example.org",
}


def request(**changes: object) -> JobRequest:
    return JobRequest(**{"id": ID, "submitted": 0.0, **changes})  # type: ignore[arg-type]


def one_group(*requests: JobRequest, spool: bool = False) -> classads.Group:
    return classads.group([(each, Path("/spool") / each.id) for each in requests], INSTANCE, WRAPPER, spool)


def test_description_and_row() -> None:
    group = one_group(request(priority=-5, resources=Resources(cpus=2, memory=512)))
    [row] = group.rows
    assert group.description["executable"] == str(WRAPPER)
    assert group.description["transfer_input_files"] == "bundle.tar.gz, launch.sh"
    assert group.description["My.ModabatchInstance"] == f'"{INSTANCE}"'
    assert group.description["My.ModabatchSpooled"] == "false"
    assert row["modabatch_id"] == ID
    assert row["modabatch_directory"] == f"/spool/{ID}"
    assert (row["modabatch_cpus"], row["modabatch_memory"], row["modabatch_priority"]) == ("2", "512", "-5")
    assert row["modabatch_wall"] == "0"


@pytest.mark.parametrize("absent", ["allowed_execute_duration", "max_retries", "request_disk", "request_gpus"])
def test_what_is_not_asked_for_is_not_mentioned(absent: str) -> None:
    assert absent not in one_group(request()).description


def test_what_is_asked_for_is_mentioned() -> None:
    asked = request(max_wall_time=90, max_retries=2, resources=Resources(disk=2048, gpus=1), has_input=True)
    group = one_group(asked, spool=True)
    assert {"allowed_execute_duration", "max_retries", "request_disk", "request_gpus"} <= set(group.description)
    assert group.description["transfer_input_files"].endswith(", input")
    assert group.description["My.ModabatchSpooled"] == "true"
    assert group.rows[0]["modabatch_backstop"] == str(90 + classads.BACKSTOP)


hostile = st.text(min_size=1)
requests = st.builds(
    JobRequest,
    id=st.uuids().map(str),
    submitted=st.just(0.0),
    name=hostile,
    arguments=st.lists(hostile).map(tuple),
    labels=st.dictionaries(hostile, hostile),
    notification=hostile,
    resources=st.builds(
        Resources,
        cpus=st.integers(1, 99),
        memory=st.integers(1, 10**6),
        disk=st.none() | st.integers(1, 10**9),
        gpus=st.integers(0, 8),
    ),
    priority=st.integers(-99, 99),
    max_retries=st.integers(0, 9),
    max_wall_time=st.none() | st.integers(1, 10**6),
    has_input=st.booleans(),
)


@given(requests)
def test_no_user_text_gets_into_a_description(asked: JobRequest) -> None:
    """What a user writes freely changes nothing; all the rest is numbers."""
    plain = request(
        id=asked.id,
        resources=asked.resources,
        priority=asked.priority,
        max_retries=asked.max_retries,
        max_wall_time=asked.max_wall_time,
        has_input=asked.has_input,
    )
    assert one_group(asked) == one_group(plain)


@given(st.lists(requests, min_size=1, max_size=8))
def test_rows_of_a_group_are_complete(asked: list[JobRequest]) -> None:
    """An empty or absent value would be taken over from another user's row."""
    alike = [each for each in asked if classads.shape(each) == classads.shape(asked[0])]
    group = one_group(*alike)
    used = {key for row in group.rows for key in row}
    assert all(set(row) == used and all(row.values()) for row in group.rows)
    assert len(group.rows) == len(alike)


@pytest.mark.parametrize("bad", ['x" || true || "', "", "0B8F4A54-55C1-4A53-8A68-3F6E4C1F2D11", "{" + ID + "}", ID + "\n"])
def test_only_uuids_get_into_constraints(bad: str) -> None:
    with pytest.raises(ValueError, match="UUID"):
        classads.of_jobs(INSTANCE, [bad])
    with pytest.raises(ValueError, match="UUID"):
        classads.of_instance(bad)
    with pytest.raises(ValueError, match="UUID"):
        one_group(request(id=bad))


def test_constraint_names_every_job() -> None:
    other = str(uuid4())
    constraint = classads.of_jobs(INSTANCE, [ID, other])
    assert constraint == f'ModabatchInstance == "{INSTANCE}" && member(ModabatchJobId, {{"{ID}", "{other}"}})'


@pytest.mark.parametrize("path", ["/var/spool/modabatchd", "/srv/job files, 2026/ä", "/a=b/(c)"])
def test_usable_paths(path: str) -> None:
    assert classads.usable(Path(path))


@pytest.mark.parametrize(
    "path", ["relative", "/a\nuniverse = local", "/$ENV(HOME)", '/a"b', "/a'b", "/a\\b", "/a;b", "/a ", "/a\x1fb", "/a\udcff"]
)
def test_unusable_paths(path: str) -> None:
    assert not classads.usable(Path(path))


@pytest.mark.parametrize(
    ("status", "state", "word"),
    [
        (1, JobState.IDLE, "idle"),
        (2, JobState.RUNNING, "running"),
        (3, JobState.REMOVED, "removed"),
        (4, JobState.COMPLETED, "completed"),
        (5, JobState.HELD, "held"),
        (6, JobState.RUNNING, "transferring_output"),
        (7, JobState.SUSPENDED, "suspended"),
    ],
)
def test_states(status: int, state: JobState, word: str) -> None:
    seen = classads.sighting(AD | {"JobStatus": status, "CompletionDate": 300})
    assert (seen.state, seen.backend_state) == (state, word)


def test_a_job_has_completed_once_it_is_known_when() -> None:
    seen = classads.sighting(AD | {"JobStatus": 4, "ExitCode": 0})
    assert (seen.state, seen.exit_status) == (JobState.RUNNING, None)


def test_running_job() -> None:
    seen = classads.sighting(AD)
    assert seen.backend_id == BackendId(12, 3)
    assert (seen.priority, seen.run_count, seen.image_size, seen.user_cpu) == (4, 2, 7500, 1.5)
    assert (seen.started, seen.current_started, seen.completed) == (100.0, 200.0, None)
    assert seen.host == "node7@host.example.org"
    assert seen.universe == "vanilla"


def test_host_after_the_run() -> None:
    ad = {key: value for key, value in AD.items() if key != "RemoteHost"}
    assert classads.sighting(ad).host is None
    assert classads.sighting(ad | {"LastRemoteHost": "slot2@n1.example.org"}).host == "n1.example.org"


def test_exit_status() -> None:
    seen = classads.sighting(AD | {"JobStatus": 4, "CompletionDate": 300, "ExitBySignal": False, "ExitCode": 3})
    assert (seen.exit_status, seen.exit_signal, seen.completed) == (3, None, 300.0)


def test_exit_signal() -> None:
    seen = classads.sighting(
        AD | {"JobStatus": 4, "CompletionDate": 300, "ExitBySignal": True, "ExitSignal": 24, "ExitCode": 0}
    )
    assert (seen.exit_status, seen.exit_signal) == (None, 24)


def test_a_failed_run_that_will_be_repeated_is_no_exit() -> None:
    seen = classads.sighting(AD | {"JobStatus": 1, "ExitBySignal": False, "ExitCode": 3})
    assert (seen.exit_status, seen.exit_signal) == (None, None)


def test_reasons() -> None:
    reasons = {"HoldReason": "by me", "RemoveReason": "by you"}
    assert classads.sighting(AD | reasons | {"JobStatus": 5}).reason == "by me"
    assert classads.sighting(AD | reasons | {"JobStatus": 3}).reason == "by you"
    assert classads.sighting(AD | reasons | {"JobStatus": 1}).reason is None


def test_half_made() -> None:
    assert not classads.half_made(AD)
    assert not classads.half_made(AD | {"ModabatchSpooled": False})
    assert classads.half_made(AD | {"ModabatchSpooled": True})
    assert not classads.half_made(AD | {"ModabatchSpooled": True, "StageInFinish": 1795540045})


def test_projection_covers_what_is_read() -> None:
    class Recording(dict[str, object]):
        def __init__(self) -> None:
            super().__init__(AD)
            self.read: set[str] = set()

        def get(self, key: str, default: object = None) -> object:
            self.read.add(key)
            return super().get(key, default)

        def __getitem__(self, key: str) -> object:
            self.read.add(key)
            return super().__getitem__(key)

        def __contains__(self, key: object) -> bool:
            self.read.add(str(key))
            return super().__contains__(key)

    read: set[str] = set()
    for change in ({}, {"JobStatus": 3}, {"JobStatus": 5}, {"JobStatus": 4}, {"JobStatus": 4, "ExitBySignal": True}):
        ad = Recording()
        ad.update(change)
        classads.sighting(ad)
        classads.half_made(ad)
        del ad["RemoteHost"]
        classads.sighting(ad)
        read |= ad.read
    assert read - {""} <= set(classads.PROJECTION)
