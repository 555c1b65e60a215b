"""The repository keeps its own rules: what a role has, where a secret is listed, what an inventory loads."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
INVENTORIES = {
    "demo": ("tovplay-prod", "tovplay-watch"),
    "production.example": ("prod.tovplay.example", "watch.tovplay.example"),
    "single.example": ("tovplay-single",),
}

# A role without a scenario of its name: which scenario exercises it, and why it has none.
EXERCISED_BY: dict[str, tuple[str, str]] = {}
# A scenario that is not named like a role: what it tries.
NO_ROLE = {
    "single": "every group on one host",
    "registry": "images from a registry that stands for upstream's",
}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@cache
def defaults(role: str) -> dict[str, Any]:
    folder = ROOT / "roles" / role / "defaults"
    files = [path for path in (folder / "main.yml", *sorted(folder.glob("main/*.yml"))) if path.is_file()]
    return {name: value for path in files for name, value in (read(path) or {}).items()}


@cache
def options(role: str) -> dict[str, Any]:
    spec = read(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    return {name: option for entry_point in spec.values() for name, option in entry_point.get("options", {}).items()}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("part", ["README.md", "meta/main.yml", "meta/argument_specs.yml", "tasks/main.yml"])
def test_a_role_is_whole(role: str, part: str) -> None:
    assert (ROOT / "roles" / role / part).is_file(), f"roles/{role} has no {part}"


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_a_scenario(role: str) -> None:
    scenario, reason = EXERCISED_BY.get(role, (role, "its own"))
    assert (ROOT / "molecule" / scenario / "molecule.yml").is_file(), f"no molecule/{scenario} ({reason}) tries {role}"
    assert list((ROOT / "molecule" / scenario / "tests").glob("test_*.py")), f"molecule/{scenario} verifies nothing"


def test_a_scenario_is_a_roles_or_says_what_it_is_for() -> None:
    scenarios = {path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")}
    assert scenarios - set(ROLES) == set(NO_ROLE)


@pytest.mark.parametrize("role", ROLES)
def test_every_input_has_a_type_and_a_default(role: str) -> None:
    without_default = sorted(
        name for name, option in options(role).items() if name not in defaults(role) and not option.get("required")
    )
    assert not without_default, f"roles/{role}/defaults does not name {without_default}"
    without_type = sorted(set(defaults(role)) - set(options(role)))
    assert not without_type, f"roles/{role}/meta/argument_specs.yml does not name {without_type}"


@pytest.mark.parametrize("role", ROLES)
def test_every_input_carries_its_roles_name(role: str) -> None:
    shared = {"image_source"}  # one switch for the whole inventory
    foreign = [name for name in options(role) if not name.startswith(f"{role}_") and name not in shared]
    assert not foreign


def test_a_tag_is_the_roles_name() -> None:
    plays = [play for path in (ROOT / "playbooks").glob("*.yml") for play in read(path)]
    assert not [play["name"] for play in plays if "roles" in play], "these check every role's inputs whatever the tag"
    tasks = [task for play in plays for task in play.get("tasks", []) if "always" not in play.get("tags", [])]
    used = [
        (task["ansible.builtin.include_role"], task["tags"]) for task in tasks if "ansible.builtin.include_role" in task
    ]
    assert used
    assert [role for role, tags in used if not tags == role["apply"]["tags"] == [role["name"]]] == []
    assert {role["name"] for role, _ in used} <= set(ROLES)


# PostgreSQL's roles at the audit vault are called so, too.
ROLES_OF_THE_VAULT = {"vault_reader", "vault_investigator", "vault_restorer"}


def secrets_used() -> set[str]:
    """vault_* names that a role, a variable file or a playbook reads; comments are left out."""
    files = [
        path
        for folder in ("roles", "group_vars", "playbooks")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".yml", ".j2") and "demo" not in path.relative_to(ROOT).parts
    ]
    texts = (re.sub(r"(?m)(^|\s)#.*$", "", path.read_text(encoding="utf-8")) for path in files)
    return {name for text in texts for name in re.findall(r"\bvault_\w+", text)} - ROLES_OF_THE_VAULT


@pytest.mark.parametrize("inventory", ["production.example", "single.example"])
def test_an_example_lists_every_secret_and_the_preflight_refuses_its_values(inventory: str) -> None:
    listed = read(ROOT / "inventory" / inventory / "group_vars" / "all" / "vault.example.yml")
    assert set(listed) == secrets_used()
    assert set(listed.values()) == {"CHANGE_ME", "CHANGE_ME_BY_HAND"}


def test_scenarios_have_every_secret() -> None:
    assert secrets_used() <= set(read(ROOT / "molecule" / "shared" / "group_vars" / "all" / "secrets.yml"))


def test_the_demo_makes_every_secret() -> None:
    """Those of the example, by name."""
    play = read(ROOT / "playbooks" / "demo" / "hosts.yml")[0]
    example = play["vars"]["demo_secrets_example"].replace("{{ playbook_dir }}", str(ROOT / "playbooks" / "demo"))
    assert "demo_secrets_example" in play["vars"]["demo_secret_names"]
    assert secrets_used() <= set(read(Path(example)))


def loaded(inventory: Path, host: str) -> dict[str, Any]:
    done = subprocess.run(
        ["ansible-inventory", "-i", inventory, "--playbook-dir", ROOT / "playbooks", "--host", host],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("inventory", "host"), [(name, hosts[0]) for name, hosts in INVENTORIES.items()])
def test_an_inventory_loads_the_platforms_variables(inventory: str, host: str) -> None:
    link = ROOT / "inventory" / inventory / "group_vars" / "all" / "platform"
    assert link.is_symlink()
    assert link.resolve() == ROOT / "group_vars" / "all"
    variables = loaded(ROOT / "inventory" / inventory, host)
    assert (
        variables["platform_versions"]["loki"]
        == read(ROOT / "group_vars/all/versions.yml")["platform_versions"]["loki"]
    )


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_an_inventory_has_every_group_of_the_playbooks(inventory: str) -> None:
    groups = read(ROOT / "inventory" / inventory / "hosts.yml")["all"]["children"]
    plays = [play for path in (ROOT / "playbooks").glob("*.yml") for play in read(path)]
    patterns = {name.strip("!&") for play in plays for name in re.split(r"[:,]\s*", play.get("hosts", "all"))}
    known = {*groups, *(host for group in groups.values() for host in group["hosts"]), "all", "localhost"}
    assert {name.partition("[")[0] for name in patterns} <= known
    assert {host for group in groups.values() for host in group["hosts"]} == set(INVENTORIES[inventory])


def test_an_inventorys_own_settings_win(tmp_path: Path) -> None:
    copy = tmp_path / "site"
    shutil.copytree(ROOT / "inventory" / "production.example", copy, symlinks=True)
    platform = copy / "group_vars" / "all" / "platform"
    platform.unlink()
    platform.symlink_to(ROOT / "group_vars" / "all")
    (copy / "group_vars" / "all" / "settings.yml").write_text("platform_gateway_port: 4443\n")
    (copy / "group_vars" / "all" / "vault.yml").write_text("vault_loki_reader_password: real\n")
    variables = loaded(copy, "prod.tovplay.example")
    assert variables["platform_gateway_port"] == 4443
    assert variables["vault_loki_reader_password"] == "real"
    assert variables["vault_pki_ca_passphrase"] == "CHANGE_ME"
