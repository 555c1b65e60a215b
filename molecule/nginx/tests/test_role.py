"""The role: foreign files stay, a bad configuration never lands, a broken converge is finished by the next."""

from __future__ import annotations

import time

import pytest
from wire import NAME, request, send

testinfra_hosts = [f"docker://{NAME}"]

APP = {"name": "tovplay", "type": "app", "server_names": [NAME], "upstream": "127.0.0.1:8000"}
GATEWAY = {"name": "gate", "type": "loki_gateway", "port": 3443, "upstream": "127.0.0.1:3100", "push_clients": [NAME]}


def test_the_daemon_runs_and_starts_at_boot(host):
    assert host.service("nginx").is_running
    assert host.service("nginx").is_enabled


@pytest.mark.parametrize("path", ["access.json.log", "gateway.json.log"])
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


def test_a_foreign_site_stays_and_is_served(host, converge, address):
    foreign = "server { listen 8081; location / { return 200 foreign; } }"
    host.check_output("printf %%s %s > /etc/nginx/sites-enabled/foreign", foreign)
    host.check_output("systemctl reload nginx")
    done = converge()
    assert "changed=0" in done.stdout, done.stdout[-2000:]
    done = converge(nginx_sites=[APP | {"hsts_max_age": 60}, GATEWAY])
    assert done.returncode == 0, done.stdout[-2000:]
    assert send(address, 8081, request("GET", "/"), tls=False).body == b"foreign"
    assert send(address, 443, request("GET", "/")).all("strict-transport-security") == ["max-age=60"]
    assert host.file("/etc/nginx/sites-enabled/foreign").content_string == foreign
    host.check_output("rm /etc/nginx/sites-enabled/foreign")
    assert converge().returncode == 0


def test_a_configuration_that_nginx_refuses_never_lands(host, converge, ask):
    before = host.check_output("sha256sum /etc/nginx/conf.d/*")
    done = converge(nginx_sites=[APP | {"max_body": "lots"}])
    assert done.returncode != 0
    assert "nginx refused the new /etc/nginx; the old files are untouched" in done.stdout
    assert '"client_max_body_size" directive invalid value' in done.stdout
    assert host.check_output("sha256sum /etc/nginx/conf.d/*") == before
    assert ask("GET", "/").status == 200


def test_a_port_that_another_program_holds_is_noticed(host, converge, ask):
    host.check_output("systemd-run --unit=squatter python3 -m http.server 9443")
    for _ in range(50):
        if host.socket("tcp://9443").is_listening:
            break
        time.sleep(0.1)
    sites = [APP | {"port": 9443}]
    done = converge(nginx_sites=sites)
    assert done.returncode != 0
    assert "keeps its old configuration; another program may hold one of the ports 9443, 8090" in " ".join(
        done.stdout.split()
    )
    assert ask("GET", "/").status == 200, "the workers go on as they were"
    host.check_output("systemctl stop squatter")
    done = converge(nginx_sites=sites)
    assert done.returncode == 0, "the next converge finishes the work: " + done.stdout[-2000:]
    assert ask("GET", "/", port=9443).status == 200
    assert converge().returncode == 0


def test_a_converge_killed_before_the_reload_is_finished_by_the_next(host, converge, ask):
    assert converge(nginx_sites=[APP | {"hsts_max_age": 7}, GATEWAY]).returncode == 0
    files = host.check_output("cat /etc/nginx/conf.d/tovplay-sites.conf")
    assert converge().returncode == 0
    # As a kill leaves it: the new files are in place, the marker is gone, nobody told nginx.
    host.check_output("printf '%%s\n' %s > /etc/nginx/conf.d/tovplay-sites.conf", files)
    host.check_output("rm /var/lib/tovplay/applied/nginx")
    assert ask("GET", "/").all("strict-transport-security") == []
    done = converge(nginx_sites=[APP | {"hsts_max_age": 7}, GATEWAY])
    assert done.returncode == 0
    assert ask("GET", "/").all("strict-transport-security") == ["max-age=7"]
    assert converge().returncode == 0
    assert "changed=0" in converge().stdout


def test_a_renewed_certificate_is_loaded(host, converge, ask):
    host.check_output("cp -p /etc/tovplay/pki/host.crt /tmp/host.crt.old")
    renew = "openssl req -x509 -key /etc/tovplay/pki/host.key -subj /CN=renewed -days 1 -out /etc/tovplay/pki/host.crt"
    host.check_output(renew)
    assert converge().returncode == 0
    served = host.check_output(
        "openssl s_client -connect 127.0.0.1:443 </dev/null 2>/dev/null | openssl x509 -noout -subject"
    )
    host.check_output("cp -p /tmp/host.crt.old /etc/tovplay/pki/host.crt")
    assert converge().returncode == 0
    assert "renewed" in served
    assert ask("GET", "/").status == 200


def test_check_mode_with_a_change_changes_nothing_and_shows_no_secret(host, converge):
    before = host.check_output("sha256sum /etc/nginx/conf.d/* /etc/tovplay/nginx/*")
    done = converge(check=True, nginx_reader_passwords={"loki-reader": "another-password-4711"})
    assert done.returncode == 0
    assert "changed=1" in done.stdout
    assert "another-password" not in done.stdout and "$6$" not in done.stdout
    assert host.check_output("sha256sum /etc/nginx/conf.d/* /etc/tovplay/nginx/*") == before


REFUSALS = {
    "unknown type": (
        {"nginx_sites": [APP | {"type": "ftp"}]},
        "Site tovplay has the unknown type ftp; use one of app, loki_gateway.",
    ),
    "no upstream": (
        {"nginx_sites": [{"name": "tovplay", "type": "app"}]},
        "Site tovplay lacks upstream; name what stands behind it, like 127.0.0.1:8000.",
    ),
    "one port twice": (
        {"nginx_sites": [APP, GATEWAY | {"port": 443}]},
        "Sites tovplay and gate clash on port 443; give one of them another port",
    ),
    "one name twice": ({"nginx_sites": [APP, APP | {"port": 444}]}, "Two sites are named tovplay; rename one."),
    "a placeholder": (
        {
            "nginx_sites": [GATEWAY | {"readers": ["loki-reader"]}],
            "nginx_reader_passwords": {"loki-reader": "CHANGE_ME_4711"},
        },
        "The password of reader loki-reader of site gate is a placeholder or shorter than 12 characters",
    ),
    "plain HTTP": (
        {"nginx_sites": [APP | {"tls": False}]},
        "Site tovplay would speak plain HTTP to other hosts; set tls: true, or address: 127.0.0.1.",
    ),
    "no certificate": (
        {"nginx_certificate": "/etc/tovplay/pki/nowhere.crt"},
        "nginx needs /etc/tovplay/pki/nowhere.crt on tovplay-nginx; run ansible-playbook site.yml --tags pki first.",
    ),
    "a misspelt key": ({"nginx_sites": [APP | {"prot": 1}]}, "prot"),
}


@pytest.mark.parametrize(("variables", "sentence"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(refusal, variables, sentence):
    said = refusal(sentence, **variables)
    assert "CHANGE_ME_4711" not in said
