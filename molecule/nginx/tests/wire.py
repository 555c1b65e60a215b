"""Raw HTTP to the host, as no client library would send it, and certificates that nobody should accept."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import os
import socket
import ssl
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAME = "tovplay-nginx"
SECRETS = yaml.safe_load((Path(__file__).parents[2] / "shared/group_vars/all/secrets.yml").read_text())


def authority_directory() -> Path:
    return Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent / "pki"


class Answer:
    def __init__(self, raw: bytes, client_port: int) -> None:
        self.client_port = client_port
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        # HTTP/0.9 has no status, and a client that is cut off gets none.
        self.status = int(lines[0].split()[1]) if lines[0].startswith("HTTP/") else 0
        self.headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]

    def all(self, name: str) -> list[str]:
        return [value for header, value in self.headers if header == name]


def send(address: str, port: int, request: bytes, *, certificate: tuple[Path, Path] | None = None, tls: bool = True):
    """The answer to these very bytes."""
    raw = b""
    with socket.create_connection((address, port), timeout=20) as plain:
        stream = context(certificate).wrap_socket(plain, server_hostname=NAME) if tls else plain
        client_port = stream.getsockname()[1]
        with contextlib.suppress(ConnectionError, ssl.SSLError):  # nginx hangs up on what it does not want to hear
            stream.sendall(request)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while part := stream.recv(65536):
                raw += part
    return Answer(raw, client_port)


def context(certificate: tuple[Path, Path] | None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(authority_directory() / "ca.crt"))
    if certificate:
        made.load_cert_chain(*map(str, certificate))
    return made


def request(method: str, target: str | bytes, headers: dict | list = (), body: bytes = b"") -> bytes:
    target = target.encode() if isinstance(target, str) else target
    lines = [method.encode() + b" " + target + b" HTTP/1.1", b"Host: " + NAME.encode(), b"Connection: close"]
    pairs = headers.items() if isinstance(headers, dict) else headers
    lines += [name.encode() + b": " + (value if isinstance(value, bytes) else value.encode()) for name, value in pairs]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def session(address: str, port: int) -> http.client.HTTPSConnection:
    """A connection that stays open."""
    connection = http.client.HTTPSConnection(NAME, port, context=context(None), timeout=20)
    connection.sock = context(None).wrap_socket(socket.create_connection((address, port)), server_hostname=NAME)
    return connection


def new_certificate(
    directory: Path, names: list[tuple[x509.ObjectIdentifier, str]], *, days: int = 1, own_authority=False
):
    """Paths of a client certificate and its key, signed by the platform's authority unless it has one of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    if own_authority:
        issuer, issuer_key = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TovPlay platform CA")]), key
    else:
        authority = authority_directory()
        issuer = x509.load_pem_x509_certificate((authority / "ca.crt").read_bytes()).subject
        passphrase = SECRETS["vault_pki_ca_passphrase"].encode()
        issuer_key = serialization.load_pem_private_key((authority / "ca.key").read_bytes(), passphrase)
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(oid, value) for oid, value in names]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=10))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    certificate_path, key_path = directory / "client.crt", directory / "client.key"
    certificate_path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_path, key_path
