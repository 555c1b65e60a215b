-- How production stands with the vault's slot. Runs on production as audit_replicator.
SELECT (SELECT system_identifier FROM pg_control_system()) AS system_identifier,
       (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline,
       pg_current_wal_flush_lsn()::text AS lsn, s.slot_name IS NOT NULL AS slot, s.active, s.wal_status,
       s.confirmed_flush_lsn::text AS confirmed, pg_wal_lsn_diff(pg_current_wal_flush_lsn(), s.restart_lsn)::bigint AS retained,
       (SELECT setting::bigint * 1048576 FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS keep
FROM (SELECT 1) one LEFT JOIN pg_replication_slots s ON s.slot_name = %(name)s
