-- How each object is made: what a DROP takes along and no row of a table tells. The vault gets a row whenever DDL changes
-- one, and a row without statements when it is gone; `whodunit undo` runs what stood there before. Here is the present
-- state only.
CREATE TABLE IF NOT EXISTS audit.definition (
  xid bigint, at timestamptz, catalog text, objid oid, objsubid int, kind text, identity text, relid oid, statements jsonb);
CREATE INDEX IF NOT EXISTS definition_object ON audit.definition (objid, objsubid);
ALTER TABLE audit.definition OWNER TO audit_owner;
REVOKE ALL ON audit.definition FROM PUBLIC;

-- Statements are pairs of a step and a text; steps below 70 come before a table's rows:
--   10 schema, 15 extension, 20 type, 30 sequence, 40 function, 50 table and column, 54 what a partition must have before it is attached,
--   55 owner of a sequence, 56 partition, 60 primary key | 71 value of a sequence, 72-74 rest of a column, 75 constraint and index, 80 foreign key, 85 view,
--   87 index of a view, 88 trigger and policy, 90 owner, 91-92 grants, 94 comment, 96 switch, 97 publication and default privilege
CREATE OR REPLACE FUNCTION audit.trimmings(altered text, granted text, owner oid, acl aclitem[], comment text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN owner IS NULL THEN '[]' ELSE jsonb_build_array(jsonb_build_array(90, format('ALTER %s OWNER TO %I', altered, pg_get_userbyid(owner)))) END
      || CASE WHEN acl IS NULL THEN '[]' ELSE jsonb_build_array(jsonb_build_array(91, format('REVOKE ALL ON %s FROM PUBLIC', granted))) END
      || coalesce((SELECT jsonb_agg(jsonb_build_array(92, format('GRANT %s ON %s TO %s%s', kinds, granted, grantee, with_option)) ORDER BY grantee, kinds)
                   FROM (SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END AS grantee,
                                CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END AS with_option,
                                string_agg(x.privilege_type, ', ' ORDER BY x.privilege_type) AS kinds
                         FROM aclexplode(acl) x WHERE x.grantee <> owner GROUP BY 1, 2) g), '[]')
      || CASE WHEN comment IS NULL THEN '[]' ELSE jsonb_build_array(jsonb_build_array(94, format('COMMENT ON %s IS %L', altered, comment))) END
$$;

DROP VIEW IF EXISTS audit.definable, audit.column_definition;
-- One column: its bare form, what makes it whole in CREATE TABLE, the same as steps after its values came back, and the rest.
-- A view, since a function for each column of each table took ten times as long.
CREATE VIEW audit.column_definition AS
SELECT c.attrelid, c.attnum, c.bare, concat(c.generated, c.identity, ' DEFAULT ' || c.def, CASE WHEN c.attnotnull THEN ' NOT NULL' END) AS whole,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(s.step, format('ALTER TABLE %s ALTER COLUMN %I %s', c.attrelid::regclass, c.attname, s.said)) ORDER BY s.step), '[]')
        FROM (VALUES (72, 'SET DEFAULT ' || c.def), (73, CASE WHEN c.attnotnull THEN 'SET NOT NULL' END), (74, 'ADD' || c.identity)) s (step, said)
        WHERE s.said IS NOT NULL) AS later,
       c.afterwards
FROM (
  SELECT a.attrelid, a.attnum, a.attname, a.attnotnull, format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod))
           || CASE WHEN a.attcollation <> t.typcollation THEN (SELECT format(' COLLATE %I.%I', n.nspname, c.collname) FROM pg_collation c
                     JOIN pg_namespace n ON n.oid = c.collnamespace WHERE c.oid = a.attcollation) ELSE '' END
           || CASE a.attcompression WHEN 'p' THEN ' COMPRESSION pglz' WHEN 'l' THEN ' COMPRESSION lz4' ELSE '' END AS bare,
         CASE WHEN a.attgenerated = 's' THEN format(' GENERATED ALWAYS AS (%s) STORED', pg_get_expr(d.adbin, d.adrelid)) END AS generated,
         CASE WHEN a.attidentity <> '' THEN (
           SELECT format(' GENERATED %s AS IDENTITY (SEQUENCE NAME %s START WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s%s)',
                         CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, s.seqrelid::regclass, s.seqstart, s.seqincrement,
                         s.seqmin, s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END)
           FROM pg_depend p JOIN pg_sequence s ON s.seqrelid = p.objid
           WHERE p.classid = 'pg_class'::regclass AND p.deptype = 'i' AND (p.refclassid, p.refobjid, p.refobjsubid) = ('pg_class'::regclass, a.attrelid, a.attnum)) END AS identity,
         CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END AS def,
         CASE WHEN col_description(a.attrelid, a.attnum) IS NULL THEN '[]'
              ELSE jsonb_build_array(jsonb_build_array(94, format('COMMENT ON COLUMN %s.%I IS %L', a.attrelid::regclass, a.attname, col_description(a.attrelid, a.attnum)))) END
           || coalesce((SELECT jsonb_agg(jsonb_build_array(92, format('GRANT %s (%I) ON TABLE %s TO %s%s', x.privilege_type, a.attname, a.attrelid::regclass,
                                  CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END,
                                  CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)) ORDER BY x.grantee, x.privilege_type)
                        FROM aclexplode(a.attacl) x), '[]')
           || CASE WHEN a.attstorage = t.typstorage THEN '[]' ELSE jsonb_build_array(jsonb_build_array(96, format('ALTER TABLE ONLY %s ALTER COLUMN %I SET STORAGE %s',
                a.attrelid::regclass, a.attname, CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'x' THEN 'EXTENDED' ELSE 'MAIN' END))) END
           -- pg_attver is newer servers' own, and no ALTER takes it
           || coalesce((SELECT jsonb_build_array(jsonb_build_array(96, format('ALTER TABLE ONLY %s ALTER COLUMN %I SET (%s)', a.attrelid::regclass, a.attname,
                  string_agg(option, ', ')))) FROM unnest(a.attoptions) AS option WHERE option !~ '^pg_attver=' HAVING count(*) > 0), '[]') AS afterwards
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
  WHERE a.attnum > 0 AND NOT a.attisdropped
) c;

CREATE OR REPLACE FUNCTION audit.type_definition(described oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE t.typtype
    WHEN 'e' THEN format('CREATE TYPE %s AS ENUM (%s)', t.oid::regtype, (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder)
                                                                       FROM pg_enum WHERE enumtypid = t.oid))
    WHEN 'c' THEN format('CREATE TYPE %s AS (%s)', t.oid::regtype, (SELECT string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum)
                                                                  FROM pg_attribute WHERE attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped))
    WHEN 'r' THEN (SELECT format('CREATE TYPE %s AS RANGE (SUBTYPE = %s%s)', t.oid::regtype, r.rngsubtype::regtype,
                                 CASE WHEN r.rngsubdiff = 0 THEN '' ELSE ', SUBTYPE_DIFF = ' || r.rngsubdiff::regproc END) FROM pg_range r WHERE r.rngtypid = t.oid)
    WHEN 'd' THEN format('CREATE DOMAIN %s AS %s', t.oid::regtype, format_type(t.typbasetype, t.typtypmod))
      || CASE WHEN t.typdefault IS NULL THEN '' ELSE ' DEFAULT ' || coalesce(pg_get_expr(t.typdefaultbin, 0), t.typdefault) END
      || CASE WHEN t.typnotnull THEN ' NOT NULL' ELSE '' END
      || coalesce((SELECT string_agg(format(' CONSTRAINT %I %s', conname, pg_get_constraintdef(c.oid)), '' ORDER BY conname)
                   FROM pg_constraint c WHERE c.contypid = t.oid AND c.contype = 'c'), '')
  END FROM pg_type t WHERE t.oid = described
$$;

-- Everything that has a definition, as it is now. Asked with an empty search_path, so that names are whole.
CREATE VIEW audit.definable AS
WITH relation AS (
  SELECT c.*, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name,
         CASE c.relkind WHEN 'v' THEN 'VIEW ' WHEN 'm' THEN 'MATERIALIZED VIEW ' WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END AS word
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'audit') AND c.relpersistence <> 't' AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
)
SELECT 'pg_class'::text AS catalog, r.oid AS objid, 0 AS objsubid, pg_catalog.lower(pg_catalog.rtrim(r.word)) AS kind, r.name AS identity, r.oid AS relid,
       pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(50, pg_catalog.format('CREATE %sTABLE %s (%s)%s%s%s', CASE r.relpersistence WHEN 'u' THEN 'UNLOGGED ' ELSE '' END, r.name,
           (SELECT pg_catalog.string_agg(d.bare || d.whole, ', ' ORDER BY d.attnum) FROM audit.column_definition d WHERE d.attrelid = r.oid),
           CASE WHEN r.relispartition THEN '' ELSE coalesce((SELECT ' INHERITS (' || pg_catalog.string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno) || ')'
                                                             FROM pg_catalog.pg_inherits i WHERE i.inhrelid = r.oid), '') END,
           CASE r.relkind WHEN 'p' THEN ' PARTITION BY ' || pg_catalog.pg_get_partkeydef(r.oid) ELSE '' END,
           coalesce(' WITH (' || pg_catalog.array_to_string(r.reloptions, ', ') || ')', ''))))
       || CASE WHEN r.relispartition THEN (SELECT pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(56, pg_catalog.format('ALTER TABLE %s ATTACH PARTITION %s %s',
              i.inhparent::regclass, r.name, pg_catalog.pg_get_expr(r.relpartbound, r.oid)))) FROM pg_catalog.pg_inherits i WHERE i.inhrelid = r.oid) ELSE '[]' END
       || coalesce((SELECT pg_catalog.jsonb_agg(s.value ORDER BY d.attnum, s.ordinality) FROM audit.column_definition d,
                      pg_catalog.jsonb_array_elements(d.afterwards) WITH ORDINALITY s WHERE d.attrelid = r.oid), '[]')
       || audit.trimmings(r.word || r.name, 'TABLE ' || r.name, r.relowner, r.relacl, pg_catalog.obj_description(r.oid, 'pg_class'))
       || CASE WHEN r.relreplident = 'f' AND NOT EXISTS (SELECT FROM audit.setting s WHERE s.name = 'full:' || r.oid) OR r.relreplident = 'n'
               THEN pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(96, pg_catalog.format('ALTER TABLE ONLY %s REPLICA IDENTITY %s', r.name,
                      CASE r.relreplident WHEN 'f' THEN 'FULL' ELSE 'NOTHING' END))) ELSE '[]' END
       || CASE WHEN r.relrowsecurity THEN pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(96, pg_catalog.format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', r.name))) ELSE '[]' END
       || CASE WHEN r.relforcerowsecurity THEN pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(96, pg_catalog.format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', r.name))) ELSE '[]' END
       AS statements
FROM relation r WHERE r.relkind IN ('r', 'p')
UNION ALL
SELECT 'pg_class', r.oid, a.attnum, 'table column', pg_catalog.format('%s.%I', r.name, a.attname), r.oid,
       CASE WHEN a.attgenerated = '' THEN pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(50, pg_catalog.format('ALTER TABLE %s ADD COLUMN %s', r.name, d.bare))) || d.later
            ELSE pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(51, pg_catalog.format('ALTER TABLE %s ADD COLUMN %s', r.name, d.bare || d.whole))) END || d.afterwards
FROM relation r JOIN audit.column_definition d ON d.attrelid = r.oid JOIN pg_catalog.pg_attribute a ON (a.attrelid, a.attnum) = (d.attrelid, d.attnum)
WHERE r.relkind IN ('r', 'p')
UNION ALL
SELECT 'pg_class', r.oid, 0, pg_catalog.lower(pg_catalog.rtrim(r.word)), r.name, r.oid,
       pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(85, pg_catalog.format('CREATE %s%s%s AS %s%s', r.word, r.name, coalesce(' WITH (' || pg_catalog.array_to_string(r.reloptions, ', ') || ')', ''),
           pg_catalog.rtrim(pg_catalog.pg_get_viewdef(r.oid), ';'), CASE WHEN r.relkind = 'm' AND NOT r.relispopulated THEN ' WITH NO DATA' ELSE '' END)))
       || audit.trimmings(r.word || r.name, 'TABLE ' || r.name, r.relowner, r.relacl, pg_catalog.obj_description(r.oid, 'pg_class'))
FROM relation r WHERE r.relkind IN ('v', 'm')
UNION ALL
SELECT 'pg_class', r.oid, 0, 'sequence', r.name, owned.refobjid,
       pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(30, pg_catalog.format('CREATE SEQUENCE %s AS %s INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s%s',
           r.name, s.seqtypid::regtype, s.seqincrement, s.seqmin, s.seqmax, s.seqstart, s.seqcache, CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END)))
       || CASE WHEN owned.refobjid IS NULL THEN '[]' ELSE pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(55, pg_catalog.format('ALTER SEQUENCE %s OWNED BY %s.%I', r.name, owned.refobjid::regclass,
              (SELECT attname FROM pg_catalog.pg_attribute WHERE (attrelid, attnum) = (owned.refobjid, owned.refobjsubid))))) END
       -- An owned sequence has its table's owner, and takes no other.
       || audit.trimmings('SEQUENCE ' || r.name, 'SEQUENCE ' || r.name, r.relowner, r.relacl, pg_catalog.obj_description(r.oid, 'pg_class'))
       || pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(71, pg_catalog.format('SELECT pg_catalog.setval(%L, %s, %L)', r.name, coalesce(pg_catalog.pg_sequence_last_value(r.oid), s.seqstart),
              pg_catalog.pg_sequence_last_value(r.oid) IS NOT NULL)))
FROM relation r JOIN pg_catalog.pg_sequence s ON s.seqrelid = r.oid
LEFT JOIN pg_catalog.pg_depend owned ON (owned.classid, owned.objid, owned.refclassid) = ('pg_class'::regclass, r.oid, 'pg_class'::regclass) AND owned.deptype IN ('a', 'i')
WHERE r.relkind = 'S' AND owned.deptype IS DISTINCT FROM 'i'
UNION ALL
SELECT 'pg_constraint', k.oid, 0, 'table constraint', pg_catalog.format('%I on %s', k.conname, r.name), r.oid,
       pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(
           CASE WHEN k.contype = 'f' THEN 80 WHEN k.conparentid <> 0 OR k.contype = 'c' AND r.relispartition THEN 54 WHEN k.contype = 'p' THEN 60 ELSE 75 END,
           pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I %s', r.name, k.conname, pg_catalog.pg_get_constraintdef(k.oid))))
       || audit.trimmings(pg_catalog.format('CONSTRAINT %I ON %s', k.conname, r.name), '', NULL, NULL, pg_catalog.obj_description(k.oid, 'pg_constraint'))
       || CASE WHEN i.indisreplident THEN pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(96, pg_catalog.format('ALTER TABLE ONLY %s REPLICA IDENTITY USING INDEX %I', r.name, k.conname))) ELSE '[]' END
FROM relation r JOIN pg_catalog.pg_constraint k ON k.conrelid = r.oid AND k.contype IN ('p', 'u', 'x', 'c', 'f') AND (k.conislocal OR k.conparentid <> 0 OR r.relispartition)
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = k.conindid AND i.indrelid = r.oid
WHERE k.contype <> 'f' OR k.conparentid = 0
UNION ALL
SELECT 'pg_class', i.indexrelid, 0, 'index', pg_catalog.format('%I.%I', n.nspname, c.relname), r.oid,
       pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(CASE WHEN r.relkind = 'm' THEN 87 WHEN h.inhparent IS NULL THEN 75 ELSE 54 END, pg_catalog.pg_get_indexdef(i.indexrelid)))
       || CASE WHEN h.inhparent IS NULL THEN '[]' ELSE pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(77, pg_catalog.format('ALTER INDEX %s ATTACH PARTITION %I.%I', h.inhparent::regclass, n.nspname, c.relname))) END
       || audit.trimmings(pg_catalog.format('INDEX %I.%I', n.nspname, c.relname), '', NULL, NULL, pg_catalog.obj_description(c.oid, 'pg_class'))
       || CASE WHEN i.indisreplident THEN pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(96, pg_catalog.format('ALTER TABLE ONLY %s REPLICA IDENTITY USING INDEX %I', r.name, c.relname))) ELSE '[]' END
       || CASE WHEN i.indisclustered THEN pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(96, pg_catalog.format('ALTER TABLE %s CLUSTER ON %I', r.name, c.relname))) ELSE '[]' END
FROM relation r JOIN pg_catalog.pg_index i ON i.indrelid = r.oid AND i.indisvalid JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_inherits h ON h.inhrelid = i.indexrelid
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
UNION ALL
SELECT 'pg_statistic_ext', e.oid, 0, 'statistics', e.stxname, r.oid,
       pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(75, pg_catalog.pg_get_statisticsobjdef(e.oid)))
FROM relation r JOIN pg_catalog.pg_statistic_ext e ON e.stxrelid = r.oid
UNION ALL
SELECT 'pg_rewrite', w.oid, 0, 'rule', pg_catalog.format('%I on %s', w.rulename, r.name), r.oid,
       pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(86, pg_catalog.rtrim(pg_catalog.pg_get_ruledef(w.oid), ';')))
       || CASE w.ev_enabled WHEN 'O' THEN '[]' ELSE pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(96, pg_catalog.format('ALTER TABLE %s %s RULE %I', r.name,
              CASE w.ev_enabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, w.rulename))) END
FROM relation r JOIN pg_catalog.pg_rewrite w ON w.ev_class = r.oid AND w.rulename <> '_RETURN'
UNION ALL
SELECT 'pg_trigger', t.oid, 0, 'trigger', pg_catalog.format('%I on %s', t.tgname, r.name), r.oid,
       pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(88, pg_catalog.pg_get_triggerdef(t.oid)))
       || audit.trimmings(pg_catalog.format('TRIGGER %I ON %s', t.tgname, r.name), '', NULL, NULL, pg_catalog.obj_description(t.oid, 'pg_trigger'))
       || CASE t.tgenabled WHEN 'O' THEN '[]' ELSE pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(96, pg_catalog.format('ALTER TABLE %s %s TRIGGER %I', r.name,
              CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, t.tgname))) END
FROM relation r JOIN pg_catalog.pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal AND t.tgparentid = 0
JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid AND p.pronamespace <> 'audit'::regnamespace
UNION ALL
SELECT 'pg_policy', o.oid, 0, 'policy', pg_catalog.format('%I on %s', o.polname, r.name), r.oid,
       pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(88, pg_catalog.format('CREATE POLICY %I ON %s AS %s FOR %s TO %s%s%s', o.polname, r.name,
           CASE WHEN o.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
           CASE o.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
           (SELECT pg_catalog.string_agg(CASE x WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x)) END, ', ') FROM pg_catalog.unnest(o.polroles) x),
           coalesce(' USING (' || pg_catalog.pg_get_expr(o.polqual, o.polrelid) || ')', ''),
           coalesce(' WITH CHECK (' || pg_catalog.pg_get_expr(o.polwithcheck, o.polrelid) || ')', ''))))
FROM relation r JOIN pg_catalog.pg_policy o ON o.polrelid = r.oid
UNION ALL
SELECT 'pg_publication_rel', m.oid, 0, 'publication relation', pg_catalog.format('%s in %I', r.name, b.pubname), r.oid,
       pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(97, pg_catalog.format('ALTER PUBLICATION %I ADD TABLE ONLY %s%s%s', b.pubname, r.name,
           coalesce(' (' || (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(attname), ', ' ORDER BY attnum) FROM pg_catalog.pg_attribute WHERE attrelid = r.oid AND attnum = ANY (m.prattrs)) || ')', ''),
           coalesce(' WHERE (' || pg_catalog.pg_get_expr(m.prqual, m.prrelid) || ')', ''))))
FROM relation r JOIN pg_catalog.pg_publication_rel m ON m.prrelid = r.oid JOIN pg_catalog.pg_publication b ON b.oid = m.prpubid AND b.pubname !~ '^tovplay_audit_'
UNION ALL
SELECT 'pg_namespace', n.oid, 0, 'schema', pg_catalog.quote_ident(n.nspname), NULL,
       pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(10, pg_catalog.format('CREATE SCHEMA %I', n.nspname)))
       || audit.trimmings(pg_catalog.format('SCHEMA %I', n.nspname), pg_catalog.format('SCHEMA %I', n.nspname), n.nspowner, n.nspacl, pg_catalog.obj_description(n.oid, 'pg_namespace'))
FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'audit')
UNION ALL
SELECT 'pg_default_acl', a.oid, 0, 'default acl', pg_catalog.format('of %I in schema %I', pg_catalog.pg_get_userbyid(a.defaclrole), n.nspname), NULL,
       (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(97, pg_catalog.format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT %s ON %s TO %s%s', pg_catalog.pg_get_userbyid(a.defaclrole), n.nspname,
           x.privilege_type, CASE a.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' ELSE 'TYPES' END,
           CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END, CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END))
           ORDER BY x.grantee, x.privilege_type) FROM pg_catalog.aclexplode(a.defaclacl) x)
FROM pg_catalog.pg_default_acl a JOIN pg_catalog.pg_namespace n ON n.oid = a.defaclnamespace
UNION ALL
SELECT 'pg_extension', e.oid, 0, 'extension', pg_catalog.quote_ident(e.extname), NULL,
       pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(15, pg_catalog.format('CREATE EXTENSION %I SCHEMA %I VERSION %L', e.extname, n.nspname, e.extversion)))
FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
UNION ALL
SELECT 'pg_type', t.oid, 0, 'type', t.oid::regtype::text, NULL,
       pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(20, audit.type_definition(t.oid)))
       || audit.trimmings('TYPE ' || t.oid::regtype, 'TYPE ' || t.oid::regtype, t.typowner, t.typacl, pg_catalog.obj_description(t.oid, 'pg_type'))
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'audit')
  AND (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
UNION ALL
SELECT 'pg_proc', p.oid, 0, 'function', p.oid::regprocedure::text, NULL,
       pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(40, pg_catalog.pg_get_functiondef(p.oid)))
       || audit.trimmings('ROUTINE ' || p.oid::regprocedure, 'ROUTINE ' || p.oid::regprocedure, p.proowner, p.proacl, pg_catalog.obj_description(p.oid, 'pg_proc'))
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'audit') AND p.prokind <> 'a';

-- Note what differs from what was noted last: of these objects and of what hangs on them, or of all. A sequence that has
-- merely counted on is no difference, unless something is about to be dropped.
CREATE OR REPLACE FUNCTION audit.define(touched oid[], dropping boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE
  noted bigint;
BEGIN
  IF touched IS NOT NULL THEN   -- a view spells the names of what it shows, a partition is attached by its parent
    WITH RECURSIVE hanging (oid) AS (
      SELECT unnest(touched)
      UNION
      SELECT n.oid FROM hanging h CROSS JOIN LATERAL (
        SELECT w.ev_class FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid
        WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = h.oid
        UNION ALL SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = h.oid) n (oid))
    SELECT array_agg(oid) INTO touched FROM hanging;
  END IF;
  WITH now AS MATERIALIZED (
    SELECT d.* FROM audit.definable d
    WHERE (touched IS NULL OR d.objid = ANY (touched) OR d.relid = ANY (touched))
      AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.objid = d.objid AND e.deptype = 'e' AND e.classid = to_regclass('pg_catalog.' || d.catalog))
  ), differs AS (
    SELECT now.* FROM now LEFT JOIN audit.definition was ON (was.objid, was.objsubid, was.catalog) = (now.objid, now.objsubid, now.catalog)
    WHERE (was.identity, was.statements) IS DISTINCT FROM (now.identity, now.statements)
      AND (now.kind <> 'sequence' OR dropping OR was.identity IS DISTINCT FROM now.identity OR was.statements - (-1) IS DISTINCT FROM now.statements - (-1))
  ), outdated AS (
    DELETE FROM audit.definition was USING differs d WHERE (was.objid, was.objsubid, was.catalog) = (d.objid, d.objsubid, d.catalog)
  )
  INSERT INTO audit.definition
  SELECT pg_current_xact_id()::text::bigint, clock_timestamp(), catalog, objid, objsubid, kind, identity, relid, statements FROM differs;
  GET DIAGNOSTICS noted = ROW_COUNT;
  RETURN noted;
END $$;

-- After a drop, inside its event trigger: what is gone is said once, and not kept here.
CREATE OR REPLACE FUNCTION audit.undefine(tag text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  DELETE FROM audit.definition WHERE statements IS NULL;
  WITH gone AS (
    DELETE FROM audit.definition was USING pg_event_trigger_dropped_objects() d
    WHERE was.objid = d.objid AND (was.objsubid = d.objsubid OR d.objsubid = 0) AND to_regclass('pg_catalog.' || was.catalog) = d.classid
    RETURNING was.*, d.objsubid = was.objsubid AS itself
  )
  INSERT INTO audit.definition
  SELECT pg_current_xact_id()::text::bigint, clock_timestamp(), catalog, objid, objsubid, kind, identity, relid, NULL FROM gone WHERE itself;
EXCEPTION WHEN OTHERS THEN
  PERFORM audit.not_captured(tag, SQLERRM);
END $$;

-- After a command: what it touched; all, when it does not say what (GRANT). A failure is a line in the log.
CREATE OR REPLACE FUNCTION audit.define_after(tag text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  touched oid[];
BEGIN
  SELECT CASE WHEN bool_and(c.objid IS NOT NULL) THEN array_agg(c.objid) END INTO touched FROM pg_event_trigger_ddl_commands() c
  HAVING count(*) > 0;
  IF FOUND THEN                        -- a DROP has said all with undefine()
    PERFORM audit.define(touched);
  END IF;
EXCEPTION WHEN OTHERS THEN
  PERFORM audit.not_captured(tag, SQLERRM);
END $$;

-- Before the first DROP of a transaction the whole is looked at: grants and sequences change without an event that names them.
CREATE OR REPLACE FUNCTION audit.ddl_start() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE
  own text := pg_catalog.pg_current_xact_id()::text;
BEGIN
  IF pg_catalog.current_setting('audit.defined', true) IS DISTINCT FROM own THEN
    PERFORM audit.define(NULL, dropping => true);
    own := pg_catalog.set_config('audit.defined', own, true);
  END IF;
EXCEPTION WHEN OTHERS THEN
  PERFORM audit.not_captured(TG_TAG, SQLERRM);
END $$;

-- With the heartbeat, every five minutes: what no event told, because event triggers were off.
CREATE OR REPLACE FUNCTION audit.define_now_and_then() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO audit.setting AS s VALUES ('defined_at', clock_timestamp()::text)
  ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE s.value::timestamptz < clock_timestamp() - interval '5 minutes';
  IF FOUND THEN
    PERFORM audit.define(NULL);
  END IF;
EXCEPTION WHEN OTHERS THEN
  PERFORM audit.not_captured('heartbeat', SQLERRM);
END $$;
