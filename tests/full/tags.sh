#!/usr/bin/env bash
# make test-full PART=tags: every role by its tag on the demo.
set -euo pipefail
cd "$(dirname "$0")/../.."
export TOVPLAY_FULL=1
exec pytest -v -rP tests/e2e/test_converge.py -k tag
