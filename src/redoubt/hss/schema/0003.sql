-- Version 3: SQLite gives a removed subscription's number to no other, as PostgreSQL's identity column does: who
-- remembers the former one must not take the new one for it.
CREATE TABLE numbers (last INTEGER NOT NULL);
INSERT INTO numbers (last) SELECT COALESCE(MAX(number), 0) FROM subscription;
