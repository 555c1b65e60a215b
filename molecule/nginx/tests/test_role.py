"""The role: foreign files stay, a bad configuration never lands, a broken converge is finished by the next."""

from __future__ import annotations

import time

import pytest
from wire import NAME, SECRETS, request, send

testinfra_hosts = [f"docker://{NAME}"]

APP = {"name": "tovplay", "type": "app", "server_names": [NAME], "upstream": "127.0.0.1:8000"}
GATEWAY = {"name": "gate", "type": "loki_gateway", "port": 3443, "upstream": "127.0.0.1:3100", "push_clients": [NAME]}


def test_the_daemon_runs_and_starts_at_boot(host):
    assert host.service("nginx").is_running
    assert host.service("nginx").is_enabled


@pytest.mark.parametrize("path", ["access.json.log", "gateway.json.log", "error-requests.log"])
def test_logs_are_not_for_everybody(host, path):
    log = host.file(f"/var/log/nginx/{path}")
    assert (log.mode, log.user, log.group) == (0o640, "www-data", "adm")


def test_the_welcome_page_is_gone(host):
    assert not host.file("/etc/nginx/sites-enabled/default").exists
    assert host.file("/etc/nginx/sites-available/default").exists


def test_old_tls_is_refused(host):
    for version in ("-tls1", "-tls1_1"):
        refused = host.run(f"openssl s_client -connect 127.0.0.1:443 {version} -cipher ALL:@SECLEVEL=0 </dev/null")
        assert refused.rc != 0
    for version in ("-tls1_2", "-tls1_3"):
        assert host.run(f"openssl s_client -connect 127.0.0.1:443 {version} </dev/null").rc == 0


def test_the_status_page_is_for_this_host_only(host, address):
    assert len(host.check_output("python3 -c %s", READ_GENERATION)) == 64
    with pytest.raises(ConnectionRefusedError):
        send(address, 8090, b"GET /generation HTTP/1.0\r\n\r\n", tls=False)


READ_GENERATION = (
    "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:8090/generation').read().decode())"
)


def test_rotation_loses_nothing(host, logged):
    host.check_output("rm -f /var/log/nginx/*.log.1")
    logged(request("GET", "/before-rotation"))
    host.check_output("logrotate --force /etc/logrotate.d/nginx")
    for _ in range(40):
        if host.file("/var/log/nginx/access.json.log").exists:
            break
        time.sleep(0.1)
    time.sleep(0.5)
    logged(request("GET", "/after-rotation"))
    assert "/before-rotation" in host.file("/var/log/nginx/access.json.log.1").content_string
    assert host.file("/var/log/nginx/access.json.log").mode == 0o640


# Each test below leaves what it changed to the next one's converge; the last of them comes back to the scenario's own.


def test_a_foreign_site_stays_and_is_served(host, converge, address):
    foreign = "server { listen 8081; location / { return 200 foreign; } }"
    host.check_output("printf %%s %s > /etc/nginx/sites-enabled/foreign", foreign)
    done = converge(nginx_sites=[APP | {"hsts_max_age": 60}, GATEWAY])
    assert done.returncode == 0, done.stdout[-2000:]
    assert send(address, 8081, request("GET", "/"), tls=False).body == b"foreign"
    assert send(address, 443, request("GET", "/")).all("strict-transport-security") == ["max-age=60"]
    assert host.check_output("cat /etc/nginx/sites-enabled/foreign") == foreign
    host.check_output("rm /etc/nginx/sites-enabled/foreign")


def test_a_converge_killed_before_the_reload_is_finished_by_the_next(host, converge, ask):
    # As a kill leaves it: the workers use older files than those in place, and the marker is gone.
    host.check_output(
        "cd /etc/nginx/conf.d && cp tovplay-sites.conf /tmp && sed -i s/max-age=60/max-age=5/ tovplay-sites.conf"
        " && systemctl reload nginx && sleep 1 && cp /tmp/tovplay-sites.conf . && rm /var/lib/tovplay/applied/nginx"
    )
    assert ask("GET", "/").all("strict-transport-security") == ["max-age=5"]
    done = converge(nginx_sites=[APP | {"hsts_max_age": 60}, GATEWAY])
    assert done.returncode == 0, done.stdout[-2000:]
    assert ask("GET", "/").all("strict-transport-security") == ["max-age=60"]
    assert host.file("/var/lib/tovplay/applied/nginx").exists


def test_a_port_that_another_program_holds_is_noticed(host, converge, ask):
    host.check_output("systemd-run --unit=squatter python3 -m http.server 9443")
    for _ in range(50):
        if host.socket("tcp://9443").is_listening:
            break
        time.sleep(0.1)
    sites = [APP | {"port": 9443}]
    done = converge(nginx_sites=sites)
    said = " ".join(done.stdout.split())
    host.check_output("systemctl stop squatter")
    assert done.returncode != 0
    assert "keeps its old configuration; another program may hold one of the ports 9443, 8090" in said
    assert ask("GET", "/").status == 200, "the workers go on as they were"
    done = converge(nginx_sites=sites)
    assert done.returncode == 0, "the next converge finishes the work: " + done.stdout[-2000:]
    assert ask("GET", "/", port=9443).status == 200


def test_a_configuration_that_nginx_refuses_never_lands(host, converge, ask):
    before = host.check_output("sha256sum /etc/nginx/conf.d/*")
    done = converge(nginx_sites=[APP | {"max_body": "lots"}])
    assert done.returncode != 0
    assert "nginx refused the new /etc/nginx; the old files are untouched" in done.stdout
    assert '"client_max_body_size" directive invalid value' in done.stdout
    assert host.check_output("sha256sum /etc/nginx/conf.d/*") == before
    assert ask("GET", "/", port=9443).status == 200


def test_a_renewed_certificate_is_loaded(host, converge):
    host.check_output(
        "cd /etc/tovplay/pki && cp -p host.crt /tmp && openssl req -x509 -key host.key -subj /CN=renewed -out host.crt"
    )
    done = converge(nginx_sites=[APP | {"port": 9443}])
    served = host.check_output("openssl s_client -connect 127.0.0.1:9443 </dev/null 2>&1 | grep subject=")
    host.check_output("cp -p /tmp/host.crt /etc/tovplay/pki/host.crt")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "renewed" in served
    assert "tovplay-sites.conf" not in done.stdout, "the sites changed too, so this proves nothing"


def test_back_to_the_scenarios_own_sites(converge, ask):
    done = converge()
    assert done.returncode == 0, done.stdout[-2000:]
    assert ask("GET", "/").all("strict-transport-security") == []


def test_check_mode_with_a_change_changes_nothing_and_shows_no_secret(host, converge, monkeypatch):
    monkeypatch.setenv("ANSIBLE_VERBOSITY", "3")
    before = host.check_output("sha256sum /etc/nginx/conf.d/* /etc/tovplay/nginx/*")
    passwords = {name: "another-password-4711" for name in ("loki-reader", "jaeger-reader", "incident-lead")}
    done = converge(check=True, nginx_reader_passwords=passwords)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "loki-gateway.htpasswd" in done.stdout
    assert "another-password" not in done.stdout and SECRETS["vault_loki_reader_password"] not in done.stdout
    assert "$6$" not in done.stdout
    assert host.check_output("sha256sum /etc/nginx/conf.d/* /etc/tovplay/nginx/*") == before


# tests/unit/filter_plugins/test_nginx.py has a row for every sentence; these prove that a converge says them in time.
REFUSALS = {
    "what has the wrong shape": (
        {"nginx_sites": [APP | {"type": "ftp"}, {"name": "b", "type": "app"}, APP | {"tls": False}]},
        "tovplay-nginx: Site tovplay has the unknown type ftp; use one of app, host_gateway, ingest, jaeger_gateway, "
        "loki_gateway, pages. "
        "Site b lacks upstream; name what stands behind it, like 127.0.0.1:8000. "
        "Site tovplay would speak plain HTTP to other hosts; set tls: true, or address: 127.0.0.1.",
    ),
    "what clashes, and a placeholder": (
        {
            "nginx_sites": [APP, GATEWAY | {"port": 443, "readers": ["loki-reader"]}],
            "nginx_reader_passwords": {"loki-reader": "CHANGE_ME_4711"},
        },
        "tovplay-nginx: The password of reader loki-reader of site gate is a placeholder or shorter than 12 "
        "characters; put a generated one into the inventory's Ansible Vault file. Sites tovplay and gate clash on port "
        "443; give one of them another port, or other server names if both are of type app.",
    ),
    "no certificate": (
        {"nginx_certificate": "/etc/tovplay/pki/nowhere.crt"},
        "nginx needs /etc/tovplay/pki/nowhere.crt on tovplay-nginx; run ansible-playbook site.yml --tags pki first.",
    ),
    "a misspelt key": ({"nginx_sites": [APP | {"prot": 1}]}, "prot. Supported parameters include"),
}


@pytest.mark.parametrize(("variables", "sentence"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(refusal, variables, sentence):
    assert "CHANGE_ME_4711" not in refusal(sentence, **variables)
