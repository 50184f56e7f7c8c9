-- The tables of an atlas: keys of every kind, foreign keys (also of two columns, and of a table to itself), unique values,
-- checks, and triggers of its own.
PRAGMA journal_mode = WAL;
CREATE TABLE country(
    code TEXT PRIMARY KEY CHECK(length(code) = 2),
    long_code TEXT NOT NULL UNIQUE,
    number INTEGER NOT NULL UNIQUE,
    name TEXT NOT NULL COLLATE NOCASE UNIQUE,
    official TEXT,
    flag TEXT
);
CREATE TABLE subdivision(
    code TEXT PRIMARY KEY,
    country TEXT NOT NULL REFERENCES country(code) ON UPDATE CASCADE ON DELETE CASCADE,
    parent TEXT REFERENCES subdivision(code) ON DELETE SET NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    -- Of no type: what is stored keeps its own.
    note
);
CREATE INDEX subdivision_of_country ON subdivision(country);
CREATE INDEX subdivision_of_parent ON subdivision(parent);
CREATE TABLE currency(
    code TEXT PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    name TEXT NOT NULL,
    rate REAL CHECK(rate > 0)
) STRICT;
CREATE TABLE language(
    code TEXT PRIMARY KEY,
    short TEXT UNIQUE,
    name TEXT NOT NULL,
    scope TEXT NOT NULL CHECK(scope IN ('I', 'M', 'S')),
    kind TEXT NOT NULL CHECK(kind IN ('A', 'C', 'E', 'H', 'L', 'S'))
) WITHOUT ROWID;
-- Which money is used where.
CREATE TABLE money(
    country TEXT REFERENCES country(code) ON UPDATE CASCADE ON DELETE CASCADE,
    currency TEXT REFERENCES currency(code),
    since INTEGER,
    PRIMARY KEY(country, currency)
);
-- What its users write themselves.
CREATE TABLE visit(
    id INTEGER PRIMARY KEY,
    place TEXT NOT NULL REFERENCES subdivision(code),
    country TEXT,
    currency TEXT,
    language TEXT REFERENCES language(code),
    spent REAL NOT NULL DEFAULT 0 CHECK(spent >= 0),
    photo BLOB,
    visits INTEGER NOT NULL DEFAULT 0,
    edits INTEGER NOT NULL DEFAULT 0,
    FOREIGN KEY(country, currency) REFERENCES money(country, currency),
    UNIQUE(place, language)
);
-- A count that a trigger keeps in a row that is under sync itself.
CREATE TRIGGER visit_changed AFTER UPDATE OF spent, photo ON visit BEGIN
    UPDATE visit SET edits = edits + 1 WHERE id = NEW.id;
END;
-- A trigger that refuses.
CREATE TRIGGER visit_of_nowhere BEFORE INSERT ON visit WHEN NEW.place LIKE 'AQ-%' BEGIN
    SELECT raise(ABORT, 'nobody goes to Antarctica');
END;
-- A search index and a log, which are not under sync: each device keeps its own.
CREATE VIRTUAL TABLE search USING fts5(code UNINDEXED, name);
CREATE TRIGGER subdivision_found AFTER INSERT ON subdivision BEGIN
    INSERT INTO search VALUES(NEW.code, NEW.name);
END;
CREATE TRIGGER subdivision_renamed AFTER UPDATE OF name ON subdivision BEGIN
    UPDATE search SET name = NEW.name WHERE code = NEW.code;
END;
CREATE TRIGGER subdivision_lost AFTER DELETE ON subdivision BEGIN
    DELETE FROM search WHERE code = OLD.code;
END;
CREATE TABLE log(what TEXT, code TEXT);
CREATE TRIGGER country_lost AFTER DELETE ON country BEGIN
    INSERT INTO log VALUES('lost', OLD.code);
END;
