//! SQLite's own session extension, to compare with: what recording a changeset costs, and how large it is. It is used through
//! the `sqlite3` program where that has it, so that the bench builds without the tools that binding to it would take.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::fixture::Place;
use crate::stopwatch::Failure;

/// What one kind of change costs with a session, and without.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recorded {
    /// CPU of the program that changes the rows, without a session and with one that is written out.
    pub alone: Duration,
    pub recorded: Duration,
    /// Bytes of the changeset.
    pub bytes: u64,
}

/// Inserts, then updates of one column; `Err` says why it cannot be told here.
pub(crate) fn run(place: &Place, schema: &str, count: usize) -> Result<[Recorded; 2], String> {
    let helps = Command::new("sqlite3").args([":memory:", "PRAGMA compile_options"]).output();
    let options = helps.map_err(|_| "there is no `sqlite3` program here")?;
    if !String::from_utf8_lossy(&options.stdout).contains("ENABLE_SESSION") {
        return Err("the `sqlite3` program here has no session extension".into());
    }
    measured(place, schema, count).map_err(|error| error.to_string())
}

fn measured(place: &Place, schema: &str, count: usize) -> Result<[Recorded; 2], Failure> {
    let insert = format!(
        "WITH RECURSIVE n(at) AS (SELECT 0 UNION ALL SELECT at + 1 FROM n WHERE at < {count} - 1)
         INSERT INTO item SELECT lower(hex(randomblob(16))), 'item ' || at,
           substr(printf('the body of item %09d, which has some sixty characters of text', at), 1, 60), at, 0 FROM n;"
    );
    let folder = place.folder()?;
    let mut out = Vec::new();
    for (work, before) in [(insert.as_str(), ""), ("UPDATE item SET n = n + 1;", insert.as_str())] {
        let mut best = Recorded { alone: Duration::MAX, recorded: Duration::MAX, bytes: 0 };
        for run in 0..place.runs() {
            let path = |name: &str| folder.path().join(format!("{name} {run} {}", out.len()));
            for with in [false, true] {
                let file = path(if with { "recorded" } else { "alone" });
                sqlite3(&file, &format!("{schema}\n{before}\n"))?;
                let changes = path("changes");
                let changes = changes.display();
                let script = match with {
                    false => format!("{work}\n"),
                    true => format!(
                        ".session open main s\n.session s attach item\n{work}\n.session s changeset \"{changes}\"\n"
                    ),
                };
                let took = sqlite3(&file, &script)?;
                if with {
                    best.recorded = best.recorded.min(took);
                    best.bytes = std::fs::metadata(changes.to_string())?.len();
                } else {
                    best.alone = best.alone.min(took);
                }
            }
        }
        out.push(best);
    }
    <[Recorded; 2]>::try_from(out).map_err(|_| "two kinds of changes were measured".into())
}

// Runs a script, and tells the CPU of the program.
fn sqlite3(file: &Path, script: &str) -> Result<Duration, Failure> {
    let before = children()?;
    let mut child =
        Command::new("sqlite3").arg("-bail").arg(file).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    child.stdin.take().ok_or("the program has no input")?.write_all(script.as_bytes())?;
    if !child.wait()?.success() {
        return Err("the `sqlite3` program refuses the script".into());
    }
    Ok(children()? - before)
}

// CPU of the processes that this one has waited for, as Linux tells: fields 16 and 17, in hundredths of a second.
fn children() -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")
        .map_err(|_| "what programs use is read from /proc, which only Linux has")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(13).take(2);
    let hundredths: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(hundredths * 10))
}
