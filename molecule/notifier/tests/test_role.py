"""How the notifier runs, where the addresses of the webhooks are not, and what is refused."""

from __future__ import annotations

import json

from discord_host import run

ADDRESSES = ["address-of-critical", "address-of-alerts"]


def test_it_listens_on_loopback_only():
    sockets = run("ss", "--tcp", "--listening", "--numeric", "--no-header").splitlines()
    assert [line.split()[3] for line in sockets if ":9097" in line] == ["127.0.0.1:9097"]


def test_it_is_nobody_and_bounded():
    properties = run("systemctl", "show", "tovplay-notifier", "--property=User,MemoryMax,NoNewPrivileges")
    assert set(properties.split()) == {"User=tovplay-notifier", "MemoryMax=100663296", "NoNewPrivileges=yes"}


def test_the_addresses_are_nowhere_to_be_seen(converge):
    seen = run("sh", "-c", "ps -eo args; journalctl --no-pager; systemctl show tovplay-notifier; ls -lR /etc/tovplay")
    assert not [word for word in ADDRESSES if word in seen]
    rights = run("stat", "-c", "%a %U %G", "/etc/tovplay/notifier/channels.json").split()
    assert rights == ["640", "root", "tovplay-notifier"]
    changed = {"critical": "http://127.0.0.1:8080/api/webhooks/1/another-address"}
    done = converge(check=True, notifier_channels=changed)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "another-address" not in done.stdout and not [word for word in ADDRESSES if word in done.stdout]


def test_refusals(refusal):
    away = json.loads('{"critical": "http://other.example/api/webhooks/1/x"}')
    refusal("every channel of notifier_channels has the address of a webhook", notifier_channels=away)
    refusal(
        "every channel of notifier_channels has the address of a webhook", notifier_channels={"critical": "https://d"}
    )
    refusal("notifier_alarm_channels names some of them", notifier_alarm_channels=["nobody"])
