"""Make the repository's Ansible code importable the way Ansible itself imports it."""

from __future__ import annotations

import sys
from pathlib import Path

import ansible.module_utils

ROOT = Path(__file__).resolve().parent.parent

# Modules import `ansible.module_utils.<ours>`; this is the one line that makes pytest see the same names.
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))
sys.path.insert(0, str(ROOT))
