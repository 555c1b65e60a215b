-- What role audit_capture notes of a writing transaction, in short: the context as it was when the row changed.
CREATE TABLE thing (id serial PRIMARY KEY, name text, witness text, tag text, tx text);
CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.witness := nullif(current_setting('audit.ctx', true), '');
  NEW.tag := current_setting('application_name');
  NEW.tx := txid_current();
  RETURN NEW;
END $$;
CREATE TRIGGER witness BEFORE INSERT OR UPDATE ON thing FOR EACH ROW EXECUTE FUNCTION witness();
