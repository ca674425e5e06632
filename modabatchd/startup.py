"""
What must hold before the daemon starts.  Blocking; called before the reactor runs.

Note [One daemon for a directory]
=================================
Two daemons on one directory would start every job twice.  So each holds a lock on a file in it, for as long as its process
lives: a descriptor that nobody closes, inherited when twistd goes to the background, gone with the last process.
"""

from __future__ import annotations

import errno
import fcntl
import importlib.util
import os
import secrets
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modabatchd.config import Settings
from modabatchd.config.listening import options
from modabatchd.errors import StartupError
from modabatchd.notifications.signing import key, new_secret


def check_port(description: str) -> None:
    """
    See that nobody else listens where the daemon is going to.  A socket in the file system that nobody listens on any more
    is removed.

    @param description: a Twisted endpoint, as the configuration has it.
    @raise StartupError: somebody does, or nobody may.
    """
    kind, given = options(description)
    try:
        if kind == "unix":
            _free_path(Path(given["address"]))
        else:
            _try_to_bind(given)
    except OSError as problem:
        if problem.errno == errno.EADDRINUSE:
            cure = "Stop the process that does ('ss -ltnp' shows it), or choose another with --port or http.listen."
            raise StartupError(f"Another process listens on {description}.", cure) from None
        cause = f"It is not possible to listen on {description}: {problem.strerror or problem}."
        raise StartupError(cause, "Choose another with --port or http.listen.") from None


def check_background(twistd: Mapping[str, Any]) -> None:
    """
    See that twistd can write its log and its process id, when it is to go to the background.

    @param twistd: its options.
    @raise StartupError: it cannot.
    """
    if not twistd or twistd.get("nodaemon"):
        return
    for option, default in (("logfile", "twistd.log"), ("pidfile", "twistd.pid")):
        directory = Path(twistd.get(option) or default).absolute().parent
        if not os.access(directory, os.W_OK | os.X_OK):
            cause = f"twistd cannot write its {option} into {directory}."
            raise StartupError(cause, f"Name another one ('twistd --{option} FILE modabatch'), or stay in front ('twistd -n').")


def _try_to_bind(given: Mapping[str, str]) -> None:
    if given["port"] == "0":
        return
    interface = given["interface"]
    with socket.socket(socket.AF_INET6 if ":" in interface else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((interface, int(given["port"])))
        # Another socket may be bound without listening yet; only this tells.
        probe.listen(1)


def check_scaling(settings: Settings) -> None:
    """
    See that what scaling needs is there, when it is wanted.

    @raise StartupError: it is not.
    """
    wanted, needed = settings.scaling, []
    if wanted.policy is None:
        return
    if settings.queue.backend != "htcondor":
        needed.append('queue.backend = "htcondor"')
    if wanted.signing_key is None:
        needed.append("scaling.signing_key")
    if not wanted.domain:
        needed.append("scaling.domain")
    if not (wanted.collector or settings.queue.htcondor.collector):
        needed.append("scaling.collector or queue.htcondor.collector")
    if needed:
        raise StartupError(f"A scaling.policy needs {', '.join(needed)} as well.", "conf/modabatchd.toml explains them.")
    if not all(map(importlib.util.find_spec, ("libcloud", "cronsim"))):
        raise StartupError("What scaling needs is not installed.", "Install modabatchd[scaling].")


def _free_path(path: Path) -> None:
    if not path.exists():
        _try_path(path)
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise FileExistsError(errno.EEXIST, "there is a file of that name")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, "in use")


def _try_path(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.bind(str(path))
        path.unlink()


def own_directory(directory: Path, setting: str) -> None:
    """
    Make a directory that only this user can read, if it is not there, and see that files can be made in it.

    @param setting: the key of the configuration that names it.
    @raise StartupError: that is not possible.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = directory / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as problem:
        cause = f"The directory {directory} cannot be used: {problem.strerror}."
        raise StartupError(cause, f"Let the daemon's user write there, or name another one as {setting}.") from None


def lock(directory: Path) -> None:
    """
    See that no other daemon works in a directory, and that none will.  See Note [One daemon for a directory].

    @raise StartupError: one does.
    """
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        cause = f"Another modabatchd works in {directory}."
        raise StartupError(cause, "Stop it, or give this one a daemon.directory of its own.") from None


def own_secrets(directory: Path) -> tuple[str, ...]:
    """
    What notifications to no endpoint are signed with: the lines of a file that only this user can read, made if it is not
    there.

    @raise StartupError: the file cannot be used.
    """
    path = directory / "notification-secrets"
    try:
        if not path.exists():
            new = path.with_name(f".{path.name}")
            new.touch(0o600)
            new.write_text(new_secret(secrets.token_bytes) + "\n")
            new.rename(path)
        found = tuple(path.read_text().split())
        for secret in found or [""]:
            key(secret)
    except (OSError, ValueError) as problem:
        cure = "Remove it to have a new one made, or put whsec_ secrets into it, one on each line."
        raise StartupError(f"The file {path} cannot be used: {problem}.", cure) from None
    return found


def check_backend(backend: str) -> None:
    """
    See that what runs the jobs can be had, and may be used by this user.

    @raise StartupError: it cannot, or may not.
    """
    if backend == "htcondor" and importlib.util.find_spec("htcondor2") is None:
        raise StartupError("HTCondor's Python bindings are not installed.", "Install modabatchd[htcondor].")
    if backend == "htcondor" and os.geteuid() == 0:
        raise StartupError(
            "HTCondor takes no jobs of root.", "Run the daemon as an ordinary user (twistd --uid, systemd's User=)."
        )
