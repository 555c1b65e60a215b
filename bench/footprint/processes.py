"""What each part of a host uses: runs on the host, prints one sample as JSON.

A part is a systemd unit or a container, told by the control group of its processes, under any version of cgroups.
CPU is in seconds since the start of each process; memory is its proportional share (Pss, proc(5)) in bytes, so that
pages which several processes share count once.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import defaultdict
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def containers() -> dict[str, str]:
    listed = ["docker", "ps", "--no-trunc", "--format", "{{.ID}} {{.Names}}"]
    lines = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(line.split() for line in lines)


def part(control_groups: str, names: dict[str, str]) -> str:
    """Name of the innermost container of this host's engine, or of the unit."""
    found = [names[one] for one in re.findall(r"[0-9a-f]{64}", control_groups) if one in names]
    units = re.findall(r"([^/\n]+\.service)", control_groups)
    return found[-1] if found else units[-1].removesuffix(".service") if units else "system"


def processes(names: dict[str, str]) -> dict[str, dict[str, float]]:
    """By part and process: CPU seconds, and of those that it waited for; bytes."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = part((folder / "cgroup").read_text(), names)
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            rollup = (folder / "smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile, or is the kernel's
        share = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
        started = f"{folder.name}@{stat[19]}"
        own, ended = sum(map(int, stat[11:13])) / TICK, sum(map(int, stat[13:15])) / TICK
        # What a service started and waited for is its own time; what systemd did are the programs of timers.
        if folder.name == "1":
            found["timers"] = {started: ended, "bytes": 0}
        found[name][started] = own if folder.name == "1" else own + ended
        found[name]["bytes"] = found[name].get("bytes", 0) + (int(share[1]) * 1024 if share else 0)
    return found


def network() -> int:
    """Bytes that this host sent to others."""
    return sum(
        int((card / "statistics/tx_bytes").read_text())
        for card in Path("/sys/class/net").glob("e*")
        if not (card / "bridge").exists()
    )


if __name__ == "__main__":
    print(json.dumps({"parts": processes(containers()), "sent": network()}))
