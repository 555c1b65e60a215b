-- Whether the objects are those of the files: the digest of the text that made them, and of what is there now.
SELECT coalesce(obj_description(to_regnamespace('vault'), 'pg_namespace') = %(digest)s || ' ' || CASE
         WHEN to_regprocedure('vault.fingerprint()') IS NOT NULL
         THEN (xpath('//f/text()', query_to_xml('SELECT vault.fingerprint() AS f', false, false, '')))[1]::text END, false) AS current
