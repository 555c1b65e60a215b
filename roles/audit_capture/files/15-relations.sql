-- What is tracked, as it stands in the catalogs.

DROP VIEW IF EXISTS audit.published_state, audit.trigger_state, audit.wanted_trigger, audit.relation, audit.masked_pattern;

-- Which statements may carry a value that must stay illegible, as one pattern: those that name such a column of any table, and
-- those that need not name it. NULL if there is no such column.
CREATE VIEW audit.masked_pattern AS
SELECT '\m(insert|copy|merge)\M|' || pg_catalog.string_agg(DISTINCT pg_catalog.regexp_replace(key, '([^[:alnum:]_])', '\\\1', 'g'), '|') AS pattern
FROM audit.tracked, pg_catalog.jsonb_each_text(columns) WHERE value <> 'plain';
GRANT SELECT ON audit.masked_pattern TO audit_owner;

-- For those who may not read the table. pgaudit logs each call with the whole statement around it, so views ask the view.
CREATE OR REPLACE FUNCTION audit.masked() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT pattern FROM audit.masked_pattern
$$;

-- Every entry that exists, and the partitions under it.
CREATE VIEW audit.relation AS
SELECT c.oid AS relid, n.nspname::text AS schema_name, c.relname::text AS table_name, c.relkind, c.relpersistence, c.relreplident,
       t.schema_name AS entry_schema, t.table_name AS entry_table, t.guard, t.max_delete, t.max_update, t.columns,
       (SELECT k.indexrelid FROM pg_catalog.pg_index k WHERE k.indrelid = c.oid AND k.indisprimary) AS key
FROM audit.tracked t
JOIN pg_catalog.pg_namespace en ON en.nspname = t.schema_name
JOIN pg_catalog.pg_class e ON e.relnamespace = en.oid AND e.relname = t.table_name AND e.relkind IN ('r', 'p')
CROSS JOIN LATERAL (SELECT e.oid UNION SELECT p.relid FROM pg_catalog.pg_partition_tree(e.oid) p) member (oid)
JOIN pg_catalog.pg_class c ON c.oid = member.oid AND c.relkind IN ('r', 'p')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
-- a partition with an entry of its own goes by that one
WHERE c.oid = e.oid OR NOT EXISTS (SELECT FROM audit.tracked own WHERE (own.schema_name, own.table_name) = (n.nspname, c.relname));

-- The triggers that each of them must have, as the server would spell them.
CREATE VIEW audit.wanted_trigger AS
WITH masked AS (   -- quoted as pg_get_triggerdef() quotes
       SELECT coalesce('''' || pg_catalog.replace((SELECT m.pattern FROM audit.masked_pattern m), '''', '''''') || '''', '''''') AS pattern,
              EXISTS (SELECT FROM audit.tracked WHERE guard <> 'off') AS counts),
     named AS (SELECT r.*, pg_catalog.format('%I.%I', schema_name, table_name) AS name, relkind = 'p' AS tree FROM audit.relation r)
SELECT relid, name AS relation, tgname, pg_catalog.format(
         'CREATE TRIGGER %s %s ON %s FOR EACH STATEMENT EXECUTE FUNCTION audit.%s(%s)', tgname, event, name, function, arguments
       ) AS definition
FROM named CROSS JOIN masked CROSS JOIN LATERAL (VALUES
  ('audit_context', 'BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE',
   'note_guarded', CASE WHEN counts THEN pattern || ', ''count''' ELSE pattern END),
  ('audit_guard', 'AFTER DELETE OR UPDATE', CASE WHEN tree THEN 'guard_tree' ELSE 'guard' END,
   pg_catalog.format('%L, %L, %L', guard, max_delete::text, max_update::text)),
  ('audit_guard_truncate', 'BEFORE TRUNCATE', 'guard_truncate', pg_catalog.quote_literal(guard))
) AS t (tgname, event, function, arguments)
WHERE guard <> 'off' OR tgname = 'audit_context';

-- Triggers as they are, beside what they must be; definition NULL: one of ours that must not be there.
CREATE VIEW audit.trigger_state AS
SELECT coalesce(w.relid, h.tgrelid) AS relid, coalesce(w.tgname, h.tgname) AS tgname, w.definition, w.relation,
       h.tgname IS NOT NULL AS present, h.definition IS NOT DISTINCT FROM w.definition AS same, h.tgenabled
FROM audit.wanted_trigger w
FULL JOIN (SELECT tgrelid, tgname::text, pg_catalog.pg_get_triggerdef(oid) AS definition, tgenabled
           FROM pg_catalog.pg_trigger WHERE NOT tgisinternal AND tgfoid IN (
             SELECT p.oid FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
             WHERE n.nspname = 'audit')) h
  ON h.tgrelid = w.relid AND h.tgname = w.tgname;

-- What must be published: leaves with a primary key, each for itself, so that TRUNCATE, DETACH and DROP of one partition
-- are seen as what they are. columns NULL means all.
CREATE VIEW audit.published_state AS
WITH wanted AS (
  SELECT r.relid, CASE WHEN r.columns @? '$.* ? (@ == "exclude")' THEN
           (SELECT pg_catalog.array_agg(a.attname::text ORDER BY a.attname::text) FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = r.relid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
              AND r.columns ->> a.attname IS DISTINCT FROM 'exclude') END AS columns
  FROM audit.relation r
  WHERE r.relkind = 'r' AND r.relpersistence = 'p' AND (r.key IS NOT NULL OR r.relreplident = 'f')
), has AS (
  SELECT m.prrelid AS relid, m.prqual IS NOT NULL AS filtered,
         (SELECT pg_catalog.array_agg(a.attname::text ORDER BY a.attname::text) FROM pg_catalog.pg_attribute a
          WHERE a.attrelid = m.prrelid AND a.attnum = ANY (m.prattrs)) AS columns
  FROM pg_catalog.pg_publication_rel m JOIN pg_catalog.pg_publication p ON p.oid = m.prpubid AND p.pubname = 'tovplay_audit_rows'
)
SELECT coalesce(w.relid, h.relid) AS relid, w.relid IS NOT NULL AS wanted, h.relid IS NOT NULL AS present, w.columns,
       h.columns IS NOT DISTINCT FROM w.columns AND NOT coalesce(h.filtered, false) AS same
FROM wanted w FULL JOIN has h ON h.relid = w.relid;

-- Whether rows of a relation travel to the vault.
CREATE OR REPLACE FUNCTION audit.is_published(relation oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (SELECT FROM pg_publication_rel m JOIN pg_publication p ON p.oid = m.prpubid
                 WHERE p.pubname = 'tovplay_audit_rows' AND m.prrelid = relation)
$$;

-- A table's columns, as the vault reads them from the catalog, too.
CREATE OR REPLACE FUNCTION audit.columns_of(relation oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT jsonb_agg(jsonb_build_object(
           'name', a.attname, 'attnum', a.attnum, 'type', format_type(a.atttypid, a.atttypmod),
           'default', pg_get_expr(d.adbin, d.adrelid), 'not_null', a.attnotnull, 'generated', a.attgenerated <> '',
           'key', array_position(k.indkey::int2[], a.attnum) + 1) ORDER BY a.attnum)
  FROM pg_attribute a
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN pg_index k ON k.indrelid = a.attrelid AND k.indisprimary
  WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
$$;
