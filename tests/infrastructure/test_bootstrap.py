"""What a fresh machine is told."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modabatchd.infrastructure.bootstrap import FOREVER, Joining, Setup, configuration, files, user_data
from modabatchd.infrastructure.node import Capacity, Node, NodeState, Offering, node_name
from modabatchd.infrastructure.policy import Pool
from modabatchd.infrastructure.tokens import SigningKey, node_key

yaml = pytest.importorskip("yaml")

ID = "01234567-89ab-cdef-0123-456789abcdef"
POOL_KEY = SigningKey("POOL", b"the pool's own")
NODE = Node(
    id=ID,
    name=node_name(ID),
    offering=Offering(pool="burst", size="small"),
    capacity=Capacity(cpus=2, memory=2048),
    price=0.1,
    state=NodeState.REQUESTED,
    requested=1234567890.6,
)


def setup(**changes: Any) -> Setup:
    given_ = Setup(
        node=NODE, collector="cm.example.org:9618", domain="example.org", token="a.b.c", key=node_key(POOL_KEY, NODE.name)
    )
    return msgspec.structs.replace(given_, **changes)


def settings(text: str) -> Mapping[str, str]:
    lines = [line.partition(" = ") for line in text.splitlines()]
    assert all(middle for _, middle, _ in lines)
    return {name: value for name, _, value in lines}


def test_it_is_yaml_as_cloud_init_reads_it() -> None:
    text = user_data(setup(labels={"team": "blåbær \x07 & co", "b'": '"\\'}))
    assert text.startswith("#cloud-config\n")
    assert text.isascii()
    read = yaml.safe_load(text)
    assert read["hostname"] == NODE.name
    assert read["runcmd"] == [["sh", "/usr/local/lib/modabatch/join.sh"]]
    assert [(file["path"], file["content"]) for file in read["write_files"]] == [
        (file.path, file.content) for file in files(text)
    ]
    assert all(isinstance(file.get("permissions", ""), str) for file in read["write_files"])


def test_the_secrets_are_files_of_their_own_and_nothing_else_is_one() -> None:
    written = {file.path: file for file in files(user_data(setup()))}
    token = written[f"/etc/condor/modabatch/tokens.d/{NODE.name}"]
    key = written[f"/etc/condor/modabatch/keys.d/{NODE.name}"]
    assert (token.content, token.permissions) == ("a.b.c\n", "0600")
    assert (key.content.encode(), key.permissions) == (node_key(POOL_KEY, NODE.name).stored, "0600")
    for path, file in written.items():
        if file not in (token, key):
            assert "a.b.c" not in file.content, path
            assert key.content not in file.content, path
    assert "the pool's own" not in user_data(setup())


def test_it_fits_the_smallest_of_the_providers_limits() -> None:
    long = {"labels": {f"label{number}": "x" * 100 for number in range(20)}, "token": "t" * 600, "requirements": "x" * 1000}
    assert len(user_data(setup(**long))) < 16384


def test_the_nodes_configuration() -> None:
    told = settings(configuration(setup(requirements="TARGET.RequestGPUs\n  =?= undefined", lease=600, retirement=60)))
    assert told["DAEMON_LIST"] == "MASTER, STARTD"
    assert told["COLLECTOR_HOST"] == "cm.example.org:9618"
    assert told["CONDOR_HOST"] == "cm.example.org"
    assert told["STARTD_NAME"] == told["MASTER_NAME"] == told["NETWORK_HOSTNAME"] == NODE.name
    assert told["START"] == "(TARGET.RequestGPUs =?= undefined)"
    assert told["STARTD_NOCLAIM_SHUTDOWN"] == "86400"
    assert "ModabatchHeard > 600 " in told["STARTD.DAEMON_SHUTDOWN"]
    assert told["STARTD_CRON_MODABATCH_ARGS"] == "cm.example.org:9618"
    assert told["UPDATE_INTERVAL"] == "150"
    assert told["MAXJOBRETIREMENTTIME"] == "60"
    assert told["SLOT_TYPE_1_PARTITIONABLE"] == "true"
    assert told["ModabatchNode"] == f'"{ID}"'
    assert told["ModabatchPool"] == '"burst"'
    assert told["ModabatchBorn"] == "1234567891"
    assert told["STARTD_ATTRS"].split() == ["$(STARTD_ATTRS)", "ModabatchNode", "ModabatchPool", "ModabatchBorn"]
    assert {name for name, value in told.items() if "FS" in value.split(", ")} == set()
    assert told["SEC_DEFAULT_AUTHENTICATION_METHODS"] == told["SEC_CLIENT_AUTHENTICATION_METHODS"] == "IDTOKENS"
    assert "CCB_ADDRESS" not in told
    assert settings(configuration(setup(private=True)))["CCB_ADDRESS"] == "$(COLLECTOR_HOST)"


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=30), max_size=3))
def test_labels_stay_what_they_are(labels: dict[str, str]) -> None:
    told = settings(configuration(setup(labels=labels)))
    shown = {name: value for name, value in told.items() if name.startswith("ModabatchLabel_")}
    plain = settings(configuration(setup()))
    assert {name: value for name, value in told.items() if name not in {*shown, "STARTD_ATTRS"}} == {
        name: value for name, value in plain.items() if name != "STARTD_ATTRS"
    }
    assert told["STARTD_ATTRS"].split()[4:] == list(shown)
    for name, value in shown.items():
        assert re.fullmatch(r"ModabatchLabel_[A-Za-z0-9_]*", name)
        assert re.fullmatch(r'"[ !#%-\[\]-~?]*"', value)


@given(st.text(max_size=40))
def test_a_requirement_stays_on_its_line_or_is_refused(text: str) -> None:
    try:
        told = settings(configuration(setup(requirements=text)))
    except ValueError:
        return
    assert list(told) == list(settings(configuration(setup())))
    assert re.search(r"\$(?!\(DOLLAR\))", told["START"]) is None
    assert told["START"].replace("$(DOLLAR)", "$") == f"({' '.join(text.split()) or 'true'})"


@pytest.mark.parametrize(
    "changes",
    [
        {"collector": "cm.example.org:9618\nALLOW_ADMINISTRATOR = *"},
        {"collector": "$ENV(HOME)"},
        {"domain": "example.org\n"},
        {"domain": "a b"},
        {"key": SigningKey("../../shadow", b"")},
        {"requirements": "true \\"},
        {"requirements": "true \x00"},
    ],
)
def test_what_cannot_be_told_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="told"):
        user_data(setup(**changes))


@pytest.mark.parametrize("text", ["", "#!/bin/sh\n", '#cloud-config\n{"hostname": 5}', "#cloud-config\npackages: [x]\n"])
def test_other_user_data_is_not_ours(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        files(text)


def test_a_pool_of_the_policy_and_a_token_make_it() -> None:
    joining = Joining(key=POOL_KEY, collector="cm:9618", domain="example.org", private=True)
    patient = Pool(name="burst", driver="ec2", sizes=(), requirements="TARGET.X", labels={"a": "b"}, lease=90.0)
    told = settings(next(iter(files(joining.user_data(NODE, patient, "a.b.c")))).content)
    assert told["MAXJOBRETIREMENTTIME"] == str(FOREVER)
    assert "ModabatchHeard > 90 " in told["STARTD.DAEMON_SHUTDOWN"]
    assert told["START"] == "(TARGET.X)"
    assert told["ModabatchLabel_a"] == '"b"'
    assert told["SEC_TOKEN_ISSUER_KEY"] == NODE.name
    hasty = msgspec.structs.replace(patient, drain_timeout=60.0)
    assert settings(next(iter(files(joining.user_data(NODE, hasty, "a.b.c")))).content)["MAXJOBRETIREMENTTIME"] == "60"


@pytest.mark.parametrize("name", ["join.sh", "metadata.sh", "heard.sh"])
def test_the_scripts_are_shell(name: str) -> None:
    [script] = [file for file in files(user_data(setup())) if file.path.endswith(name)]
    assert script.permissions == "0755"
    for shell in filter(shutil.which, ("dash", "bash")):
        subprocess.run([shell, "-n"], input=script.content, text=True, check=True)


def test_jobs_are_kept_from_the_metadata_before_anything_of_htcondor_can_start() -> None:
    written = {file.path.rpartition("/")[2]: file.content for file in files(user_data(setup()))}
    body = written["join.sh"].rpartition("\n}\n")[2]
    assert body.index("metadata.sh") < body.index("install_condor") < body.index("systemctl start condor")
    assert "ExecStartPre=/usr/local/lib/modabatch/metadata.sh" in written["condor.service.conf"]
    assert "169.254.169.254" in written["metadata.sh"]
