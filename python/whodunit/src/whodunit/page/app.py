"""Routes of the incident page (WSGI). Every request opens its own snapshot of the vault as the role of its reader."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from flask import Flask, Response, g, render_template, request, send_file
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.middleware.proxy_fix import ProxyFix

from whodunit import WhodunitError, usage
from whodunit.config import Config, load
from whodunit.context import judge, read_keys
from whodunit.escape import clean
from whodunit.incident import Harm
from whodunit.material import NAME, find, gather, named, of_late, tried
from whodunit.model import Report, Transaction, utc
from whodunit.page.access import Refused, reader
from whodunit.render import as_html, as_json
from whodunit.report import build
from whodunit.sources import SourceError
from whodunit.sources.loki import Loki
from whodunit.sources.vault import Vault

SPANS = (("", "last 7 days"), ("1h", "last hour"), ("24h", "last 24 hours"), ("30d", "last 30 days"), ("all", "all"))
_HOURS = {"1h": 1, "24h": 24, "30d": 720}
_LONGEST = 200  # characters of anything that is asked for
_STATEMENT_SECONDS = 60
_PACKAGE = Path(__file__).resolve().parent.parent
# The page runs no script and loads its own stylesheet only: log data that slipped through could do nothing.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def create_app(config: Config | None = None, loki: Callable[[Config], Loki] = Loki) -> Flask:
    """The application; `loki` gives the client for one request."""
    settings = config or load()
    app = Flask("whodunit", root_path=str(_PACKAGE), static_folder=None, template_folder="templates")
    app.jinja_env.autoescape = True  # Flask's own choice goes by file names and would leave *.html.j2 unescaped
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    # One proxy in front, on this host; it also says under which path this page stands.
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)  # type: ignore[method-assign]

    @app.before_request
    def identify() -> None:
        if request.endpoint == "stylesheet":
            return
        g.reader = reader(request.environ, settings.page_people)
        usage.record(
            [request.full_path.rstrip("?")], event="whodunit_page", user=g.reader.name, **{"from": request.remote_addr}
        )

    @app.after_request
    def protect(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @contextmanager
    def vault() -> Iterator[Vault]:
        opened = Vault(settings.vault, role=g.reader.vault_role)
        try:
            opened.connection.execute(f"SET statement_timeout = '{_STATEMENT_SECONDS}s'")
            yield opened
        finally:
            opened.close()

    def report(identifier: str) -> Report:
        if not NAME.fullmatch(identifier):
            raise NotFound(f"{identifier[:_LONGEST]!r} is no incident.")
        keys = read_keys(settings.context_keys)
        with vault() as opened:
            group = named(opened, identifier, keys, settings)
            return build(gather(opened, lambda: loki(settings), group, keys, settings))

    @app.get("/static/page.css")
    def stylesheet() -> Response:
        return send_file(_PACKAGE / "static/page.css", mimetype="text/css", max_age=300)

    @app.get("/")
    def incidents() -> Any:
        asked = {name: request.args.get(name, "")[:_LONGEST].strip() for name in ("table", "user", "trace", "since")}
        if NAME.fullmatch(asked["trace"]):
            return incident(asked["trace"])
        keys = read_keys(settings.context_keys)
        with vault() as opened:
            newest = opened.newest()
            groups = find(
                opened,
                keys,
                settings,
                since=_since(asked["since"], opened),
                table=asked["table"].replace('"', "") or None,
                user=asked["user"] or None,
                trace=asked["trace"].replace("-", "").lower() or None,
            )
            harm = opened.harm([each.tx for group in groups for each in group])
            found = [_listed(group, harm, keys) for group in groups]
        return _page(
            "incidents.html.j2",
            found=found,
            asked=as_html.visible(asked),
            spans=SPANS,
            newest=utc(newest) if newest else "",
        )

    @app.get("/<identifier>")
    def incident(identifier: str) -> Any:
        return _page("incident.html.j2", **as_html.told(report(identifier)))

    @app.get("/<identifier>.<any(html, json):form>")
    def export(identifier: str, form: str) -> Response:
        told = report(identifier)
        text = as_html.render(told) if form == "html" else as_json.render(told)
        response = Response(text, mimetype="text/html" if form == "html" else "application/json")
        response.headers["Content-Disposition"] = f'attachment; filename="incident-{identifier}.{form}"'
        return response

    @app.get("/attempts")
    def attempts() -> Any:
        now = datetime.now(UTC)
        with vault() as opened:
            found = tried(opened, loki(settings), now - timedelta(hours=24), now)
        return _page("attempts.html.j2", found=as_html.visible(as_json.data([asdict(each) for each in found])))

    @app.errorhandler(Refused)
    def refused(error: Refused) -> Any:
        return _refusal("This page is not for you", str(error), 403)

    @app.errorhandler(WhodunitError)
    @app.errorhandler(SourceError)
    def failed(error: Exception) -> Any:
        missing = "the vault has no" in str(error)
        return _refusal("There is no such incident" if missing else "No answer", str(error), 404 if missing else 503)

    @app.errorhandler(psycopg.Error)
    def silent(error: psycopg.Error) -> Any:
        return _refusal("The vault refused", str(error.diag.message_primary or type(error).__name__), 503)

    @app.errorhandler(HTTPException)
    def odd(error: HTTPException) -> Any:
        return _refusal(error.name, str(error.description), error.code or 500)

    return app


def _page(template: str, **values: Any) -> str:
    return render_template(template, reader=g.reader, **values)


def _refusal(title: str, text: str, code: int) -> tuple[str, int]:
    return render_template("refusal.html.j2", title=title, text=clean(text)), code


def _since(asked: str, vault: Vault) -> datetime | None:
    if asked == "all":
        return None
    hours = _HOURS.get(asked)
    return datetime.now(UTC) - timedelta(hours=hours) if hours else of_late(vault)


def _listed(group: list[Transaction], harm: dict[int, Harm], keys: Sequence[bytes]) -> dict[str, Any]:
    """One line of the list: what the report would say first, without asking the logs."""
    total = sum((harm[each.tx] for each in group if each.tx in harm), Harm())
    first = group[0]
    parts = [
        f"{number:,} {noun}{'s' if number != 1 else ''} {verb}"
        for number, noun, verb in (
            (total.lost, "row", "lost"),
            (total.updated, "row", "changed"),
            (total.dropped, "object", "dropped"),
        )
        if number
    ]
    person = judge(first, keys).trusted("uid")
    by = f"user {person}" if person else first.db_user or "somebody unknown"
    tables = list(dict.fromkeys(re.sub(r'"', "", each.table_name) for each in group if each.table_name))
    where = f" in {tables[0]}{f' and {len(tables) - 1} more' if len(tables) > 1 else ''}" if tables else ""
    return {
        "id": first.id,
        "title": clean(f"{', '.join(parts) or 'Rows added'}{where} by {by}"),
        "at": utc(group[-1].commit_at),
        "role": clean(first.db_user or "unknown"),
        "transactions": len(group),
    }
