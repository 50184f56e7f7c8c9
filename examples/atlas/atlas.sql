-- What is in the atlas at first, out of the tables of examples/data beside it, for the tables of tables.sql.
PRAGMA foreign_keys = ON;
BEGIN;
WITH lines(line) AS (
    SELECT value FROM json_each(
        '[' || replace(rtrim(CAST(readfile('countries.jsonl') AS TEXT), char(10)), char(10), ',') || ']'
    )
)
INSERT INTO country SELECT line ->> 'alpha_2', line ->> 'alpha_3', line ->> 'numeric', line ->> 'name',
    line ->> 'official_name', line ->> 'flag' FROM lines;
WITH lines(line) AS (
    SELECT value FROM json_each(
        '[' || replace(rtrim(CAST(readfile('subdivisions.jsonl') AS TEXT), char(10)), char(10), ',') || ']'
    )
)
INSERT INTO subdivision SELECT line ->> 'code', line ->> 'country', NULL, line ->> 'name', line ->> 'type', NULL FROM lines
    WHERE line ->> 'country' IN (SELECT code FROM country);
WITH lines(line) AS (
    SELECT value FROM json_each(
        '[' || replace(rtrim(CAST(readfile('subdivisions.jsonl') AS TEXT), char(10)), char(10), ',') || ']'
    )
), parents(code, parent) AS (
    -- The source has the whole code of a parent, or only the part after the hyphen.
    SELECT line ->> 'code',
        iif(instr(line ->> 'parent', '-'), line ->> 'parent', (line ->> 'country') || '-' || (line ->> 'parent')) FROM lines
        WHERE line ->> 'parent' IS NOT NULL
)
UPDATE subdivision SET parent = parents.parent FROM parents WHERE parents.code = subdivision.code;
WITH lines(line) AS (
    SELECT value FROM json_each(
        '[' || replace(rtrim(CAST(readfile('currencies.jsonl') AS TEXT), char(10)), char(10), ',') || ']'
    )
)
INSERT INTO currency SELECT line ->> 'alpha_3', CAST(line ->> 'numeric' AS INTEGER), line ->> 'name', NULL FROM lines;
-- The languages that have a short code, and those that nobody speaks any more or that somebody made.
WITH lines(line) AS (
    SELECT value FROM json_each(
        '[' || replace(rtrim(CAST(readfile('languages.jsonl') AS TEXT), char(10)), char(10), ',') || ']'
    )
)
INSERT INTO language SELECT line ->> 'alpha_3', line ->> 'alpha_2', line ->> 'name', line ->> 'scope', line ->> 'type'
    FROM lines WHERE line ->> 'alpha_2' IS NOT NULL OR line ->> 'type' IN ('A', 'C', 'H');
-- The code of a currency begins with that of its country; the euro is the money of many.
INSERT INTO money SELECT country.code, currency.code, NULL FROM currency
    JOIN country ON country.code = substr(currency.code, 1, 2);
INSERT INTO money SELECT value, 'EUR', 1999 FROM json_each('["AT", "BE", "FI", "FR", "DE", "IE", "IT", "LU", "NL", "PT", "ES"]');
INSERT INTO visit(id, place, country, currency, language, spent, photo) VALUES
    (1, 'FI-18', 'FI', 'EUR', 'fin', 120.5, x'89504e470d0a1a0a'),
    (2, 'AT-9', 'AT', 'EUR', 'deu', 80, NULL),
    (3, 'JP-13', 'JP', 'JPY', 'jpn', 9000, x''),
    (4, 'SI-061', NULL, NULL, 'slv', 0, NULL);
COMMIT;
