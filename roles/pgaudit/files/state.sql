-- Libraries as they are loaded, and as files other than ours want them (postgresql.auto.conf comes last, and wins).
WITH setting AS (SELECT name, setting, sourcefile, seqno FROM pg_file_settings
                 WHERE sourcefile <> %(file)s AND (name = 'shared_preload_libraries' OR name LIKE 'pgaudit.%%')),
     list (loaded, elsewhere) AS (SELECT current_setting('shared_preload_libraries'),
                                         (SELECT setting FROM setting WHERE name = 'shared_preload_libraries'
                                          ORDER BY seqno DESC LIMIT 1))
SELECT (SELECT string_to_array(regexp_replace(loaded, '[\s"]', '', 'g'), ',') FROM list) AS preloaded,
       (SELECT coalesce(array_remove(string_to_array(regexp_replace(elsewhere, '[\s"]', '', 'g'), ','), ''), '{}')
        FROM list) AS preload_elsewhere,
       (SELECT coalesce(array_agg(DISTINCT name), '{}') FROM setting
        WHERE sourcefile LIKE '%%/postgresql.auto.conf') AS altered,
       (SELECT array_agg(datname::text ORDER BY datname) FROM pg_database WHERE datallowconn) AS databases,
       (SELECT array_agg(rolname::text) FROM pg_roles) AS roles
