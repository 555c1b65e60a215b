#!/usr/bin/env bash
# A thousand hostile users and auth_query in every version of PgBouncer, not only in the one that the demo runs.
set -euo pipefail
cd "$(dirname "$0")/../.."
TOVPLAY_FULL=1 molecule test --scenario-name pgbouncer
