-- Version 2: several HSS processes on one store, restoration, S-CSCFs' hosts, and what application servers keep.

-- Rises with each change, so that nobody writes over what another process changed after it was read.
ALTER TABLE subscription ADD COLUMN version INTEGER NOT NULL DEFAULT 0;

-- A challenge is open; kept here when several HSS processes share the store (TS 29.228 6.3).
ALTER TABLE private_identity ADD COLUMN pending INTEGER NOT NULL DEFAULT 0;

-- What an S-CSCF needs to serve a registration that it has forgotten (TS 23.380, TS 29.228 6.1.2).
CREATE TABLE restoration (
    subscription INTEGER NOT NULL REFERENCES subscription ON DELETE CASCADE,
    position INTEGER NOT NULL,          -- which registration set
    impi TEXT NOT NULL,
    value BLOB NOT NULL,                -- JSON: contacts with path, Call-ID and CSeq
    PRIMARY KEY (subscription, position, impi)
) WITHOUT ROWID;

-- The S-CSCFs that ever served: the index of their sequence numbers (TS 33.102 C.1.2), their Diameter host.
CREATE TABLE server (
    name TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    host TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;

-- Repository data of application servers (TS 29.328 7.6.1).
CREATE TABLE repository (
    impu TEXT NOT NULL,
    service TEXT NOT NULL,
    subscription INTEGER NOT NULL REFERENCES subscription ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (impu, service)
) WITHOUT ROWID;
CREATE INDEX repository_subscription ON repository (subscription);

-- Application servers that are told of changes (TS 29.328 6.1.3).
CREATE TABLE notification (
    impu TEXT NOT NULL,
    host TEXT NOT NULL,
    reference INTEGER NOT NULL,
    service TEXT NOT NULL DEFAULT '',
    subscription INTEGER NOT NULL REFERENCES subscription ON DELETE CASCADE,
    ends_at INTEGER NOT NULL,           -- seconds since 1970; 0: never
    PRIMARY KEY (impu, host, reference, service)
) WITHOUT ROWID;
CREATE INDEX notification_subscription ON notification (subscription);

-- Subscriptions of an import under way: rows that nobody sees until this table is emptied in one commit.
CREATE TABLE IF NOT EXISTS incoming (number INTEGER PRIMARY KEY);
