-- What belongs to the whole cluster: slots, the hold on databases, settings of roles that name a library which is going.
SELECT format('SELECT pg_drop_replication_slot(%L)', slot_name) FROM pg_replication_slots
WHERE slot_name LIKE 'tovplay\_%' AND NOT active \gexec
SELECT format('ALTER DATABASE %I IS_TEMPLATE false', datname) FROM pg_database
WHERE datistemplate AND datname NOT IN ('template0', 'template1') \gexec
SELECT format('ALTER ROLE %I RESET %I', r.rolname, split_part(s.one, '=', 1))
FROM pg_db_role_setting d JOIN pg_roles r ON r.oid = d.setrole CROSS JOIN unnest(d.setconfig) AS s (one)
WHERE d.setdatabase = 0 AND s.one LIKE 'pgaudit.%' \gexec
