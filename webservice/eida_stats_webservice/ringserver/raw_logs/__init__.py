"""Raw transfer logs of ringservers: each record is stored once, and counts in the payload of its day."""
