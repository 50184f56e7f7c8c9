-- A catalogue out of the tables of countries and regions beside it (examples/data), for the tables of tables.sql.
BEGIN;
WITH lines(line) AS (
    SELECT value FROM json_each(
        '[' || replace(rtrim(CAST(readfile('countries.jsonl') AS TEXT), char(10)), char(10), ',') || ']'
    )
)
INSERT INTO country SELECT line ->> 'alpha_2', line ->> 'name', line ->> 'flag' FROM lines;
WITH lines(line) AS (
    SELECT value FROM json_each(
        '[' || replace(rtrim(CAST(readfile('subdivisions.jsonl') AS TEXT), char(10)), char(10), ',') || ']'
    )
)
INSERT INTO region SELECT line ->> 'code', line ->> 'country', line ->> 'name', line ->> 'type' FROM lines
    WHERE line ->> 'country' IN (SELECT code FROM country);
INSERT INTO article(id, sku, name, origin, price, stock) VALUES
    ('tea', 'TEA', 'Black tea', 'LK-1', 2.4, 100),
    ('oil', 'OIL', 'Olive oil', 'GR-M', 9.9, 20),
    ('honey', 'HON', 'Honey', 'SI-001', 6.5, 15);
COMMIT;
