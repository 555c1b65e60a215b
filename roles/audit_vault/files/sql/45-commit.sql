-- When production committed: the apply worker stamps its own commit with it. 0 where PostgreSQL has forgotten.
CREATE OR REPLACE FUNCTION vault.commit_at(of_tx bigint) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF of_tx IS NULL OR pg_xact_status(of_tx::text::xid8) IS DISTINCT FROM 'committed' THEN
    RETURN NULL;
  END IF;
  RETURN (SELECT o."timestamp" FROM pg_xact_commit_timestamp_origin(of_tx::text::xid8::xid) o);
END
$$;

-- Production's number of a transaction, from whatever it wrote first.
CREATE OR REPLACE FUNCTION vault.xid_of(of_tx bigint) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT coalesce((SELECT c.xid FROM audit.context c WHERE c.tx = of_tx ORDER BY c.id LIMIT 1),
                  (SELECT d.xid FROM audit.ddl d WHERE d.tx = of_tx ORDER BY d.id LIMIT 1),
                  (SELECT f.xid FROM audit.finding f WHERE f.tx = of_tx ORDER BY f.id LIMIT 1))
$$;
