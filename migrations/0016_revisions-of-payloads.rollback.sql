DROP INDEX payloads_revision;
