#!/usr/bin/env bash
# Part "telemetry" of make test-full: the application's side beside the oldest Flask and SQLAlchemy that it serves.
# telemetry.lock is made by `pip-compile --generate-hashes --strip-extras telemetry.in`.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
pip install --quiet --require-hashes --target "$folder" -r tests/full/telemetry.lock
printf '== Beside %s\n' "$(sed -nE 's/^(flask|sqlalchemy)==([^ ]*).*/\1 \2/p' tests/full/telemetry.lock | paste -sd,)"
# SQLAlchemy 1.4 has no dialect for psycopg 3, and the sample application wants SQLAlchemy 2.
TELEMETRY_PACKAGES="$folder" pytest tests/unit/telemetry --ignore tests/unit/telemetry/test_example.py \
    -k 'not (through_one and not psycopg2)'
