//! Turns the JSON tables of Debian's iso-codes package into JSON Lines: one flat document per line, fields as they
//! are in the source, one field added to subdivisions. It does not fetch anything.

use std::path::Path;
use std::{fs, io};

use serde_json::{Map, Value};

/// One table: where it comes from, where it goes, and what is unique in it.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// File name in the source folder.
    pub source: &'static str,
    /// The key under which the source keeps its list.
    pub list: &'static str,
    /// File name in the target folder.
    pub target: &'static str,
    /// The field that is present and unique in every document.
    pub key: &'static str,
}

/// The tables that are converted.
pub const TABLES: [Table; 4] = [
    Table { source: "iso_3166-1.json", list: "3166-1", target: "countries.jsonl", key: "alpha_2" },
    Table { source: "iso_3166-2.json", list: "3166-2", target: "subdivisions.jsonl", key: "code" },
    Table { source: "iso_639-3.json", list: "639-3", target: "languages.jsonl", key: "alpha_3" },
    Table { source: "iso_4217.json", list: "4217", target: "currencies.jsonl", key: "alpha_3" },
];

/// Converts every table of `source` into `target`; returns file names and how many documents each holds.
pub fn convert_all(source: &Path, target: &Path) -> io::Result<Vec<(&'static str, usize)>> {
    let mut written = Vec::new();
    for table in TABLES {
        let text = fs::read_to_string(source.join(table.source))?;
        let lines = convert(&table, &text)?;
        fs::write(target.join(table.target), &lines)?;
        written.push((table.target, lines.lines().count()));
    }
    Ok(written)
}

/// Converts one table, in the order of the source.
pub fn convert(table: &Table, text: &str) -> io::Result<String> {
    let whole: Value = serde_json::from_str(text)?;
    let list = whole.get(table.list).and_then(Value::as_array);
    let list =
        list.ok_or_else(|| io::Error::other(format!("{} has no list `{}`", table.source, table.list)))?;
    let mut lines = String::new();
    for record in list {
        let fields = record.as_object().filter(|fields| fields.get(table.key).is_some_and(Value::is_string));
        let fields = fields.ok_or_else(|| io::Error::other(format!("no `{}` in {record}", table.key)))?;
        let mut document: Map<String, Value> = fields.clone();
        // A subdivision is coded `<country>-<part>`; the country is the one field that is not in the source.
        if let Some((country, _)) = fields.get("code").and_then(Value::as_str).and_then(|c| c.split_once('-'))
        {
            document.insert("country".to_owned(), country.into());
        }
        lines.push_str(&serde_json::to_string(&document)?);
        lines.push('\n');
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_becomes_one_flat_document_per_line() {
        let text = r#"{"3166-2": [{"code": "AZ-BAB", "name": "Babək", "parent": "NX", "type": "Rayon"}]}"#;
        let lines = convert(&TABLES[1], text).unwrap();
        assert_eq!(
            lines,
            "{\"code\":\"AZ-BAB\",\"country\":\"AZ\",\"name\":\"Babək\",\"parent\":\"NX\",\"type\":\"Rayon\"}\n"
        );
    }

    #[test]
    fn a_source_of_another_shape_is_refused() {
        assert!(convert(&TABLES[0], r#"{"3166-2": []}"#).is_err());
        assert!(convert(&TABLES[0], r#"{"3166-1": [{"name": "no code"}]}"#).is_err());
    }
}
