//! The documents of the demo: a file, or the table in the source tree, or made-up places.
//!
//! The table is read when the demo runs and is never built into the program: it has another licence.

use std::env;
use std::path::{Path, PathBuf};

use driftless::{DocumentId, Map, Value};

use super::edits::EDITS;
use crate::args::Format;
use crate::failure::Failure;
use crate::import::{self, Rows};
use crate::terminal::Terminal;

/// The field whose value is the id.
pub(super) const KEY: &str = "code";

// The table of the source tree, from its top.
const TABLE: &str = "examples/data/subdivisions.jsonl";
const MADE_UP: usize = 5_000;

/// The rows, and what they are, in words.
pub(super) fn rows(file: Option<&Path>) -> Result<(Vec<Map>, String), Failure> {
    match (file, in_source_tree()) {
        (Some(file), _) => {
            let name = file.display().to_string();
            Ok((read(file)?, crate::output::escape(&name).into_owned()))
        }
        (None, Some(file)) => {
            Ok((read(&file)?, "the subdivisions of the world's countries (ISO 3166-2)".to_owned()))
        }
        (None, None) => Ok((made_up(), "places that nobody has been to".to_owned())),
    }
}

/// The id that a row gives its document.
pub(super) fn id_of(row: &Map) -> Result<DocumentId, Failure> {
    import::id_of(row, KEY).map_err(|error| not_a_table(&error))
}

fn not_a_table(reason: &str) -> Failure {
    let hint = format!("the demo takes JSON Lines: {EDITS} objects or more, each with its own `{KEY}`");
    Failure::invalid("invalid_table", reason, hint)
}

/// The table in a folder above this one or above the program.
fn in_source_tree() -> Option<PathBuf> {
    let places = [env::current_dir().ok(), env::current_exe().ok()];
    let mut folders = places.iter().flatten().flat_map(|place| place.ancestors());
    folders.find_map(|folder| Some(folder.join(TABLE)).filter(|file| file.is_file()))
}

fn read(file: &Path) -> Result<Vec<Map>, Failure> {
    let (source, _) = import::open(&mut Terminal::own().input, file)?;
    let mut rows = Rows::new(source, Format::Jsonl, file)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let fields = row.fields.map_err(|error| not_a_table(&format!("line {}: {error}", row.line)))?;
        id_of(&fields)?;
        all.push(fields);
    }
    if all.len() < EDITS {
        return Err(not_a_table(&format!("{} holds {} documents", file.display(), all.len())));
    }
    Ok(all)
}

fn made_up() -> Vec<Map> {
    const SYLLABLES: [&str; 20] = [
        "ba", "cor", "den", "el", "fi", "gal", "hem", "is", "jo", "kel", "lun", "mar", "nor", "ol", "pen",
        "quo", "ri", "sul", "tam", "ver",
    ];
    const KINDS: [&str; 4] = ["Province", "Region", "City", "Island"];
    let syllable = |at: usize| SYLLABLES.get(at % SYLLABLES.len()).copied().unwrap_or_default();
    let place = |number: usize| {
        let name = [syllable(number), syllable(number / 20), syllable(number / 400 + 7)].concat();
        let country = format!("x{}", syllable(number / 400)).to_uppercase();
        let code = format!("{country}-{number:04}");
        let kind = KINDS.get(number % KINDS.len()).copied().unwrap_or_default();
        let fields = [(KEY, code.as_str()), ("country", &country), ("name", &name), ("type", kind)];
        fields.into_iter().map(|(key, value)| (key, Value::from(value))).collect()
    };
    (0..MADE_UP).map(place).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn made_up_places_have_ids_of_their_own() {
        let rows = made_up();
        let ids: BTreeSet<DocumentId> = rows.iter().map(|row| id_of(row).unwrap()).collect();
        assert_eq!(ids.len(), MADE_UP);
    }
}
