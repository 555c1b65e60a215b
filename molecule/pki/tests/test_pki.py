"""A host's certificate is good for what it is meant for, and for nothing else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

testinfra_hosts = ["docker://tovplay-pki"]
PKI = "/etc/tovplay/pki"


def test_certificate_is_signed_by_the_authority_for_server_and_client(host):
    for purpose in ("sslserver", "sslclient"):
        said = host.check_output(f"openssl verify -purpose {purpose} -CAfile {PKI}/ca.crt {PKI}/host.crt")
        assert said.endswith("OK")


def test_names_of_the_host(host):
    text = host.check_output(f"openssl x509 -in {PKI}/host.crt -noout -subject -ext subjectAltName")
    for name in ("CN = tovplay-pki", "DNS:tovplay-pki", "DNS:localhost", "IP Address:127.0.0.1"):
        assert name in text


def test_only_root_and_the_group_read_the_key(host):
    key = host.file(f"{PKI}/host.key")
    assert (key.user, key.group, oct(key.mode)) == ("root", "tovplay-pki", "0o640")
    assert key.gid == 6400
    assert host.run(f"su -s /bin/sh nobody -c 'cat {PKI}/host.key'").rc != 0


def test_handshake_succeeds_with_our_authority_and_fails_without(host):
    server = f"openssl s_server -quiet -accept 127.0.0.1:7443 -cert {PKI}/host.crt -key {PKI}/host.key"
    host.check_output(f"systemd-run --quiet --unit trial-server {server}")
    try:
        client = "openssl s_client -connect 127.0.0.1:7443 -verify_hostname tovplay-pki -verify_return_error"
        retried = f"for _ in 1 2 3 4 5; do {client} -CAfile {PKI}/ca.crt </dev/null && exit 0; sleep 0.3; done; exit 1"
        assert host.run(retried).rc == 0
        assert host.run(f"{client} -CAfile /etc/ssl/certs/ca-certificates.crt </dev/null").rc != 0
    finally:
        host.check_output("systemctl stop trial-server")


def test_the_authoritys_key_stays_on_the_controller_and_is_encrypted(host):
    key = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "inventory/pki/ca.key"
    assert "ENCRYPTED" in key.read_text(encoding="ascii")
    assert oct(key.stat().st_mode & 0o777) == "0o600"
    assert host.run("find / -xdev -name ca.key").stdout == ""


def test_a_new_name_renews_the_certificate_and_keeps_the_key(host, converge):
    before = host.check_output(f"sha256sum {PKI}/host.key")
    done = converge(pki_host_names=["tovplay-pki", "localhost", "logs.example"])
    assert done.returncode == 0, done.stdout
    assert "DNS:logs.example" in host.check_output(f"openssl x509 -in {PKI}/host.crt -noout -ext subjectAltName")
    assert host.check_output(f"sha256sum {PKI}/host.key") == before
    assert converge().returncode == 0


def test_a_certificate_about_to_end_is_renewed(converge):
    assert "changed=0" in converge().stdout
    assert "changed=0" not in converge(pki_renew_before_days=398, pki_host_days=400).stdout
    assert "changed=0" in converge(pki_renew_before_days=398, pki_host_days=400).stdout


@pytest.fixture
def given(tmp_path):
    """Two pairs made by openssl: one whose certificate fits its authority, one whose does not."""

    def make(name: str) -> tuple[str, str]:
        command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name}"
        subprocess.run([*command.split(), "-keyout", f"{name}.key", "-out", f"{name}.crt"], cwd=tmp_path, check=True)
        return (tmp_path / f"{name}.crt").read_text(), (tmp_path / f"{name}.key").read_text()

    return make("one"), make("two")


def test_given_certificates_that_do_not_fit_their_authority_never_land(host, converge, given):
    (one, key), (two, _) = given
    before = host.check_output(f"sha256sum {PKI}/ca.crt {PKI}/host.crt {PKI}/host.key")
    done = converge(pki_given={"ca": two, "certificate": one, "key": key})
    assert done.returncode != 0
    assert host.check_output(f"sha256sum {PKI}/ca.crt {PKI}/host.crt {PKI}/host.key") == before
    assert key.splitlines()[1] not in done.stdout


@pytest.mark.parametrize("passphrase", ["", "short", "CHANGE_ME_PLEASE"])
def test_a_useless_passphrase_is_refused(refusal, passphrase):
    refusal("vault_pki_ca_passphrase is missing, a placeholder or shorter than 12", vault_pki_ca_passphrase=passphrase)


def test_half_a_set_of_given_certificates_is_refused(refusal):
    refusal("pki_given lacks key; give all three, or none.", pki_given={"ca": "x", "certificate": "x"})
