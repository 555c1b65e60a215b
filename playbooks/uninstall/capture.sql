-- Takes the audit out of one database: event triggers first, or they would refuse the rest. Its rows stay untouched.
SELECT format('DROP EVENT TRIGGER %I', evtname) FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid
WHERE p.pronamespace = to_regnamespace('audit') \gexec
SELECT format('DROP PUBLICATION %I', pubname) FROM pg_publication WHERE pubname LIKE 'tovplay\_audit\_%' \gexec
SELECT 'DROP SCHEMA audit CASCADE' WHERE to_regnamespace('audit') IS NOT NULL \gexec
DROP EXTENSION IF EXISTS pgaudit;
