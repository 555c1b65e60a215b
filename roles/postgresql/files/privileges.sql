-- What differs from the wanted privileges of the connected database, as arguments of postgresql_privs.
-- Direct grants are compared, not effective ones: what PUBLIC still has today is taken away in the same run.
WITH input AS (
  SELECT * FROM json_to_record(%(access)s::json)
    AS i (schemas text[], creators text[], writers text[], readers text[], connectors text[])
), person AS (
  SELECT r.oid, r.rolname, wanted.writes
  FROM (SELECT unnest(writers) AS name, true AS writes FROM input
        UNION ALL SELECT unnest(readers), false FROM input) AS wanted
  JOIN pg_roles r ON r.rolname = wanted.name
), space AS (
  SELECT oid, nspname, nspacl FROM pg_namespace, input WHERE nspname = ANY (input.schemas)
), kind (objtype, objs, privs_type, relkinds, writes, privs) AS (VALUES
  ('r'::"char", 'TABLES', 'table', ARRAY['r', 'p', 'v', 'm', 'f'], true, ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']),
  ('r', 'TABLES', 'table', ARRAY['r', 'p', 'v', 'm', 'f'], false, ARRAY['SELECT']),
  ('S', 'SEQUENCES', 'sequence', ARRAY['S'], true, ARRAY['SELECT', 'USAGE']),
  ('S', 'SEQUENCES', 'sequence', ARRAY['S'], false, ARRAY['SELECT'])
), wanted AS (
  SELECT person.oid, person.rolname, space.oid AS nspoid, space.nspname,
         kind.objtype, kind.objs, kind.privs_type, kind.relkinds, kind.privs
  FROM person JOIN kind USING (writes) CROSS JOIN space
), relation AS (   -- what an extension brings keeps the privileges that its author chose
  SELECT c.relname, c.relnamespace, c.relkind, c.relowner, c.relacl FROM pg_class c
  WHERE c.relnamespace IN (SELECT oid FROM space) AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
), held AS (       -- privileges of each person on each relation
  SELECT wanted.*, relation.relname, coalesce(acl.privs_held, '{}') AS privs_held
  FROM wanted JOIN relation ON relation.relnamespace = wanted.nspoid AND relation.relkind::text = ANY (wanted.relkinds)
  LEFT JOIN LATERAL (SELECT array_agg(x.privilege_type) AS privs_held FROM aclexplode(relation.relacl) x
                     WHERE x.grantee = wanted.oid AND wanted.oid <> relation.relowner) acl ON true
), future AS (     -- the same for what each creator will make
  SELECT wanted.*, creator.rolname AS creator, coalesce(acl.privs_held, '{}') AS privs_held
  FROM wanted CROSS JOIN (SELECT oid, rolname FROM pg_roles, input WHERE rolname = ANY (input.creators)) creator
  LEFT JOIN LATERAL (SELECT array_agg(x.privilege_type) AS privs_held
                     FROM pg_default_acl a CROSS JOIN aclexplode(a.defaclacl) x
                     WHERE a.defaclrole = creator.oid AND a.defaclnamespace = wanted.nspoid
                       AND a.defaclobjtype = wanted.objtype AND x.grantee = wanted.oid) acl ON true
)
SELECT 'database' AS type, current_database()::text AS objs, NULL AS schema, 'PUBLIC' AS roles,
       'ALL' AS privs, 'absent' AS state, NULL AS target_roles
FROM pg_database d WHERE d.datname = current_database()
  AND EXISTS (SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) x WHERE x.grantee = 0)
UNION ALL
SELECT 'database', d.datname, NULL, r.rolname, 'CONNECT', 'present', NULL
FROM pg_database d CROSS JOIN pg_roles r CROSS JOIN input WHERE d.datname = current_database()
  AND r.rolname = ANY (input.connectors || input.creators || input.writers || input.readers)
  AND NOT EXISTS (SELECT FROM aclexplode(d.datacl) x WHERE x.grantee = r.oid AND x.privilege_type = 'CONNECT')
UNION ALL
SELECT 'schema', nspname, NULL, 'PUBLIC', 'ALL', 'absent', NULL
FROM space WHERE EXISTS (SELECT FROM aclexplode(nspacl) x WHERE x.grantee = 0)
UNION ALL
SELECT 'schema', nspname, NULL, rolname, 'USAGE', 'present', NULL
FROM space CROSS JOIN person
WHERE NOT EXISTS (SELECT FROM aclexplode(nspacl) x WHERE x.grantee = person.oid AND x.privilege_type = 'USAGE')
UNION ALL
SELECT 'schema', nspname, NULL, rolname, 'CREATE', 'absent', NULL
FROM space CROSS JOIN person
WHERE EXISTS (SELECT FROM aclexplode(nspacl) x WHERE x.grantee = person.oid AND x.privilege_type = 'CREATE')
UNION ALL
SELECT 'default_privs', objs, nspname, rolname, array_to_string(privs, ','), 'present', creator
FROM future WHERE NOT privs_held @> privs
UNION ALL
SELECT 'default_privs', objs, nspname, rolname, string_agg(DISTINCT extra, ','), 'absent', creator
FROM future CROSS JOIN unnest(privs_held) AS extra WHERE extra <> ALL (privs)
GROUP BY objs, nspname, rolname, creator
UNION ALL
SELECT privs_type, string_agg(relname, ',' ORDER BY relname), nspname, rolname, array_to_string(privs, ','), 'present', NULL
FROM held WHERE NOT privs_held @> privs GROUP BY privs_type, nspname, rolname, privs
UNION ALL
SELECT privs_type, string_agg(relname, ',' ORDER BY relname), nspname, rolname, extra, 'absent', NULL
FROM held CROSS JOIN unnest(privs_held) AS extra WHERE extra <> ALL (privs) GROUP BY privs_type, nspname, rolname, extra
