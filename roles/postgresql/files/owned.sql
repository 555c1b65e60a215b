-- Who of these people owns a table, sequence or view: an owner can TRUNCATE and DROP, whatever was granted.
SELECT pg_get_userbyid(c.relowner) AS name,
       format('%%s owns %%s objects, such as %%I', pg_get_userbyid(c.relowner), count(*), min(c.relname)) AS owns
FROM json_to_record(%(access)s::json) AS input (schemas text[], writers text[], readers text[])
JOIN pg_namespace n ON n.nspname = ANY (input.schemas)
JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
WHERE pg_get_userbyid(c.relowner) = ANY (input.writers || input.readers)
GROUP BY 1 ORDER BY 1
