#!/usr/bin/env bash
# Part "vault" of make test-full: outages at their real length (ten minutes, not one), epochs on real clusters, the runbooks.
set -euo pipefail
cd "$(dirname "$0")/../.."
TOVPLAY_FULL=1 molecule test --scenario-name audit_vault
