-- Who runs what as whom. Trigger functions need no EXECUTE to fire; what they call does.
DO $$
DECLARE
  one regprocedure;
BEGIN
  FOR one IN SELECT oid FROM pg_proc WHERE pronamespace = 'audit'::regnamespace AND prosecdef
               AND proname NOT IN ('ddl_alter', 'after_ddl', 'after_drop', 'before_rewrite', 'define') LOOP
    EXECUTE format('ALTER FUNCTION %s OWNER TO audit_owner', one);
  END LOOP;
END $$;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA audit FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA audit TO audit_owner;
REVOKE EXECUTE ON FUNCTION audit.attach(boolean), audit.converge(jsonb), audit.beat() FROM audit_owner;
GRANT EXECUTE ON FUNCTION
  audit.changed_rows(oid, boolean), audit.judge_rows(name, text, oid, text, bigint), audit.judge_truncate(name, oid, text),
  audit.after_ddl(name, text), audit.after_drop(name, text), audit.before_rewrite(name, text), audit.not_captured(text, text), audit.define(oid[], boolean), audit.ask_the_vault() TO PUBLIC;

-- Triggers of an earlier release: changed in this transaction, before their functions go.
DO $$
BEGIN
  IF to_regprocedure('audit.note()') IS NOT NULL THEN
    PERFORM audit.attach(only_new => false);
    DROP FUNCTION audit.note(), audit.note_guarded_tree();
  END IF;
END $$;

-- After pgaudit's, which so name the objects even of what is refused here.
CREATE EVENT TRIGGER zz_audit_alter ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION audit.ddl_alter();
ALTER EVENT TRIGGER zz_audit_alter ENABLE ALWAYS;
CREATE EVENT TRIGGER zz_audit_ddl ON ddl_command_end EXECUTE FUNCTION audit.ddl_end();
ALTER EVENT TRIGGER zz_audit_ddl ENABLE ALWAYS;
CREATE EVENT TRIGGER zz_audit_drop ON sql_drop EXECUTE FUNCTION audit.ddl_drop();
ALTER EVENT TRIGGER zz_audit_drop ENABLE ALWAYS;
CREATE EVENT TRIGGER zz_audit_rewrite ON table_rewrite EXECUTE FUNCTION audit.ddl_rewrite();
ALTER EVENT TRIGGER zz_audit_rewrite ENABLE ALWAYS;
CREATE EVENT TRIGGER zz_audit_start ON ddl_command_start WHEN TAG IN (
  'DROP TABLE', 'DROP SCHEMA', 'DROP OWNED', 'DROP VIEW', 'DROP MATERIALIZED VIEW', 'DROP INDEX', 'DROP SEQUENCE', 'DROP TYPE', 'DROP DOMAIN',
  'DROP FUNCTION', 'DROP PROCEDURE', 'DROP ROUTINE', 'DROP TRIGGER', 'DROP RULE', 'DROP POLICY', 'DROP EXTENSION') EXECUTE FUNCTION audit.ddl_start();
ALTER EVENT TRIGGER zz_audit_start ENABLE ALWAYS;
