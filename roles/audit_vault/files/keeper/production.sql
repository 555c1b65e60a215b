-- How production stands with the vault's slot, and what else keeps its database from being dropped. Runs on production as
-- audit_replicator. The control file learns of a new timeline only at a checkpoint; the name of the WAL file has it at once.
SELECT (SELECT system_identifier FROM pg_control_system()) AS system_identifier,
       ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int AS timeline,
       pg_current_wal_flush_lsn()::text AS lsn, s.slot_name IS NOT NULL AS slot, s.active, s.wal_status,
       s.confirmed_flush_lsn::text AS confirmed, pg_wal_lsn_diff(pg_current_wal_flush_lsn(), s.restart_lsn)::bigint AS retained,
       (SELECT setting::bigint * 1048576 FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS keep,
       EXISTS (SELECT FROM pg_replication_slots h WHERE h.slot_name = %(hold)s AND h.active) AS held,
       (SELECT d.datistemplate FROM pg_database d WHERE d.datname = current_database()) AS template,
       to_regclass('audit.heartbeat') IS NOT NULL AS beats,
       -- Of a copy of a table that ended without its worker: nobody reads it, and it keeps WAL.
       (SELECT array_agg(w.slot_name::text ORDER BY w.slot_name) FROM pg_replication_slots w
        WHERE w.slot_name ~ '^pg_[0-9]+_sync_' AND w.database = current_database() AND NOT w.active) AS stray
FROM (SELECT 1) one LEFT JOIN pg_replication_slots s ON s.slot_name = %(name)s
