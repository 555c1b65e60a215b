-- A schema with one of everything that can hang on a table; test_undo_definitions.py drops it.
CREATE ROLE owner_of_shop; CREATE ROLE shop_reader; CREATE ROLE shop_writer; GRANT owner_of_shop TO postgres;
CREATE SCHEMA shop AUTHORIZATION owner_of_shop;
GRANT USAGE ON SCHEMA shop TO shop_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO shop_reader;
CREATE TYPE shop.mood AS ENUM ('calm', 'cross');
CREATE DOMAIN shop.positive AS int DEFAULT 1 CHECK (VALUE > 0);
CREATE TYPE shop.size AS (width int, height numeric(8, 2));
CREATE SEQUENCE shop.ticket INCREMENT BY 5 START WITH 100;
CREATE FUNCTION shop.touched() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN NEW.note := coalesce(NEW.note, 'touched'); RETURN NEW; END $f$;
CREATE FUNCTION shop.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * $1';
CREATE TABLE shop.customer (id int GENERATED ALWAYS AS IDENTITY (START WITH 7 INCREMENT BY 3) PRIMARY KEY, name text COLLATE "C" NOT NULL);
CREATE TABLE shop.orders (
  id bigserial PRIMARY KEY, customer int NOT NULL REFERENCES shop.customer ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE,
  number int DEFAULT nextval('shop.ticket') UNIQUE, feeling shop.mood DEFAULT 'calm', amount shop.positive, box shop.size, tags text[] DEFAULT '{}',
  doubled int GENERATED ALWAYS AS (shop.twice(id::int)) STORED, during tstzrange, note varchar(40), kept text,
  CONSTRAINT sane CHECK (number > 0), CONSTRAINT no_overlap EXCLUDE USING gist (during WITH &&));
ALTER TABLE shop.orders OWNER TO owner_of_shop;
ALTER TABLE shop.orders SET (fillfactor = 70), ALTER kept SET STORAGE EXTERNAL;
CREATE INDEX orders_note ON shop.orders (lower(note)) WHERE note IS NOT NULL;
CREATE UNIQUE INDEX orders_pair ON shop.orders (customer, number) INCLUDE (amount);
CREATE STATISTICS shop.orders_st (dependencies) ON customer, number FROM shop.orders;
CREATE TABLE shop.line (id int PRIMARY KEY, "order" bigint REFERENCES shop.orders);
CREATE VIEW shop.open_orders AS SELECT o.id, o.note, c.name FROM shop.orders o JOIN shop.customer c ON c.id = o.customer;
CREATE MATERIALIZED VIEW shop.totals AS SELECT customer, count(*) AS n FROM shop.orders GROUP BY 1;
CREATE UNIQUE INDEX totals_key ON shop.totals (customer);
CREATE VIEW shop.open_names AS SELECT DISTINCT name FROM shop.open_orders;
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.touched();
CREATE TRIGGER asleep AFTER DELETE ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.touched();
ALTER TABLE shop.orders DISABLE TRIGGER asleep;
CREATE RULE no_delete AS ON DELETE TO shop.open_orders DO INSTEAD NOTHING;
ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON shop.orders FOR SELECT TO shop_reader USING (customer > 0);
GRANT SELECT, INSERT ON shop.orders TO shop_writer WITH GRANT OPTION;
GRANT UPDATE (note) ON shop.orders TO shop_reader;
GRANT USAGE ON SEQUENCE shop.orders_id_seq TO shop_writer;
REVOKE EXECUTE ON FUNCTION shop.twice(int) FROM PUBLIC;
COMMENT ON TABLE shop.orders IS 'what was bought; "quoted"';
COMMENT ON COLUMN shop.orders.note IS 'free text';
COMMENT ON CONSTRAINT sane ON shop.orders IS 'no negative numbers';
COMMENT ON INDEX shop.orders_note IS 'for the search';
CREATE PUBLICATION elsewhere FOR TABLE shop.orders;
INSERT INTO shop.customer (name) SELECT 'c' || n FROM generate_series(1, 10) n;
INSERT INTO shop.orders (customer, amount, box, tags, during, note)
SELECT 7 + 3 * (n % 10), n, ROW(n, n / 3.0)::shop.size, ARRAY['a"b', NULL], tstzrange(now() + n * interval '1 hour', now() + (n + 1) * interval '1 hour'), NULL
FROM generate_series(1, 200) n;
INSERT INTO shop.line SELECT n, n FROM generate_series(1, 200) n;
REFRESH MATERIALIZED VIEW shop.totals;
