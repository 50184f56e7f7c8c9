//! `rows`: SQLite files of other applications under sync. Which files are attached stands in a file of the folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use driftless::{Database, SpaceId};
use driftless_rows::{
    DoubleCreate, Error, Exchanged, Options, PerColumn, Policy, Rows, Status, Tables, detach,
};

use super::Context;
use crate::args::{AttachChoices, RowsCommand};
use crate::contract;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Table, escape, thousands};

const LIST: &str = "rows.json";
// The code of a file that a program keeps locked.
const BUSY: &str = "file_busy";
// Bytes of the database's pages that are kept in memory: files are written through from one end to the other, so that more
// would be of little use, and a first copy of many rows stays small.
const PAGES: u64 = 32 * 1024 * 1024;
// How often what shows that work goes on is drawn.
const TICK: Duration = Duration::from_millis(100);

pub(super) fn run(context: &mut Context, command: RowsCommand) -> Result<(), Failure> {
    context.page_memory = Some(PAGES);
    match command {
        RowsCommand::Attach { file, space, choices } => attach(context, &file, &space, choices),
        RowsCommand::Detach { file } => {
            let file = match found(context, &file) {
                // A file that is gone is only taken off the list.
                Err(failure) if failure.exit == Exit::NotFound => {
                    let path = listed_as(&context.input.path(&file));
                    if !list(context)?.contains(&path) {
                        return Err(failure);
                    }
                    path
                }
                found => {
                    let file = found?;
                    match detach(&file) {
                        // The application has made it anew, or something else lies there now.
                        Err(Error::NotAttached(_) | Error::Unusable { .. })
                            if list(context)?.contains(&file) => {}
                        done => done?,
                    }
                    file
                }
            };
            change_list(context, |files| files.retain(|known| *known != file))?;
            let line = contract::rows::Detached { file: file.display().to_string() };
            let output = &mut context.output;
            if output.json {
                return output.record(&line);
            }
            match file.exists() {
                true => output.text(format!("{} is as it was", escape(&line.file))),
                false => {
                    output.text(format!("{} is gone, and is not under sync any more", escape(&line.file)))
                }
            }
        }
        RowsCommand::Sync { file, watch, audit } => sync(context, file.as_deref(), watch, audit),
        RowsCommand::Revert { file } => revert(context, &file),
        RowsCommand::Status { file, losers } => status(context, file.as_deref(), losers),
    }
}

fn attach(context: &mut Context, file: &Path, space: &str, choices: AttachChoices) -> Result<(), Failure> {
    let file = found(context, file)?;
    let database = context.write()?;
    let space = database.space(space)?;
    // What is not said of a file that is attached stays.
    let before = Rows::open(&file, &database).ok().filter(|rows| rows.space().id() == space.id());
    let options = options(before.map(|rows| rows.options().clone()), choices)?;
    let bar = super::network::progress(context);
    bar.set_message("noting the rows that are there");
    bar.enable_steady_tick(TICK);
    let rows = Rows::attach(&file, &space, options);
    bar.finish_and_clear();
    let rows = rows?;
    change_list(context, |files| {
        if !files.contains(&file) {
            files.push(file.clone());
        }
    })?;
    let tables = rows.status()?.tables;
    let line = contract::rows::Attached {
        file: file.display().to_string(),
        space: rows.space().id(),
        tables,
        left_out: rows.left_out().to_vec(),
        again: rows.was_attached(),
    };
    let output = &mut context.output;
    if output.json {
        return output.record(&line);
    }
    for table in &line.left_out {
        output.note(format!("{} is left out: {}", escape(&table.table), escape(&table.why)));
    }
    let names: Vec<&str> = line.tables.iter().map(|table| table.table.as_str()).collect();
    let names = if names.is_empty() { "no table yet".to_owned() } else { names.join(", ") };
    output.text(format!("{}: {} under sync", escape(&line.file), escape(&names)))?;
    if line.again {
        output.note("it was under sync before: it has these options now; what was not said, and how columns merge, is what it was");
    }
    output.note("next: driftless rows sync");
    Ok(())
}

fn options(before: Option<Options>, choices: AttachChoices) -> Result<Options, Failure> {
    let AttachChoices { table, all_tables, merge, part, .. } = choices;
    let mut options = before.unwrap_or_default();
    // Policies that are not said stay as they are anyway, and others are refused.
    options.columns = PerColumn::default();
    if !table.is_empty() {
        options.tables = Tables::Named(table);
    } else if all_tables {
        options.tables = Tables::All;
    }
    for wish in merge {
        let hint = "a column and a policy, like `stock.count=counter`: last, counter, max, min or set";
        let wrong =
            || Failure::invalid("invalid_policy", format!("`{wish}` says no policy of a column"), hint);
        let (column, policy) = wish.split_once('=').ok_or_else(wrong)?;
        let (table, column) = column.split_once('.').ok_or_else(wrong)?;
        let policy = match policy {
            "last" => Policy::Last,
            "counter" => Policy::Counter,
            "max" => Policy::Max,
            "min" => Policy::Min,
            "set" => Policy::Set,
            _ => return Err(wrong()),
        };
        options.columns = options.columns.with(table, column, policy);
    }
    options.part = part.or(options.part);
    let AttachChoices { refuse_double, merge_double, .. } = choices;
    if refuse_double || merge_double {
        options.double_create = if refuse_double { DoubleCreate::Refuse } else { DoubleCreate::Merge };
    }
    if choices.no_triggers || choices.triggers {
        options.triggers = choices.triggers;
    }
    if choices.no_foreign_keys || choices.foreign_keys {
        options.foreign_keys = choices.foreign_keys;
    }
    Ok(options)
}

fn sync(context: &mut Context, file: Option<&Path>, watch: bool, audit: bool) -> Result<(), Failure> {
    let database = context.write()?;
    let (mut all, mut locked, mut failed) = (Vec::new(), Vec::new(), None);
    let mut kept = 0;
    for file in named(context, file)? {
        // Who keeps it locked for a while will be done with it: a watch tries again.
        let opened = Rows::open(&file, &database).inspect_err(|error| {
            if error.code() == BUSY {
                locked.push(file.clone());
            }
        });
        let exchanged = opened.map_err(Failure::from).and_then(|mut rows| {
            let done = exchange(context, &mut rows, audit);
            if done.is_ok() || watch {
                all.push(rows);
            }
            done
        });
        match exchanged {
            Ok(done) => {
                kept += done.flushed.kept;
                if !watch || done != Exchanged::default() {
                    print(&mut context.output, &file, &done)?;
                }
            }
            // The other files have nothing to do with it.
            Err(failure) => failed = Some(put_off(context, failed, of_file(&file, failure))),
        }
    }
    match failed {
        Some(failure) if !watch || all.is_empty() && locked.is_empty() => return Err(failure),
        Some(failure) => context.output.note(failure.message),
        None => {}
    }
    if !watch {
        // Everything else is done.
        return if kept == 0 { Ok(()) } else { Err(not_sent(kept)) };
    }
    let gone = context.served.as_ref().map(|served| served.gone.clone());
    if gone.is_none() {
        // What is half done when it ends is undone or finished by whoever comes next.
        ctrlc::set_handler(|| std::process::exit(0)).map_err(|error| {
            Failure::new(Exit::Failed, "io", error, "start the command from a terminal or a service manager")
        })?;
    }
    context.output.note("-- waiting for changes; Ctrl-C ends this");
    context.output.flush()?;
    let (sender, done) = std::sync::mpsc::channel();
    let all = all.into_iter().map(|rows| (rows.path().to_owned(), Some(rows)));
    let threads: Vec<_> = all
        .chain(locked.into_iter().map(|path| (path, None)))
        .map(|(path, mut rows)| {
            let (sender, gone, database) = (sender.clone(), gone.clone(), database.clone());
            std::thread::spawn(move || {
                let goes_on = || !gone.as_ref().is_some_and(|gone| gone.load(Ordering::Relaxed));
                // Each try waits for whoever keeps it locked.
                while rows.is_none() && goes_on() {
                    match Rows::open(&path, &database) {
                        Err(error) if error.code() == BUSY => {}
                        opened => rows = Some(opened.map_err(|error| of_file(&path, error.into()))?),
                    }
                }
                let Some(mut rows) = rows else { return Ok(()) };
                let tell = |outcome| _ = sender.send((path.clone(), outcome));
                rows.watch(goes_on, tell).map_err(|error| of_file(&path, error.into()))
            })
        })
        .collect();
    drop(sender);
    for (path, outcome) in done {
        match outcome {
            Ok(done) => print(&mut context.output, &path, &done)?,
            Err(error) => {
                let failure = of_file(&path, error.into());
                context.output.note(escape(&failure.message));
            }
        }
        context.output.flush()?;
    }
    let mut failed = None;
    for thread in threads {
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => failed = Some(put_off(context, failed, failure)),
            Err(_) => {
                let hint = "run the command again; what was half done is finished then";
                let failure = Failure::new(Exit::Failed, "internal", "watching a file ended by itself", hint);
                failed = Some(put_off(context, failed, failure));
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

// Which file it is about, where that is not said.
fn of_file(file: &Path, mut failure: Failure) -> Failure {
    let file = file.display().to_string();
    if !failure.message.contains(&file) {
        failure.message = format!("{file}: {}", failure.message);
    }
    failure
}

fn exchange(context: &mut Context, rows: &mut Rows, audit: bool) -> Result<Exchanged, Failure> {
    let bar = super::network::progress(context);
    bar.enable_steady_tick(TICK);
    let shown = bar.clone();
    rows.on_progress(move |progress| {
        let (done, total) = (thousands(progress.done), thousands(progress.total));
        shown.set_message(match progress.total {
            0 => format!("{}: {done}", progress.stage),
            _ => format!("{}: {done} of {total}", progress.stage),
        });
    });
    let done = (|| {
        let found = if audit { rows.audit()? } else { 0 };
        Ok::<_, Failure>((found, rows.sync()?))
    })();
    bar.finish_and_clear();
    let (found, mut done) = done?;
    done.flushed.found += found;
    Ok(done)
}

// Of several failures the last is the command's; those before it are told.
fn put_off(context: &mut Context, before: Option<Failure>, failure: Failure) -> Failure {
    if let Some(before) = before {
        context.output.note(before.message);
    }
    failure
}

fn not_sent(kept: u64) -> Failure {
    let rows = if kept == 1 { "1 row was".to_owned() } else { format!("{} rows were", thousands(kept)) };
    Failure::new(
        Exit::Refused,
        "not_permitted",
        format!("{rows} changed by somebody who may not write in the space: not sent, and left as they are"),
        "`driftless rows status` lists them; `driftless rows revert FILE` makes them what the space says; once you may write \
         there, the next exchange sends them",
    )
}

fn revert(context: &mut Context, file: &Path) -> Result<(), Failure> {
    let file = found(context, file)?;
    let database = context.write()?;
    let mut rows = Rows::open(&file, &database)?;
    let reverted = rows.revert()?;
    let line = contract::rows::Reverted { file: file.display().to_string(), reverted };
    let output = &mut context.output;
    if output.json {
        return output.record(&line);
    }
    output.text(format!("{}: {} rows are what the space says", escape(&line.file), thousands(reverted)))
}

fn print(output: &mut Output, path: &Path, done: &Exchanged) -> Result<(), Failure> {
    let Exchanged { flushed, applied, .. } = done;
    let line = contract::rows::Exchanged {
        file: path.display().to_string(),
        sent: flushed.rows,
        refused: flushed.refused,
        kept: flushed.kept,
        again: flushed.again,
        found: flushed.found,
        inserted: applied.inserted,
        updated: applied.updated,
        deleted: applied.deleted,
        waiting: applied.waiting,
    };
    if output.json {
        return output.record(&line);
    }
    let mut text = format!(
        "{}: {} sent; {} inserted, {} updated, {} deleted",
        escape(&line.file),
        thousands(line.sent),
        thousands(line.inserted),
        thousands(line.updated),
        thousands(line.deleted)
    );
    if line.found > 0 {
        text += &format!("; {} found by comparing", thousands(line.found));
    }
    if line.waiting > 0 {
        text += &format!("; {} waiting", thousands(line.waiting));
    }
    if line.refused > 0 {
        text += &format!("; {} refused", thousands(line.refused));
    }
    if line.kept > 0 {
        text += &format!("; {} kept", thousands(line.kept));
    }
    if line.again > 0 {
        let rows = if line.again == 1 { "row".to_owned() } else { format!("{} rows", thousands(line.again)) };
        output.note(format!(
            "the space had lost {rows} that {} has, and was told again: it was put back to an older copy",
            escape(&line.file)
        ));
    }
    output.text(text)
}

fn status(context: &mut Context, file: Option<&Path>, losers: bool) -> Result<(), Failure> {
    let database = context.read()?;
    let mut failed = None;
    for file in named(context, file)? {
        match stands(&file, &database, losers) {
            Ok(line) => show(&mut context.output, &line)?,
            Err(error) => failed = Some(put_off(context, failed, of_file(&file, error.into()))),
        }
    }
    failed.map_or(Ok(()), Err)
}

fn stands(file: &Path, database: &Database, losers: bool) -> Result<contract::rows::Status, Error> {
    let mut rows = Rows::open(file, database)?;
    let status = rows.status()?;
    Ok(contract::rows::Status {
        file: status.file.display().to_string(),
        space: status.space,
        tables: status.tables,
        pending: status.pending,
        waiting: rows.waiting()?.into_iter().map(waiting).collect(),
        refused: rows.refused()?.into_iter().map(refused).collect(),
        elsewhere: status.elsewhere,
        left_out: status.left_out,
        losers: match losers {
            true => Some(rows.losers()?.into_iter().map(loser).collect()),
            false => None,
        },
    })
}

fn waiting(row: driftless_rows::WaitingRow) -> contract::rows::Waiting {
    let driftless_rows::WaitingRow { collection, id, reason, detail, since } = row;
    contract::rows::Waiting { collection, id, reason, detail, since }
}

fn refused(row: driftless_rows::RefusedRow) -> contract::rows::Refused {
    let driftless_rows::RefusedRow { collection, key, detail, since } = row;
    contract::rows::Refused { collection, key, detail, since }
}

fn loser(lost: driftless_rows::LostValue) -> contract::rows::Loser {
    let driftless_rows::LostValue { collection, id, loser } = lost;
    let driftless::Loser { field, value, author, time, commit } = loser;
    contract::rows::Loser { collection, id, field, value, author, time: time.ms(), commit }
}

fn show(output: &mut Output, line: &contract::rows::Status) -> Result<(), Failure> {
    if output.json {
        return output.record(line);
    }
    let tables: Vec<&str> = line.tables.iter().map(|table| table.table.as_str()).collect();
    output.labels(&[
        ("file", escape(&line.file).into_owned()),
        ("space", line.space.to_string()),
        ("tables", escape(&tables.join(", ")).into_owned()),
        ("pending", thousands(line.pending)),
        ("elsewhere", escape(&line.elsewhere.join(", ")).into_owned()),
    ])?;
    let mut table = Table::new(&["", "TABLE", "KEY", "WHY"]);
    for left_out in &line.left_out {
        let cells = ["left out", &left_out.table, "", &left_out.why];
        table.row(cells.map(|cell| escape(cell).into_owned()));
    }
    for row in &line.waiting {
        let why = format!("{}: {}", row.reason, row.detail);
        let cells = ["waiting", &row.collection, &row.id.to_string(), &why];
        table.row(cells.map(|cell| escape(cell).into_owned()));
    }
    for row in &line.refused {
        let cells = ["refused", &row.collection, &row.key, &row.detail];
        table.row(cells.map(|cell| escape(cell).into_owned()));
    }
    for lost in line.losers.iter().flatten() {
        let why = format!("{} {} at {}", lost.field, lost.value, driftless::utc(lost.time));
        let cells = ["lost", &lost.collection, &lost.id.to_string(), &why];
        table.row(cells.map(|cell| escape(cell).into_owned()));
    }
    if table.is_empty() { Ok(()) } else { output.table(&table) }
}

/// How the files stand whose space is this, or all.
pub(super) fn standing(
    context: &Context,
    database: &Database,
    only: Option<SpaceId>,
) -> Result<Vec<contract::rows::Standing>, Failure> {
    let mut standing = Vec::new();
    for file in list(context)? {
        let status = Rows::open(&file, database).and_then(|rows| rows.status());
        if status.as_ref().is_ok_and(|status| only.is_some_and(|only| status.space != only)) {
            continue;
        }
        let file = file.display().to_string();
        standing.push(match status {
            Ok(Status { pending, waiting, refused, .. }) => {
                contract::rows::Standing { file, pending, waiting, refused, error: None }
            }
            Err(error) => {
                let error = Some(Failure::from(error).message);
                contract::rows::Standing { file, pending: 0, waiting: 0, refused: 0, error }
            }
        });
    }
    Ok(standing)
}

pub(super) fn print_standing(output: &mut Output, all: &[contract::rows::Standing]) -> Result<(), Failure> {
    for one in all {
        let file = escape(&one.file);
        if let Some(error) = &one.error {
            output.text(format!("rows of {file}: {}", escape(error)))?;
        }
        let counts = [(one.pending, "not exchanged yet"), (one.waiting, "waiting"), (one.refused, "refused")];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<String> =
            counts.map(|(count, what)| format!("{} {what}", thousands(*count))).collect();
        if !counts.is_empty() {
            output.text(format!("rows of {file}: {} (`driftless rows status`)", counts.join(", ")))?;
        }
    }
    Ok(())
}

fn named(context: &Context, file: Option<&Path>) -> Result<Vec<PathBuf>, Failure> {
    let files = match file {
        Some(file) => vec![found(context, file)?],
        None => list(context)?,
    };
    if files.is_empty() {
        return Err(Failure::new(
            Exit::NotFound,
            "not_attached",
            "no file is attached",
            "`driftless rows attach FILE SPACE` puts one under sync",
        ));
    }
    Ok(files)
}

// How a file that is gone is listed: its folder may still be there.
fn listed_as(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (fs::canonicalize(folder), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

// A file where it really lies, so that it is one whatever it was called.
fn found(context: &Context, file: &Path) -> Result<PathBuf, Failure> {
    let path = context.input.path(file);
    fs::canonicalize(&path).map_err(|error| Failure::file(&path, &error))
}

fn list(context: &Context) -> Result<Vec<PathBuf>, Failure> {
    let path = context.dir()?.join(LIST);
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| {
            Failure::invalid("invalid_list", format!("{}: {error}", path.display()), "attach the files again")
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Failure::file(&path, &error)),
    }
}

fn change_list(context: &Context, change: impl FnOnce(&mut Vec<PathBuf>)) -> Result<(), Failure> {
    let mut files = list(context)?;
    change(&mut files);
    let folder = context.dir()?;
    let path = folder.join(LIST);
    let text = serde_json::to_vec(&files)
        .map_err(|error| Failure::invalid("invalid_path", error, "give the file a name that is text"))?;
    // Whole or not at all.
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        std::io::Write::write_all(&mut file, &text)?;
        file.persist(&path).map_err(|error| error.error)
    };
    write().map(drop).map_err(|error| Failure::file(&path, &error))
}
