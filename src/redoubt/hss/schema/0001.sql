-- Version 1: the HSS's store. Written for SQLite; PostgreSQL gets its own words for types (migrations.py).
CREATE TABLE property (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

-- One IMS subscription: what was provisioned, and where it is registered (TS 23.008 3.1, TS 29.228 6.1.2).
CREATE TABLE subscription (
    number INTEGER PRIMARY KEY,
    provisioned BLOB NOT NULL,          -- JSON: registration sets, visited networks, capabilities
    server_name TEXT NOT NULL DEFAULT '',
    candidate TEXT NOT NULL DEFAULT '', -- an S-CSCF that challenges while another is assigned
    sets BLOB NOT NULL DEFAULT '[]'     -- JSON: state and registered private identities of each set
);

CREATE TABLE private_identity (
    impi TEXT PRIMARY KEY,
    subscription INTEGER NOT NULL REFERENCES subscription ON DELETE CASCADE,
    position INTEGER NOT NULL,
    algorithm TEXT NOT NULL,
    amf BLOB NOT NULL,
    sealed BLOB NOT NULL,               -- nonce and AES-GCM of K and OPc
    reserved_seq INTEGER NOT NULL       -- every SEQ up to here may be in use (TS 33.102 C.1.1)
) WITHOUT ROWID;
CREATE INDEX private_identity_subscription ON private_identity (subscription);

CREATE TABLE public_identity (
    impu TEXT PRIMARY KEY,
    subscription INTEGER NOT NULL REFERENCES subscription ON DELETE CASCADE,
    position INTEGER NOT NULL,          -- which registration set
    wildcard TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE INDEX public_identity_subscription ON public_identity (subscription);
CREATE INDEX public_identity_wildcard ON public_identity (wildcard) WHERE wildcard <> '';
