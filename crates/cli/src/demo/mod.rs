//! The demo: two databases with the same documents are edited apart, on the same fields, and brought together by
//! bundles; a third reads the same bundles in the other order. It fails if the three do not come to the same digest.

mod edits;
mod person;
mod table;

use std::fs;
use std::path::Path;
use std::time::Instant;

use driftless::{DocumentId, Map, Permission, Strength, Subject, Value};
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::output::{Output, counted, escape, escape_json, id_text, size_text, time_text};
use edits::{EDITS, Wrote};
use person::{Carried, Person};

/// What `--json` prints.
#[derive(Serialize)]
struct Story {
    ok: bool,
    documents: u64,
    nodes: Vec<Node>,
    bundles: Vec<Carried>,
    conflict: Conflict,
    steps: Vec<Step>,
    seconds: f64,
}

#[derive(Serialize, PartialEq)]
struct Node {
    name: &'static str,
    /// Null where the folder is gone by now.
    dir: Option<String>,
    documents: u64,
    commits: u64,
    digest: String,
}

/// A field that both wrote while they were apart.
#[derive(Serialize)]
struct Conflict {
    id: DocumentId,
    field: &'static str,
    ann: Option<Value>,
    ben: Option<Value>,
    winner: Option<Value>,
    /// What became of a counter that both raised by one.
    visits: Option<Value>,
}

#[derive(Serialize)]
struct Step {
    step: &'static str,
    seconds: f64,
}

/// Plays the demo with the rows of a file, or of the usual table, or made-up ones.
pub(crate) fn run(output: &mut Output, file: Option<&Path>, keep: Option<&Path>) -> Result<(), Failure> {
    let (rows, source) = table::rows(file)?;
    let temporary = match keep {
        Some(folder) => {
            fs::create_dir_all(folder).map_err(|error| Failure::file(folder, &error))?;
            None
        }
        None => {
            let temporary = tempfile::Builder::new().prefix("driftless-demo-").tempdir();
            Some(temporary.map_err(|error| Failure::file(&std::env::temp_dir(), &error))?)
        }
    };
    let folder = keep.or(temporary.as_ref().map(|folder| folder.path())).unwrap_or(Path::new("."));
    let begun = Instant::now();
    let mut teller = Teller { output, steps: Vec::new(), begun };
    let story = play(&mut teller, &rows, &source, folder, keep.is_some())?;
    let seconds = begun.elapsed().as_secs_f64();
    teller.ending(&story, seconds, keep)?;
    let ok = story.ok;
    let story = Story { steps: teller.steps, seconds, ..story };
    if output.json {
        output.record(&story)?;
    }
    if ok {
        return Ok(());
    }
    let hint = "this is a defect; run it again with `--keep DIR` and report it with that folder";
    Err(Failure::new(Exit::Failed, "digests_differ", "the three databases differ", hint))
}

fn play(
    teller: &mut Teller<'_>,
    rows: &[Map],
    source: &str,
    folder: &Path,
    kept: bool,
) -> Result<Story, Failure> {
    // All three first: where one is there already, the story must not begin.
    let mut ann = Person::new("Ann", folder)?;
    let mut ben = Person::new("Ben", folder)?;
    let mut cleo = Person::new("Cleo", folder)?;
    teller.heading("Two databases, edited apart, brought together")?;

    teller.begin("import", &format!("Ann imports {source}."))?;
    ann.import(rows)?;
    let documents = ann.digest()?.documents;
    let disk = size_text(ann.database().bytes_on_disk()?);
    teller.done(&format!("{}, {disk} on disk", counted(documents, "document")))?;

    teller.begin("bootstrap", "Ann lets Ben write, and gives him the space as a bundle.")?;
    let writer = Permission::Write(Strength(100));
    ann.space()?.grant(Subject::Key(ben.database().author()?), writer)?;
    let first = ben.read(&ann.bundle("first")?)?;
    teller.carried(&first)?;
    teller.done(&format!("Ben has {}", counted(ben.digest()?.documents, "document")))?;

    let sentence = format!("Both go offline and make {EDITS} changes each, mostly to the same fields.");
    teller.begin("edit", &sentence)?;
    let apart = edits::make(&ann, &ben, rows)?;
    teller.done(&format!("digests {} and {}", short(&ann.digest()?.view), short(&ben.digest()?.view)))?;

    teller.begin("exchange", "They exchange bundles.")?;
    let (from_ann, from_ben) = (ann.bundle("ann")?, ben.bundle("ben")?);
    let (to_ben, to_ann) = (ben.read(&from_ann)?, ann.read(&from_ben)?);
    teller.carried(&to_ben)?;
    teller.carried(&to_ann)?;
    teller.done(&format!("digests {} and {}", short(&ann.digest()?.view), short(&ben.digest()?.view)))?;

    let both = ann.document(&apart.id)?;
    let field = |name: &str| both.as_ref().and_then(|document| document.fields.get(name).cloned());
    teller.conflict(&apart, field(edits::FIELD).as_ref(), field(edits::COUNTER).as_ref())?;
    let deleted = ann.document(&apart.deleted)?.is_none();
    let fate = if deleted { "deleted for both" } else { "still there" };
    teller.line(&format!("{}: deleted by Ann, edited by Ben: {fate}", id_text(&apart.deleted)))?;

    teller.begin("third", "Cleo is new, and reads the same two bundles in the other order.")?;
    let again = [cleo.read(&from_ben)?, cleo.read(&from_ann)?];
    for carried in &again {
        teller.carried(carried)?;
    }
    teller.done(&format!("Cleo has {}", counted(cleo.digest()?.documents, "document")))?;

    let (mut nodes, mut heads) = (Vec::new(), Vec::new());
    for person in [&ann, &ben, &cleo] {
        let digest = person.digest()?;
        heads.push(digest.heads);
        nodes.push(Node {
            name: person.name,
            dir: kept.then(|| person.dir.display().to_string()),
            documents: digest.documents,
            commits: digest.commits,
            digest: digest.view,
        });
    }
    let ok = nodes.windows(2).all(|pair| matches!(pair, [a, b] if a.digest == b.digest))
        && heads.windows(2).all(|pair| matches!(pair, [a, b] if a == b))
        && deleted;
    let mut bundles = vec![first, to_ben, to_ann];
    bundles.extend(again);
    Ok(Story {
        ok,
        documents,
        nodes,
        bundles,
        conflict: Conflict {
            winner: field(edits::FIELD),
            visits: field(edits::COUNTER),
            id: apart.id,
            field: edits::FIELD,
            ann: apart.ann.value,
            ben: apart.ben.value,
        },
        steps: Vec::new(),
        seconds: 0.0,
    })
}

/// Tells the story to people, and times its steps for everybody.
struct Teller<'o> {
    output: &'o mut Output,
    steps: Vec<Step>,
    begun: Instant,
}

impl Teller<'_> {
    fn text(&mut self, line: &str) -> Result<(), Failure> {
        if self.output.json { Ok(()) } else { self.output.text(line) }
    }

    fn heading(&mut self, line: &str) -> Result<(), Failure> {
        let line = self.output.bold(line).into_owned();
        self.text(&line)
    }

    fn begin(&mut self, step: &'static str, sentence: &str) -> Result<(), Failure> {
        self.steps.push(Step { step, seconds: 0.0 });
        self.begun = Instant::now();
        self.text("")?;
        self.text(&format!("{}. {sentence}", self.steps.len()))?;
        self.output.flush()
    }

    fn done(&mut self, line: &str) -> Result<(), Failure> {
        let seconds = self.begun.elapsed().as_secs_f64();
        if let Some(step) = self.steps.last_mut() {
            step.seconds = seconds;
        }
        self.line(&format!("{line} ({seconds:.2} s)"))
    }

    fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.text(&format!("   {line}"))
    }

    fn carried(&mut self, carried: &Carried) -> Result<(), Failure> {
        let Carried { from, to, commits, new, bytes, signatures } = carried;
        self.line(&format!(
            "{from:>3} -> {to:4}  {}, {}, {new} new, {} checked",
            size_text(*bytes),
            counted(*commits, "commit"),
            counted(*signatures, "signature"),
        ))
    }

    fn conflict(
        &mut self,
        apart: &edits::Apart,
        winner: Option<&Value>,
        counter: Option<&Value>,
    ) -> Result<(), Failure> {
        self.text("")?;
        self.line(&format!("{}, the field `{}`:", id_text(&apart.id), edits::FIELD))?;
        let value = |value: Option<&Value>| match value {
            Some(value) => escape_json(&value.to_json()).into_owned(),
            None => "nothing".to_owned(),
        };
        for (name, wrote) in [("Ann wrote", &apart.ann), ("Ben wrote", &apart.ben)] {
            let Wrote { value: written, at_ms } = wrote;
            let time = format!("{}.{:03}", time_text(*at_ms), at_ms % 1000);
            self.line(&format!("  {name} {} at {time}", value(written.as_ref())))?;
        }
        self.line(&format!("  both have {}: the later write wins", value(winner)))?;
        self.line(&format!("  `{}`, raised by both: {}", edits::COUNTER, value(counter)))
    }

    fn ending(&mut self, story: &Story, seconds: f64, keep: Option<&Path>) -> Result<(), Failure> {
        self.text("")?;
        for Node { name, documents, commits, digest, .. } in &story.nodes {
            let (documents, commits) = (counted(*documents, "document"), counted(*commits, "commit"));
            self.line(&format!("{name:4}  {documents}, {commits}, digest {}", short(digest)))?;
        }
        self.text("")?;
        if story.ok {
            let line = format!("Equal digests: the documents did not drift apart. ({seconds:.2} s)");
            self.heading(&line)?;
        }
        if let Some(folder) = keep {
            let folder = folder.display().to_string();
            let folder = escape(&folder);
            self.text(&format!("Kept: try `driftless --dir {folder}/ann log world --limit 5`"))?;
        }
        Ok(())
    }
}

/// Enough of a digest for people.
fn short(digest: &str) -> String {
    digest.chars().take(16).collect()
}
