"""A real PostgreSQL server of the user who starts it, with one empty database, reached through a socket in its own folder."""

import os
import subprocess
from pathlib import Path

import processes
import programs

# It need not survive a crash of the machine; what would compile queries is not unpacked.
SETTINGS = {"listen_addresses": "", "fsync": "off", "full_page_writes": "off", "jit": "off", "max_connections": "50"}
INITDB = ("--auth=trust", "--username=test", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")


class PostgreSQL:
    """A PostgreSQL server whose files lie below a folder of their own.

    @param state: the folder; its path must leave room for a socket's name (108 bytes in all).
    @param tree: where C{tools/programs} unpacked PostgreSQL, if it did.
    """

    def __init__(self, state: Path, tree: Path) -> None:
        self._bin = programs.postgresql(tree)
        self._data = state / "postgresql"
        self._sockets = state / "sockets"
        self._log = state / "postgresql.log"
        self._environment = {"PATH": os.defpath, "PGHOST": str(self._sockets), "PGUSER": "test", "LC_ALL": "C.UTF-8"}

    def start(self) -> subprocess.Popen[bytes]:
        """Make the database and start the server.

        @raise processes.DidNotStart: it did not answer.
        """
        self._sockets.mkdir(mode=0o700)
        made = self._run("initdb", "-D", str(self._data), *INITDB)
        if made.returncode:
            raise processes.DidNotStart(f"PostgreSQL could not make its database:\n{made.stdout}")
        settings = [f"--{name}={value}" for name, value in {**SETTINGS, "unix_socket_directories": str(self._sockets)}.items()]
        server = processes.start([self._bin / "postgres", "-D", self._data, *settings], self._environment, self._log)
        processes.until(self._answers, server, "PostgreSQL", self._log)
        self._run("createdb", "modabatch")
        return server

    def environment(self) -> dict[str, str]:
        """What the tests are told of the server."""
        return {"MODABATCH_TEST_POSTGRESQL": f"postgresql+psycopg://test@/modabatch?host={self._sockets}"}

    def _answers(self) -> bool:
        return self._run("pg_isready", "-q").returncode == 0

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._bin / program, *arguments],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd="/",
        )
