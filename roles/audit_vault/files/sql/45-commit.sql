-- When production committed: the apply worker stamps its own commit with it. 0 where PostgreSQL has forgotten.
CREATE OR REPLACE FUNCTION vault.commit_at(of_tx bigint) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF of_tx IS NULL OR pg_xact_status(of_tx::text::xid8) IS DISTINCT FROM 'committed' THEN
    RETURN NULL;
  END IF;
  RETURN (SELECT o."timestamp" FROM pg_xact_commit_timestamp_origin(of_tx::text::xid8::xid) o);
END
$$;
