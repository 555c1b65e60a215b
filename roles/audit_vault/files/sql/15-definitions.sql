-- How each object of production is made, as role audit_capture notes it; a row without statements: the object is gone. The
-- statements are text here and nothing else: whodunit shows them, and runs them on production as whoever undoes.
CREATE TABLE IF NOT EXISTS audit.definition (
  xid bigint, at timestamptz, catalog text, objid oid, objsubid int, kind text, identity text, relid oid, statements jsonb,
  tx bigint DEFAULT pg_current_xact_id()::text::bigint, received_at timestamptz DEFAULT clock_timestamp(),
  id bigint DEFAULT nextval('vault.meta_id')
);
CREATE INDEX IF NOT EXISTS definition_object ON audit.definition (objid, objsubid, id);
CREATE INDEX IF NOT EXISTS definition_tx ON audit.definition (tx);

-- Those of an initial copy are older than the history.
CREATE OR REPLACE FUNCTION vault.receive_definition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT vault.is_replayed(TG_RELID) THEN
    NEW.tx := NULL;
  END IF;
  RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER vault_1_receive BEFORE INSERT ON audit.definition FOR EACH ROW EXECUTE FUNCTION vault.receive_definition();
ALTER TABLE audit.definition ENABLE ALWAYS TRIGGER vault_1_receive;
GRANT SELECT ON audit.definition TO vault_investigator;
