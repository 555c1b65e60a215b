-- What the application has before the vault comes. Secrets are written so that a search for them finds nothing else.
SET ROLE tovplay_owner;
CREATE TABLE "User" (
  id serial PRIMARY KEY, email text, password_hash text, phone text,
  score numeric(10, 2) DEFAULT 0, tags text[], settings jsonb DEFAULT '{}', created timestamptz DEFAULT now());
CREATE TABLE "Game" (id int PRIMARY KEY, title text NOT NULL);
CREATE TABLE "GameRequest" (
  user_id int REFERENCES "User" ON DELETE CASCADE, game_id int REFERENCES "Game" ON DELETE CASCADE, note text,
  PRIMARY KEY (user_id, game_id));
CREATE TABLE "Measure" (id int, day date, value float8, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE "Measure_2026" PARTITION OF "Measure" FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO "User" (email, password_hash, phone, score, tags)
SELECT format('user%s@example.com', i), format('LEGIBLE-hash-%s', i), format('LEGIBLE-phone-%s', i), i * 1.5, ARRAY['a', format('t%s', i)]
FROM generate_series(1, 200) i;
CREATE TABLE "Device" (id int PRIMARY KEY, name text, token text);
INSERT INTO "Device" VALUES (1, 'phone', 'LEGIBLE-token');
INSERT INTO "Game" SELECT i, format('Game %s', i) FROM generate_series(1, 20) i;
INSERT INTO "GameRequest" SELECT i, 1 + i % 20, 'hello' FROM generate_series(1, 200) i;
INSERT INTO "Measure" SELECT i, '2026-06-01', i / 3.0 FROM generate_series(1, 50) i;
RESET ROLE;
