"""The scenarios' database roles and their passwords, as shared/group_vars has them."""

from __future__ import annotations

from pathlib import Path

import yaml

APP = "raz@tovtech.org"
MIGRATOR = "tovplay_migrator"
_SECRETS = yaml.safe_load((Path(__file__).parent / "shared/group_vars/all/secrets.yml").read_text())
PASSWORDS = {
    APP: _SECRETS["vault_postgresql_app_password"],
    MIGRATOR: _SECRETS["vault_postgresql_migrator_password"],
    "tovplay_monitor": _SECRETS["vault_postgresql_monitor_password"],
    "pgbouncer_auth": _SECRETS["vault_pgbouncer_auth_password"],
}
