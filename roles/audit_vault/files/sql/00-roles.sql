-- Who may do what in the vault. Nobody here can log in; people and whodunit are made members by role audit_vault.
--   vault_reader        who, when, what was touched: every view, without before-images
--   vault_investigator  + before-images (vault.history, audit_log with old_data and new_data)
--   vault_restorer      + vault.decrypt() of columns whose policy is encrypt
DO $$
DECLARE
  role_name text;
BEGIN
  FOREACH role_name IN ARRAY ARRAY['vault_owner', 'vault_keyholder', 'vault_reader', 'vault_investigator', 'vault_restorer'] LOOP
    IF to_regrole(role_name) IS NULL THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
    END IF;
  END LOOP;
END
$$;
GRANT vault_reader TO vault_investigator;
GRANT vault_investigator TO vault_restorer;

CREATE SCHEMA IF NOT EXISTS vault AUTHORIZATION vault_owner;
CREATE EXTENSION IF NOT EXISTS pgcrypto SCHEMA vault;
CREATE SCHEMA IF NOT EXISTS vault_archive AUTHORIZATION vault_owner;
CREATE SCHEMA IF NOT EXISTS audit AUTHORIZATION vault_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
