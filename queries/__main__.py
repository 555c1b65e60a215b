"""Ask Loki a forensic question through logcli.

tools/query                                the questions
tools/query 1 user_id=123 --since 7d       the answer
tools/query 1 user_id=123 --lines          the log lines behind it
tools/query 1 user_id=123 --show           the LogQL only, to paste into Grafana

Where Loki is comes from logcli's own variables (LOKI_ADDR, LOKI_USERNAME, LOKI_PASSWORD, LOKI_CA_CERT_PATH); unset, it
is the demo.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import yaml

from queries import FOLDER, Query, QueryError, asked, load, render

DEMO = FOLDER.parent / "inventory" / "demo"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
DEMO_SECRETS = DEMO / "group_vars" / "all" / "secrets.yml"


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_intermixed_args(arguments)
    queries = load()
    if options.number is None:
        print("\n".join(_described(query) for query in queries.values()))
        return 0
    try:
        if options.number not in queries:
            raise QueryError(f"there is no query {options.number}; there are {min(queries)} to {max(queries)}")
        query = queries[options.number]
        values = dict(_pair(argument) for argument in options.values)
        logql = render(query, values, lines=options.lines, window=_window(options))
        if options.show:
            print(logql)
            return 0
        command = logcli(query, logql, options)
        environment = {**(demo_loki() if "LOKI_ADDR" not in os.environ else {}), **os.environ}
    except QueryError as error:
        print(f"query: {error}.", file=sys.stderr)
        return 2
    print(f"{asked(query, values)}\n{logql}\n", file=sys.stderr)
    return _run(command, environment, figures=query.shape != "log" and not options.lines)


def _run(command: list[str], environment: dict[str, str], *, figures: bool) -> int:
    """Log lines are strangers' text: what would command the terminal is shown instead."""
    with subprocess.Popen(  # noqa: S603 - an argument list, no shell
        command, env=environment, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        for line in _rows(process.stdout.read()) if figures else process.stdout:
            sys.stdout.write(CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", line))
    return process.returncode


def _rows(found: str) -> list[str]:
    """A table's rows, the greatest first; a curve's points, in order."""
    series = [("  ".join(text for _, text in sorted(row["metric"].items())), row) for row in json.loads(found or "[]")]
    if series and "values" in series[0][1]:
        points = sorted((at, labels, value) for labels, row in series for at, value in row["values"])
        return [
            f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ} {value:>6}  {labels}\n"
            for at, labels, value in points
        ]
    rows = sorted((-float(row["value"][1]), labels) for labels, row in series)
    return [f"{-value:10g}  {labels}\n" for value, labels in rows]


def logcli(query: Query, logql: str, options: argparse.Namespace) -> list[str]:
    """The argument list; logcli itself would stop after 30 lines."""
    program = shutil.which("logcli")
    if program is None:
        raise QueryError("logcli is not here; `make images` builds it")
    since = options.since or query.range
    shape = "log" if options.lines else query.shape
    if shape == "table":
        return [program, "--quiet", "instant-query", *([f"--now={options.to}"] if options.to else []), logql]
    span = [f"--from={options.from_}", f"--to={options.to}"] if options.from_ else [f"--since={since}"]
    if shape == "curve":
        return [program, "--quiet", "query", *span, f"--step={options.step}", logql]
    plain = [] if options.lines else ["--no-labels"]
    oldest_first = query.direction == "forward" or options.oldest_first
    return [program, "--quiet", "query", *span, "--limit=0", *plain, *(["--forward"] if oldest_first else []), logql]


def demo_loki() -> dict[str, str]:
    """Where the demo's Loki is read, with the password of this machine's demo."""
    if not DEMO_SECRETS.exists():
        raise QueryError("LOKI_ADDR is not set and this machine has no demo (`make up`)")
    secrets = yaml.safe_load(DEMO_SECRETS.read_text(encoding="utf-8"))
    template = '{{(index .NetworkSettings.Networks "tovplay-demo").IPAddress}}'
    command = [shutil.which("docker") or "docker", "inspect", "--format", template, "tovplay-watch"]
    found = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - an argument list, no shell
    if found.returncode != 0:
        raise QueryError("LOKI_ADDR is not set and the demo's host tovplay-watch is not running (`make up`)")
    return {
        "LOKI_ADDR": f"https://{found.stdout.strip()}:3443",
        "LOKI_USERNAME": "loki-reader",
        "LOKI_PASSWORD": secrets["vault_loki_reader_password"],
        "LOKI_CA_CERT_PATH": str(DEMO / "pki" / "ca.crt"),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/query", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("number", nargs="?", type=int)
    parser.add_argument("values", nargs="*", metavar="parameter=value")
    parser.add_argument("--since", help="how far to look back: 15m, 24h, 7d")
    parser.add_argument("--from", dest="from_", metavar="TIME", help="RFC 3339; needs --to")
    parser.add_argument("--to", metavar="TIME")
    parser.add_argument("--step", default="1m", help="of a curve")
    parser.add_argument("--lines", action="store_true", help="the evidence, not the summary")
    parser.add_argument("--show", action="store_true", help="print LogQL and stop")
    parser.add_argument("--oldest-first", action="store_true")
    return parser


def _pair(argument: str) -> tuple[str, str]:
    name, equals, value = argument.partition("=")
    if not equals:
        raise QueryError(f"{argument!r} is not of the form parameter=value")
    return name, value


def _window(options: argparse.Namespace) -> str | None:
    """What a table sums up: the time that was asked for."""
    if bool(options.from_) != bool(options.to):
        raise QueryError("--from and --to go together")
    if not options.from_:
        return None if options.since is None else str(options.since)
    try:
        seconds = (datetime.fromisoformat(options.to) - datetime.fromisoformat(options.from_)).total_seconds()
    except (TypeError, ValueError) as error:
        raise QueryError("--from and --to are times such as 2026-01-15T10:00:00Z") from error
    if seconds < 1:
        raise QueryError("--to is not after --from")
    return f"{int(seconds)}s"


def _described(query: Query) -> str:
    named = "".join(
        f"\n     {name}={parameter.default}  {parameter.means}" for name, parameter in query.parameters.items()
    )
    return f"{query.id}  {asked(query)} (last {query.range}){named}"


if __name__ == "__main__":
    sys.exit(main())
