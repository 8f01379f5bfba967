-- TEXT, never JSONB, which would rewrite what was hashed; "C" sorts text by its bytes, as SQLite does.
CREATE TABLE record (
  seq BIGINT PRIMARY KEY,
  kind TEXT COLLATE "C" NOT NULL,
  series TEXT COLLATE "C" NOT NULL,
  origin TEXT COLLATE "C" NOT NULL,
  slot TEXT COLLATE "C" NOT NULL,
  hash TEXT COLLATE "C" NOT NULL CHECK (length(hash) = 64),
  body TEXT COLLATE "C" NOT NULL
);

CREATE UNIQUE INDEX record_key ON record (series, slot, origin);

CREATE TABLE schema_version (
  version INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  applied_at TEXT NOT NULL
);
