-- Shadows take production's shape: from its catalog at first (vault.adopt), then from the rows of audit.ddl, in order with
-- the rows of the tables. All columns of a shadow are text, whatever production says: nothing of it is executed.

CREATE OR REPLACE FUNCTION vault.current_epoch() RETURNS int LANGUAGE sql STABLE AS 'SELECT coalesce(max(n), 0) FROM vault.epoch';

-- A default that rows of production got without a trace in WAL, as its text; NULL when only production can tell.
CREATE OR REPLACE FUNCTION vault.constant(def text, type text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
    WHEN type = 'boolean' THEN CASE def WHEN 'true' THEN 't' WHEN 'false' THEN 'f' END
    WHEN type ~ '^(text|character varying|uuid|smallint|integer|bigint|jsonb)' AND def ~ $re$^'([^']|'')*'::[a-z ]+(\(\d+\))?\Z$re$
      THEN replace(substring(def FROM $re$^'(.*)'::[^']*\Z$re$), '''''', '''')
    WHEN type ~ '^(smallint|integer|bigint)$' AND def ~ '^-?\d+$' THEN def
    WHEN type ~ '^numeric$' AND def ~ '^-?\d+(\.\d+)?$' THEN def
    WHEN type ~ '^numeric\(\d+,\d+\)$' AND def ~ '^-?\d+(\.\d+)?$'
      THEN round(def::numeric, substring(type FROM ',(\d+)')::int)::text
  END
$$;

CREATE OR REPLACE FUNCTION vault.join_subscription(shadow regclass, state "char") RETURNS void LANGUAGE sql AS $$
  -- What REFRESH PUBLICATION does, which cannot run here: 'r' = all its rows come in the stream, 'i' = copy them first.
  INSERT INTO pg_catalog.pg_subscription_rel (srsubid, srrelid, srsubstate)
  SELECT s.oid, shadow, state FROM pg_catalog.pg_subscription s
  WHERE s.subname = 'tovplay_vault' AND NOT EXISTS (SELECT FROM pg_catalog.pg_subscription_rel WHERE srrelid = shadow)
$$;

-- Puts a shadow away whole; with kind X its rows go into the history too, for they are lost on production.
CREATE OR REPLACE FUNCTION vault.bury(version int, kind "char") RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  r vault.relation;
  shadow regclass;
  grave text;
  held record;
BEGIN
  SELECT * INTO r FROM vault.relation WHERE id = version;
  shadow := format('%I.%I', r.schema_name, r.table_name)::regclass;
  IF kind = 'X' THEN
    PERFORM vault.note_all(shadow, version, 'X');
  END IF;
  grave := left(format('%s_%s', version, r.table_name), 50);
  FOR held IN SELECT tgname FROM pg_trigger WHERE tgrelid = shadow AND NOT tgisinternal LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', held.tgname, shadow);
  END LOOP;
  FOR held IN SELECT conname FROM pg_constraint WHERE conrelid = shadow AND contype = 'p' LOOP
    EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', shadow, held.conname, grave || '_pkey');
  END LOOP;
  EXECUTE format('ALTER TABLE %s RENAME TO %I', shadow, grave);
  EXECUTE format('ALTER TABLE %I.%I SET SCHEMA vault_archive', r.schema_name, grave);
  DELETE FROM pg_subscription_rel WHERE srrelid = shadow::oid;
  UPDATE vault.relation SET archived_as = format('vault_archive.%I', grave), valid_to = clock_timestamp(),
    dropped_at = CASE WHEN kind = 'X' THEN clock_timestamp() END WHERE id = version;
END
$$;

CREATE OR REPLACE FUNCTION vault.set_triggers(shadow regclass, version int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  r vault.relation;
  masks text;
  held record;
BEGIN
  SELECT * INTO r FROM vault.relation WHERE id = version;
  FOR held IN SELECT tgname FROM pg_trigger WHERE tgrelid = shadow AND tgname LIKE 'vault\_%' AND NOT tgisinternal LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', held.tgname, shadow);
  END LOOP;
  SELECT string_agg(format('%L, %L', c ->> 'name', c ->> 'policy'), ', ') INTO masks
  FROM jsonb_array_elements(r.columns) c WHERE c ->> 'policy' IN ('hash', 'encrypt') AND NOT c ? 'kept_as';
  IF masks IS NOT NULL THEN
    EXECUTE format('CREATE TRIGGER vault_1_mask BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION vault.mask(%s)', shadow, masks);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER vault_1_mask', shadow);
  END IF;
  EXECUTE format(
    'CREATE TRIGGER vault_2_note AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION vault.note(%s)', shadow,
    concat_ws(', ', version::text,
      coalesce((SELECT quote_literal(array_agg(c ->> 'kept_as')::text) FROM jsonb_array_elements(r.columns) c WHERE c ? 'kept_as'), ''''''),
      (SELECT string_agg(quote_literal(k), ', ' ORDER BY o) FROM unnest(r.key_columns) WITH ORDINALITY AS u (k, o))));
  EXECUTE format('CREATE TRIGGER vault_3_truncate BEFORE TRUNCATE ON %s EXECUTE FUNCTION vault.note_truncate(%s)', shadow, version);
  EXECUTE format('ALTER TABLE %1$s ENABLE ALWAYS TRIGGER vault_2_note, ENABLE ALWAYS TRIGGER vault_3_truncate', shadow);
END
$$;

-- A table of production as it is now. birth: 'r' its rows come in the stream, 'i' they must be copied, NULL leave that to
-- the keeper's REFRESH. Returns the version that is valid now.
CREATE OR REPLACE FUNCTION vault.shape(p_schema text, p_table text, p_oid oid, p_columns jsonb, birth "char", event_id bigint,
  p_described_at timestamptz DEFAULT NULL)
RETURNS int LANGUAGE plpgsql AS $$
DECLARE
  was vault.relation;
  other int;
  wanted jsonb;     -- p_columns with the policy of each
  live jsonb;       -- those that the shadow has
  live_before jsonb;
  keys text[];
  shadow regclass;
  version int;
  c record;
  must_copy boolean;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('vault.shape'));
  SELECT * INTO was FROM vault.relation r
  WHERE r.epoch = vault.current_epoch() AND r.source_relid = p_oid AND r.valid_to IS NULL;
  IF was.id IS NOT NULL THEN
    IF to_regclass(format('%I.%I', was.schema_name, was.table_name)) IS NULL THEN  -- somebody took its shadow away
      UPDATE vault.relation SET valid_to = clock_timestamp() WHERE id = was.id;
      was := NULL;
    END IF;
  END IF;

  -- A policy stays with its column through renames of column and table.
  SELECT coalesce(jsonb_agg((CASE WHEN n.col -> 'generated' = 'false' THEN n.col - 'generated' ELSE n.col END)
      || jsonb_build_object('policy', CASE WHEN n.col ->> 'key' IS NULL
      THEN coalesce(nullif(o.col ->> 'policy', 'plain'), p.policy, 'plain') ELSE 'plain' END) ORDER BY (n.col ->> 'attnum')::int), '[]')
  INTO wanted
  FROM jsonb_array_elements(p_columns) AS n (col)
  LEFT JOIN jsonb_array_elements(was.columns) AS o (col) ON o.col -> 'attnum' = n.col -> 'attnum' AND NOT o.col ? 'kept_as'
  LEFT JOIN vault.policy p ON (p.schema_name, p.table_name, p.column_name) = (p_schema, p_table, n.col ->> 'name');
  live := (SELECT coalesce(jsonb_agg(col), '[]') FROM jsonb_array_elements(wanted) AS w (col)
           WHERE col ->> 'policy' <> 'exclude' AND coalesce(col ->> 'generated', '') IN ('', 'false'));
  keys := ARRAY(SELECT col ->> 'name' FROM jsonb_array_elements(wanted) AS w (col) WHERE col ->> 'key' IS NOT NULL ORDER BY (col ->> 'key')::int);
  IF was.id IS NOT NULL THEN
    live_before := (SELECT coalesce(jsonb_agg(col), '[]') FROM jsonb_array_elements(was.columns) AS w (col)
                    WHERE col ->> 'policy' <> 'exclude' AND NOT col ? 'kept_as' AND coalesce(col ->> 'generated', '') IN ('', 'false'));
    -- Rows of production that changed without a trace in WAL: a rewrite, or a default that only production can compute.
    must_copy := EXISTS (SELECT FROM audit.ddl d WHERE d.tx = pg_current_xact_id()::text::bigint AND d.event = 'table_rewrite'
                         AND d.relid = p_oid AND d.id > was.shaped_by AND d.id <= event_id)
      OR EXISTS (SELECT FROM jsonb_array_elements(live) AS n (col)
                 WHERE col ->> 'default' IS NOT NULL AND vault.constant(col ->> 'default', col ->> 'type') IS NULL
                   AND NOT EXISTS (SELECT FROM jsonb_array_elements(live_before) AS o (col) WHERE o.col -> 'attnum' = n.col -> 'attnum'));
    IF (was.schema_name, was.table_name, was.key_columns) = (p_schema, p_table, keys) AND NOT must_copy
       AND wanted = (SELECT coalesce(jsonb_agg(col), '[]') FROM jsonb_array_elements(was.columns) AS w (col) WHERE NOT col ? 'kept_as') THEN
      RETURN was.id;
    END IF;
  END IF;

  -- Somebody else's shadow of that name: its table was dropped or renamed while nobody told us.
  SELECT r.id INTO other FROM vault.relation r
  WHERE r.epoch = vault.current_epoch() AND (r.schema_name, r.table_name) = (p_schema, p_table) AND r.source_relid <> p_oid
    AND r.valid_to IS NULL;
  IF other IS NOT NULL THEN
    PERFORM vault.bury(other, 'X');
  END IF;

  IF must_copy THEN
    PERFORM vault.bury(was.id, 'A');
    INSERT INTO vault.gap (from_at, kind, detail, from_lsn)
    VALUES (clock_timestamp(), 'copied_again', jsonb_build_object('table', format('%I.%I', p_schema, p_table), 'old_values_in', format('vault.relation %s', was.id)),
            CASE WHEN pg_replication_origin_session_is_setup() THEN pg_replication_origin_session_progress(false) END);
    birth := 'i';
  END IF;
  IF was.id IS NULL OR must_copy THEN
    EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I', p_schema);
    EXECUTE format('CREATE TABLE %I.%I (%s)', p_schema, p_table,
      (SELECT string_agg(format('%I text', col ->> 'name'), ', ') FROM jsonb_array_elements(live) AS w (col)));
    shadow := format('%I.%I', p_schema, p_table)::regclass;
    IF keys <> '{}' THEN
      EXECUTE format('ALTER TABLE %s ADD PRIMARY KEY (%s)', shadow, (SELECT string_agg(quote_ident(k), ', ' ORDER BY o) FROM unnest(keys) WITH ORDINALITY AS u (k, o)));
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO vault_investigator', p_schema);
    EXECUTE format('GRANT SELECT ON %s TO vault_investigator', shadow);
    IF birth IS NOT NULL THEN
      PERFORM vault.join_subscription(shadow, birth);
    END IF;
  ELSE
    shadow := format('%I.%I', was.schema_name, was.table_name)::regclass;
    IF was.table_name <> p_table THEN
      EXECUTE format('ALTER TABLE %s RENAME TO %I', shadow, p_table);
    END IF;
    IF was.schema_name <> p_schema THEN
      EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I', p_schema);
      EXECUTE format('GRANT USAGE ON SCHEMA %I TO vault_investigator', p_schema);
      EXECUTE format('ALTER TABLE %s SET SCHEMA %I', shadow, p_schema);
    END IF;
    -- The values of a dropped column stay, under a name that no column of production has.
    FOR c IN SELECT o.col, format('~%s~%s', o.col ->> 'attnum', left(o.col ->> 'name', 40)) AS kept_as
             FROM jsonb_array_elements(live_before) AS o (col)
             WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(live) AS n (col) WHERE n.col -> 'attnum' = o.col -> 'attnum') LOOP
      EXECUTE format('ALTER TABLE %s RENAME COLUMN %I TO %I', shadow, c.col ->> 'name', c.kept_as);
      wanted := wanted || jsonb_build_array(c.col || jsonb_build_object('kept_as', c.kept_as, 'key', NULL));
    END LOOP;
    -- Two steps, so that names may change places.
    FOR c IN SELECT o.col ->> 'name' AS before, n.col ->> 'attnum' AS attnum
             FROM jsonb_array_elements(live_before) AS o (col) JOIN jsonb_array_elements(live) AS n (col) ON n.col -> 'attnum' = o.col -> 'attnum'
             WHERE n.col ->> 'name' <> o.col ->> 'name' LOOP
      EXECUTE format('ALTER TABLE %s RENAME COLUMN %I TO %I', shadow, c.before, '~' || c.attnum);
    END LOOP;
    FOR c IN SELECT n.col ->> 'name' AS name, n.col ->> 'attnum' AS attnum
             FROM jsonb_array_elements(live_before) AS o (col) JOIN jsonb_array_elements(live) AS n (col) ON n.col -> 'attnum' = o.col -> 'attnum'
             WHERE n.col ->> 'name' <> o.col ->> 'name' LOOP
      EXECUTE format('ALTER TABLE %s RENAME COLUMN %I TO %I', shadow, '~' || c.attnum, c.name);
    END LOOP;
    FOR c IN SELECT n.col ->> 'name' AS name, n.col ->> 'policy' AS policy, vault.constant(n.col ->> 'default', n.col ->> 'type') AS value
             FROM jsonb_array_elements(live) AS n (col)
             WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(live_before) AS o (col) WHERE o.col -> 'attnum' = n.col -> 'attnum') LOOP
      EXECUTE format('ALTER TABLE %s ADD COLUMN %I text DEFAULT %L', shadow, c.name,
        CASE WHEN c.policy = 'plain' OR c.value IS NULL THEN c.value ELSE vault.masked(c.value, c.policy, NULL) END);
      EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP DEFAULT', shadow, c.name);
    END LOOP;
    IF was.key_columns <> keys THEN
      FOR c IN SELECT conname FROM pg_constraint WHERE conrelid = shadow AND contype = 'p' LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', shadow, c.conname);
      END LOOP;
      FOR c IN SELECT a.attname FROM pg_attribute a WHERE a.attrelid = shadow AND a.attnum > 0 AND a.attnotnull AND NOT a.attisdropped LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL', shadow, c.attname);
      END LOOP;
      IF keys <> '{}' THEN
        EXECUTE format('ALTER TABLE %s ADD PRIMARY KEY (%s)', shadow, (SELECT string_agg(quote_ident(k), ', ' ORDER BY o) FROM unnest(keys) WITH ORDINALITY AS u (k, o)));
      END IF;
    END IF;
    wanted := wanted || (SELECT coalesce(jsonb_agg(col), '[]') FROM jsonb_array_elements(was.columns) AS w (col) WHERE col ? 'kept_as');
    UPDATE vault.relation SET valid_to = clock_timestamp() WHERE id = was.id;
  END IF;
  INSERT INTO vault.relation (epoch, source_relid, schema_name, table_name, columns, key_columns, shaped_by, described_at)
  VALUES (vault.current_epoch(), p_oid, p_schema, p_table, wanted, keys, event_id, coalesce(p_described_at, was.described_at)) RETURNING id INTO version;
  PERFORM vault.set_triggers(shadow, version);
  RETURN version;
END
$$;

-- AFTER INSERT on audit.ddl. Replication goes on even when following fails: the failure is a finding.
CREATE OR REPLACE FUNCTION vault.follow() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  name text[];
  version int;
BEGIN
  IF NEW.tx IS NULL OR NEW.object_type NOT IN ('table', 'table column') OR NEW.relid IS NULL THEN
    RETURN NULL;
  ELSIF EXISTS (SELECT FROM vault.relation r WHERE r.epoch = vault.current_epoch() AND r.source_relid = NEW.relid AND r.described_at > NEW.at) THEN
    RETURN NULL;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('vault.shape'));  -- the keeper may be adopting the same table
  IF NEW.event = 'sql_drop' AND NEW.object_type = 'table' THEN
    SELECT r.id INTO version FROM vault.relation r
    WHERE r.epoch = vault.current_epoch() AND r.source_relid = NEW.relid AND r.valid_to IS NULL;
    IF version IS NOT NULL THEN
      PERFORM vault.bury(version, 'X');
    END IF;
  ELSIF NEW.event = 'ddl_command_end' AND jsonb_typeof(NEW.columns) = 'array' THEN
    name := parse_ident(NEW.object_name);
    -- A table that is made here is in the publication from its first row; any other that is unknown must be copied.
    PERFORM vault.shape(name[1], name[2], NEW.relid, NEW.columns,
      CASE WHEN NEW.tag = 'CREATE TABLE' THEN 'r' ELSE 'i' END::"char", NEW.id);
  END IF;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  INSERT INTO vault.own_finding (tx, kind, severity, detail)
  VALUES (NEW.tx, 'not_followed', 'critical', jsonb_build_object('statement', NEW.statement, 'object', NEW.object_name, 'error', SQLERRM));
  RETURN NULL;
END
$$;

-- AFTER INSERT on audit.finding: a new table that production does not audit gets no shadow.
CREATE OR REPLACE FUNCTION vault.unfollow() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  r vault.relation;
BEGIN
  IF NEW.tx IS NOT NULL AND NEW.kind = 'new_table' AND NEW.detail ->> 'tracked' = 'false' THEN
    SELECT v.* INTO r FROM vault.relation v
    WHERE v.valid_to IS NULL AND v.epoch = vault.current_epoch() AND format('%I.%I', v.schema_name, v.table_name) = NEW.detail ->> 'table';
    IF r.id IS NOT NULL THEN
      PERFORM set_config('vault.drops', 'on', true);
      EXECUTE format('DROP TABLE %I.%I', r.schema_name, r.table_name);
      PERFORM set_config('vault.drops', '', true);
      DELETE FROM pg_subscription_rel s WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = s.srrelid);
      DELETE FROM vault.relation v WHERE v.id = r.id;
    END IF;
  END IF;
  RETURN NULL;
END
$$;

-- Production's catalog, as the keeper's describe.sql tells it; returns what had to be done, as sentences. known_too is for a
-- worker that fails on a change of shape of which audit.ddl said nothing.
CREATE OR REPLACE FUNCTION vault.adopt(tables jsonb, known_too boolean DEFAULT false) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  t jsonb;
  c jsonb;
  was int;
  now int;
BEGIN
  -- The apply worker is about to follow the same change, in order with its rows: leave it to that.
  IF NOT pg_try_advisory_xact_lock(hashtext('vault.shape')) THEN
    RAISE lock_not_available USING MESSAGE = 'the apply worker is changing shadows';
  END IF;
  FOR t IN SELECT * FROM jsonb_array_elements(tables) LOOP
    IF t ->> 'schema' = 'audit' THEN
      FOR c IN SELECT * FROM jsonb_array_elements(t -> 'columns') LOOP
        IF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = format('audit.%I', t ->> 'table')::regclass AND a.attname = c ->> 'name' AND NOT a.attisdropped) THEN
          EXECUTE format('ALTER TABLE audit.%I ADD COLUMN %I text', t ->> 'table', c ->> 'name');
          RETURN NEXT format('column %s of audit.%s', c ->> 'name', t ->> 'table');
        END IF;
      END LOOP;
    ELSE
      -- Those that are known follow audit.ddl: the catalog may be ahead of the rows that still come.
      SELECT r.id INTO was FROM vault.relation r WHERE r.epoch = vault.current_epoch() AND r.source_relid = (t ->> 'oid')::oid AND r.valid_to IS NULL;
      CONTINUE WHEN was IS NOT NULL AND NOT known_too;
      -- Made anew under a name that is still followed: rows of the old one may be on their way, and replication knows names only.
      CONTINUE WHEN NOT known_too AND EXISTS (
        SELECT FROM vault.relation r WHERE r.epoch = vault.current_epoch() AND r.valid_to IS NULL
        AND (r.schema_name, r.table_name) = (t ->> 'schema', t ->> 'table') AND r.source_relid <> (t ->> 'oid')::oid);
      now := vault.shape(t ->> 'schema', t ->> 'table', (t ->> 'oid')::oid, t -> 'columns', NULL, coalesce((SELECT max(d.id) FROM audit.ddl d), 0),
        (t ->> 'described_at')::timestamptz);
      IF now IS DISTINCT FROM was THEN
        RETURN NEXT format('shadow of %I.%I', t ->> 'schema', t ->> 'table');
      END IF;
    END IF;
  END LOOP;
END
$$;

DO $$
DECLARE
  mirror text;
BEGIN
  FOREACH mirror IN ARRAY ARRAY['context', 'ddl', 'finding', 'heartbeat'] LOOP
    EXECUTE format('CREATE OR REPLACE TRIGGER vault_1_receive BEFORE INSERT ON audit.%I FOR EACH ROW EXECUTE FUNCTION vault.receive()', mirror);
    EXECUTE format('ALTER TABLE audit.%I ENABLE ALWAYS TRIGGER vault_1_receive', mirror);
  END LOOP;
END
$$;
CREATE OR REPLACE TRIGGER vault_2_follow AFTER INSERT ON audit.ddl FOR EACH ROW EXECUTE FUNCTION vault.follow();
ALTER TABLE audit.ddl ENABLE ALWAYS TRIGGER vault_2_follow;
CREATE OR REPLACE TRIGGER vault_2_unfollow AFTER INSERT ON audit.finding FOR EACH ROW EXECUTE FUNCTION vault.unfollow();
ALTER TABLE audit.finding ENABLE ALWAYS TRIGGER vault_2_unfollow;
