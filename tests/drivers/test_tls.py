"""TLS: the certificate must be for the name that was asked for, whatever address answers."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from loopback import local_egress, read_request, request, target, turns

from crossdock.drivers.egress import EgressFailure, HttpAnswer
from crossdock.model.attempt import AnswerKind

NAME = "api.acme.example"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(server, client that trusts it): a certificate for NAME, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    start = datetime.now(UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=9))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, private = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain, private)
    return server, ssl.create_default_context(cafile=str(chain))


@pytest.mark.parametrize(
    ("host", "trusting", "answered"), [(NAME, True, True), ("other.acme.example", True, False), (NAME, False, False)]
)
async def test_only_the_right_certificate_for_the_name_is_spoken_to(
    pair: tuple[ssl.SSLContext, ssl.SSLContext], host: str, trusting: bool, answered: bool
) -> None:
    seen: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                seen.append((await read_request(reader))[0])
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=pair[0])
    port = server.sockets[0].getsockname()[1]
    async with local_egress(port, tls=pair[1] if trusting else None) as egress:
        said = [await egress.request(request(target(port, host=host, scheme="https"))) for _ in range(2)]
    server.close()
    await turns()
    assert [isinstance(one, HttpAnswer) for one in said] == [answered] * 2
    assert bool(seen) is answered
    for one in said:
        if isinstance(one, EgressFailure):
            assert (one.kind, one.code) == (AnswerKind.UNREACHABLE, "tls")
