#!/usr/bin/env bash
# Scenarios with tests that are marked long, or that know several versions: whole.
set -euo pipefail
cd "$(dirname "$0")/../.."
export TOVPLAY_FULL=1
mapfile -t scenarios < <(grep --recursive --files-with-matches 'mark\.long' molecule/*/tests | cut -d/ -f2 | sort --unique)
for scenario in "${scenarios[@]}"; do
    printf '\n-- %s\n' "$scenario"
    molecule test --scenario-name "$scenario"
done
