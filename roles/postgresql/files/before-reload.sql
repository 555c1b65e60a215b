-- pg_hba_file_rules reads the file as it lies there, before the server uses it.
SELECT pg_conf_load_time()::text AS loaded_at,
       (SELECT coalesce(array_agg(format('line %s: %s', line_number, error)), '{}')
        FROM pg_hba_file_rules WHERE error IS NOT NULL) AS unreadable
