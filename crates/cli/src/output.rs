//! Printing: results to standard output, everything else to standard error; plain text, aligned tables, or JSON lines.
//!
//! Names and strings come from other people. What could move a cursor, change a colour or turn the reading direction
//! of a terminal is printed as an escape.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};

use driftless::{Bootstrap, Document, DocumentId, Permission, Subject};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde::Serialize;

pub(crate) use driftless::utc as time_text;

use crate::args::Global;
use crate::failure::Failure;
use crate::terminal::Looks;

/// Where a command prints.
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
    stdout: BufWriter<Box<dyn Write + Send>>,
    stderr: Box<dyn Write + Send>,
    looks: Looks,
}

/// Rows under a heading, each column as wide as its widest cell.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    numbers: Vec<bool>,
}

impl Output {
    pub(crate) fn new(
        global: &Global,
        stdout: Box<dyn Write + Send>,
        stderr: Box<dyn Write + Send>,
        looks: Looks,
    ) -> Self {
        let Global { json, quiet, verbose, .. } = *global;
        Self { json, quiet, verbose: verbose > 0, stdout: BufWriter::new(stdout), stderr, looks }
    }

    /// One line for people. What others wrote must have gone through `escape`.
    pub(crate) fn text(&mut self, line: impl AsRef<str>) -> Result<(), Failure> {
        Ok(writeln!(self.stdout, "{}", line.as_ref())?)
    }

    /// One line of JSON.
    pub(crate) fn record(&mut self, line: &impl Serialize) -> Result<(), Failure> {
        let json = serde_json::to_string(line).map_err(io::Error::from)?;
        self.text(escape_json(&json))
    }

    /// One document on one line.
    pub(crate) fn document(&mut self, document: &Document) -> Result<(), Failure> {
        self.text(escape_json(&document.to_json()))
    }

    /// `label   value` lines, the values under each other.
    pub(crate) fn labels(&mut self, lines: &[(&str, String)]) -> Result<(), Failure> {
        let width = lines.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
        for (label, value) in lines {
            self.text(format!("{}  {value}", self.faint(&format!("{label:width$}"))))?;
        }
        Ok(())
    }

    /// A table; nothing at all if it has no rows.
    pub(crate) fn table(&mut self, table: &Table) -> Result<(), Failure> {
        for (at, line) in table.lines().into_iter().enumerate() {
            if at == 0 {
                let heading = self.faint(&line).into_owned();
                self.text(heading)?;
            } else {
                self.text(line)?;
            }
        }
        Ok(())
    }

    /// A line for people on standard error; not with `--quiet`.
    pub(crate) fn note(&mut self, line: impl AsRef<str>) {
        if !self.quiet {
            let _ = self.stdout.flush();
            let _ = writeln!(self.stderr, "{}", line.as_ref());
            let _ = self.stderr.flush();
        }
    }

    /// A line for the curious on standard error; only with `-v`.
    pub(crate) fn detail(&mut self, line: impl AsRef<str>) {
        if self.verbose {
            self.note(line);
        }
    }

    /// Bytes as they are, for output that is a file.
    pub(crate) fn raw(&mut self) -> &mut impl Write {
        &mut self.stdout
    }

    /// Hands over what was printed: before waiting, and at the end.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.stdout.flush()?)
    }

    /// Whether a person waits who would like to see how far long work is.
    pub(crate) fn shows_progress(&self) -> bool {
        !self.quiet && !self.json && self.looks.notes
    }

    /// Whether somebody is there to answer a question.
    pub(crate) fn can_ask(&self) -> bool {
        self.looks.asks && self.looks.notes
    }

    /// Prints why the command failed.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        print_failure(&mut self.stderr, self.looks, failure, self.json);
    }

    /// Less visible than the rest, where there are colours.
    pub(crate) fn faint<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.painted("2", text)
    }

    /// More visible than the rest, where there are colours.
    pub(crate) fn bold<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.painted("1", text)
    }

    /// A text for a camera, two rows of squares per line; `None` if it is too long.
    pub(crate) fn qr_code(&self, text: &str) -> Option<String> {
        let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
        let mut code = code.render::<Dense1x2>();
        if self.json || !self.looks.shows || !self.looks.colours {
            // Most terminals are dark, and cameras read the negative as well.
            return Some(code.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build());
        }
        // Black on white, whatever the colours of the terminal are.
        let lines = code.build();
        Some(lines.lines().map(|line| format!("\x1b[30;107m{line}\x1b[0m")).collect::<Vec<_>>().join("\n"))
    }

    fn painted<'t>(&self, colour: &str, text: &'t str) -> Cow<'t, str> {
        let colours = !self.json && self.looks.shows && self.looks.colours;
        if colours { format!("\x1b[{colour}m{text}\x1b[0m").into() } else { text.into() }
    }
}

impl Table {
    /// A heading that begins with `#` is of a column of numbers, which stand to the right.
    pub(crate) fn new(headings: &[&str]) -> Self {
        let numbers = headings.iter().map(|heading| heading.starts_with('#')).collect();
        let headings = headings.iter().map(|heading| heading.trim_start_matches('#').to_owned());
        Self { rows: vec![headings.collect()], numbers }
    }

    /// Cells that others wrote must have gone through `escape`.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    fn lines(&self) -> Vec<String> {
        if self.is_empty() {
            return Vec::new();
        }
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.numbers.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let mut line = String::new();
            for ((cell, width), number) in row.iter().zip(&widths).zip(&self.numbers) {
                // Writing to a string cannot fail.
                let _ = match number {
                    true => write!(line, "{cell:>width$}  "),
                    false => write!(line, "{cell:width$}  "),
                };
            }
            line.trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

/// Prints why a command failed, as text or as JSON, to standard error.
pub(crate) fn print_failure(stderr: &mut dyn Write, looks: Looks, failure: &Failure, json: bool) {
    // Nobody is left to hear that this cannot be written.
    let _ = if json {
        writeln!(stderr, "{}", escape_json(&failure.to_json()))
    } else {
        let (on, off) = if looks.notes && looks.colours { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        let hint = if failure.hint.is_empty() {
            String::new()
        } else {
            format!("\nhint: {}", escape(&failure.hint))
        };
        // The message tells of the first.
        let more = failure.errors.iter().skip(1);
        let more: String = more.map(|error| format!("\n  {}", escape(&error.text()))).collect();
        writeln!(stderr, "{on}error:{off} {}{more}{hint}", escape(&failure.message))
    };
}

/// Characters that act on a terminal instead of being shown: controls, and those that turn the direction of text.
fn acts(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text from others as it may stand on a terminal, on one line.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    escaped(text, |character, out| out.extend(character.escape_default()))
}

/// The same JSON with everything that acts on a terminal as `\u....`.
pub(crate) fn escape_json(json: &str) -> Cow<'_, str> {
    // In one line of JSON these stand in strings only, and all of them are one UTF-16 unit.
    escaped(json, |character, out| {
        // Writing to a string cannot fail.
        let _ = write!(out, "\\u{:04x}", u32::from(character));
    })
}

fn escaped(text: &str, write: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(acts) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if acts(character) { write(character, &mut out) } else { out.push(character) }
    }
    out.into()
}

/// An id as a word that the command line reads back: without quotes where it can do without.
pub(crate) fn id_text(id: &DocumentId) -> String {
    let quoted = id.to_string();
    let json = serde_json::from_str::<String>(&quoted);
    match json {
        Ok(word) if !word.contains(acts) && DocumentId::parse_text(&word).as_ref() == Ok(id) => word,
        _ => escape_json(&quoted).into_owned(),
    }
}

/// `read`, `write:5`: as `grant` reads it.
pub(crate) fn permission_text(permission: Permission) -> String {
    permission.to_string()
}

/// As `policy` reads it.
pub(crate) fn bootstrap_text(policy: Bootstrap) -> String {
    match policy {
        Bootstrap::Reject => "reject".to_owned(),
        Bootstrap::Queue => "queue".to_owned(),
        Bootstrap::Approve(most) => format!("approve:{}", permission_text(most)),
    }
}

/// An author id, `*` or a space id: as `grant` reads it.
pub(crate) fn subject_text(subject: &Subject) -> String {
    subject.to_string()
}

/// `5127` as `5,127`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 commit`, `5,127 commits`.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// `312 KiB`.
pub(crate) fn size_text(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) if bytes < unit * 10 => {
            format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit)
        }
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_escaped() {
        assert_eq!(escape("\x1b[31mred\n"), "\\u{1b}[31mred\\n");
        assert_eq!(escape("Ä 🇦🇼 plain"), "Ä 🇦🇼 plain");
        assert_eq!(escape_json("\"\u{9b}31m\u{202e}\""), "\"\\u009b31m\\u202e\"");
        let json = serde_json::to_string("\u{7f}\u{85}\u{2028}é").unwrap();
        assert_eq!(serde_json::from_str::<String>(&escape_json(&json)).unwrap(), "\u{7f}\u{85}\u{2028}é");
    }

    #[test]
    fn tables_are_aligned_and_an_empty_one_is_nothing() {
        let mut table = Table::new(&["NAME", "#COUNT"]);
        assert!(table.lines().is_empty());
        table.row(["é".into(), "1,000".into()]);
        table.row(["world".into(), "7".into()]);
        assert_eq!(table.lines(), ["NAME   COUNT", "é      1,000", "world      7"]);
    }

    #[test]
    fn ids_are_words_that_the_command_line_reads_back() {
        for (id, text) in [
            (DocumentId::from(42), "42"),
            (DocumentId::string("FI-18").unwrap(), "FI-18"),
            (DocumentId::string("42").unwrap(), "\"42\""),
            (DocumentId::string("null").unwrap(), "\"null\""),
            (DocumentId::string("\u{9b}").unwrap(), "\"\\u009b\""),
            (DocumentId::list(vec![DocumentId::from(1), DocumentId::from(2)]).unwrap(), "[1,2]"),
        ] {
            assert_eq!(id_text(&id), text);
            assert_eq!(DocumentId::parse_text(text).unwrap(), id);
        }
        let random = DocumentId::random([7; 16]);
        assert_eq!(DocumentId::parse_text(&id_text(&random)).unwrap(), random);
    }

    #[test]
    fn numbers_sizes_and_times_read_well() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(counted(1, "commit"), "1 commit");
        assert_eq!(size_text(1023), "1023 B");
        assert_eq!(size_text(1536), "1.5 KiB");
        assert_eq!(size_text(512 * 1024), "512 KiB");
        assert_eq!(time_text(0), "1970-01-01 00:00:00");
        assert_eq!(time_text(951_782_400_000), "2000-02-29 00:00:00");
        assert_eq!(time_text(1_795_231_423_999), "2026-11-21 03:23:43");
    }
}
