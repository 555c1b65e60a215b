"""SCRAM verifiers: vectors of the RFCs and of a real server, then properties."""

from __future__ import annotations

import base64
import hmac

import pytest
from ansible.module_utils import pg_scram
from hypothesis import given, settings
from hypothesis import strategies as st

SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
PENCIL = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)

# What PostgreSQL 15.18 (Debian 12) stored for these passwords: ALTER ROLE ... PASSWORD, then rolpassword.
SERVER = [
    (
        "ascii",
        "pencil",
        "SCRAM-SHA-256$4096:yx4mcP5PjUFC4GFOU8Mp6g==$"
        "Td6hxKl6LFlBWTPs1hqneaggrQOKXpDDPTZqhXsmIyQ=:ZVVYOPXbZcYVvhPMnD3Mdhfhk8xRs93Ahaz1zks5hX0=",
    ),
    (
        "quotes-and-backslash",
        "a\"b'c\\d;e",
        "SCRAM-SHA-256$4096:v+yT31e6U2WgsiWnz517qg==$"
        "qTPkFpJyVUv2p+8q8tEsyfZX2ZLXpN5T17xssCe8zkQ=:L+YfbRdefdjWOqfhIASbrTMSZkSFZCa9WjKp3yYW5mw=",
    ),
    (
        "hebrew",
        "\u05e1\u05d9\u05e1\u05de\u05d4",
        "SCRAM-SHA-256$4096:1XQgZtLNoVfoHDVhhsVvOQ==$"
        "7W9qCGQbdAW58bdckVMpBDwW1lVvAzTpa7VTGTBwF3I=:cZoipqWeFb8r4M6YFqh7Q0S9gCcUlzndI9ItnYxVmKI=",
    ),
    (
        "nfd",
        "cafe\u0301",
        "SCRAM-SHA-256$4096:Xb6Z7CxmAKKhXQvB/iCCYw==$"
        "+p6Z5o2td3suoBSJaZCj4Ml0rh+Yd5SyI7Nj4Si5RPY=:NVxJzqj38zPrwVznevUxBg2e7DACH/2j225m9IypbHM=",
    ),
    (
        "zero-width-space",
        "pass\u200bword",
        "SCRAM-SHA-256$4096:XIBvmNkT8mh8ERaa5KMChg==$"
        "QzOK6510XSkUURRl9v7eJ0XamwFq5+s9KzsJ6uNmKOU=:zB1z+EAHc7C9zkg9q8HAKRniEz6iXdxK/olu2ogLnFY=",
    ),
    (
        "soft-hyphen",
        "pass\xadword",
        "SCRAM-SHA-256$4096:ibmtmP8SfgqtduSwPihcOQ==$"
        "EYYES7dVK4sSjaf46pyS+7jGKToZh9nyBa1tPi8Cg7s=:d9HiRrYgfT6G5+RHACa6stVJqDMCOtDRcu6g3BlAmyA=",
    ),
    (
        "emoji",
        "pass\U0001f600\u2168",
        "SCRAM-SHA-256$4096:5OsT9p1kDYEgaEvAMUkcHQ==$"
        "cj95uFY56PtRL41n7S/w6hYFKjRfjWfAE6x5ed47/aU=:v7LjwgYlyNfZ99oGtYsJxIreHqdTEh3hB6zE4yLCeoE=",
    ),
    (
        "deprecated-tone-mark",
        "a\u0340",
        "SCRAM-SHA-256$4096:B985x4GVRm35P4k+vgDtUw==$"
        "Gz9vgQkkW/F+863a7WSOAs9LeD2jr7wpdJvF2dkZJ7c=:3Hbaj2zxkBDutf/G9EfU9y+MilkvfOJ2tgH7oLv/54E=",
    ),
    (
        "enclosed-digit",
        "\U0001f100x",
        "SCRAM-SHA-256$4096:/qMoiuNfDlo5GBgLCpDmlg==$"
        "qZRrJdjU30/W9wps5thnkfZueSAy/6SbTzT+wOxreac=:y5+PK7VkzAlhJ+OvSZv2cKrnubD86y5K5KOUfdwPBHg=",
    ),
    (
        "mixed-direction",
        "\u05e1a",
        "SCRAM-SHA-256$4096:4Yi1tlerhJmi1TFNNOdUXQ==$"
        "SwTFtaniLFB7wIKc8OGCvtx6kGsdaBPmYMn/rY+jeBw=:3i6O1eyXux/aqOLGI/FbgTDeeuMmZvkRD9ZSQ4S6RNI=",
    ),
    (
        "only-mapped-to-nothing",
        "\xad",
        "SCRAM-SHA-256$4096:5DEt1jdSZ4ZCYkMQ3FmQZQ==$"
        "Q3eoESFTYUoARzG1fYLivgkTAFiRV6JoI9/11zW56QY=:0TEcd1s93ntvyF6GAhUqC5ti89nOT8w7ZOQRdTy6Hz4=",
    ),
]


def test_rfc_7677_exchange():
    """The server signature of RFC 7677, section 3: it follows from ServerKey and the exchange's messages."""
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    messages = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
    verifier = pg_scram.derive("pencil", SALT, 4096)
    signature = hmac.digest(verifier.server_key, messages.encode(), "sha256")
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_written_form():
    assert str(pg_scram.derive("pencil", SALT, 4096)) == PENCIL
    assert str(pg_scram.parse(PENCIL)) == PENCIL


@pytest.mark.parametrize(("password", "stored"), [row[1:] for row in SERVER], ids=[row[0] for row in SERVER])
def test_agrees_with_the_server(password, stored):
    verifier = pg_scram.parse(stored)
    assert str(pg_scram.derive(password, verifier.salt, verifier.iterations)) == stored


PREPARED = [
    ("ascii-is-left-alone", " a  b ", b" a  b "),
    ("soft-hyphen-maps-to-nothing", "I\u00adX\u00e9", "IX\u00e9".encode()),  # RFC 4013, section 3, row 1
    ("compatibility-forms-fold", "\u00aa", b"a"),  # row 4
    ("roman-numeral-folds", "\u2168", b"IX"),  # row 5
    ("nfd-becomes-nfc", "e\u0301", "\u00e9".encode()),
    ("no-break-space-becomes-a-space", "a\u00a0b", b"a b"),
    ("zero-width-space-becomes-a-space", "a\u200bb", b"a b"),  # pg_saslprep: table C.1.2 before B.1
    ("hebrew", "\u05e1\u05d5\u05d3", "\u05e1\u05d5\u05d3".encode()),
    ("hebrew-then-latin-breaks-the-bidi-rule", "\u05e1a", "\u05e1a".encode()),
    ("unassigned-in-unicode-3.2-is-used-raw", "\U0001f600\u2168", "\U0001f600\u2168".encode()),
    (
        "prohibited-before-normalisation",
        "\u0340a",
        "\u0340a".encode(),
    ),  # NFKC would make it legal; the server is not asked
    ("maps-to-nothing-at-all", "\u00ad", "\u00ad".encode()),
]


@pytest.mark.parametrize(("password", "wanted"), [row[1:] for row in PREPARED], ids=[row[0] for row in PREPARED])
def test_prepared(password, wanted):
    assert pg_scram.prepared(password) == wanted


MALFORMED = [
    ("empty", "", "form"),
    ("other-mechanism", PENCIL.replace("256", "1"), "form"),
    ("no-server-key", PENCIL.rpartition(":")[0], "form"),
    ("iterations-not-a-number", PENCIL.replace("4096", "many"), "form"),
    ("arabic-digits", PENCIL.replace("4096", "\u0664"), "form"),
    ("no-iterations", PENCIL.replace("4096", "0"), "iteration count"),
    ("salt-not-base64", PENCIL.replace("W22Z", "W2!Z"), "salt"),
    ("short-stored-key", PENCIL.replace("WG5d8oPm3OtcPnkd", "WG5d8oPm3OtcPnk="), "base64"),
    ("short-server-key", PENCIL.rpartition(":")[0] + ":wfPLwcE6nTWhTAmQ", "ServerKey has 12 bytes"),
    ("newline-behind", PENCIL + "\n", "base64"),
]


@pytest.mark.parametrize(("text", "why"), [row[1:] for row in MALFORMED], ids=[row[0] for row in MALFORMED])
def test_refuses(text, why):
    with pytest.raises(pg_scram.ScramError, match=why) as caught:
        pg_scram.parse(text)
    assert "W22Z" not in str(caught.value)
    assert pg_scram.kind(text) == pg_scram.PLAIN


KINDS = [
    ("scram", PENCIL, "scram-sha-256"),
    ("md5", "md5" + "0a" * 16, "md5"),
    ("md5-upper-case-is-a-password", "md5" + "0A" * 16, "plain"),
    ("md5-too-short-is-a-password", "md5" + "0a" * 15, "plain"),
    ("password", "secret", "plain"),
]


@pytest.mark.parametrize(("secret", "kind"), [row[1:] for row in KINDS], ids=[row[0] for row in KINDS])
def test_kind(secret, kind):
    assert pg_scram.kind(secret) == kind


def test_md5_is_salted_with_the_name():
    # What PostgreSQL 15 stores with password_encryption=md5
    assert pg_scram.md5_secret("secret", "alice") == "md54a0a68b43b6cd5cf266fa02f196e2371"


@settings(max_examples=40, deadline=None)
@given(
    password=st.text(min_size=1, max_size=40),
    other=st.text(min_size=1, max_size=40),
    salt=st.binary(min_size=1, max_size=24),
)
def test_a_verifier_knows_its_password(password, other, salt):
    password, other = (x.encode("utf-8", "ignore").decode() or "x" for x in (password, other))
    verifier = pg_scram.parse(str(pg_scram.derive(password, salt, 2)))
    assert pg_scram.matches(password, verifier)
    assert pg_scram.accepts(str(verifier), password, "whoever")
    same = pg_scram.prepared(password) == pg_scram.prepared(other)
    assert pg_scram.matches(other, verifier) is same


def test_new_verifiers_never_share_a_salt():
    assert pg_scram.new("pencil", 2) != pg_scram.new("pencil", 2)
