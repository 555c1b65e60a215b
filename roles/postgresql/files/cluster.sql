-- What the cluster lacks of the wanted memberships and databases, and which settings another file decides.
WITH membership AS (SELECT * FROM json_to_recordset(%(memberships)s::json) AS m (name text, "group" text)),
     base AS (SELECT * FROM json_to_recordset(%(databases)s::json) AS d (name text, owner text)),
     winner AS (SELECT DISTINCT ON (name) name, sourcefile FROM pg_file_settings
                WHERE name IN (SELECT json_array_elements_text(%(settings)s::json)) ORDER BY name, seqno DESC)
SELECT
  (SELECT coalesce(json_agg(membership), '[]') FROM membership
   WHERE NOT EXISTS (SELECT FROM pg_auth_members m
                     JOIN pg_roles g ON g.oid = m.roleid AND g.rolname = membership."group"
                     JOIN pg_roles r ON r.oid = m.member AND r.rolname = membership.name)) AS memberships,
  (SELECT coalesce(json_agg(base), '[]') FROM base
   WHERE NOT EXISTS (SELECT FROM pg_database d WHERE d.datname = base.name
                     AND pg_get_userbyid(d.datdba) = base.owner)) AS databases,
  (SELECT coalesce(array_agg(format('%%s in %%s', name, sourcefile)), '{}') FROM winner
   WHERE sourcefile NOT LIKE '%%/conf.d/%%') AS overridden
