"""
A stand-in for htcondor-restd, which is not in the package index: what it documents of jobs, as directly as can be.

Usage: python -m benchmarks.peers.restd PORT COLLECTOR SCHEDD TOKEN_DIRECTORY CONFIG_FILE

Flask with one worker, in Twisted's server; every request is a query to the scheduler.  C{GET /v1/jobs?projection=A,B} lists
jobs, and C{GET /v1/jobs/CLUSTER/PROC} shows one with all of its attributes.  It keeps the connection to its client, and the
address of the scheduler, which is to its advantage.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, request
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.python.threadpool import ThreadPool
from twisted.web.wsgi import WSGIResource

from benchmarks.peers.hello import Quiet
from modabatchd.queue.htcondor.environment import Access, child_environment


def application(schedd: str) -> Flask:
    """The application; htcondor2 reads its configuration when it is imported."""
    import htcondor2

    location = htcondor2.Collector().locate(htcondor2.DaemonType.Schedd, schedd)
    flask = Flask(__name__)

    def shown(constraint: str, attributes: list[str]) -> list[dict[str, Any]]:
        ads = htcondor2.Schedd(location).query(constraint, attributes)
        return [{"jobid": f"{ad['ClusterId']}.{ad['ProcId']}", "classad": _plain(ad)} for ad in ads]

    @flask.get("/v1/jobs")
    def jobs() -> Response:
        projection = request.args.get("projection", "")
        return jsonify(shown("true", projection.split(",") if projection else []))

    @flask.get("/v1/jobs/<int:cluster>/<int:proc>")
    def job(cluster: int, proc: int) -> Response:
        found = shown(f"ClusterId == {cluster:d} && ProcId == {proc:d}", [])
        return jsonify(found[0])

    return flask


def _plain(ad: Any) -> dict[str, Any]:
    return {name.lower(): value if isinstance(value, int | float | str) else str(value) for name, value in ad.items()}


def main() -> None:
    """Do what the module's text says."""
    _, port, collector, schedd, tokens, configuration = sys.argv
    access = Access(collector=collector, schedd=schedd, token_directory=Path(tokens), config_file=Path(configuration))
    os.environ.update(child_environment(os.environ, access))
    worker = ThreadPool(1, 1)
    reactor.callWhenRunning(worker.start)
    reactor.addSystemEventTrigger("after", "shutdown", worker.stop)
    resource = WSGIResource(reactor, worker, application(schedd))
    serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1").listen(Quiet(resource))
    reactor.run()


if __name__ == "__main__":
    main()
