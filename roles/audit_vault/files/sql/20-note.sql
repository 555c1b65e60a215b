-- The triggers of shadow tables. The apply worker has an empty search_path and is a superuser: everything that is not of
-- pg_catalog is qualified, and a value of production is never executed.

-- Whether a change of a shadow belongs into the history: what the apply worker replays, not what an initial copy brings,
-- nor what the vault's own functions move. Anybody else is refused.
CREATE OR REPLACE FUNCTION vault.is_replayed(shadow oid) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  synced oid;
  replayed boolean;
BEGIN
  IF current_setting('vault.moves', true) = 'on' OR current_setting('vault.worker', true) = 'copy' THEN
    RETURN false;
  ELSIF current_setting('vault.worker', true) = 'apply' THEN
    RETURN true;
  END IF;
  SELECT coalesce(s.relid, 0) INTO synced FROM pg_stat_get_subscription(NULL) s WHERE s.pid = pg_backend_pid();
  IF synced IS NULL THEN
    RAISE EXCEPTION 'shadow tables change by replication only' USING ERRCODE = 'insufficient_privilege';
  ELSIF synced = 0 THEN
    PERFORM set_config('vault.worker', 'apply', false);  -- so that the next rows need not ask
    RETURN true;
  END IF;
  -- A copy is one transaction, and what its worker then catches up with are others: millions of rows need not ask again.
  SELECT srsubstate <> 'd' INTO replayed FROM pg_subscription_rel WHERE srrelid = shadow;
  PERFORM set_config('vault.worker', CASE WHEN replayed THEN 'apply' ELSE 'copy' END, true);
  RETURN replayed;
END
$$;

-- Arguments: id of the relation's version, columns that are not in images any more (JSON), columns of the key.
CREATE OR REPLACE FUNCTION vault.note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  before jsonb;
  after jsonb;
  image jsonb;
  row_key jsonb;
BEGIN
  IF current_setting('vault.worker', true) IS DISTINCT FROM 'apply' AND NOT vault.is_replayed(TG_RELID) THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'DELETE' THEN
    before := to_jsonb(OLD);
  ELSIF TG_OP = 'INSERT' THEN
    after := to_jsonb(NEW);
  ELSE
    before := to_jsonb(OLD);
    after := to_jsonb(NEW);
  END IF;
  IF TG_ARGV[1] <> '' THEN
    before := before - TG_ARGV[1]::text[];
    after := after - TG_ARGV[1]::text[];
  END IF;
  image := coalesce(before, after);
  IF TG_NARGS = 3 THEN
    row_key := jsonb_build_array(image -> TG_ARGV[2]);
  ELSIF TG_NARGS > 3 THEN
    row_key := '[]';
    FOR i IN 2 .. TG_NARGS - 1 LOOP
      row_key := row_key || jsonb_build_array(image -> TG_ARGV[i]);
    END LOOP;
  END IF;
  INSERT INTO vault.history (relation, op, key, old, new, lsn)
  VALUES (TG_ARGV[0]::int, left(TG_OP, 1)::"char", row_key::text, before, after, pg_replication_origin_session_progress(false));
  RETURN NULL;
END
$$;

-- All rows of a shadow into the history at once: T when TRUNCATE takes them, X when the table itself goes.
CREATE OR REPLACE FUNCTION vault.note_all(shadow regclass, version int, kind "char") RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  noted bigint;
  dead text[];
  keys text[];
BEGIN
  SELECT ARRAY(SELECT c ->> 'kept_as' FROM jsonb_array_elements(r.columns) c WHERE c ? 'kept_as'), r.key_columns INTO dead, keys
  FROM vault.relation r WHERE r.id = version;
  EXECUTE format(
    'INSERT INTO vault.history (relation, op, key, old, lsn)
     SELECT $1, $2, %s, to_jsonb(s) - $3, $4 FROM ONLY %s s',
    CASE WHEN keys = '{}' THEN 'NULL' ELSE
      (SELECT 'jsonb_build_array(' || string_agg(format('s.%I', k), ', ' ORDER BY o) || ')::text' FROM unnest(keys) WITH ORDINALITY AS u (k, o))
    END, shadow)
  USING version, kind, dead,
    CASE WHEN pg_replication_origin_session_is_setup() THEN pg_replication_origin_session_progress(false) END;
  GET DIAGNOSTICS noted = ROW_COUNT;
  RETURN noted;
END
$$;

CREATE OR REPLACE FUNCTION vault.note_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF vault.is_replayed(TG_RELID) THEN
    PERFORM vault.note_all(TG_RELID, TG_ARGV[0]::int, 'T');
  END IF;
  RETURN NULL;
END
$$;
