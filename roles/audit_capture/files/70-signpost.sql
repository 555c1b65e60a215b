-- Whoever looks for the guide's table here is told where it is.
CREATE OR REPLACE FUNCTION audit.ask_the_vault() RETURNS TABLE (
  audit_id bigint, table_name text, action text, user_name text, "timestamp" timestamp, old_data jsonb, new_data jsonb, statement text,
  application_name text, correlation_id text, trace_id text, app_user text)
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'audit_log is kept in the vault, out of reach of this server' USING
    ERRCODE = 'feature_not_supported',
    HINT = 'On the watch host: whodunit last, whodunit table User; or psql -p 5433 vault, and the same query there.';
END $$;

CREATE OR REPLACE VIEW public.audit_log AS SELECT * FROM audit.ask_the_vault();
COMMENT ON VIEW public.audit_log IS 'Raises an error that says where the audit is';

-- The privileges that the schema gives to every new table, so that who may read tables may read this answer.
DO $$
DECLARE
  one record;
BEGIN
  FOR one IN SELECT DISTINCT x.grantee::regrole AS grantee, x.privilege_type
             FROM pg_default_acl a CROSS JOIN aclexplode(a.defaclacl) x
             WHERE a.defaclnamespace = 'public'::regnamespace AND a.defaclobjtype = 'r' AND x.grantee <> 0 LOOP
    EXECUTE format('GRANT %s ON public.audit_log TO %s', one.privilege_type, one.grantee);
  END LOOP;
END $$;
