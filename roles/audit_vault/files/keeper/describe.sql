-- What production publishes, in the shape of audit.ddl.columns. Runs on production as audit_replicator.
SELECT coalesce(jsonb_agg(jsonb_build_object(
  'oid', c.oid::bigint, 'schema', n.nspname, 'table', c.relname, 'described_at', clock_timestamp(),
  'columns', (
    SELECT jsonb_agg(jsonb_build_object(
      'name', a.attname, 'attnum', a.attnum, 'type', format_type(a.atttypid, a.atttypmod),
      'default', pg_get_expr(d.adbin, d.adrelid), 'not_null', a.attnotnull, 'generated', a.attgenerated <> '',
      'key', (SELECT k.o FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, o)
              WHERE i.indrelid = c.oid AND i.indisprimary AND k.attnum = a.attnum)) ORDER BY a.attnum)
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))), '[]') AS tables
FROM pg_publication_tables p
JOIN pg_namespace n ON n.nspname = p.schemaname
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
WHERE p.pubname IN ('tovplay_audit_rows', 'tovplay_audit_meta')
