# Copyright: the TovPlay platform's contributors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stored secrets as PostgreSQL and PgBouncer write them: SCRAM-SHA-256 verifiers (RFC 5802, RFC 7677) and md5.

Pure functions on values. A verifier cannot be turned back into a password, but with its salt and iteration count a
password can be checked against it; that is what lets a second run recognise an unchanged password.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import hmac
import os
import re
import unicodedata

from ansible_collections.community.postgresql.plugins.module_utils.saslprep import (
    mapping_profile,
    prohibited_output_profile,
)

DEFAULT_ITERATIONS = 4096
SALT_BYTES = 16
KEY_BYTES = 32

PLAIN = "plain"
MD5 = "md5"
SCRAM = "scram-sha-256"

_SCRAM_PREFIX = "SCRAM-SHA-256$"
_SCRAM = re.compile(
    r"SCRAM-SHA-256\$(?P<iterations>\d+):(?P<salt>[^$:]+)\$(?P<stored>[^$:]+):(?P<server>[^$:]+)", re.ASCII
)
_MD5 = re.compile(r"md5[0-9a-f]{32}")


class ScramError(ValueError):
    """Text that claims to be a SCRAM verifier and is none; the message never quotes it."""


@dataclasses.dataclass(frozen=True, repr=False)
class Verifier:
    """What a server stores instead of the password."""

    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes

    def __str__(self) -> str:
        return f"{_SCRAM_PREFIX}{self.iterations}:{_b64(self.salt)}${_b64(self.stored_key)}:{_b64(self.server_key)}"


def parse(text: str) -> Verifier:
    found = _SCRAM.fullmatch(text)
    if not found:
        raise ScramError("it is not of the form SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>")
    iterations = int(found["iterations"])
    if not 1 <= iterations <= 2**31 - 1:
        raise ScramError(f"its iteration count {iterations} is outside 1 to 2147483647")
    verifier = Verifier(iterations, *(_unb64(found[part], part) for part in ("salt", "stored", "server")))
    for name, key in (("StoredKey", verifier.stored_key), ("ServerKey", verifier.server_key)):
        if len(key) != KEY_BYTES:
            raise ScramError(f"its {name} has {len(key)} bytes, SHA-256 makes {KEY_BYTES}")
    return verifier


def derive(password: str, salt: bytes, iterations: int) -> Verifier:
    """The one verifier of this password, salt and iteration count (RFC 5802, section 3)."""
    salted = hashlib.pbkdf2_hmac("sha256", prepared(password), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return Verifier(iterations, salt, hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256"))


def new(password: str, iterations: int = DEFAULT_ITERATIONS) -> Verifier:
    return derive(password, os.urandom(SALT_BYTES), iterations)


def matches(password: str, verifier: Verifier) -> bool:
    again = derive(password, verifier.salt, verifier.iterations)
    return hmac.compare_digest(again.stored_key + again.server_key, verifier.stored_key + verifier.server_key)


def md5_secret(password: str, name: str) -> str:
    """The legacy secret: it is salted with nothing but the user's name."""
    return "md5" + hashlib.md5((password + name).encode(), usedforsecurity=False).hexdigest()


def kind(secret: str) -> str:
    """How PostgreSQL and PgBouncer read a stored secret: what is no verifier and no md5 is a plain password."""
    if _MD5.fullmatch(secret):
        return MD5
    try:
        parse(secret)
    except ScramError:
        return PLAIN
    return SCRAM


def looks_stored(password: str) -> bool:
    """Whether a password was probably meant to be a stored secret, well formed or not."""
    return kind(password) != PLAIN or password.startswith(_SCRAM_PREFIX)


def accepts(secret: str, password: str, name: str) -> bool:
    """Whether a server that stores `secret` for this user lets this password in."""
    read_as = kind(secret)
    if read_as == SCRAM:
        return matches(password, parse(secret))
    wanted = md5_secret(password, name) if read_as == MD5 else password
    return hmac.compare_digest(secret.encode(), wanted.encode())


def prepared(password: str) -> bytes:
    """SASLprep (RFC 4013) the way pg_saslprep does it, since a client must arrive at the very same bytes.

    Three deliberate differences from community.postgresql's saslprep(), each proved against the server by the
    role's scenario: U+200B, which two tables of RFC 3454 claim, becomes a space; the tables of prohibited characters
    judge the text before normalisation; and what they prohibit is no error, the password is then used as it stands.
    """
    if password.isascii():
        return password.encode()
    mapped = mapping_profile(password.replace("\u200b", " "))
    try:
        if not mapped:
            return password.encode()
        prohibited_output_profile(mapped)
    except ValueError:
        return password.encode()
    return unicodedata.normalize("NFKC", mapped).encode()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unb64(text: str, part: str) -> bytes:
    try:
        return base64.b64decode(text.encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ScramError(f"its {part} field is not base64") from error
