-- A running server has the groups that it was started with: a key that postgres may read since then is not enough.
SELECT pg_conf_load_time() > %(before)s::timestamptz AS loaded,
       (SELECT coalesce(array_agg(name ORDER BY name), '{}') FROM pg_settings
        WHERE pending_restart AND name IN (SELECT json_array_elements_text(%(settings)s::json))) AS pending,
       substring(pg_read_file('/proc/self/status') FROM 'Groups:\s*([0-9 ]*)') AS own_groups,
       pg_read_file('/proc/net/tcp') || coalesce(pg_read_file('/proc/net/tcp6', 0, 1000000, true), '') AS sockets
