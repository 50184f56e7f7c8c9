-- The tables of a shop: foreign keys, unique values, checks, and triggers of its own.
PRAGMA journal_mode = WAL;
CREATE TABLE country(code TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, flag TEXT);
CREATE TABLE region(
    code TEXT PRIMARY KEY,
    country TEXT NOT NULL REFERENCES country(code) ON DELETE CASCADE,
    name TEXT NOT NULL,
    kind TEXT
);
CREATE INDEX region_of_country ON region(country);
CREATE TABLE article(
    id TEXT PRIMARY KEY,
    sku TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    origin TEXT REFERENCES region(code),
    price REAL NOT NULL CHECK(price >= 0),
    stock INTEGER NOT NULL DEFAULT 0,
    changes INTEGER NOT NULL DEFAULT 0
);
CREATE TRIGGER article_changed AFTER UPDATE OF name, price ON article BEGIN
    UPDATE article SET changes = changes + 1 WHERE id = NEW.id;
END;
-- Each shop finds its articles by their words; this is no table under sync.
CREATE VIRTUAL TABLE words USING fts5(sku UNINDEXED, name);
CREATE TRIGGER article_words AFTER INSERT ON article BEGIN
    INSERT INTO words VALUES(NEW.sku, NEW.name);
END;
CREATE TRIGGER article_other_words AFTER UPDATE OF name ON article BEGIN
    UPDATE words SET name = NEW.name WHERE sku = NEW.sku;
END;
CREATE TRIGGER article_no_words AFTER DELETE ON article BEGIN
    DELETE FROM words WHERE sku = OLD.sku;
END;
