-- The body comes last: SQLite reads a row from its start, and most questions are answered by the columns before it.
CREATE TABLE record (
  seq INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  series TEXT NOT NULL,
  origin TEXT NOT NULL,
  slot TEXT NOT NULL,
  hash TEXT NOT NULL CHECK (typeof(hash) = 'text' AND length(hash) = 64),
  body TEXT NOT NULL CHECK (typeof(body) = 'text')
);

CREATE UNIQUE INDEX record_key ON record (series, slot, origin);

CREATE TABLE schema_version (
  version INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  applied_at TEXT NOT NULL
);
