//! The demo: two databases on a network of this machine, live, then cut and edited apart on the same fields, then
//! healed; a third joins from the second. It fails if the three do not come to the same digest.

mod edits;
mod person;
mod table;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use driftless::{DocumentId, Map, Permission, Strength, Value};
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::output::{Output, counted, escape, escape_json, id_text, size_text, time_text};
use edits::{EDITS, Wrote};
use person::{Exchanged, Person};

// What connections get to end, when they are closed already.
const FAREWELL: Duration = Duration::from_secs(2);

/// What `--json` prints.
#[derive(Serialize)]
struct Story {
    ok: bool,
    documents: u64,
    nodes: Vec<Node>,
    exchanges: Vec<Exchanged>,
    live: Vec<Live>,
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

/// How long an edit needed to the other side of a connection.
#[derive(Serialize)]
struct Live {
    from: &'static str,
    to: &'static str,
    milliseconds: f64,
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
    let runtime = crate::runtime::start()?;
    // All three first: where one is there already, the story must not begin.
    let mut ann = Person::new("Ann", folder, runtime.handle())?;
    let mut ben = Person::new("Ben", folder, runtime.handle())?;
    let mut cleo = Person::new("Cleo", folder, runtime.handle())?;
    teller.heading("Two databases, edited apart, brought together")?;

    teller.begin("import", &format!("Ann imports {source}."))?;
    ann.import(rows)?;
    let documents = ann.digest()?.documents;
    let disk = size_text(ann.database().bytes_on_disk()?);
    teller.done(&format!("{}, {disk} on disk", counted(documents, "document")))?;

    ann.connect()?;
    let place = ann.address()?;
    let place = place.split("/#").next().unwrap_or_default();
    teller.begin("join", &format!("Ann serves at {place} and gives Ben a ticket. He joins with it."))?;
    ben.connect()?;
    let ticket = ann.ticket(Permission::Admin(Strength(10)))?;
    let joined = ben.join(&ann, &ticket)?;
    teller.exchanged(&joined)?;
    teller.done(&format!("Ben has {}", counted(ben.digest()?.documents, "document")))?;

    teller.begin("live", "They stay connected: what one edits shows on the other side.")?;
    ben.stay()?;
    let mut live = Vec::new();
    let greeted = rows.get(EDITS).or(rows.last()).map_or_else(|| Ok(DocumentId::from(0)), table::id_of)?;
    // The first edit waits until the connection stands.
    ann.show(&ben, &greeted, edits::greeting(&ann)?)?;
    for (from, to) in [(&ann, &ben), (&ben, &ann)] {
        let took = from.show(to, &greeted, edits::greeting(from)?)?;
        let milliseconds = took.as_secs_f64() * 1000.0;
        teller.line(&format!("{:>4} -> {:4}  {milliseconds:.1} ms", from.name, to.name))?;
        live.push(Live { from: from.name, to: to.name, milliseconds });
    }
    teller.done("")?;

    let sentence = format!("The line is cut. Both make {EDITS} changes each, mostly to the same fields.");
    teller.begin("cut", &sentence)?;
    ann.cut();
    ben.cut();
    let apart = edits::make(&ann, &ben, rows)?;
    teller.done(&format!("digests {} and {}", short(&ann.digest()?.view), short(&ben.digest()?.view)))?;

    teller.begin("heal", "The line is back, and they exchange what the other does not have.")?;
    ann.connect()?;
    ben.connect()?;
    let healed = ben.sync(&ann)?;
    teller.exchanged(&healed)?;
    teller.done(&format!("digests {} and {}", short(&ann.digest()?.view), short(&ben.digest()?.view)))?;

    let both = ann.document(&apart.id)?;
    let field = |name: &str| both.as_ref().and_then(|document| document.fields.get(name).cloned());
    teller.conflict(&apart, field(edits::FIELD).as_ref(), field(edits::COUNTER).as_ref())?;
    let deleted = ann.document(&apart.deleted)?.is_none();
    let fate = if deleted { "deleted for both" } else { "still there" };
    teller.line(&format!("{}: deleted by Ann, edited by Ben: {fate}", id_text(&apart.deleted)))?;

    teller.begin("third", "Ben gives a ticket to Cleo, who joins at him. Ann is told.")?;
    cleo.connect()?;
    let ticket = ben.ticket(Permission::Write(Strength(100)))?;
    let third = cleo.join(&ben, &ticket)?;
    teller.exchanged(&third)?;
    let told = ben.sync(&ann)?;
    teller.exchanged(&told)?;
    teller.done(&format!("Cleo has {}", counted(cleo.digest()?.documents, "document")))?;
    for person in [&mut ann, &mut ben, &mut cleo] {
        person.cut();
    }
    runtime.shutdown_timeout(FAREWELL);

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
    Ok(Story {
        ok,
        documents,
        nodes,
        exchanges: vec![joined, healed, third, told],
        live,
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
        let line = if line.is_empty() { String::new() } else { format!("{line} ") };
        self.line(&format!("{line}({seconds:.2} s)"))
    }

    fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.text(&format!("   {line}"))
    }

    fn exchanged(&mut self, exchanged: &Exchanged) -> Result<(), Failure> {
        let Exchanged { from, to, sent, received, bytes_out, bytes_in, signatures, seconds, .. } = exchanged;
        for (from, to, commits, bytes) in [(from, to, received, bytes_in), (to, from, sent, bytes_out)] {
            let commits = counted(*commits, "commit");
            self.line(&format!("{from:>4} -> {to:4}  {commits}, {}", size_text(*bytes)))?;
        }
        let signatures = counted(*signatures, "signature");
        self.line(&format!("{signatures} checked by {to}, {:.0} ms", seconds * 1000.0))
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
