"""
What a fresh machine is told, so that it becomes a node of the pool.  Pure: values in, text out.

The text is cloud-init's I{user-data}, in JSON, which is YAML as well and has but one way to quote.  It holds files, most of all
HTCondor's configuration, and one command that carries out C{join.sh}.  L{files} reads the files back out of it: the local
provider makes do with those.

Note [Secrets on a node]
========================
The user-data holds two: the node's token and its own signing key.  Both are of no use elsewhere and end with the node (see
L{modabatchd.infrastructure.tokens}); neither opens the cloud account.  On the node they are files of root.  But whoever runs
there can ask the provider's metadata address for the user-data, so jobs are kept from that address before HTCondor starts:
C{metadata.sh} does it, HTCondor's service does not start without it, and it fails rather than do half of it.

Note [A node that is left alone]
===============================
A machine that costs money must not depend on us to end.  A node that could not reach the pool's collector for as long as its
I{lease} goes off, once no job runs on it; C{heard.sh} keeps the time.  A node that is in the pool, but was given no job for as
long as its I{patience}, goes off too: then it is we who are gone.  That must be longer than any node is kept idle on purpose.

Note [Text from the owner]
==========================
Labels and requirements are put into HTCondor's configuration, which is a language of lines and of macros with a dollar sign,
some of which run programs.  In a label, which is only there to be read, all but plain characters become question marks.  A
requirement is an expression and cannot be quoted: one with a control character is refused, a dollar sign is spelt out, and it
stands alone on its line, in parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files as resources
from typing import Final

import msgspec

from modabatchd.infrastructure.node import Node
from modabatchd.infrastructure.policy import Pool
from modabatchd.infrastructure.tokens import ADMINISTRATOR, SigningKey, node_key

#: Where HTCondor's files lie on a node, and nothing else of ours that the local provider would need.
CONDOR: Final = "/etc/condor/"
#: Seconds for which a job may finish on a node that is drained, where the policy sets no limit.
FOREVER: Final = 10 * 365 * 86400
#: Seconds for which a node waits for a job before it believes that nobody looks after it any more.
PATIENCE: Final = 86400
#: Seconds between two updates of a node's ads, at the most; HTCondor's default.
_LONGEST_SILENCE: Final = 300
_OURS: Final = f"{CONDOR}modabatch/"
_SCRIPTS: Final = "/usr/local/lib/modabatch/"
_HEADER: Final = "#cloud-config\n"
_NO_LETTER: Final = re.compile(r"[^A-Za-z0-9]")
#: Neither a dollar sign nor what ends or escapes a string.
_NOT_PLAIN: Final = re.compile(r"[^ !#%-\[\]-~]")
_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]_-]+")


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """
    All that makes a machine a certain node of a certain pool.

    @ivar node: its name, id and birth go into its ads.
    @ivar collector: C{host:port} of the pool's collector, as the node reaches it.
    @ivar domain: the pool's C{TRUST_DOMAIN} and C{UID_DOMAIN}.
    @ivar token: the node's own IDTOKEN.
    @ivar key: the node's own signing key, by which it knows our orders.
    @ivar requirements: a ClassAd expression that a job's ad (C{TARGET}) must fulfil, as the owner wrote it.
    @ivar labels: advertised as C{ModabatchLabel_...}; what is no letter or digit of a key becomes an underscore.
    @ivar lease: seconds without the pool after which the node turns itself off.  See Note [A node that is left alone].
    @ivar patience: seconds without a job after which it does; 0 for never.
    @ivar retirement: seconds for which a job may go on once its node is drained.
    @ivar private: whether the pool cannot connect to the node (address translation), so that the collector has it call back.
    """

    node: Node
    collector: str
    domain: str
    token: str
    key: SigningKey
    requirements: str = "true"
    labels: Mapping[str, str] = {}
    lease: int = 1200
    patience: int = PATIENCE
    retirement: int = FOREVER
    private: bool = False


class Joining(msgspec.Struct, frozen=True, kw_only=True):
    """
    What all nodes of an installation have in common, so that a node, its pool and its token make a L{Setup}.

    @ivar key: the pool's, from which those of the nodes are derived.
    @ivar collector: see L{Setup}, for C{domain}, C{private} and C{patience} as well.
    """

    key: SigningKey
    collector: str
    domain: str
    private: bool = False
    patience: int = PATIENCE

    def user_data(self, node: Node, pool: Pool, token: str) -> str:
        """What a node's machine is told.  @raise ValueError: see L{user_data}."""
        setup = Setup(
            node=node,
            collector=self.collector,
            domain=self.domain,
            token=token,
            key=node_key(self.key, node.name),
            requirements=pool.requirements,
            labels=pool.labels,
            lease=round(pool.lease),
            patience=self.patience,
            retirement=FOREVER if pool.drain_timeout is None else round(pool.drain_timeout),
            private=self.private,
        )
        return user_data(setup)


class File(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file on the node.  @ivar permissions: octal digits."""

    path: str
    content: str
    permissions: str = "0644"


class _CloudConfig(msgspec.Struct, frozen=True, kw_only=True):
    hostname: str
    manage_etc_hosts: bool = True
    write_files: tuple[File, ...]
    runcmd: tuple[tuple[str, ...], ...]


def user_data(setup: Setup) -> str:
    """
    What the machine is told, in ASCII.

    @raise ValueError: something in C{setup} cannot be told to HTCondor; the text says what.
    """
    config = _CloudConfig(
        hostname=setup.node.name,
        write_files=(
            File(f"{CONDOR}config.d/99-modabatch.conf", configuration(setup)),
            File(f"{_OURS}tokens.d/{setup.node.name}", setup.token + "\n", "0600"),
            File(f"{_OURS}keys.d/{setup.key.id}", setup.key.stored.decode("ascii"), "0600"),
            File(f"{_OURS}heard.sh", _script("heard.sh"), "0755"),
            *(File(_SCRIPTS + name, _script(name), mode) for name, mode in _PARTS),
        ),
        runcmd=(("sh", f"{_SCRIPTS}join.sh"),),
    )
    return _HEADER + msgspec.json.encode(config).decode("ascii")


def files(told: str) -> Sequence[File]:
    """
    The files that a user-data text wants written.

    @raise ValueError: it is none of ours.
    """
    if not told.startswith(_HEADER):
        raise ValueError("the user-data is not a cloud-config")
    return msgspec.json.decode(told.removeprefix(_HEADER), type=_CloudConfig).write_files


def configuration(setup: Setup) -> str:
    """HTCondor's configuration of the node; the last word over what its packages bring."""
    return "".join(f"{name} = {value}\n" for name, value in (_place(setup) | _security(setup) | _work(setup)).items())


_PARTS: Final = (("join.sh", "0755"), ("metadata.sh", "0755"), ("condor.service.conf", "0644"))


def _script(name: str) -> str:
    return (resources("modabatchd.infrastructure") / "scripts" / name).read_text("ascii")


def _place(setup: Setup) -> dict[str, str]:
    name = _matching(setup.node.name, _HOST)
    collector = _matching(setup.collector, _HOST)
    return {
        "DAEMON_LIST": "MASTER, STARTD",
        "CONDOR_HOST": collector.rpartition(":")[0] if ":" in collector else collector,
        "COLLECTOR_HOST": collector,
        # All names that the node goes by are ours, whatever the provider calls the machine.
        "NETWORK_HOSTNAME": name,
        "DEFAULT_DOMAIN_NAME": _matching(setup.domain, _HOST),
        "MASTER_NAME": name,
        "STARTD_NAME": name,
        "UID_DOMAIN": setup.domain,
        "TRUST_DOMAIN": setup.domain,
        "FILESYSTEM_DOMAIN": name,
        **({"CCB_ADDRESS": "$(COLLECTOR_HOST)"} if setup.private else {}),
    }


def _security(setup: Setup) -> dict[str, str]:
    """Nobody is believed without a token: where file system authentication can be tried, it would be, and denied."""
    required = ("AUTHENTICATION", "INTEGRITY", "ENCRYPTION")
    return {
        **{f"SEC_{role}_{what}": "REQUIRED" for role in ("DEFAULT", "CLIENT") for what in required},
        "SEC_DEFAULT_AUTHENTICATION_METHODS": "IDTOKENS",
        "SEC_CLIENT_AUTHENTICATION_METHODS": "IDTOKENS",
        "SEC_TOKEN_DIRECTORY": "$(MODABATCH:/etc/condor/modabatch)/tokens.d",
        "SEC_TOKEN_SYSTEM_DIRECTORY": "$(SEC_TOKEN_DIRECTORY)",
        "SEC_PASSWORD_DIRECTORY": "$(MODABATCH:/etc/condor/modabatch)/keys.d",
        # The pool's own key is not here, and a file of that name from a package must not count.
        "SEC_TOKEN_POOL_SIGNING_KEY_FILE": "$(SEC_PASSWORD_DIRECTORY)/POOL",
        "SEC_TOKEN_ISSUER_KEY": _matching(setup.key.id, _HOST),
        "ALLOW_ADMINISTRATOR": f"{ADMINISTRATOR}@{setup.domain}",
        "ALLOW_READ": "*",
    }


def _work(setup: Setup) -> dict[str, str]:
    node = setup.node
    facts = {
        "ModabatchNode": string(node.id),
        "ModabatchPool": string(node.offering.pool),
        "ModabatchBorn": f"{node.requested:.0f}",
        **{label(key): string(value) for key, value in sorted(setup.labels.items())},
    }
    return {
        "SLOT_TYPE_1": "100%",
        "SLOT_TYPE_1_PARTITIONABLE": "true",
        "NUM_SLOTS_TYPE_1": "1",
        "NUM_SLOTS": "1",
        "START": f"({expression(setup.requirements).replace('$', '$(DOLLAR)')})",
        "SUSPEND": "false",
        "PREEMPT": "false",
        "KILL": "false",
        "RANK": "0",
        "MAXJOBRETIREMENTTIME": f"{setup.retirement:d}",
        **_dead_man(setup),
        **facts,
        "STARTD_ATTRS": " ".join(["$(STARTD_ATTRS)", *facts]),
    }


def _dead_man(setup: Setup) -> dict[str, str]:
    """See Note [A node that is left alone]."""
    # The startd thinks of all this with each update, and no more often.
    interval = min(max(min(setup.lease, setup.patience or setup.lease) // 4, 1), _LONGEST_SILENCE)
    return {
        "UPDATE_INTERVAL": f"{interval:d}",
        "MASTER_UPDATE_INTERVAL": f"{interval:d}",
        "STARTD_NOCLAIM_SHUTDOWN": f"{setup.patience:d}",
        "STARTD_CRON_JOBLIST": "$(STARTD_CRON_JOBLIST) MODABATCH",
        "STARTD_CRON_MODABATCH_EXECUTABLE": "$(MODABATCH:/etc/condor/modabatch)/heard.sh",
        "STARTD_CRON_MODABATCH_ARGS": setup.collector,
        "STARTD_CRON_MODABATCH_PERIOD": f"{interval:d}s",
        "STARTD_CRON_MODABATCH_MODE": "Periodic",
        "STARTD.DAEMON_SHUTDOWN": f"time() - ModabatchHeard > {setup.lease:d} && (NumDynamicSlots ?: 0) == 0",
        # The startd has ended for good, so there is nothing left to be master of.
        "MASTER.DAEMON_SHUTDOWN": f"STARTD_StartTime =?= 0 && time() - DaemonStartTime > {2 * interval:d}",
    }


def _matching(text: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"{text!r} cannot be told to HTCondor")
    return text


def label(key: str) -> str:
    """The attribute that a label is advertised as."""
    return "ModabatchLabel_" + _NO_LETTER.sub("_", key)


def string(text: str) -> str:
    """A ClassAd string.  See Note [Text from the owner]."""
    return f'"{_NOT_PLAIN.sub("?", text)}"'


def expression(text: str) -> str:
    """
    A ClassAd expression on one line; whether it is one, is not looked at.  See Note [Text from the owner].

    @raise ValueError: HTCondor cannot be told.
    """
    one_line = " ".join(text.split())
    if not one_line.isascii() or not one_line.isprintable() or one_line.endswith("\\"):
        raise ValueError(f"the requirement {text!r} cannot be told to HTCondor")
    return one_line or "true"
