#!/usr/bin/env bash
# Report, page and undo of an incident of 10 million rows on a PostgreSQL of their own; ROWS=1000000 for fewer.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec pytest -q -s tests/full/test_big_undo.py
