"""The environment of the child processes, which is also how HTCondor's client library is configured.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """
    How to reach a scheduler; what is L{None} is left to HTCondor's usual search.

    @ivar collector: C{host:port} of the pool's collector.
    @ivar schedd: the scheduler's name or machine, as C{condor_status -schedd} shows it; L{None} takes the one of this
        machine, or the only one that the collector knows.
    @ivar token_directory: holds the IDTOKEN to show, and no other (several would be tried silently).
    @ivar config_file: the C{condor_config} to read.
    """

    collector: str | None = None
    schedd: str | None = None
    token_directory: Path | None = None
    config_file: Path | None = None


def child_environment(inherited: Mapping[str, str], access: Access) -> dict[str, str]:
    """
    What a child process finds in its environment.

    Only methods that prove who we are come in: a token, or a file that the scheduler of this machine sees us make.  Against
    schedulers older than 24 the latter works only without channel binding, which a client of version 25 insists on.
    """
    ours = {
        "CONDOR_CONFIG": access.config_file,
        "_CONDOR_COLLECTOR_HOST": access.collector,
        "_CONDOR_SCHEDD_HOST": access.schedd,
        "_CONDOR_SEC_TOKEN_DIRECTORY": access.token_directory,
        "_CONDOR_SEC_CLIENT_AUTHENTICATION": "REQUIRED",
        "_CONDOR_SEC_CLIENT_INTEGRITY": "REQUIRED",
        "_CONDOR_SEC_CLIENT_ENCRYPTION": "REQUIRED",
        "_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS": "IDTOKENS,FS",
        "_CONDOR_SEC_FS_ENFORCE_CHANNEL_BINDING": "false",
    }
    return dict(inherited) | {key: str(value) for key, value in ours.items() if value is not None}
