-- What the keeper asks for between two seals.

-- A partition a day, made a week ahead; what no day takes goes to history_rest.
CREATE OR REPLACE FUNCTION vault.ensure_days(ahead int DEFAULT 7) RETURNS int LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
  day date;
  made int := 0;
BEGIN
  FOR day IN SELECT generate_series(current_date, current_date + ahead, interval '1 day')::date LOOP
    CONTINUE WHEN to_regclass(format('vault.history_%s', to_char(day, 'YYYYMMDD'))) IS NOT NULL
      OR EXISTS (SELECT FROM vault.history_rest r WHERE r.recorded_at >= day AND r.recorded_at < day + 1);
    EXECUTE format('CREATE TABLE vault.history_%s PARTITION OF vault.history FOR VALUES FROM (%L) TO (%L)',
                   to_char(day, 'YYYYMMDD'), day || ' 00:00+00', day + 1 || ' 00:00+00');
    made := made + 1;
  END LOOP;
  RETURN made;
END
$$;

-- Days under a hold outlive every retention.
CREATE TABLE IF NOT EXISTS vault.legal_hold (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, placed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  placed_by text NOT NULL DEFAULT session_user, from_at timestamptz NOT NULL, to_at timestamptz, reason text NOT NULL
);

-- Drops days that are older, sealed as a whole and under no hold; their seals stay. Returns what went.
CREATE OR REPLACE FUNCTION vault.retire(keep_days int) RETURNS SETOF text LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
  part record;
  day date;
  newest bigint;
BEGIN
  FOR part IN SELECT c.oid::regclass AS name, c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
              WHERE i.inhparent = 'vault.history'::regclass AND c.relname ~ '^history_\d{8}\Z' ORDER BY c.relname LOOP
    day := to_date(right(part.relname, 8), 'YYYYMMDD');
    EXIT WHEN day >= current_date - keep_days;
    EXECUTE format('SELECT max(tx) FROM %s', part.name) INTO newest;
    CONTINUE WHEN newest >= vault.horizon()
      OR EXISTS (SELECT FROM vault.legal_hold h WHERE h.from_at < day + 1 AND coalesce(h.to_at, 'infinity') >= day);
    EXECUTE format('DROP TABLE %s', part.name);
    INSERT INTO vault.own_finding (kind, severity, detail)
    VALUES ('retired', 'notice', jsonb_build_object('day', day, 'through_tx', newest, 'keep_days', keep_days));
    RETURN NEXT part.relname;
  END LOOP;
END
$$;

-- Production under another identity, or set back: what is known of it is put away, and the next subscription starts anew.
CREATE OR REPLACE FUNCTION vault.open_epoch(why text, identifier bigint, line int, new_lsn pg_lsn, anchored bigint) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
  last audit.heartbeat;
  r record;
  opened int := vault.current_epoch() + 1;
BEGIN
  SELECT * INTO last FROM audit.heartbeat ORDER BY id DESC LIMIT 1;
  FOR r IN SELECT id FROM vault.relation WHERE epoch = opened - 1 AND valid_to IS NULL LOOP
    PERFORM vault.bury(r.id, 'A');
  END LOOP;
  INSERT INTO vault.epoch (n, from_tx, system_identifier, timeline, slot, reason, gap_from_lsn, gap_to_lsn, after_seal)
  VALUES (opened, CASE WHEN opened = 1 THEN 0 ELSE pg_current_xact_id()::text::bigint END, identifier, line, 'tovplay_vault', why,
          last.lsn, CASE WHEN opened > 1 THEN new_lsn END, anchored);
  IF opened > 1 THEN
    INSERT INTO vault.gap (from_at, to_at, from_lsn, to_lsn, kind, detail)
    VALUES (last.at, clock_timestamp(), last.lsn, new_lsn, 'epoch', jsonb_build_object('epoch', opened, 'reason', why));
  END IF;
  RETURN opened;
END
$$;

-- AFTER INSERT on audit.heartbeat: a silence between two beats is a gap with exact bounds, wherever it came from.
CREATE OR REPLACE FUNCTION vault.listen() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  last audit.heartbeat;
BEGIN
  SELECT * INTO last FROM audit.heartbeat h WHERE h.id < NEW.id ORDER BY h.id DESC LIMIT 1;
  IF last.at IS NOT NULL AND NEW.at > last.at + interval '30 s' THEN
    INSERT INTO vault.gap (from_at, to_at, from_lsn, to_lsn, kind, detail)
    VALUES (last.at, NEW.at, last.lsn, NEW.lsn, 'silence', jsonb_build_object('seconds', round(extract(epoch FROM NEW.at - last.at))));
  END IF;
  IF last.at IS NOT NULL AND (NEW.system_identifier, NEW.timeline) IS DISTINCT FROM (last.system_identifier, last.timeline) THEN
    INSERT INTO vault.own_finding (tx, kind, severity, detail)
    VALUES (NEW.tx, 'production_replaced', 'critical', jsonb_build_object('was', last.system_identifier, 'was_timeline', last.timeline,
                                                             'is', NEW.system_identifier, 'is_timeline', NEW.timeline));
  END IF;
  RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER vault_2_listen AFTER INSERT ON audit.heartbeat FOR EACH ROW EXECUTE FUNCTION vault.listen();
ALTER TABLE audit.heartbeat ENABLE ALWAYS TRIGGER vault_2_listen;

-- Column policies from the inventory. A column that becomes masked is masked in the shadow at once; what the history has
-- of it stays until its days are retired, and a finding says so.
CREATE OR REPLACE FUNCTION vault.set_policies(wanted jsonb) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
  r vault.relation;
  changed int;
BEGIN
  DELETE FROM vault.policy p WHERE NOT EXISTS (
    SELECT FROM jsonb_to_recordset(wanted) AS w (schema_name text, table_name text, column_name text, policy text)
    WHERE (w.schema_name, w.table_name, w.column_name, w.policy) = (p.schema_name, p.table_name, p.column_name, p.policy));
  GET DIAGNOSTICS changed = ROW_COUNT;
  FOR r IN
    WITH added AS (
      INSERT INTO vault.policy
      SELECT w.* FROM jsonb_to_recordset(wanted) AS w (schema_name text, table_name text, column_name text, policy text)
      ON CONFLICT DO NOTHING RETURNING *)
    SELECT rel.* FROM vault.relation rel
    WHERE rel.epoch = vault.current_epoch() AND rel.valid_to IS NULL
      AND (rel.schema_name, rel.table_name) IN (SELECT added.schema_name, added.table_name FROM added)
  LOOP
    changed := changed + 1;
    PERFORM vault.mask_existing(r);
  END LOOP;
  RETURN changed;
END
$$;

CREATE OR REPLACE FUNCTION vault.mask_existing(r vault.relation) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  shadow regclass := format('%I.%I', r.schema_name, r.table_name)::regclass;
  p record;
BEGIN
  PERFORM set_config('vault.moves', 'on', true);
  FOR p IN SELECT pol.* FROM vault.policy pol JOIN jsonb_array_elements(r.columns) c ON c ->> 'name' = pol.column_name
           WHERE (pol.schema_name, pol.table_name) = (r.schema_name, r.table_name) AND c ->> 'policy' = 'plain'
             AND c ->> 'key' IS NULL AND NOT c ? 'kept_as' LOOP
    IF p.policy = 'exclude' THEN
      EXECUTE format('ALTER TABLE %s DROP COLUMN %I', shadow, p.column_name);
    ELSE
      EXECUTE format('UPDATE %s SET %2$I = vault.masked(%2$I, %3$L, NULL) WHERE %2$I IS NOT NULL', shadow, p.column_name, p.policy);
    END IF;
    INSERT INTO vault.own_finding (kind, severity, detail)
    VALUES ('masked_late', 'warning', jsonb_build_object('table', shadow::text, 'column', p.column_name, 'policy', p.policy,
                                               'legible_before', clock_timestamp()));
    r.columns := (SELECT jsonb_agg(CASE WHEN c ->> 'name' = p.column_name AND NOT c ? 'kept_as' THEN c || jsonb_build_object('policy', p.policy) ELSE c END)
                  FROM jsonb_array_elements(r.columns) c);
  END LOOP;
  PERFORM set_config('vault.moves', 'off', true);
  UPDATE vault.relation SET valid_to = clock_timestamp() WHERE id = r.id;
  INSERT INTO vault.relation (epoch, source_relid, schema_name, table_name, columns, key_columns, shaped_by, described_at)
  VALUES (r.epoch, r.source_relid, r.schema_name, r.table_name, r.columns, r.key_columns, r.shaped_by, r.described_at) RETURNING * INTO r;
  PERFORM vault.set_triggers(shadow, r.id);
END
$$;

-- Both sides of a comparison: the number of rows and the sum of their digests, over columns that are legible.
CREATE OR REPLACE FUNCTION vault.comparable() RETURNS TABLE (name text, on_production text, on_vault text) LANGUAGE sql STABLE AS $$
  SELECT t.name, t.query, t.query FROM (
    SELECT format('%I.%I', r.schema_name, r.table_name) AS name,
           format('SELECT count(*) AS rows, coalesce(sum(hashtextextended(ROW(%s)::text, 0)::numeric), 0) AS sum FROM ONLY %I.%I',
                  (SELECT string_agg(quote_ident(c ->> 'name'), ', ' ORDER BY (c ->> 'attnum')::int) FROM jsonb_array_elements(r.columns) c
                   WHERE c ->> 'policy' = 'plain' AND NOT c ? 'kept_as' AND coalesce(c ->> 'generated', '') IN ('', 'false')),
                  r.schema_name, r.table_name) AS query
    FROM vault.relation r
    JOIN pg_class s ON s.relname = r.table_name AND s.relnamespace = to_regnamespace(quote_ident(r.schema_name))
    JOIN pg_subscription_rel b ON b.srrelid = s.oid AND b.srsubstate = 'r'
    WHERE r.epoch = vault.current_epoch() AND r.valid_to IS NULL) t
$$;

SELECT vault.ensure_days();
GRANT SELECT ON vault.legal_hold TO vault_reader;
GRANT INSERT ON vault.legal_hold TO vault_investigator;
-- Functions of the machinery are nobody's to call; what views need, and decrypt(), has grants of its own.
DO $$
DECLARE
  f regprocedure;
BEGIN
  FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'vault'::regnamespace
           AND p.proname NOT IN ('decrypt', 'horizon', 'commit_at', 'xid_of', 'as_json', 'canonical', 'leaf', 'leaves', 'merkle', 'root', 'leaf_hashes', 'broken_seals') LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
  END LOOP;
END
$$;
