-- What these files have made, as one digest: an object that somebody changed or dropped is made again by the next converge.
CREATE OR REPLACE FUNCTION vault.fingerprint() RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT md5(string_agg(def, chr(10) ORDER BY def)) FROM (
    SELECT pg_get_functiondef(p.oid) || coalesce(p.proacl::text, '') AS def FROM pg_proc p WHERE p.pronamespace = 'vault'::regnamespace
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    UNION ALL
    SELECT c.relname || pg_get_viewdef(c.oid) || coalesce(c.relacl::text, '') FROM pg_class c
    WHERE c.relnamespace = 'vault'::regnamespace AND c.relkind = 'v'
    UNION ALL
    SELECT evtname || evtenabled::text || evtfoid::regproc::text FROM pg_event_trigger
    UNION ALL
    SELECT pg_get_triggerdef(t.oid) || t.tgenabled::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace IN ('audit'::regnamespace, 'vault'::regnamespace)) o
$$;

DO $$
BEGIN
  EXECUTE format('ALTER DATABASE %I SET search_path = vault, public', current_database());
  EXECUTE format('ALTER DATABASE %I SET timezone = ''UTC''', current_database());
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO vault_reader', current_database());
END
$$;
