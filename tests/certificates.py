"""Certificates for servers in tests."""

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer


@implementer(IOpenSSLServerConnectionCreator)
class SelfSigned:
    """A fresh certificate for a host name, and a server's TLS with it.  (C{CertificateOptions} makes pyOpenSSL warn.)"""

    def __init__(self, host: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        today = datetime.datetime.now(datetime.UTC)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(today - datetime.timedelta(days=1))
            .not_valid_after(today + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See L{IOpenSSLServerConnectionCreator.serverConnectionForTLS}."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(self._certificate)
        context.use_privatekey(self._key)
        return SSL.Connection(context, None)

    def write(self, path: Path) -> str:
        """Write it as a file of trusted certificates; the path comes back as text."""
        path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        return str(path)
