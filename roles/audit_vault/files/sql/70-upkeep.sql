-- What the keeper asks for between two seals.

-- A partition a day, made a week ahead; what no day took (history_rest) moves into its own as soon as there is one.
CREATE OR REPLACE FUNCTION vault.ensure_days(ahead int DEFAULT 7) RETURNS int LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
  day date;
  part text;
  bounds text;
  made int := 0;
BEGIN
  FOR day IN SELECT generate_series(least(current_date, (SELECT min(r.recorded_at)::date FROM vault.history_rest r)),
                                    current_date + ahead, interval '1 day')::date LOOP
    part := format('vault.history_%s', to_char(day, 'YYYYMMDD'));
    CONTINUE WHEN to_regclass(part) IS NOT NULL;
    bounds := format('FOR VALUES FROM (%L) TO (%L)', day || ' 00:00+00', day + 1 || ' 00:00+00');
    IF EXISTS (SELECT FROM vault.history_rest r WHERE r.recorded_at >= day AND r.recorded_at < day + 1) THEN
      LOCK TABLE vault.history_rest IN ACCESS EXCLUSIVE MODE;
      EXECUTE format('CREATE TABLE %s (LIKE vault.history INCLUDING DEFAULTS)', part);
      EXECUTE format('WITH moved AS (DELETE FROM vault.history_rest WHERE recorded_at >= %L AND recorded_at < %L RETURNING *)
                      INSERT INTO %s SELECT * FROM moved', day, day + 1, part);
      EXECUTE format('ALTER TABLE vault.history ATTACH PARTITION %s %s', part, bounds);
    ELSE
      EXECUTE format('CREATE TABLE %s PARTITION OF vault.history %s', part, bounds);
    END IF;
    made := made + 1;
  END LOOP;
  RETURN made;
END
$$;

-- Days under a hold outlive every retention; who lifts one leaves a finding.
CREATE TABLE IF NOT EXISTS vault.legal_hold (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, placed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  placed_by text NOT NULL DEFAULT session_user, from_at timestamptz NOT NULL, to_at timestamptz, reason text NOT NULL
);
CREATE OR REPLACE FUNCTION vault.note_hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO vault.own_finding (kind, severity, detail)
  VALUES ('hold_changed', 'warning', jsonb_build_object('by', session_user, 'was', to_jsonb(OLD),
                                                        'is', CASE WHEN TG_OP = 'UPDATE' THEN to_jsonb(NEW) END));
  RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER vault_hold AFTER UPDATE OR DELETE ON vault.legal_hold FOR EACH ROW EXECUTE FUNCTION vault.note_hold();
ALTER TABLE vault.legal_hold ENABLE ALWAYS TRIGGER vault_hold;

-- Drops days that are older, sealed as a whole and under no hold, and what their transactions said of themselves. Seals
-- and leaves stay, and prove whatever copy somebody still has. The keeper anchors each day that goes.
DROP FUNCTION IF EXISTS vault.retire(int);
CREATE FUNCTION vault.retire(keep_days int) RETURNS TABLE (day date, through_tx bigint, rows bigint)
LANGUAGE plpgsql SET timezone = 'UTC' SET lock_timeout = '3s' AS $$
#variable_conflict use_variable
DECLARE
  part record;
BEGIN
  FOR part IN SELECT c.oid::regclass AS name, c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
              WHERE i.inhparent = 'vault.history'::regclass AND c.relname ~ '^history_\d{8}\Z' ORDER BY c.relname LOOP
    day := to_date(right(part.relname, 8), 'YYYYMMDD');
    EXIT WHEN day >= current_date - keep_days;
    EXECUTE format('SELECT max(h.tx), count(*) FROM %s h', part.name) INTO through_tx, rows;
    CONTINUE WHEN through_tx >= vault.horizon()
      OR EXISTS (SELECT FROM vault.legal_hold h WHERE h.from_at < day + 1 AND coalesce(h.to_at, 'infinity') >= day);
    PERFORM set_config('vault.drops', 'on', true);
    EXECUTE format('DROP TABLE %s', part.name);
    PERFORM set_config('vault.drops', '', true);
    DELETE FROM audit.context c WHERE c.received_at >= day AND c.received_at < day + 1 AND c.tx <= through_tx;
    DELETE FROM audit.heartbeat b WHERE b.received_at >= day AND b.received_at < day + 1;
    INSERT INTO vault.own_finding (kind, severity, detail)
    VALUES ('retired', 'notice', jsonb_build_object('day', day, 'through_tx', through_tx, 'rows', rows, 'keep_days', keep_days));
    RETURN NEXT;
  END LOOP;
EXCEPTION WHEN lock_not_available THEN
  RETURN;  -- somebody reads that day; in an hour
END
$$;
CREATE INDEX IF NOT EXISTS context_received ON audit.context USING brin (received_at);

-- Whoever else drops a table of the vault is a finding; verify then names the first record that is missing.
CREATE OR REPLACE FUNCTION vault.note_drop() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('vault.drops', true) = 'on' THEN
    RETURN;
  END IF;
  INSERT INTO vault.own_finding (kind, severity, detail)
  SELECT 'dropped', 'critical', jsonb_build_object('table', d.object_identity, 'by', session_user, 'pid', pg_backend_pid())
  FROM pg_event_trigger_dropped_objects() d WHERE d.object_type = 'table' AND NOT d.is_temporary;
END
$$;
DROP EVENT TRIGGER IF EXISTS vault_drop;
CREATE EVENT TRIGGER vault_drop ON sql_drop EXECUTE FUNCTION vault.note_drop();
ALTER EVENT TRIGGER vault_drop ENABLE ALWAYS;

-- Production under another identity, or set back: what is known of it is put away, and the next subscription starts anew.
-- known_at, known_lsn: up to where the history surely has everything; applied: what it had of the production before.
DROP FUNCTION IF EXISTS vault.open_epoch(text, bigint, int, pg_lsn, bigint);
CREATE OR REPLACE FUNCTION vault.open_epoch(why text, identifier bigint, line int, anchored bigint, known_at timestamptz, known_lsn pg_lsn,
  applied pg_lsn) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
  r record;
  opened int := vault.current_epoch() + 1;
BEGIN
  FOR r IN SELECT id FROM vault.relation WHERE epoch = opened - 1 AND valid_to IS NULL LOOP
    PERFORM vault.bury(r.id, 'A');
  END LOOP;
  INSERT INTO vault.epoch (n, from_tx, system_identifier, timeline, slot, reason, gap_from_lsn, after_seal)
  VALUES (opened, CASE WHEN opened = 1 THEN 0 ELSE pg_current_xact_id()::text::bigint END, identifier, line, 'tovplay_vault', why,
          known_lsn, anchored);
  IF opened > 1 OR anchored > 0 THEN
    INSERT INTO vault.gap (from_at, from_lsn, kind, detail)
    VALUES (known_at, known_lsn, 'epoch', jsonb_build_object('epoch', opened, 'reason', why, 'applied_before', applied,
      'transactions_after', (SELECT count(*) FROM vault.sealed_transaction t WHERE t.commit_at > known_at)));
    INSERT INTO vault.own_finding (kind, severity, detail)
    VALUES ('new_epoch', 'critical', jsonb_build_object('epoch', opened, 'reason', why, 'known_until', known_at));
  END IF;
  RETURN opened;
END
$$;

-- A gap ends where the stream has taken over from the copy: every later change is in the history again.
CREATE OR REPLACE FUNCTION vault.close_gaps() RETURNS void LANGUAGE sql AS $$
  WITH copied AS (
    SELECT format('%I.%I', n.nspname, c.relname) AS name, r.srsubstate, r.srsublsn
    FROM pg_subscription_rel r JOIN pg_class c ON c.oid = r.srrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname <> 'audit'
  ), ended AS (
    UPDATE vault.gap g SET to_at = clock_timestamp(), to_lsn = e.lsn, detail = g.detail || jsonb_build_object('copied_at', e.tables)
    FROM vault.gap o CROSS JOIN LATERAL (
      SELECT bool_and(c.srsubstate = 'r') AS done, max(c.srsublsn) AS lsn, jsonb_object_agg(c.name, c.srsublsn) AS tables
      FROM copied c WHERE o.kind = 'epoch' OR c.name = o.detail ->> 'table') e
    WHERE o.id = g.id AND g.to_at IS NULL AND e.done
    RETURNING g.kind, g.detail, g.to_lsn
  )
  UPDATE vault.epoch e SET gap_to_lsn = ended.to_lsn FROM ended WHERE ended.kind = 'epoch' AND e.n = (ended.detail ->> 'epoch')::int
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
           AND p.proname NOT IN ('decrypt', 'horizon', 'commit_at', 'xid_of', 'as_json', 'canonical', 'leaf', 'leaves', 'merkle', 'root', 'leaf_hashes', 'kept_root', 'broken_seals') LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
  END LOOP;
END
$$;
