-- Column policies: neither shadow nor history nor WAL of the vault ever holds a legible value.
--   hash:<digest>             keyed, so that a dictionary does not help without the key; equal values look equal
--   enc:<digest>:<iv+cipher>  AES-256; vault.decrypt() for members of vault_restorer
CREATE OR REPLACE FUNCTION vault.masked(plain text, policy text, before text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  digest text;
  iv bytea;
BEGIN
  SELECT left(encode(vault.hmac(convert_to(plain, 'UTF8'), s.key, 'sha256'), 'hex'), 32) INTO digest
  FROM vault.secret s WHERE s.name = 'digests';
  IF policy = 'hash' THEN
    RETURN 'hash:' || digest;
  ELSIF before LIKE 'enc:' || digest || ':%' THEN
    RETURN before;  -- encrypted anew, the same value would look like a change
  END IF;
  iv := vault.gen_random_bytes(16);
  RETURN 'enc:' || digest || ':' || replace(encode(
    iv || vault.encrypt_iv(convert_to(plain, 'UTF8'), (SELECT s.key FROM vault.secret s WHERE s.name = 'columns'), iv, 'aes-cbc/pad:pkcs'),
    'base64'), chr(10), '');
END
$$;

-- Arguments: column, policy, column, policy, ...
CREATE OR REPLACE FUNCTION vault.mask() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  image jsonb := to_jsonb(NEW);
  before jsonb := CASE WHEN TG_OP = 'UPDATE' THEN to_jsonb(OLD) END;
  patch jsonb := '{}';
BEGIN
  FOR i IN 0 .. TG_NARGS / 2 - 1 LOOP
    -- NULL has nothing to hide; what equals the masked value is an unchanged TOASTed one, which WAL does not repeat.
    CONTINUE WHEN image ->> TG_ARGV[2 * i] IS NULL OR image ->> TG_ARGV[2 * i] = before ->> TG_ARGV[2 * i];
    patch := patch || jsonb_build_object(TG_ARGV[2 * i],
      vault.masked(image ->> TG_ARGV[2 * i], TG_ARGV[2 * i + 1], before ->> TG_ARGV[2 * i]));
  END LOOP;
  IF patch <> '{}' THEN
    NEW := jsonb_populate_record(NEW, patch);
  END IF;
  RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION vault.decrypt(masked text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  sealed bytea;
BEGIN
  IF masked NOT LIKE 'enc:%' THEN
    RAISE EXCEPTION 'no encrypted value: it begins with %', left(masked, 5)
      USING HINT = 'Hashed and excluded columns cannot be restored.';
  END IF;
  sealed := decode(split_part(masked, ':', 3), 'base64');
  RETURN convert_from(vault.decrypt_iv(substr(sealed, 17), (SELECT s.key FROM vault.secret s WHERE s.name = 'columns'),
                                 substr(sealed, 1, 16), 'aes-cbc/pad:pkcs'), 'UTF8');
END
$$;
ALTER TABLE vault.secret OWNER TO vault_keyholder;
GRANT USAGE ON SCHEMA vault TO vault_keyholder;
ALTER FUNCTION vault.decrypt(text) OWNER TO vault_keyholder;
REVOKE ALL ON FUNCTION vault.decrypt(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION vault.decrypt(text) TO vault_restorer;
GRANT EXECUTE ON FUNCTION vault.decrypt_iv(bytea, bytea, bytea, text) TO vault_keyholder;

-- The text of a statement that touches a table with such columns is cut before its first literal.
CREATE OR REPLACE FUNCTION vault.redacted(statement text, of_table text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  place int;
BEGIN
  IF NOT EXISTS (
    SELECT FROM vault.policy p
    WHERE position(lower(p.table_name) IN lower(statement)) > 0 OR position(lower(p.column_name) IN lower(statement)) > 0
       OR replace(of_table, '"', '') = p.schema_name || '.' || p.table_name
  ) AND NOT EXISTS (
    SELECT FROM vault.relation r, jsonb_array_elements(r.columns) c
    WHERE r.valid_to IS NULL AND c ->> 'policy' <> 'plain' AND position(lower(r.table_name) IN lower(statement)) > 0
  ) THEN
    RETURN statement;
  END IF;
  place := coalesce(nullif(regexp_instr(statement, $re$'|\$[^0-9]$re$), 0), length(statement) + 1);
  RETURN left(statement, place - 1) || CASE WHEN place <= length(statement) THEN '[literals left out]' ELSE '' END;
END
$$;

-- BEFORE INSERT of every mirror. Rows of an initial copy are older than the history: without tx, or not wanted at all.
CREATE OR REPLACE FUNCTION vault.receive() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT vault.is_replayed(TG_RELID) THEN
    IF TG_TABLE_NAME IN ('context', 'heartbeat') THEN
      RETURN NULL;
    END IF;
    NEW.tx := NULL;
  END IF;
  EXECUTE format('SELECT count(*) + 1 FROM audit.%I m WHERE m.tx = $1', TG_TABLE_NAME) INTO NEW.nth USING NEW.tx;
  IF TG_TABLE_NAME = 'context' THEN
    NEW.statement := vault.redacted(NEW.statement, NEW.table_name);
  ELSIF TG_TABLE_NAME = 'ddl' THEN
    NEW.statement := vault.redacted(NEW.statement, NEW.object_name);
  END IF;
  RETURN NEW;
END
$$;
