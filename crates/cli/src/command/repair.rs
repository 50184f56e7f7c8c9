//! `fsck` and `backup`: whether a database is whole, making it whole again, and keeping a copy for when it is not.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use driftless::{Database, Progress, RepairedSpace, Report};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Context, network};
use crate::contract;
use crate::failure::{Exit, Failure};
use crate::output::{Output, counted, escape, size_text, thousands};

// Problems printed for people; `--json` names more.
const SHOWN: usize = 20;

pub(super) fn fsck(context: &mut Context, space: Option<&str>) -> Result<(), Failure> {
    let bar = bar(context);
    let report = examined(context, space, &bar);
    bar.finish_and_clear();
    let report = report?;
    let line = contract::Fsck::new(report, None);
    print(&mut context.output, &line)?;
    if line.ok { Ok(()) } else { Err(damaged(&line)) }
}

fn examined(context: &mut Context, space: Option<&str>, bar: &ProgressBar) -> Result<Report, Failure> {
    let mut tell = |progress: &Progress| show(bar, progress);
    if context.served.is_none() && context.global.user.is_none() && space.is_none() {
        return Ok(Database::fsck_folder(context.dir()?, &mut tell)?);
    }
    let opened = context.read().and_then(|database| {
        let space = space.map(|name| database.space(name)).transpose()?.map(|space| space.id());
        Ok((database, space))
    });
    match opened {
        Ok((database, space)) => Ok(database.fsck(space.as_ref(), &mut tell)?),
        // Too damaged to find the space in it: then everything is looked at.
        Err(failure) if failure.code == "damaged" => Ok(Database::fsck_folder(context.dir()?, &mut tell)?),
        Err(failure) => Err(failure),
    }
}

pub(super) fn repair(context: &mut Context, peer: Option<&str>) -> Result<(), Failure> {
    let dir = context.dir()?;
    let bar = bar(context);
    let repaired = Database::builder().repair(&dir, &mut |progress| show(&bar, progress));
    bar.finish_and_clear();
    let repaired = repaired?;
    let kept = repaired.kept.map(|kept| kept.display().to_string());
    let missing = repaired.spaces.iter().any(|space| space.dropped > 0 || space.wanted > 0);
    let mut after = contract::Repaired { kept, spaces: Vec::new(), synced: Vec::new() };
    let mut unmet = None;
    if missing || peer.is_some() {
        let ids = repaired.spaces.iter().map(|space| space.space).collect();
        match network::refetch(context, ids, peer) {
            Ok(synced) => after.synced = synced,
            Err(failure) => unmet = Some(failure),
        }
        for space in &repaired.spaces {
            import_rescued(context, space)?;
        }
    }
    after.spaces = repaired.spaces.into_iter().map(contract::RepairedSpace::from).collect();
    let mut line = contract::Fsck::new(repaired.found, Some(after));
    line.ok = Database::fsck_folder(&dir, &mut |_| ())?.is_ok();
    print(&mut context.output, &line)?;
    match unmet {
        Some(failure) if peer.is_some() => Err(failure),
        // Nobody was named: what is missing can come later.
        Some(failure) if failure.code != "no_peers" => {
            context.output.note(format!("nothing could be fetched: {}", escape(&failure.message)));
            Ok(())
        }
        _ => Ok(()),
    }?;
    if line.ok { Ok(()) } else { Err(damaged(&line)) }
}

// Commits that wait for others which may have come back now. The file stays.
fn import_rescued(context: &mut Context, space: &RepairedSpace) -> Result<(), Failure> {
    let Some(path) = &space.rescued else { return Ok(()) };
    let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
    let imported = context.maintain()?.import(&mut BufReader::new(file), &mut |_| ())?;
    let here = counted(imported.applied + imported.held + imported.void + imported.wanted, "commit");
    context.output.note(format!("{here} taken from {}", escape(&path.display().to_string())));
    Ok(())
}

fn damaged(line: &contract::Fsck) -> Failure {
    let problems = line.problems.len() as u64 + line.more;
    let hint = "`driftless fsck --repair` puts right what can be; with `--peer ADDR` it fetches the rest";
    Failure::new(Exit::Store, "damaged", format!("{} found", counted(problems, "problem")), hint)
}

pub(super) fn backup(context: &mut Context, file: &Path) -> Result<(), Failure> {
    let database = context.read()?;
    let path = context.input.path(file);
    let bar = bar(context);
    let copied = database.backup(&path, &mut |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let line = contract::Backup { file: path.display().to_string(), bytes: copied? };
    let output = &mut context.output;
    if output.json {
        return output.record(&line);
    }
    output.text(format!("{}, {}", escape(&line.file), size_text(line.bytes)))?;
    output.note("it holds the keys of this database: keep it as safe as the database itself");
    Ok(())
}

fn bar(context: &Context) -> ProgressBar {
    // In `serve` it would be drawn on the wrong terminal.
    if !context.output.shows_progress() || context.served.is_some() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    match ProgressStyle::with_template("{bar:30} {percent:>3}%  {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn show(bar: &ProgressBar, progress: &Progress) {
    bar.set_message(progress.stage);
    bar.set_length(progress.total);
    bar.set_position(progress.done);
}

fn print(output: &mut Output, line: &contract::Fsck) -> Result<(), Failure> {
    if output.json {
        return output.record(line);
    }
    for problem in line.problems.iter().take(SHOWN) {
        output.text(format!("{}: {}; {}", problem.code, escape(&problem.what), problem.repair))?;
    }
    let more = (line.problems.len().saturating_sub(SHOWN)) as u64 + line.more;
    if more > 0 {
        output.text(format!("and {} more", thousands(more)))?;
    }
    if let Some(repaired) = &line.repaired {
        for space in &repaired.spaces {
            let missing = match space.dropped + space.wanted {
                0 => String::new(),
                missing => format!(", {} lost: a sync with a peer brings them back", thousands(missing)),
            };
            output.text(format!("{}: {}{missing}", space.space.short(), counted(space.commits, "commit")))?;
        }
        for synced in &repaired.synced {
            let received = counted(synced.received, "commit");
            output.text(format!(
                "{}: {received} fetched from {}",
                synced.space.short(),
                synced.peer.short()
            ))?;
        }
        if let Some(kept) = &repaired.kept {
            output.note(format!("the damaged file is kept as {}", escape(kept)));
        }
    }
    let counts = format!(
        "{}, {}, {}, {} verified",
        counted(line.spaces, "space"),
        counted(line.commits, "commit"),
        counted(line.documents, "document"),
        counted(line.signatures, "signature")
    );
    match (line.ok, line.problems.is_empty()) {
        (true, true) => output.text(format!("All is well: {counts}.")),
        (true, false) => output.text("All is well again."),
        (false, _) => output.text(format!("Looked at {counts}.")),
    }
}
