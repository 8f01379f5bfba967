DROP TRIGGER IF EXISTS record_update;
CREATE TRIGGER record_update BEFORE UPDATE ON record
BEGIN
  SELECT RAISE(ABORT, 'the record is append-only: no row is ever changed');
END;

DROP TRIGGER IF EXISTS record_delete;
CREATE TRIGGER record_delete BEFORE DELETE ON record
BEGIN
  SELECT RAISE(ABORT, 'the record is append-only: no row is ever deleted');
END;

-- REPLACE deletes without firing the trigger above where recursive_triggers is off, which it is for other clients.
DROP TRIGGER IF EXISTS record_insert;
CREATE TRIGGER record_insert BEFORE INSERT ON record
BEGIN
  SELECT RAISE(ABORT, 'the record is append-only: rows are numbered without gaps')
  WHERE NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM record);
  SELECT RAISE(ABORT, 'the record is append-only: this series has an entry for this origin')
  WHERE EXISTS (SELECT 1 FROM record WHERE series = NEW.series AND slot = NEW.slot AND origin = NEW.origin);
END;
