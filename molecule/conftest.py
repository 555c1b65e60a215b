"""Fixtures of the scenarios' verifiers: run the scenario's converge.yml again, with other inputs, as a user would."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Converge = Callable[..., subprocess.CompletedProcess[str]]


def pytest_configure(config):
    config.addinivalue_line("markers", "long: many converges for a rare thing; run where TOVPLAY_FULL is set")


def pytest_collection_modifyitems(items):
    """Tests marked `long` are skipped, with that reason, unless TOVPLAY_FULL is set."""
    if not os.environ.get("TOVPLAY_FULL"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="long: make test-full PART=long_tests"))


@pytest.fixture(scope="session")
def converge() -> Converge:
    """`converge(check=False, playbook="converge.yml", **variables)`: variables override the scenario's."""
    scenario = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])

    def run(*, check: bool = False, playbook: str = "converge.yml", **variables: object):
        command = ["ansible-playbook", "--inventory", os.environ["MOLECULE_INVENTORY_FILE"], str(scenario / playbook)]
        command += ["--diff", "--extra-vars", json.dumps(variables)] + (["--check"] if check else [])
        config = str(Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "ansible.cfg")
        environment = {**os.environ, "ANSIBLE_CONFIG": config, "ANSIBLE_NOCOLOR": "1", "COLUMNS": "1000"}
        return subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )

    return run


@pytest.fixture(scope="session")
def refusal(converge) -> Callable[..., str]:
    """`refusal(sentence, **variables)`: the converge must fail with that text, and change nothing before it fails."""

    def run(sentence: str, **variables: object) -> str:
        done = converge(**variables)
        said = " ".join(done.stdout.split())
        assert done.returncode != 0, f"accepted: {variables}\n{done.stdout[-3000:]}"
        assert sentence in said, f"refused, but without {sentence!r}:\n{done.stdout[-3000:]}"
        assert "changed=0" in said, f"changed something before it refused:\n{done.stdout[-3000:]}"
        return said

    return run
