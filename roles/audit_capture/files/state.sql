-- What the role must know of a database before it changes anything; the digest of its objects comes from objects.sql.
WITH wanted AS (
  SELECT * FROM json_to_recordset(%(tables)s::json) AS w (schema text, name text, columns json)
), found AS (
  SELECT w.schema, w.name, format('%%I.%%I', w.schema, w.name) AS shown, w.columns, c.oid, c.relkind, c.relpersistence, k.indkey::int2[] AS key
  FROM wanted w JOIN pg_namespace n ON n.nspname = w.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
  LEFT JOIN pg_index k ON k.indrelid = c.oid AND k.indisprimary
), policy AS (
  SELECT f.shown, p.key AS name, p.value AS policy, a.attnum, a.attnum = ANY (f.key) AS in_key
  FROM found f CROSS JOIN json_each_text(f.columns) p
  LEFT JOIN pg_attribute a ON a.attrelid = f.oid AND a.attname = p.key AND a.attnum > 0 AND NOT a.attisdropped
)
SELECT obj_description(to_regnamespace('audit')::oid, 'pg_namespace') AS installed,
       current_setting('wal_level') AS wal_level, current_setting('server_version_num')::int AS version,
       ARRAY(SELECT shown || ' has no primary key, without which no vault can follow its rows: ALTER TABLE ' || shown
                    || ' ADD PRIMARY KEY (…), and converge again.' FROM found WHERE relkind IN ('r', 'p') AND key IS NULL
             UNION ALL
             SELECT shown || ' is ' || CASE relkind WHEN 'v' THEN 'a view' WHEN 'm' THEN 'a materialized view' WHEN 'f' THEN 'a foreign table'
                                       ELSE 'no table' END || '; name the table whose rows it shows.' FROM found WHERE relkind NOT IN ('r', 'p')
             UNION ALL
             SELECT shown || ' is ' || CASE relpersistence WHEN 'u' THEN 'unlogged' ELSE 'temporary' END
                    || ', and WAL has none of its rows: ALTER TABLE ' || shown || ' SET LOGGED, or take it out.'
             FROM found WHERE relkind IN ('r', 'p') AND relpersistence <> 'p'
             UNION ALL
             SELECT shown || ' has no column ' || quote_ident(name) || '; correct the name, or the value would stay legible.'
             FROM policy WHERE attnum IS NULL
             UNION ALL
             SELECT shown || ': ' || quote_ident(name) || ' is part of the primary key and must be plain, since rows are found by it.'
             FROM policy WHERE in_key AND policy <> 'plain'
             ORDER BY 1) AS problems
