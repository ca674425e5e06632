"""
An HTTP client that reaches only allowed addresses.

Note [The address checked is the address connected]
===================================================
Checking the address of a host and then letting a client look the host up once more leaves a gap: the second answer may be
another one.  Here the check sits in the name resolver that the connection itself uses, so there is no second look.  Address
literals, in whatever spelling (C{[::1]}, C{127.1}, C{2130706433}), go through the same resolver.  Redirects are not followed,
because each would be another request of the receiver's choice, and no proxy stands between.

Note [Connections that a receiver holds open]
=============================================
A receiver that never answers TLS's closing alert would keep its connection for ever, even after the response: Twisted waits
for that alert.  So every connection is aborted below TLS when its time is over, whatever state it is in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHostnameResolver,
    IHostResolution,
    IProtocol,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.python.components import proxyForInterface
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

#: Decides on an address in its usual text form.
Allowed = Callable[[str], bool]


def guarded_client(reactor: Any, allowed: Allowed, timeout: float) -> HTTPClient:
    """A treq client over a L{GuardedAgent}, which explains the arguments."""
    return HTTPClient(GuardedAgent(reactor, allowed, timeout), data_to_body_producer=_Whole)


@implementer(IAgent)
class GuardedAgent:
    """
    An agent for http and https that reaches only allowed addresses.

    It hides the headers of a response by which a receiver could make a client keep or unpack something.
    """

    def __init__(self, reactor: Any, allowed: Allowed, timeout: float) -> None:
        """
        @param timeout: seconds to connect to each address of a host, and then the longest life of a connection.
        """
        endpoints = _GuardedEndpoints(_GuardedReactor(reactor, allowed), timeout)
        self._agent = Agent.usingEndpointFactory(reactor, endpoints, HTTPConnectionPool(reactor, persistent=False))

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """See L{IAgent.request}.  A host without an allowed address fails with C{DNSLookupError}."""
        requested: Deferred[IResponse] = self._agent.request(method, uri, headers, bodyProducer)
        return requested.addCallback(_hidden)


def _hidden(response: IResponse) -> IResponse:
    # A jar would keep cookies for ever; a decoder would blow up a bomb.
    for name in (b"set-cookie", b"content-encoding"):
        response.headers.removeHeader(name)
    return response


@implementer(IAgentEndpointFactory)
class _GuardedEndpoints:
    """Makes the endpoints that an agent connects to."""

    def __init__(self, reactor: _GuardedReactor, timeout: float) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self._tls = BrowserLikePolicyForHTTPS()

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """See L{IAgentEndpointFactory.endpointForURI}."""
        endpoint = _MortalEndpoint(self._reactor, uri.host.decode("ascii"), uri.port, self._timeout)
        if uri.scheme == b"http":
            return endpoint
        if uri.scheme == b"https":
            return wrapClientTLS(self._tls.creatorForNetloc(uri.host, uri.port), endpoint)
        raise SchemeNotSupported(f"{uri.scheme!r} is neither http nor https")


class _MortalEndpoint(HostnameEndpoint):
    """An endpoint whose connections end in time.  See Note [Connections that a receiver holds open]."""

    def __init__(self, reactor: _GuardedReactor, host: str, port: int, timeout: float) -> None:
        super().__init__(reactor, host, port, timeout)
        self._clock = reactor
        self._life = timeout

    def connect(self, protocolFactory: Any) -> Deferred[IProtocol]:
        """See L{HostnameEndpoint.connect}."""
        protocolFactory.noisy = False
        return super().connect(protocolFactory).addCallback(self._limit)

    def _limit(self, protocol: Any) -> Any:
        self._clock.callLater(self._life, protocol.transport.abortConnection)
        return protocol


@implementer(IReactorPluggableNameResolver)
class _GuardedReactor(proxyForInterface(IReactorTime), proxyForInterface(IReactorTCP)):  # type: ignore[misc]
    """A reactor whose name resolver finds allowed addresses only."""

    def __init__(self, reactor: Any, allowed: Allowed) -> None:
        super().__init__(reactor)
        self.nameResolver = _GuardedResolver(reactor.nameResolver, allowed)

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """See L{IReactorPluggableNameResolver.installNameResolver}; not to be had here."""
        raise NotImplementedError


@implementer(IHostnameResolver)
class _GuardedResolver:
    """A resolver that drops the addresses that are not allowed."""

    def __init__(self, resolver: IHostnameResolver, allowed: Allowed) -> None:
        self._resolver = resolver
        self._allowed = allowed

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """See L{IHostnameResolver.resolveHostName}."""
        receiver = _AllowedOnly(resolutionReceiver, self._allowed)
        return self._resolver.resolveHostName(receiver, hostName, portNumber, addressTypes, transportSemantics)


class _AllowedOnly(proxyForInterface(IResolutionReceiver)):  # type: ignore[misc]
    """A receiver that does not hear of addresses that are not allowed."""

    def __init__(self, original: IResolutionReceiver, allowed: Allowed) -> None:
        super().__init__(original)
        self._allowed = allowed

    def addressResolved(self, address: Any) -> None:
        """See L{IResolutionReceiver.addressResolved}."""
        if self._allowed(address.host):
            self.original.addressResolved(address)


@implementer(IBodyProducer)
class _Whole:
    """A small body, written at once.  treq's own producer would need the global reactor to write it bit by bit."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """See L{IBodyProducer.startProducing}."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """See L{IPushProducer.pauseProducing}; there is nothing left to pause."""

    def resumeProducing(self) -> None:
        """See L{IPushProducer.resumeProducing}; nothing was paused."""

    def stopProducing(self) -> None:
        """See L{IProducer.stopProducing}; there is nothing left to stop."""
