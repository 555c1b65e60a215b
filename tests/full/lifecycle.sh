#!/usr/bin/env bash
# make test-full PART=lifecycle: the demo gets foreign files, and the platform is taken off it, first without its data, then with it.
# Rows and foreign files must stay as they are. About ten minutes; the demo is gone afterwards.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools/up
pytest -v tests/full/test_lifecycle.py
ansible-playbook playbooks/demo/down.yml
