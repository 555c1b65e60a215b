CREATE TABLE "User" (id serial PRIMARY KEY, email text NOT NULL UNIQUE, password_hash text NOT NULL, balance numeric(12, 4),
  tags text[], profile jsonb, avatar bytea, joined timestamptz DEFAULT now(), best_friend int REFERENCES "User");
CREATE TABLE "Game" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL,
  owner int NOT NULL REFERENCES "User" ON DELETE CASCADE, slug text GENERATED ALWAYS AS (lower(title)) STORED);
CREATE TABLE "GameRequest" (game int REFERENCES "Game" ON DELETE CASCADE, player int REFERENCES "User" ON DELETE CASCADE,
  state text, PRIMARY KEY (game, player));
INSERT INTO "User" (email, password_hash, balance, tags, profile, avatar)
SELECT 'u' || i || E'@x\t\\"', md5(i::text), i / 7.0, ARRAY['a"b', NULL, ''], '{"a": [1.50, null]}', sha256(i::text::bytea)
FROM generate_series(1, 300) i;
UPDATE "User" SET best_friend = 301 - id;
INSERT INTO "Game" (title, owner) SELECT 'Game ' || i, i FROM generate_series(1, 100) i;
INSERT INTO "GameRequest" SELECT i, i + 100, NULL FROM generate_series(1, 100) i;
