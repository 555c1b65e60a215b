"""The field's linters over the whole tree, without skips or ignore files; each is shown to bite on a planted defect."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [name for name in listed if (ROOT / name).is_file() and not (ROOT / name).is_symlink()]


def shell_scripts() -> list[str]:
    return [
        name
        for name in tracked()
        if (ROOT / name).open("rb").readline(40).startswith((b"#!/usr/bin/env bash", b"#!/bin/sh", b"#!/bin/bash"))
    ]


TYPED = ("module_utils/*.py", "python/*.py")
WORKFLOW = ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"]
LINTERS = {
    "yamllint": lambda: ["yamllint", "--strict", *tracked("*.yml", "*.yaml", ".yamllint", ".ansible-lint")],
    "ruff": lambda: ["ruff", "check", "--no-cache", "."],
    "ruff-format": lambda: ["ruff", "format", "--no-cache", "--check", "."],
    "shellcheck": lambda: ["shellcheck", *shell_scripts()],
    "bandit": lambda: ["bandit", "--quiet", "--severity-level", "low", *tracked("library/*.py", *TYPED)],
    "mypy": lambda: ["mypy", "--cache-dir=/dev/null", *tracked("filter_plugins/*.py", *TYPED)],
    "ansible-lint": lambda: ["ansible-lint", "--offline", "--profile", "production", "--strict", "--nocolor"],
    "workflow": lambda: [*WORKFLOW, *tracked(".github/workflows/*")],
    "pre-commit": lambda: ["pre-commit", "validate-config", ".pre-commit-config.yaml"],
}

# One defect a linter, in a file of its own: the linter must refuse it.
PLANTED = {
    "yamllint": (["yamllint", "--strict"], "bad.yml", "a: 1\na: 2\n"),
    "ruff": (["ruff", "check", "--no-cache", "--isolated"], "bad.py", "import os\n"),
    "shellcheck": (["shellcheck"], "bad.sh", "#!/bin/sh\nrm -rf $1/*\n"),
    "bandit": (["bandit", "--quiet"], "bad.py", "import subprocess\nsubprocess.call('x', shell=True)\n"),
    "mypy": (["mypy", "--strict", "--cache-dir=/dev/null"], "bad.py", "def f(a: int) -> str:\n    return a\n"),
    "ansible-lint": (
        ["ansible-lint", "--offline", "--profile", "production", "--strict", "--nocolor"],
        "playbook.yml",
        "---\n- hosts: all\n  tasks:\n    - shell: echo hi\n",
    ),
    "workflow": (WORKFLOW, "ci.yml", "on: push\njobs: {a: {runs_on: x, steps: []}}\n"),
    "pre-commit": (["pre-commit", "validate-config"], "hooks.yaml", "repos:\n  - repo: local\n    hooks: [{id: a}]\n"),
}


@pytest.mark.parametrize("linter", LINTERS)
def test_tree_is_clean(linter):
    done = subprocess.run(LINTERS[linter](), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{linter} complains:\n{done.stdout[-6000:]}{done.stderr[-2000:]}"


@pytest.mark.parametrize("linter", PLANTED)
def test_linter_bites(linter, tmp_path):
    command, name, text = PLANTED[linter]
    (tmp_path / name).write_text(text)
    done = subprocess.run([*command, name], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0, f"{linter} accepted a planted defect: {text!r}"


def test_nothing_is_skipped_or_ignored():
    """No ignore files, no noqa for Ansible, and nothing that swallows a failure."""
    # What is looked for: this list is the ban itself.
    swallowing = ["ignore_errors:", "failed_when: false", "|| true", "# noqa: no-", "xfail", "skip_list"]
    offenders = [
        f"{name}:{number}: {line.strip()}"
        for name in tracked(
            "roles", "playbooks", "molecule", "library", "Makefile", "tools", ".ansible-lint", "site.yml"
        )
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if any(mark in line for mark in swallowing)
    ]
    assert not offenders, "\n".join(offenders)
    assert not list(ROOT.glob(".ansible-lint-ignore"))
