#!/bin/sh
# Part "loki_outage" of make test-full: the real ten minutes (or OUTAGE_FACTOR of them), on a host of its own.
set -eu
cd "$(dirname "$0")/../.."
factor=${OUTAGE_FACTOR:-1}
trap 'molecule destroy --scenario-name loki_stack' EXIT
molecule converge --scenario-name loki_stack
python3 tests/full/outage.py tovplay-loki-stack --factor "$factor"
