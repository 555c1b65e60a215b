-- One digest of what the role has placed in the connected database, but for what audit.converge() looks after.
SELECT md5(string_agg(line, E'\n' ORDER BY line)) AS objects FROM (
  SELECT concat_ws(' ', 'function', oid::regprocedure, proowner::regrole, prosecdef, proacl, proconfig, md5(prosrc)) AS line
  FROM pg_proc WHERE pronamespace = to_regnamespace('audit')
  UNION ALL
  SELECT concat_ws(' ', 'relation', relname, relkind, relowner::regrole, relacl,
                   (SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull), ',' ORDER BY attnum)
                    FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
                   CASE WHEN relkind = 'v' THEN md5(pg_get_viewdef(c.oid)) END)
  FROM pg_class c WHERE relnamespace = to_regnamespace('audit') AND relkind IN ('r', 'v', 'S')
  UNION ALL
  SELECT concat_ws(' ', 'schema', nspowner::regrole, nspacl) FROM pg_namespace WHERE nspname = 'audit'
  UNION ALL
  SELECT concat_ws(' ', 'event trigger', evtname, evtevent, evtenabled, evtfoid::regproc) FROM pg_event_trigger WHERE evtname ~ '^zz_audit_'
  UNION ALL
  SELECT concat_ws(' ', 'signpost', md5(pg_get_viewdef(to_regclass('public.audit_log'))))
  UNION ALL
  SELECT concat_ws(' ', 'member', roleid::regrole) FROM pg_auth_members WHERE member = (SELECT oid FROM pg_roles WHERE rolname = 'audit_owner')
) AS every
