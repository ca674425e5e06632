"""
C{twistd modabatch}: its options, and what has to be in order before the daemon is put together.

Note [Before anything is changed]
=================================
What can be wrong with the surroundings is found out first, in the order in which mending it is cheapest: the configuration,
the user, the port, the directories, the lock, the database.  Each mistake is one readable line, and the exit status 1.  All of
that happens before twistd goes to the background, and as the user that twistd will become, so that files belong to whoever has
to write them later.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from twisted.application.service import Service
from twisted.python import usage
from twisted.python.util import runAsEffectiveUser

from modabatchd import __version__, config, startup
from modabatchd.clocks import go_steadily
from modabatchd.config import Settings
from modabatchd.daemon import Daemon
from modabatchd.errors import ModabatchError
from modabatchd.store.claiming import claim_file
from modabatchd.store.connecting import read_url
from modabatchd.store.preparing import prepare

T = TypeVar("T")


class Options(usage.Options):
    """The options of C{twistd modabatch}."""

    synopsis = "[--config FILE] [--port ENDPOINT] [--dry-run]"
    longdesc = (
        "A batch queue over HTTP in front of HTCondor. Without a configuration it listens on http://127.0.0.1:5000, runs "
        "jobs on this machine alone, and keeps its state in ~/.local/state/modabatchd. Every key of the configuration can "
        "also be set by an environment variable: MODABATCH_QUEUE__BACKEND=htcondor."
    )
    optFlags = [["dry-run", None, "Start and stop no node, only tell what would be done (overrides scaling.dry_run)."]]
    optParameters = [
        ["config", "c", None, "The configuration, a TOML file; conf/modabatchd.toml explains every key.", Path],
        ["port", "p", None, "Where to listen: a port of 127.0.0.1, or a Twisted endpoint (overrides http.listen)."],
    ]

    def opt_version(self) -> None:
        """Display the version of modabatchd and exit."""
        print(f"modabatchd {__version__}")
        raise SystemExit(0)


def makeService(options: Options) -> Service:
    """
    The daemon, ready to be started.

    @raise SystemExit: with one line for each mistake.  See Note [Before anything is changed].
    """
    try:
        settings = _asked_for(options, config.load(options["config"], os.environ, options["port"]))
        startup.check_background(options.parent or {})
        return _as_user(options.parent or {}, lambda: _prepared(settings))
    except ModabatchError as problem:
        raise SystemExit(f"{problem.cause}{' ' if problem.cause.endswith('.') else chr(10)}{problem.cure}") from None


def _asked_for(options: Options, settings: Settings) -> Settings:
    """The settings, with what the command line says beside them."""
    replace = msgspec.structs.replace
    return replace(settings, scaling=replace(settings.scaling, dry_run=True)) if options["dry-run"] else settings


def _as_user(twistd: Mapping[str, Any], work: Callable[[], T]) -> T:
    """Do something as the user that twistd becomes once it runs."""
    uid, gid = twistd.get("uid"), twistd.get("gid")
    if uid is None and gid is None:
        return work()
    result: T = runAsEffectiveUser(os.geteuid() if uid is None else uid, os.getegid() if gid is None else gid, work)
    return result


def _prepared(settings: Settings) -> Service:
    """See Note [Before anything is changed]."""
    from twisted.internet import reactor  # Not before twistd has chosen one.

    go_steadily(reactor)
    startup.check_backend(settings.queue.backend)
    startup.check_scaling(settings)
    read_url(settings.store.url)
    startup.check_port(settings.http.listen)
    places = {settings.daemon.directory: "daemon.directory", settings.spool.directory: "spool.directory"}
    for directory, setting in places.items():
        startup.own_directory(directory, setting)
    for directory in places:
        startup.lock(directory)
    claim_file(settings.store.url)
    return Daemon(reactor, settings, prepare(settings.store.url, settings.queue.backend)).service()
