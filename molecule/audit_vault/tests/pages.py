"""The runbooks' commands, taken from the pages: a drill that runs another text than people read shows nothing."""

from __future__ import annotations

import re
import time
from pathlib import Path

PAGES = Path(__file__).resolve().parents[3] / "docs/runbooks"
COMMAND = re.compile(r"(sudo|systemctl|cat|journalctl|df|tail|grep)\s")
# What this host has not: an inventory to converge, another PostgreSQL, the command of the people (make drill has it).
ELSEWHERE = ("ansible-playbook", "pg_upgradecluster", "whodunit")
done: set[tuple[str, str]] = set()


def commands(page: str) -> dict[str, str]:
    """{command: what it must print}, from fenced blocks and from code within sentences."""
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    fenced = [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    rest = re.sub(r"```bash\n.*?```", "", text, flags=re.DOTALL)
    found = {}
    for line in [*fenced, *re.findall(r"`([^`]+)`", rest)]:
        command, _, expected = line.partition("   #")
        if COMMAND.match(command):
            found[" ".join(command.split())] = expected.rpartition(":")[2].strip() if ":" in expected else ""
    return found


def run(host, page: str, part: str, seconds: float = 0) -> str:
    """Run the page's command with that part, as root, until it prints what the page says, or that time is over."""
    (command,) = (each for each in commands(page) if part in each)
    expected = commands(page)[command]
    end = time.monotonic() + seconds
    while (said := host.run(command)).stdout.strip() != expected and time.monotonic() < end:
        time.sleep(0.2)
    done.add((page, command))
    output = said.stdout.strip()
    if expected == "nothing":
        assert (said.rc, output) == (0, ""), f"{command}: {said.stderr or output}"
    elif re.fullmatch(r"[tf]|\d+", expected):
        assert output == expected, f"{command}: {output} {said.stderr}"
    else:
        assert expected in output, f"{command}: {output} {said.stderr}"
        assert said.rc == 0, said.stderr
    return output


def left() -> list[tuple[str, str]]:
    """Commands of the pages that no drill has run."""
    known = {(path.stem, command) for path in PAGES.glob("*.md") for command in commands(path.stem)}
    return sorted(each for each in known - done if not any(word in each[1] for word in ELSEWHERE))


def quiet(host) -> bool:
    """Whether no alarm is up."""
    return "alarm{" not in host.file("/var/lib/tovplay/metrics/audit_vault.prom").content_string
