-- Pooled roles log fewer classes; superusers and watched roles every statement, before it runs.
WITH input AS (SELECT * FROM json_to_record(%(wanted)s::json) AS i (pooled text[], pooled_log text, watched text[])),
     wanted AS (
       SELECT unnest(pooled) AS name, 'pgaudit.log' AS setting, pooled_log AS value FROM input
       UNION ALL
       SELECT rolname, 'log_statement', 'all' FROM pg_roles, input WHERE rolsuper OR rolname = ANY (watched)
     )
SELECT wanted.* FROM wanted JOIN pg_roles r ON r.rolname = wanted.name
WHERE NOT coalesce(r.rolconfig, '{}') @> ARRAY[wanted.setting || '=' || wanted.value]
