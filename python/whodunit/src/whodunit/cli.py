"""The command: whodunit [last|table T|user U|trace ID|undo ID|verify|freeze ID]."""

from __future__ import annotations

import dataclasses
import json
import os
import pwd
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import psycopg
from tovplay_telemetry.audit_context import trace_id

from whodunit import WhodunitError, __version__, usage
from whodunit import verify as sealing
from whodunit.config import Config, load
from whodunit.context import judge, read_keys
from whodunit.escape import clean
from whodunit.material import NAME, find, gather, named, of_late, tried
from whodunit.model import Transaction, Trust, utc
from whodunit.render import as_json, as_text
from whodunit.report import build
from whodunit.sources import SourceError
from whodunit.sources.loki import Loki
from whodunit.sources.vault import Vault
from whodunit.undo import run as undoing
from whodunit.undo import told

_SPAN = re.compile(r"(\d+)([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Commands(click.Group):
    """`whodunit` alone, or with options only, is `whodunit last`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before = 2 if args[:1] == ["--config"] else 0
        rest = args[before:]
        if not rest or (rest[0].startswith("-") and rest[0] not in ("-h", "--help", "--version")):
            args = [*args[:before], "last", *rest]
        return super().parse_args(ctx, args)


class Moment(click.ParamType):
    """A time, or how long ago."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        ago = _SPAN.fullmatch(value)
        if ago:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago.group(2)]: int(ago.group(1))})
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither a time (2026-01-15T10:00Z) nor a span (90m, 24h, 7d)", param, ctx)
        return found if found.tzinfo else found.replace(tzinfo=UTC)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--config", "path", type=click.Path(path_type=Path), help="Instead of /etc/tovplay/whodunit.toml.")
@click.version_option(__version__)
@click.pass_context
def main(ctx: click.Context, path: Path | None) -> None:
    """Who changed or wiped the database, when, what, why and how; how sure that is; and everything back."""
    try:
        usage.record(sys.argv[1:])
        ctx.obj = load(path)
    except WhodunitError as error:
        raise click.ClickException(clean(error)) from error


def _output(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--html", type=click.Path(path_type=Path, dir_okay=False), help="Write one self-contained page there."
        ),
        click.option("--json", "as_data", is_flag=True, help="For programs; schema.json describes it."),
        click.option("--until", type=Moment(), help="Only what was committed before."),
        click.option("--since", type=Moment(), help="Only what was committed since: a time, or 90m, 24h, 7d ago."),
    ):
        command = option(command)
    return command


@main.command()
@_output
@click.pass_obj
def last(config: Config, /, **options: Any) -> None:
    """The most destructive incident of late: a wipe counts a tenth for every six hours of its age."""
    _report(config, options, {})


@main.command()
@click.argument("name")
@_output
@click.pass_obj
def table(config: Config, /, name: str, **options: Any) -> None:
    """The same, of one table: User or public.User."""
    _report(config, options, {"table": name.replace('"', "")})


@main.command()
@click.argument("name")
@_output
@click.pass_obj
def user(config: Config, /, name: str, **options: Any) -> None:
    """The same, of one application user (id) or database role."""
    _report(config, options, {"user": name})


@main.command()
@click.argument("identifier")
@_output
@click.pass_obj
def trace(config: Config, /, identifier: str, **options: Any) -> None:
    """The same, of one trace, correlation id or incident."""
    if NAME.fullmatch(identifier):
        _report(config, options, {}, identifier)
    else:
        _report(config, options, {"trace": identifier.replace("-", "").lower()})


@main.command(name="list")
@click.option("--since", type=Moment())
@click.option("--until", type=Moment())
@click.pass_obj
def list_(config: Config, since: datetime | None, until: datetime | None) -> None:
    """The incidents of a time, the most destructive of late in front."""
    with _Sources(config) as sources:
        for group in find(sources.vault, sources.keys, config, since=since or of_late(sources.vault), until=until)[:40]:
            harm = sources.vault.harm([each.tx for each in group])
            lost, updated = sum(each.lost for each in harm.values()), sum(each.updated for each in harm.values())
            who = group[0].db_user or "unknown"
            click.echo(
                clean(f"{group[0].id:<16} {utc(group[0].commit_at)}  lost {lost}, updated {updated}, by role {who}")
            )


@main.command(name="attempts")
@click.option("--since", type=Moment(), default="24h", show_default=True)
@click.option("--until", type=Moment(), default="0s")
@click.option("--json", "as_data", is_flag=True)
@click.pass_obj
def attempts_(config: Config, since: datetime, until: datetime, as_data: bool) -> None:
    """What was refused, failed or rolled back, whoever tried it, and how he had logged in."""
    with _Sources(config) as sources:
        try:
            found = tried(sources.vault, Loki(config), since, until)
        except SourceError as error:
            raise WhodunitError(f"attempts are in the logs only, and Loki is missing: {error}") from error
    if as_data:
        click.echo(as_json.plain([dataclasses.asdict(each) for each in found]), nl=False)
        return
    for each in found:
        click.echo(clean(f"{utc(each.at)}  {each.verdict}: {each.db_user} at {each.client}: {each.text[:300]}"))
    click.echo(f"{len(found)} attempts" if found else "no attempt in that time")


@main.command()
@click.argument("identifier", required=False)
@click.option("--tx", type=int, multiple=True, help="One transaction of production (xid) in the newest epoch.")
@click.option("--correlation", help="Everything of one correlation id.")
@click.option("--trace", "trace_id", help="Everything of one trace.")
@click.option("--user", "person", help="Everything of one application user or role, with --since.")
@click.option("--table", "only", help="Of that only one table.")
@click.option("--since", type=Moment())
@click.option("--until", type=Moment())
@click.option("--apply", is_flag=True, help="Do it; without, only the plan is shown.")
@click.option("--force", is_flag=True, help="Also rows that were changed since.")
@click.option(
    "--fill", multiple=True, metavar="SCHEMA.TABLE.COLUMN=VALUE", help="For a column that the vault may not keep."
)
@click.option("--to", "target", help="Connection string of production, else the file's.")
@click.option("--json", "as_data", is_flag=True)
@click.pass_obj
def undo(config: Config, /, **options: Any) -> None:
    """Take an incident back: first the plan, with --apply the deed, in one transaction that can be undone itself."""
    with _Sources(config) as sources:
        name, group = _selected(sources, options)
        txs = [each.tx for each in group]
        changes = sources.vault.changes(txs)
        if options["only"]:
            wanted = options["only"].replace('"', "")
            changes = [each for each in changes if wanted in (each.table, each.table_name)]
        if not undoing.undoable(sources.vault.connection, txs, changes):
            raise WhodunitError(f"{name} changed no rows that the vault has")
        before = sources.vault.point_before(group)
        try:
            production = undoing.connect(options["target"] or config.production or _no_target())
        except WhodunitError as error:
            raise WhodunitError(f"{error}\nNEEDS BACKUP, if it is gone: restore production {before}") from error
        try:
            result = undoing.undo(
                sources.vault.connection,
                production,
                txs,
                changes,
                undoing.Options(
                    reason=f"undo of {name}",
                    apply=options["apply"],
                    force=options["force"],
                    fill=undoing.parse_fill(options["fill"]),
                    operator=_operator(),
                    key=sources.keys[0] if sources.keys else b"",
                    progress=lambda text: click.echo(clean(text), err=True),
                ),
            )
        finally:
            production.close()
    click.echo(
        json.dumps(dataclasses.asdict(result), indent=2) if options["as_data"] else told.text(result, name, before),
        nl=True,
    )
    if result.blockers:
        raise SystemExit(1)


@main.command()
@click.option("--json", "as_data", is_flag=True)
@click.pass_obj
def verify(config: Config, as_data: bool) -> None:
    """Compute every seal anew and compare it with the anchors outside; name the first bad record."""
    with _Sources(config) as sources:
        anchors, notes, retired = [], [], None
        try:
            anchors += sealing.read_anchors(config.anchors) if config.anchors else []
            retired = sealing.read_retired(config.anchors) if config.anchors else None
        except OSError as error:
            notes.append(f"the anchors' file cannot be read: {error.strerror}")
        try:
            anchors += sealing.parse_anchors(Loki(config).anchors(), "loki")
        except SourceError as error:
            notes.append(f"Loki's anchors are missing: {error}")
        if not anchors:
            notes.append("no anchor outside the vault was found: only the vault's own seals were compared")
        verdict = sealing.verify(sources.vault.connection, anchors, retired)
        verdict.notes += notes
    if as_data:
        click.echo(json.dumps(dataclasses.asdict(verdict), indent=2))
    else:
        anchored = ", ".join(f"{count} in {source}" for source, count in sorted(verdict.anchored.items())) or "none"
        click.echo(
            f"{verdict.seals} seals and {verdict.records} records are as they were; anchors that agree: {anchored}"
        )
        for line in (
            [f"{verdict.retired} seals are of days that were dropped: their roots prove any copy of the rows"]
            if verdict.retired
            else []
        ) + verdict.notes:
            click.echo(clean(line))
        if verdict.fault is not None:
            fault = verdict.fault
            click.echo(clean(f"FIRST BAD RECORD: {fault.record}: {fault.what} ({fault.detail})"))
    if verdict.fault is not None:
        raise SystemExit(1)


@main.command()
@click.argument("identifier")
@click.option("--reason", required=True, help="Why it must be kept.")
@click.pass_obj
def freeze(config: Config, identifier: str, reason: str) -> None:
    """Keep an incident's days of history whatever the retention says."""
    with _Sources(config) as sources:
        group = sources.by_id(identifier)
        first, last_ = group[0].commit_at, group[-1].commit_at
        number = sources.vault.hold(first, last_, f"{identifier}: {reason} (by {_operator()})")
        click.echo(f"Hold {number}: history from {utc(first)} to {utc(last_)} stays.")


@main.command()
@click.option("--bind", default="/run/whodunit/page.sock", show_default=True, help="A socket's path, or host:port.")
@click.pass_obj
def serve(config: Config, bind: str) -> None:
    """The same in a browser, behind a web server that logs people in and says who they are in X-Remote-User."""
    if not config.page_people:
        raise click.ClickException("nobody may read the page: name people under page_people in the configuration")
    from whodunit.page.server import Server  # the web framework takes a quarter of a second to load

    Server(config, bind).run()


class _Sources:
    """The open vault and what is needed to judge what it says; errors become one line."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def __enter__(self) -> _Sources:
        try:
            self.keys = read_keys(self.config.context_keys)
            self.vault = Vault(self.config.vault)
        except WhodunitError as error:
            raise click.ClickException(clean(error)) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.vault.close()
        if isinstance(error, WhodunitError):
            raise click.ClickException(clean(error)) from error
        if isinstance(error, psycopg.Error):
            raise click.ClickException(clean(f"the vault refused: {str(error).strip()}")) from error

    def signed(self, transactions: Sequence[Transaction], wanted: set[str]) -> list[Transaction]:
        """Those that a signed context, or a role of one person, puts there; a forged context brings nothing back."""
        found: list[Transaction] = []
        left: list[Transaction] = []
        for each in transactions:
            context = judge(each, self.keys)
            said = (
                {context.trusted("uid"), context.trusted("cid"), trace_id(context.claims)} if context.claims else set()
            )
            own = each.db_user in wanted and each.db_user not in self.config.pooled_roles
            signed = context.trust is Trust.SIGNED and bool(said & wanted)
            (found if own or signed else left).append(each)
        if left:
            names = ", ".join(each.id for each in left[:20])
            click.echo(clean(f"left out, since nothing proves that they belong to it: {names}"), err=True)
        return found

    def by_id(self, identifier: str) -> list[Transaction]:
        return named(self.vault, identifier, self.keys, self.config)


def _report(config: Config, options: dict[str, Any], what: dict[str, str], identifier: str | None = None) -> None:
    with _Sources(config) as sources:
        if identifier is not None:
            group = sources.by_id(identifier)
        else:
            since = options["since"] or (None if what else of_late(sources.vault))
            groups = find(sources.vault, sources.keys, config, since=since, until=options["until"], **what)
            if not groups:
                raise WhodunitError(
                    "the vault has no such change"
                    + ("" if options["since"] else "; widen it with --since")
                    + "; what was only tried is told by `whodunit attempts`"
                )
            group = groups[0]
        usage.record(sys.argv[1:], incident=group[0].id)
        report = build(gather(sources.vault, lambda: Loki(config), group, sources.keys, config))
    if options["html"]:
        from whodunit.render import as_html  # Jinja takes a tenth of a second to load

        options["html"].write_text(as_html.render(report), encoding="utf-8")
        click.echo(f"{report.incident}: {clean(options['html'])}", err=True)
    if options["as_data"]:
        click.echo(as_json.render(report), nl=False)
    elif not options["html"]:
        terminal = sys.stdout.isatty()
        click.echo(as_text.render(report, color=terminal and "NO_COLOR" not in os.environ), nl=False)


def _selected(sources: _Sources, options: dict[str, Any]) -> tuple[str, Sequence[Transaction]]:
    """Which transactions are to be undone, and what to call them."""
    chosen = [n for n in ("identifier", "tx", "correlation", "trace_id", "person") if options[n]]
    if len(chosen) > 1 or not (chosen or options["since"]):
        raise WhodunitError(
            "say what to undo in one way: ID, --tx, --correlation, --trace, --user or --since and --until"
        )
    since, until = options["since"], options["until"]
    if options["identifier"]:
        return options["identifier"], sources.by_id(options["identifier"])
    if options["tx"]:
        epoch = sources.vault.epoch()
        return f"tx {', '.join(map(str, options['tx']))}", [
            t for x in options["tx"] for t in sources.vault.by_xid(epoch, x)
        ]
    if options["correlation"] or options["trace_id"]:
        found = (options["correlation"] or options["trace_id"]).replace("-", "").lower()
        return found, sources.signed(sources.vault.of(trace=found, since=since, until=until), {found})
    if options["person"]:
        if since is None:
            raise WhodunitError("--user needs --since: nobody wants everything undone that somebody ever did")
        everything = sources.vault.of(user=options["person"], since=since, until=until)
        return f"user {options['person']} since {utc(since)}", sources.signed(everything, {options["person"]})
    return f"everything since {utc(since)}", sources.vault.of(since=since, until=until)


def _operator() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _no_target() -> str:
    raise WhodunitError(
        "where is production? Give --to 'host=… dbname=… user=…', or set production in the configuration"
    )


if __name__ == "__main__":
    main()
