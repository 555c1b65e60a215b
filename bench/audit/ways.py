"""The SQL of each way of auditing that bench/audit/run compares."""

from __future__ import annotations

import json
from pathlib import Path

SQL = Path(__file__).resolve().parents[2] / "roles/audit_capture/files"
TABLES = ("pgbench_accounts", "pgbench_branches", "pgbench_tellers", "pgbench_history", "mass")
PGAUDIT = {
    "log": "write,ddl,role,function",  # as of a role that comes through the pooler
    "log_catalog": "off",
    "log_parameter": "on",
    "log_relation": "on",
    "log_statement_once": "on",
}

LOG = """
CREATE TABLE log (id bigserial, at timestamptz DEFAULT now(), who text DEFAULT current_user, tab text, op text,
                  old jsonb, new jsonb);
"""
PER_ROW = """
CREATE FUNCTION log_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO log (tab, op, old, new) VALUES (TG_TABLE_NAME, TG_OP, CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
                                              CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END);
  RETURN NULL; END $$;
"""
TRANSITION = """
CREATE FUNCTION log_i() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO log (tab, op, new) SELECT TG_TABLE_NAME, TG_OP, to_jsonb(n) FROM n; RETURN NULL; END $$;
CREATE FUNCTION log_d() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO log (tab, op, old) SELECT TG_TABLE_NAME, TG_OP, to_jsonb(o) FROM o; RETURN NULL; END $$;
CREATE FUNCTION log_u() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO log (tab, op, old, new) SELECT TG_TABLE_NAME, TG_OP, a.j, b.j
  FROM (SELECT row_number() OVER () r, to_jsonb(o) j FROM o) a
  JOIN (SELECT row_number() OVER () r, to_jsonb(n) j FROM n) b USING (r);
  RETURN NULL; END $$;
"""
KINDS = {"INSERT": ("i", "NEW TABLE AS n"), "DELETE": ("d", "OLD TABLE AS o")}
KINDS |= {"UPDATE": ("u", "OLD TABLE AS o NEW TABLE AS n")}


def ways(further: str = "") -> dict[str, str]:
    """Name and SQL of each; `further` is a folder whose files NAME.sql are ways, too."""
    known = {
        "unaudited": "",
        "ours without guard": ours("off"),
        "ours": ours("warn"),
        "ours and pgaudit": ours("warn"),
        "per-row jsonb": per_row(),
        "transition tables": transition(),
    }
    return known | {path.stem: path.read_text("utf-8") for path in sorted(Path(further).glob("*.sql")) if further}


def ours(guard: str) -> str:
    """Role audit_capture's SQL; one column is masked, as in production, so that each statement is looked at."""
    limits = {"schema": "public", "guard": guard, "max_delete": 1000, "max_update": 1000}
    entries = [
        {**limits, "name": name, "columns": {"kind": "encrypt"} if name == "mass" else {}} for name in TABLES
    ]  # fmt: skip
    wanted = json.dumps({"tables": entries, "new_tables": "report"})
    parts = [path.read_text("utf-8") for path in sorted(SQL.glob("[0-9]*.sql"))]
    return "\n".join(["BEGIN;", *parts, "COMMIT;", f"SELECT audit.converge('{wanted}');"])


def per_row() -> str:
    """The trigger that most people write."""
    return LOG + PER_ROW + "".join(
        f"CREATE TRIGGER log AFTER INSERT OR UPDATE OR DELETE ON {name} FOR EACH ROW EXECUTE FUNCTION log_row();"
        for name in TABLES
    )  # fmt: skip


def transition() -> str:
    """One trigger per kind of statement, all of its rows at once."""
    return LOG + TRANSITION + "".join(
        f"CREATE TRIGGER log_{short} AFTER {kind} ON {name} REFERENCING {rows} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION log_{short}();"
        for name in TABLES
        for kind, (short, rows) in KINDS.items()
    )  # fmt: skip
