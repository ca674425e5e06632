"""
The settings.  Each field's annotation says how it is read; C{conf/modabatchd.toml} explains each to its owner.

Durations are seconds, sizes are bytes.  C{Path()} and the empty URL stand for defaults that
L{modabatchd.config.load} fills in, so that nobody else sees them.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from modabatchd.config.kinds import (
    database,
    directory,
    duration,
    endpoint,
    flag,
    hosts,
    integer,
    networks,
    one_of,
    optional_path,
    size,
    text,
    url,
)
from modabatchd.queue.indices import MOST


class DaemonSettings(msgspec.Struct, frozen=True, kw_only=True):
    """@ivar directory: where the daemon keeps what it must not lose."""

    directory: Annotated[Path, directory()] = Path()


class HTTPSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    The front.

    @ivar listen: a Twisted endpoint description.
    @ivar allowed_hosts: names that a Host header may hold beside those of loopback, without ports.
    @ivar max_request_size: bytes of a request's body.
    @ivar header_timeout: seconds until the headers of a request must be complete.
    @ivar key_retention: seconds for which an Idempotency-Key is known.
    @ivar body_timeout: seconds in each of which spans a body must bring 64 KiB, or its end.
    """

    listen: Annotated[str, endpoint()] = "tcp:5000:interface=127.0.0.1"
    allowed_hosts: Annotated[tuple[str, ...], hosts()] = ()
    max_request_size: Annotated[int, size()] = 2 << 30
    header_timeout: Annotated[float, duration(above_zero=True)] = 30.0
    body_timeout: Annotated[float, duration(above_zero=True)] = 60.0
    key_retention: Annotated[float, duration(above_zero=True)] = 7 * 86400.0
    access_log: Annotated[bool, flag()] = False


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """@ivar url: the database, as SQLAlchemy writes it."""

    url: Annotated[str, database()] = ""


class SpoolSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    The files of jobs.

    @ivar quota: bytes.
    @ivar retention: seconds for which a finished job is kept.
    """

    directory: Annotated[Path, directory()] = Path()
    quota: Annotated[int, size()] = 50 << 30
    retention: Annotated[float, duration()] = 30 * 86400.0


class BundleSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle may hold at most."""

    max_members: Annotated[int, integer(1)] = 100_000
    max_unpacked_size: Annotated[int, size()] = 20 << 30
    max_compression_ratio: Annotated[int, integer(1)] = 250


class EmbeddedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    The queue on this machine alone.

    @ivar slots: how many cores the jobs that run may ask for together; 0 for all that the machine has.
    @ivar on_shutdown: what becomes of running jobs when the daemon stops.
    @ivar grace: seconds that a job has between SIGTERM and SIGKILL.
    """

    slots: Annotated[int, integer(0)] = 0
    on_shutdown: Annotated[Literal["rerun", "remove"], one_of("rerun", "remove")] = "rerun"
    grace: Annotated[float, duration()] = 10.0


class HTCondorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    The queue on an HTCondor pool.

    @ivar config_file: the HTCondor configuration to use; L{None} for HTCondor's own search.
    @ivar collector: C{host} or C{host:port}; empty for the configuration's.
    @ivar schedd: its name; empty for the local one.
    @ivar token_directory: holds the IDTOKENs to use; L{None} for HTCondor's own search.
    @ivar transfer: whether schedd and daemon share a file system (C{direct}), or files are sent (C{spool}).
    @ivar query_timeout: seconds; so are the other two.
    """

    config_file: Annotated[Path | None, optional_path()] = None
    collector: Annotated[str, text()] = ""
    schedd: Annotated[str, text()] = ""
    token_directory: Annotated[Path | None, optional_path()] = None
    transfer: Annotated[Literal["auto", "direct", "spool"], one_of("auto", "direct", "spool")] = "auto"
    query_timeout: Annotated[float, duration(above_zero=True)] = 5.0
    submit_timeout: Annotated[float, duration(above_zero=True)] = 15.0
    transfer_timeout: Annotated[float, duration(above_zero=True)] = 3600.0


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    The queue.

    @ivar poll_interval: seconds between two questions to a scheduler for changes.
    @ivar sweep_interval: seconds between two looks at all jobs.
    @ivar max_array_size: how many tasks a job array may have.
    """

    backend: Annotated[Literal["embedded", "htcondor"], one_of("embedded", "htcondor")] = "embedded"
    poll_interval: Annotated[float, duration(above_zero=True)] = 2.0
    sweep_interval: Annotated[float, duration(above_zero=True)] = 300.0
    max_array_size: Annotated[int, integer(1, MOST)] = 10_000
    embedded: EmbeddedSettings = EmbeddedSettings()
    htcondor: HTCondorSettings = HTCondorSettings()


class NotificationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    Completion notifications.

    @ivar allowed_private: networks that are not public and may be notified all the same.
    @ivar timeout: seconds that one try may take.
    @ivar secret_overlap: seconds for which an endpoint's old secret goes on beside a new one.
    """

    allowed_private: Annotated[tuple[IPv4Network | IPv6Network, ...], networks()] = (
        ip_network("127.0.0.0/8"),
        ip_network("::1/128"),
    )
    timeout: Annotated[float, duration(above_zero=True)] = 15.0
    secret_overlap: Annotated[float, duration()] = 86400.0


class ScalingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    Nodes that come and go.

    @ivar policy: the file with the policy; L{None}: nothing is scaled.
    @ivar signing_key: the file with the pool's key that signs nodes' tokens; its name is the key's.
    @ivar domain: the pool's C{TRUST_DOMAIN} and C{UID_DOMAIN}.
    @ivar collector: as nodes reach it; empty: as the daemon does.
    @ivar private: whether the pool cannot connect to its nodes.
    @ivar interval: seconds between two looks when nothing calls for one.
    @ivar dry_run: whether nothing is done of what is decided, whatever the policy says.
    @ivar notification: the URL to which it is posted what only the owner can mend; empty for none.
    """

    policy: Annotated[Path | None, optional_path()] = None
    signing_key: Annotated[Path | None, optional_path()] = None
    domain: Annotated[str, text()] = ""
    collector: Annotated[str, text()] = ""
    private: Annotated[bool, flag()] = False
    interval: Annotated[float, duration(above_zero=True)] = 5.0
    dry_run: Annotated[bool, flag()] = False
    notification: Annotated[str, url()] = ""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, one struct for each table of the file."""

    daemon: DaemonSettings = DaemonSettings()
    http: HTTPSettings = HTTPSettings()
    store: StoreSettings = StoreSettings()
    spool: SpoolSettings = SpoolSettings()
    bundle: BundleSettings = BundleSettings()
    queue: QueueSettings = QueueSettings()
    notifications: NotificationSettings = NotificationSettings()
    scaling: ScalingSettings = ScalingSettings()
