# The commands of the platform; README.md tells what each is for. CI calls only these.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export TOVPLAY_CACHE ?= $(HOME)/.cache/tovplay
export PATH := $(CURDIR)/.venv/bin:$(TOVPLAY_CACHE)/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export PYTHONDONTWRITEBYTECODE := 1
export ANSIBLE_HOME := $(TOVPLAY_CACHE)/ansible

.PHONY: help
help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: bootstrap
bootstrap:
	@tools/bootstrap

.PHONY: images
images: bootstrap  ## build the images that no registry gives (first time about 15 minutes, then cached)
	@images/build.py

.PHONY: up
up: bootstrap  ## converge the demo: two hosts, sample application, traffic, every log in Loki
	@tools/up

.PHONY: down
down: bootstrap  ## take the demo away
	@ansible-playbook playbooks/demo/down.yml

.PHONY: check
check: lint unit  ## lint and unit tests, under two minutes

.PHONY: lint
lint: bootstrap  ## every linter over the whole tree
	@tools/lint

.PHONY: unit
unit: bootstrap  ## unit tests
	@pytest tests/unit

.PHONY: scenarios
scenarios:  ## what hosted CI runs, a job each, as JSON: lint, unit tests and each scenario
	@python3 -c 'import json, pathlib; print(json.dumps(["lint", "unit"] + sorted("molecule ROLE=" + path.parent.name for path in pathlib.Path("molecule").glob("*/molecule.yml"))))'

.PHONY: test
test: bootstrap  ## all that CI runs
	@tools/test

.PHONY: test-full
test-full: bootstrap  ## full scale and real times, PART=x for one part
	@tools/test-full $(PART)

.PHONY: molecule
molecule: bootstrap  ## one scenario: make molecule ROLE=pgbouncer
	@images/build.py --load host
	@molecule test --scenario-name $(ROLE)

.PHONY: secrets
secrets: bootstrap  ## generate the secrets of your inventory into its Ansible Vault file: make secrets INVENTORY=inventory/mine
	@tools/secrets $(or $(INVENTORY),$(error say which: make secrets INVENTORY=inventory/mine))

.PHONY: drill
drill: bootstrap  ## wipe the demo in every way and ask whodunit; CASE=05 for one; the last case destroys production
	@pytest -v tests/drill $(if $(CASE),-k 'case[$(CASE)]')

.PHONY: bench
bench: bootstrap  ## benchmarks: make bench BENCH=pgbouncer
	@bench/$(BENCH)/run

.PHONY: health
health: bootstrap  ## is the platform itself well: one line a check; ARGS=--json or --commands
	@tools/health $(ARGS)

.PHONY: checklist
checklist: bootstrap  ## the steps towards production, done or not: ARGS='--long --json -i inventory/mine'
	@tools/checklist $(ARGS)

.PHONY: query
query: bootstrap  ## forensic questions: make query, or tools/query 1 user_id=123
	@tools/query

.PHONY: docs
docs: bootstrap  ## write the documents that are made from the code: ports and inputs
	@docs/generate.py

.PHONY: dashboards
dashboards: bootstrap  ## write Grafana's dashboards from queries/dashboards
	@python3 -m queries.dashboards

.PHONY: lock
lock: bootstrap  ## pin requirements.in anew
	@pip-compile --quiet --generate-hashes --strip-extras --no-emit-find-links --no-emit-index-url --allow-unsafe \
	    --output-file requirements.lock requirements.in
