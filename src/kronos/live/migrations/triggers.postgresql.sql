CREATE OR REPLACE FUNCTION record_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the record is append-only: no row is ever changed or deleted (%)', TG_OP;
END;
$$;

CREATE OR REPLACE FUNCTION record_is_gapless() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.seq IS DISTINCT FROM (SELECT coalesce(max(seq), 0) + 1 FROM record) THEN
    RAISE EXCEPTION 'the record is append-only: rows are numbered without gaps';
  END IF;
  IF EXISTS (SELECT 1 FROM record WHERE series = NEW.series AND slot = NEW.slot AND origin = NEW.origin) THEN
    RAISE EXCEPTION 'the record is append-only: this series has an entry for this origin';
  END IF;
  RETURN NEW;
END;
$$;

DROP TRIGGER IF EXISTS record_change ON record;
CREATE TRIGGER record_change BEFORE DELETE OR UPDATE ON record FOR EACH ROW EXECUTE FUNCTION record_is_append_only();
DROP TRIGGER IF EXISTS record_truncate ON record;
CREATE TRIGGER record_truncate BEFORE TRUNCATE ON record FOR EACH STATEMENT EXECUTE FUNCTION record_is_append_only();
DROP TRIGGER IF EXISTS record_insert ON record;
CREATE TRIGGER record_insert BEFORE INSERT ON record FOR EACH ROW EXECUTE FUNCTION record_is_gapless();

-- Fire for replication roles too: session_replication_role = replica switches ordinary triggers off.
ALTER TABLE record ENABLE ALWAYS TRIGGER record_change;
ALTER TABLE record ENABLE ALWAYS TRIGGER record_truncate;
ALTER TABLE record ENABLE ALWAYS TRIGGER record_insert;

REVOKE UPDATE, DELETE, TRUNCATE ON record FROM PUBLIC;
REVOKE UPDATE, DELETE, TRUNCATE ON record FROM CURRENT_USER;
