//! `init`, `status`, `rebuild` and `compact`: what concerns the database as a whole.

use std::path::Path;

use driftless::{AuthorId, Database, OpenMode, Original};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Context, chosen};
use crate::contract;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Table, counted, escape, size_text, thousands, time_text};
use crate::secret::{Question, Which};

pub(super) fn init(context: &mut Context, name: Option<String>, password: bool) -> Result<(), Failure> {
    let dir = context.dir()?;
    let user = std::env::var("USER").ok().filter(|user| !user.is_empty());
    let name = name.or_else(|| context.global.user.clone()).or(user).unwrap_or_else(|| "me".to_owned());
    let mut builder = Database::builder().open_mode(OpenMode::Create).user_name(&name);
    if password {
        let (prompt, file) =
            (format!("new password of {}", escape(&name)), context.global.password_file.clone());
        let question = Question { which: Which::Present, prompt, file, twice: true };
        builder = builder.password(context.password(question)?);
    }
    let database = builder.open(&dir);
    let database = database.map_err(|error| not_made(&dir, error))?;
    made(context, &dir, &database)?;
    context.output.note("next: driftless space create NAME");
    Ok(())
}

/// `init --from`: a database from a backup.
pub(super) fn restore(context: &mut Context, file: &Path, original_is_gone: bool) -> Result<(), Failure> {
    let dir = context.dir()?;
    let original = if original_is_gone { Original::IsGone } else { Original::MayExist };
    let file = context.input.path(file);
    let database = Database::builder().restore(&dir, &file, original, &mut |_, _| ());
    let database = database.map_err(|error| match error {
        driftless::Error::NotFound { what: "backup", name } => {
            let message = format!("{name}: no such file");
            Failure::new(Exit::NotFound, "file_not_found", message, "check the path")
        }
        error => not_made(&dir, error),
    })?;
    made(context, &dir, &database)?;
    if !original_is_gone {
        context
            .output
            .note("next: driftless sync, before anything is written: the original may have written more");
    }
    Ok(())
}

fn not_made(dir: &Path, error: driftless::Error) -> Failure {
    let mut failure = Failure::from(match error {
        // Only what exists can be in use.
        driftless::Error::Locked => driftless::Error::Exists(dir.display().to_string()),
        error => error,
    });
    if failure.code == "exists" {
        failure.hint = "`driftless status` shows what is in it; `--dir` names another folder".to_owned();
    }
    failure
}

fn made(context: &mut Context, dir: &Path, database: &Database) -> Result<(), Failure> {
    let line = contract::Init {
        dir: dir.display().to_string(),
        user: database.user()?,
        author: database.author()?,
        peer: database.peer()?,
    };
    let output = &mut context.output;
    if output.json {
        return output.record(&line);
    }
    output.labels(&[
        ("database", escape(&line.dir).into_owned()),
        ("user", escape(&line.user).into_owned()),
        ("author", line.author.to_string()),
    ])
}

pub(super) fn rebuild(context: &mut Context, space: Option<&str>) -> Result<(), Failure> {
    let database = context.maintain()?;
    for space in chosen(&database, space)? {
        let (name, digest) = (space.name()?, space.rebuild()?);
        let output = &mut context.output;
        if output.json {
            output.record(&contract::Digest::from(digest))?;
        } else {
            let (documents, commits) =
                (counted(digest.documents, "document"), counted(digest.commits, "commit"));
            output.text(format!("{}  {documents} from {commits}, view {}", escape(&name), digest.view))?;
        }
    }
    Ok(())
}

pub(super) fn compact(context: &mut Context, space: Option<&str>) -> Result<(), Failure> {
    let database = context.maintain()?;
    let bar = if context.output.shows_progress() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3}%  {human_pos} commits") {
        bar.set_style(style);
    }
    let mut progress = |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    };
    let done = match space {
        Some(name) => database.space(name)?.compact(&mut progress),
        None => database.compact(&mut progress),
    };
    bar.finish_and_clear();
    let driftless::Compacted { packed, bytes_before, bytes_after } = done?;
    let output = &mut context.output;
    if output.json {
        return output.record(&contract::Compacted { packed, bytes_before, bytes_after });
    }
    let sizes = format!("{} before, {} after", size_text(bytes_before), size_text(bytes_after));
    output.text(format!("{} packed; {sizes}", counted(packed, "commit")))
}

pub(super) fn status(context: &mut Context, space: Option<&str>) -> Result<(), Failure> {
    let database = context.read()?;
    let only = space.map(|name| database.space(name)).transpose()?.map(|space| space.id());
    let status = database.status()?;
    let spaces = status.spaces.into_iter().filter(|space| only.is_none_or(|only| space.id == only));
    let refused = status.refused.into_iter().filter(|line| only.is_none() || line.space == only);
    let lag = super::network::lag(&database)?;
    let mut line = contract::Status {
        ok: false,
        user: database.user()?,
        author: database.author()?,
        bytes: database.bytes_on_disk()?,
        spaces: spaces
            .map(|space| {
                let behind = lag.get(&space.id).copied();
                space_status(space, behind)
            })
            .collect(),
        refused: refused.map(refused_line).collect(),
        copied: status.copied.map(|copied| contract::Copied {
            author: copied.author,
            space: copied.space,
            seq: copied.seq,
            commit: copied.commit,
            since: copied.since_ms,
        }),
        restored: status.restored.map(contract::Restored::from),
        lost: status.lost.into_iter().map(contract::Lost::from).collect(),
        requests: database
            .requests()?
            .into_iter()
            .filter(|request| only.is_none_or(|only| request.space == only))
            .count() as u64,
        mailboxes: database
            .mailboxes()?
            .into_iter()
            .filter(|known| only.is_none_or(|only| known.space == only))
            .map(contract::Mailbox::from)
            .collect(),
        rows: super::rows::standing(context, &database, only)?,
    };
    let guarded = line.restored.as_ref().is_some_and(|restored| !restored.guarded.is_empty());
    line.ok = line.copied.is_none()
        && line.refused.is_empty()
        && line.spaces.iter().all(is_fine)
        && line.mailboxes.iter().all(|mailbox| mailbox.alarms.is_empty())
        && line.rows.iter().all(|file| file.error.is_none() && file.waiting + file.refused == 0)
        && !guarded
        && line.lost.is_empty();
    let output = &mut context.output;
    if output.json { output.record(&line) } else { print(output, &line) }
}

fn space_status(space: driftless::SpaceStatus, lag: Option<u64>) -> contract::SpaceStatus {
    let waiting = |count: u64, commits: Vec<driftless::Pending>| contract::Waiting {
        count,
        commits: commits.into_iter().map(pending).collect(),
    };
    contract::SpaceStatus {
        space: space.id,
        name: space.name,
        commits: space.counts.commits,
        documents: space.documents,
        applied: space.counts.applied(),
        sync: space
            .sync
            .map(|wanted| contract::Wanted { on_commit: wanted.on_commit, interval: wanted.interval }),
        lag,
        held: waiting(space.counts.held, space.held),
        void: waiting(space.counts.void, space.void),
        wanted: waiting(space.counts.wanted, space.wanted),
        schemas: space.schemas.into_iter().map(|with| contract::Schema::new(space.id, with)).collect(),
        forked: space.forked.into_iter().map(contract::Fork::from).collect(),
    }
}

fn pending(pending: driftless::Pending) -> contract::Pending {
    contract::Pending {
        commit: pending.commit,
        author: pending.author,
        time: pending.time.ms(),
        reason: pending.reason,
    }
}

fn refused_line(line: driftless::RefusedLine) -> contract::Refused {
    contract::Refused {
        hash: line.hash,
        space: line.space,
        author: line.author,
        code: line.code,
        reason: line.reason,
        bytes: line.bytes,
        time: line.at_ms,
        times: line.times,
    }
}

fn is_fine(space: &contract::SpaceStatus) -> bool {
    space.held.count + space.void.count + space.wanted.count == 0 && space.forked.is_empty()
}

fn print(output: &mut Output, status: &contract::Status) -> Result<(), Failure> {
    output.text(format!("{} ({}), {}", escape(&status.user), status.author, size_text(status.bytes)))?;
    let mut table = Table::new(&["SPACE", "#DOCUMENTS", "#COMMITS", "#APPLIED", "#HELD", "#VOID", "#WANTED"]);
    for space in &status.spaces {
        let counts = [space.documents, space.commits, space.applied];
        let waiting = [space.held.count, space.void.count, space.wanted.count];
        let numbers = counts.into_iter().chain(waiting).map(thousands);
        table.row(std::iter::once(escape(&space.name).into_owned()).chain(numbers));
    }
    if !table.is_empty() {
        output.text("")?;
        output.table(&table)?;
    }
    for space in status.spaces.iter().filter(|space| space.sync.is_none()) {
        output.text(format!(
            "{} is off for all users: nothing of it is sent or fetched (`driftless prefs`)",
            escape(&space.name)
        ))?;
    }
    for space in status.spaces.iter().filter(|space| space.lag.is_some_and(|lag| lag > 0)) {
        let behind = counted(space.lag.unwrap_or(0), "commit");
        output.text(format!("{}: a peer lacks {behind} (`driftless peers`)", escape(&space.name)))?;
    }
    for space in &status.spaces {
        print_waiting(output, space, "held", &space.held)?;
        print_waiting(output, space, "void", &space.void)?;
        print_waiting(output, space, "wanted", &space.wanted)?;
        for schema in space.schemas.iter().filter(|schema| schema.marked > 0) {
            output.text("")?;
            output.text(format!(
                "{} of {} in {} do not fit its schema: `driftless schema check` lists them",
                counted(schema.marked, "document"),
                escape(&schema.collection),
                escape(&space.name)
            ))?;
        }
        for fork in &space.forked {
            output.text("")?;
            output.text(format!(
                "forked in {}: {} signed two commits with the number {}, {} and {}; the second came at {} UTC. \
                 Was a device copied or restored?",
                escape(&space.name),
                fork.author,
                fork.seq,
                fork.commits[0].short(),
                fork.commits[1].short(),
                time_text(fork.since)
            ))?;
        }
    }
    print_refused(output, &status.refused)?;
    if status.requests > 0 {
        output.text("")?;
        let waiting = counted(status.requests, "request");
        output.text(format!(
            "{waiting} for access: `driftless requests` lists them, `approve` and `reject` answer"
        ))?;
    }
    if let Some(copied) = &status.copied {
        output.text("")?;
        output.text(format!(
            "Another copy of this database signs with the same key: since {} UTC nothing more is written here. \
             `driftless doctor` says what to do.",
            time_text(copied.since)
        ))?;
    }
    print_guards(output, status)?;
    super::mailbox::print_status(output, &status.mailboxes)?;
    super::rows::print_standing(output, &status.rows)?;
    output.text("")?;
    output.text(match (status.ok, status.spaces.is_empty()) {
        (true, true) => "There is no space yet: `driftless space create NAME` makes one.",
        (true, false) => "All is well: every commit is applied, and nothing was refused.",
        (false, _) if status.refused.is_empty() && status.spaces.iter().all(is_fine) => {
            "Every commit that is here is applied, and nothing was refused."
        }
        (false, _) => "`void` has no effect any more; `held` and `wanted` are still to come.",
    })
}

fn print_waiting(
    output: &mut Output,
    space: &contract::SpaceStatus,
    state: &str,
    waiting: &contract::Waiting,
) -> Result<(), Failure> {
    if waiting.count == 0 {
        return Ok(());
    }
    output.text("")?;
    output.text(format!("{state} in {}:", escape(&space.name)))?;
    let mut table = Table::new(&["COMMIT", "AUTHOR", "TIME (UTC)", "REASON"]);
    for pending in &waiting.commits {
        table.row([
            pending.commit.short(),
            pending.author.short(),
            time_text(pending.time),
            escape(&pending.reason).into_owned(),
        ]);
    }
    output.table(&table)?;
    let more = waiting.count.saturating_sub(waiting.commits.len() as u64);
    if more > 0 { output.text(format!("and {} more", thousands(more))) } else { Ok(()) }
}

fn print_guards(output: &mut Output, status: &contract::Status) -> Result<(), Failure> {
    for space in status.restored.iter().flat_map(|restored| &restored.guarded) {
        output.text("")?;
        output.text(format!(
            "restored from a copy: {} takes no writes before an exchange with a peer, whose keys may be in use elsewhere",
            space.short()
        ))?;
    }
    for lost in &status.lost {
        let written = lost.commits.map_or_else(|| "commits".to_owned(), |commits| counted(commits, "commit"));
        output.text("")?;
        output.text(format!(
            "lost in {}: {} has written {written}, and not all are here; a sync brings them back",
            lost.space.short(),
            lost.author.short()
        ))?;
    }
    Ok(())
}

fn print_refused(output: &mut Output, refused: &[contract::Refused]) -> Result<(), Failure> {
    if refused.is_empty() {
        return Ok(());
    }
    output.text("")?;
    output.text("refused:")?;
    let mut table = Table::new(&["BYTES", "AUTHOR", "TIME (UTC)", "#TIMES", "CODE", "REASON"]);
    for line in refused {
        table.row([
            line.hash.chars().take(12).collect(),
            line.author.as_ref().map_or_else(|| "?".to_owned(), AuthorId::short),
            time_text(line.time),
            thousands(line.times),
            line.code.clone(),
            escape(&line.reason).into_owned(),
        ]);
    }
    output.table(&table)
}
