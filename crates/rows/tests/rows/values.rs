//! Every value that SQLite stores comes out on the other side as it was, over random schemas; a part of it by default,
//! the million with `just rows`.

use rusqlite::types::Value;

use crate::shop::{Shop, carry, shops};

// A generator that is the same everywhere (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    fn one<'o, T: ?Sized>(&mut self, of: &[&'o T]) -> &'o T {
        of[self.below(of.len() as u64) as usize]
    }

    // What to write, and what to bind; text that is no UTF-8 only SQL can make.
    fn value(&mut self) -> (&'static str, Value) {
        let text = |text: &str| ("?", Value::Text(text.to_owned()));
        match self.below(24) {
            0 => ("?", Value::Null),
            1 => ("?", Value::Real(f64::NAN)),
            2 => ("?", Value::Real(f64::INFINITY)),
            3 => ("?", Value::Real(f64::NEG_INFINITY)),
            4 => ("?", Value::Real(-0.0)),
            5 => ("?", Value::Integer((1 << 53) + 1)),
            6 => ("?", Value::Real(9_007_199_254_740_993.0)),
            7 => ("?", Value::Integer(i64::MAX)),
            8 => ("?", Value::Integer(i64::MIN)),
            9 => text("nul\0inside"),
            10 => text(""),
            11 => ("?", Value::Blob(Vec::new())),
            12 => ("CAST(? AS TEXT)", Value::Blob(vec![0xff, 0x80, b'a', 0])),
            13 => text("12"),
            14 => text("1e3"),
            15 => text(" 5 "),
            16 => text("9223372036854775808"),
            17 => text("~aaaaaaaaaaaaaaaaaaaaaaaaaa"),
            18 => text("Ünïcödé ✓ e\u{301}"),
            19 => ("?", Value::Blob(self.roll().to_le_bytes().to_vec())),
            20 => ("?", Value::Real(f64::from_bits(self.roll()))),
            21 => ("?", Value::Real(self.below(1000) as f64)),
            22 => ("?", Value::Text("long ".repeat(self.below(60) as usize))),
            _ => ("?", Value::Integer(self.roll() as i64)),
        }
    }
}

struct Random {
    schema: String,
    columns: Vec<String>,
    keys: usize,
    kind: u64,
}

impl Random {
    fn new(dice: &mut Dice) -> Self {
        let types = [
            "",
            "INT",
            "INTEGER",
            "TEXT",
            "VARCHAR(9)",
            "BLOB",
            "REAL",
            "DOUBLE",
            "NUMERIC",
            "DECIMAL(4,2)",
            "BOOLEAN",
            "DATE",
        ];
        let strict = dice.below(5) == 0;
        let types: &[&str] = if strict { &["INT", "INTEGER", "TEXT", "BLOB", "REAL", "ANY"] } else { &types };
        let keys = 1 + dice.below(3) as usize;
        let kind = dice.below(3);
        let mut columns: Vec<String> = (0..keys).map(|n| format!("key {n}")).collect();
        let names = ["_under", "$dollar", ":colon", "quo\"te", "select", "Größe", "a.b", "", "x y"];
        columns.extend(
            (0..1 + dice.below(6) as usize)
                .map(|n| format!("{}{}", dice.one(&names), ["", "1", "2", "3", "4", "5", "6"][n])),
        );
        let key_type = ["INTEGER", "TEXT", "BLOB"][kind as usize];
        let mut lines: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let kind =
                    if at < keys { format!("{key_type} NOT NULL") } else { dice.one(types).to_owned() };
                format!("\"{}\" {kind}", name.replace('"', "\"\""))
            })
            .collect();
        let names: Vec<String> = (0..keys).map(|n| format!("\"key {n}\"")).collect();
        lines.push(format!("PRIMARY KEY({})", names.join(", ")));
        let without = dice.below(3) == 0;
        let options: Vec<&str> = [("WITHOUT ROWID", without), ("STRICT", strict)]
            .iter()
            .filter(|(_, on)| *on)
            .map(|(word, _)| *word)
            .collect();
        let schema = format!("CREATE TABLE \"the table\"({}) {};", lines.join(", "), options.join(", "));
        Self { schema, columns, keys, kind }
    }

    fn key(&self, dice: &mut Dice, range: u64) -> Value {
        let n = dice.below(range);
        match (self.kind, n) {
            (0, 0) => Value::Integer(i64::MIN),
            (0, 1) => Value::Integer(i64::MAX),
            (0, n) => Value::Integer(n as i64 - 5),
            (1, 0) => Value::Text(String::new()),
            (1, n) if n % 7 == 0 => Value::Text(format!("{n}\0")),
            (1, n) => Value::Text(n.to_string()),
            (_, 0) => Value::Blob(Vec::new()),
            (_, n) if n % 3 == 0 => Value::Blob([n.to_le_bytes(), n.to_be_bytes()].concat()),
            (_, n) => Value::Blob(n.to_le_bytes().to_vec()),
        }
    }

    // Inserts, changes or deletes one row; what the schema refuses does not happen.
    fn write(&self, shop: &Shop, dice: &mut Dice, range: u64) {
        let quoted: Vec<String> =
            self.columns.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
        let mut bound: Vec<Value> = (0..self.keys).map(|_| self.key(dice, range)).collect();
        let matches: Vec<String> = quoted[..self.keys].iter().map(|name| format!("{name} = ?")).collect();
        let sql = match dice.below(8) {
            0 => format!("DELETE FROM \"the table\" WHERE {}", matches.join(" AND ")),
            1 | 2 => {
                let at = self.keys + dice.below((self.columns.len() - self.keys) as u64) as usize;
                let (how, value) = dice.value();
                bound.insert(0, value);
                format!("UPDATE \"the table\" SET {} = {how} WHERE {}", quoted[at], matches.join(" AND "))
            }
            _ => {
                let mut how = vec!["?"; self.keys];
                for _ in self.keys..self.columns.len() {
                    let (one, value) = dice.value();
                    how.push(one);
                    bound.push(value);
                }
                format!(
                    "INSERT OR REPLACE INTO \"the table\"({}) VALUES({})",
                    quoted.join(", "),
                    how.join(", ")
                )
            }
        };
        let mut statement = shop.app.prepare_cached(&sql).unwrap();
        match statement.execute(rusqlite::params_from_iter(bound)) {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::ConstraintViolation), "{sql}")
            }
        }
    }
}

#[test]
fn every_value_of_random_rows_over_random_schemas_survives() {
    let full = std::env::var_os("DRIFTLESS_ROWS").is_some();
    let (schemas, rows) = if full { (500, 2000) } else { (12, 120) };
    let (mut there, mut refused) = (0, 0);
    for seed in 0..schemas {
        let mut dice = Dice(seed);
        let random = Random::new(&mut dice);
        let mut all = shops(2, &random.schema);
        for round in 0..3 {
            for shop in &all {
                shop.sql("BEGIN");
                for _ in 0..rows / 6 {
                    random.write(shop, &mut dice, rows);
                }
                shop.sql("COMMIT");
            }
            for _ in 0..2 {
                for shop in &mut all {
                    shop.sync();
                }
                carry(&all.iter().collect::<Vec<_>>());
            }
            for shop in &mut all {
                shop.sync();
                refused += shop.rows().refused().unwrap().len();
            }
            let dumps: Vec<_> = all.iter().map(Shop::dump).collect();
            assert_eq!(dumps[0], dumps[1], "seed {seed}, round {round}: {}", random.schema);
            there += dumps[0].len();
        }
        for shop in &mut all {
            assert_eq!(shop.rows().audit().unwrap(), 0, "seed {seed}: {}", random.schema);
        }
    }
    eprintln!("{there} rows were the same, {refused} refused at the writer");
    assert!(there > 0 && refused == 0);
}
