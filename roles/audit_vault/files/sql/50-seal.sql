-- Tamper evidence: batches of finished transactions, each a Merkle tree as in RFC 6962, whose first leaf is the root of
-- the batch before. Writers pay nothing. The keeper anchors every root outside of this cluster.

-- The canonical form of a row of the history; its leaf is SHA-256 of a zero byte and this text in UTF-8.
CREATE OR REPLACE FUNCTION vault.canonical(h vault.history) RETURNS text
LANGUAGE sql STABLE SET timezone = 'UTC' AS $$
  SELECT jsonb_build_array(h.id, h.tx, h.relation, h.op, h.key, h.old, h.new, h.lsn, h.recorded_at)::text
$$;
CREATE OR REPLACE FUNCTION vault.leaf(h vault.history) RETURNS bytea LANGUAGE sql STABLE AS $$
  SELECT sha256('\x00' || convert_to(vault.canonical(h), 'UTF8'))
$$;

-- The leaves in their order: history by id, then context, ddl and finding by id, the commit times by tx, definitions by id. The canonical
-- form of those is jsonb_build_array(source, to_jsonb(row)) as text. Times are written in the session's zone: ask in UTC.
CREATE OR REPLACE VIEW vault.leaf_text AS
SELECT 1 AS place, 'history' AS source, h.id, h.tx, jsonb_build_array(h.id, h.tx, h.relation, h.op, h.key, h.old, h.new, h.lsn, h.recorded_at)::text AS canonical
FROM vault.history h
UNION ALL
SELECT 2, 'context', c.id, c.tx, jsonb_build_array('context', to_jsonb(c))::text FROM audit.context c
UNION ALL
SELECT 3, 'ddl', d.id, d.tx, jsonb_build_array('ddl', to_jsonb(d))::text FROM audit.ddl d
UNION ALL
SELECT 4, 'finding', f.id, f.tx, jsonb_build_array('finding', to_jsonb(f))::text FROM audit.finding f
UNION ALL
SELECT 5, 'transaction', t.tx, t.tx, jsonb_build_array('transaction', t.tx, t.xid, t.commit_at, t.lsn)::text FROM vault.sealed_transaction t
UNION ALL
SELECT 6, 'definition', d.id, d.tx, jsonb_build_array('definition', to_jsonb(d))::text FROM audit.definition d;

CREATE OR REPLACE FUNCTION vault.leaves(from_tx bigint, to_tx bigint)
RETURNS TABLE (place int, source text, id bigint, tx bigint, canonical text) LANGUAGE sql STABLE SET timezone = 'UTC' AS $$
  SELECT l.place, l.source, l.id, l.tx, l.canonical FROM vault.leaf_text l WHERE l.tx >= from_tx AND l.tx < to_tx ORDER BY 1, 3
$$;

-- A level of the tree pairs its nodes; an odd last one goes up as it is, which gives RFC 6962's tree.
CREATE OR REPLACE FUNCTION vault.merkle(nodes bytea[]) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  WHILE cardinality(nodes) > 1 LOOP
    SELECT array_agg(CASE WHEN below IS NULL THEN node ELSE sha256('\x01' || node || below) END ORDER BY o) INTO nodes
    FROM (SELECT o, node, lead(node) OVER (ORDER BY o) AS below FROM unnest(nodes) WITH ORDINALITY AS u (node, o)) pairs
    WHERE o % 2 = 1;
  END LOOP;
  RETURN nodes[1];
END
$$;

-- Hashes before it sorts, and asks the view itself: a million texts in a row would go through the disk.
CREATE OR REPLACE FUNCTION vault.leaf_hashes(from_tx bigint, to_tx bigint) RETURNS bytea[]
LANGUAGE sql STABLE SET timezone = 'UTC' SET work_mem = '64MB' AS $$
  SELECT coalesce(array_agg(l.leaf ORDER BY l.place, l.id), '{}')
  FROM (SELECT t.place, t.id, sha256('\x00' || convert_to(t.canonical, 'UTF8')) AS leaf
        FROM vault.leaf_text t WHERE t.tx >= from_tx AND t.tx < to_tx OFFSET 0) l
$$;
CREATE OR REPLACE FUNCTION vault.root(hashes bytea[], prev_root bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT vault.merkle(ARRAY[sha256('\x00' || coalesce(prev_root, ''))] || hashes)
$$;

-- Seals what is finished; returns the new seal, or nothing. Called by the keeper.
CREATE OR REPLACE FUNCTION vault.seal_now() RETURNS SETOF vault.seal LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
  last vault.seal;
  horizon bigint := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
  batch bigint;
  hashes bytea[];
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('vault.seal_now'));
  SELECT * INTO last FROM vault.seal ORDER BY n DESC LIMIT 1;
  batch := greatest(coalesce(last.n, 0), (SELECT max(e.after_seal) FROM vault.epoch e)) + 1;
  INSERT INTO vault.sealed_change
  SELECT h.tx, h.relation, h.op, count(*), min(h.id), max(h.id), batch
  FROM vault.history h WHERE h.tx >= coalesce(last.horizon_xid, 0) AND h.tx < horizon GROUP BY h.tx, h.relation, h.op;
  INSERT INTO vault.sealed_transaction
  SELECT t.tx, vault.xid_of(t.tx), vault.commit_at(t.tx), (SELECT min(h.lsn) FROM vault.history h WHERE h.tx = t.tx), batch
  FROM (SELECT c.tx FROM vault.sealed_change c WHERE c.seal = batch
        UNION SELECT d.tx FROM audit.ddl d WHERE d.tx >= coalesce(last.horizon_xid, 0) AND d.tx < horizon
        UNION SELECT f.tx FROM audit.finding f WHERE f.tx >= coalesce(last.horizon_xid, 0) AND f.tx < horizon) t;
  IF NOT EXISTS (SELECT FROM vault.sealed_transaction t WHERE t.seal = batch)
     AND NOT EXISTS (SELECT FROM audit.context c WHERE c.tx >= coalesce(last.horizon_xid, 0) AND c.tx < horizon) THEN
    RETURN;
  END IF;
  hashes := vault.leaf_hashes(coalesce(last.horizon_xid, 0), horizon);
  RETURN QUERY
  INSERT INTO vault.seal (n, prev_root, root, leaves, first_id, last_id, rows, horizon_xid, lsn, counts)
  SELECT batch, last.root, vault.root(hashes, last.root),
         (SELECT string_agg(leaf, ''::bytea ORDER BY o) FROM unnest(hashes) WITH ORDINALITY AS u (leaf, o)),
         (SELECT min(c.first_id) FROM vault.sealed_change c WHERE c.seal = batch),
         (SELECT max(c.last_id) FROM vault.sealed_change c WHERE c.seal = batch),
         (SELECT coalesce(sum(c.rows), 0) FROM vault.sealed_change c WHERE c.seal = batch),
         horizon, (SELECT max(t.lsn) FROM vault.sealed_transaction t WHERE t.seal = batch),
         (SELECT coalesce(jsonb_object_agg(x.name, x.rows), '{}') FROM (
            SELECT format('%I.%I', r.schema_name, r.table_name) AS name, sum(c.rows) AS rows
            FROM vault.sealed_change c JOIN vault.relation r ON r.id = c.relation WHERE c.seal = batch GROUP BY 1) x)
  RETURNING *;
END
$$;

-- The root of a batch from the leaves that were kept: all that can be proven once its days are retired.
CREATE OR REPLACE FUNCTION vault.kept_root(leaves bytea, prev_root bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT vault.root(coalesce((SELECT array_agg(substr(leaves, 1 + 32 * i, 32) ORDER BY i)
                              FROM generate_series(0, octet_length(leaves) / 32 - 1) AS i), '{}'), prev_root)
$$;

-- Seals whose rows are not what they were. Which record it is, whodunit verify finds with the anchors outside.
CREATE OR REPLACE FUNCTION vault.broken_seals(from_n bigint DEFAULT 1) RETURNS TABLE (n bigint, wanted bytea, found bytea)
LANGUAGE sql STABLE AS $$
  SELECT s.n, s.root, r.root FROM (
    SELECT s.*, lag(s.horizon_xid, 1, 0::bigint) OVER w AS from_tx, lag(s.root) OVER w AS before, lag(s.n) OVER w AS n_before,
           (SELECT max((f.detail ->> 'through_tx')::bigint) FROM vault.own_finding f WHERE f.kind = 'retired') AS retired
    FROM vault.seal s WINDOW w AS (ORDER BY s.n)) s,
  LATERAL (SELECT CASE WHEN s.from_tx <= s.retired THEN vault.kept_root(s.leaves, s.prev_root)
                  ELSE vault.root(vault.leaf_hashes(s.from_tx, s.horizon_xid), s.prev_root) END AS root) r
  WHERE s.n >= from_n AND (r.root <> s.root OR s.prev_root IS DISTINCT FROM s.before
         OR (s.n <> coalesce(s.n_before, 0) + 1 AND NOT EXISTS (SELECT FROM vault.epoch e WHERE e.after_seal = s.n - 1)))
  ORDER BY s.n
$$;
