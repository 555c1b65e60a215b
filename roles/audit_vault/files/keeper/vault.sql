-- How the vault stands with production.
SELECT vault.current_epoch() AS epoch, e.system_identifier, e.timeline,
       sub.oid IS NOT NULL AS subscribed, sub.subenabled AS enabled, sub.subconninfo AS conninfo,
       EXISTS (SELECT FROM pg_stat_subscription w WHERE w.subname = %(name)s AND w.relid IS NULL AND w.pid IS NOT NULL) AS working,
       (SELECT o.remote_lsn::text FROM pg_replication_origin_status o WHERE o.external_id = 'pg_' || sub.oid) AS applied,
       (SELECT t.apply_error_count + t.sync_error_count FROM pg_stat_subscription_stats t WHERE t.subname = %(name)s) AS errors,
       (SELECT extract(epoch FROM clock_timestamp() - max(h.at)) FROM audit.heartbeat h
        WHERE h.received_at > clock_timestamp() - interval '1 day') AS heartbeat_age,
       (SELECT extract(epoch FROM clock_timestamp() - max(s.at)) FROM vault.seal s) AS seal_age,
       greatest((SELECT max(s.n) FROM vault.seal s), (SELECT max(p.after_seal) FROM vault.epoch p), 0) AS seals,
       (SELECT count(*) FROM vault.history_rest) AS rest,
       (SELECT extract(epoch FROM clock_timestamp() - min(u.recorded_at)) FROM vault.history u WHERE u.tx >= vault.horizon()) AS unsealed_age,
       (SELECT count(*) FROM vault.gap g WHERE g.to_at IS NULL) AS open_gaps,
       (SELECT system_identifier FROM pg_control_system()) AS own_system, pg_current_wal_flush_lsn()::text AS own_lsn,
       ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int AS own_timeline
FROM (SELECT 1) one
LEFT JOIN vault.epoch e ON e.n = vault.current_epoch()
LEFT JOIN pg_subscription sub ON sub.subname = %(name)s
