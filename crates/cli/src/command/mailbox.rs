//! `mailbox add`, `sync`, `list` and `remove`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use driftless::{
    Database, MailboxError, MailboxEvent, MailboxNews, MailboxOptions, MailboxPlace, MailboxSummary, SpaceId,
};
use tokio::runtime::{Handle, Runtime};

use super::Context;
use super::stop::Stop;
use crate::args::MailboxCommand;
use crate::contract;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Table, counted, escape, size_text, thousands, time_text};
use crate::runtime;

// Bytes of a file of which the first line is a token.
const MAX_FILE: u64 = 64 * 1024;
// How often what shows that work goes on is drawn.
const TICK: Duration = Duration::from_millis(100);

pub(super) fn run(context: &mut Context, command: MailboxCommand) -> Result<(), Failure> {
    match command {
        MailboxCommand::Add { space, url, endpoint, region, token_file } => {
            let url = whole(url, endpoint.as_deref(), region.as_deref())?;
            add(context, &space, &url, token_file.as_deref())
        }
        MailboxCommand::Sync { space, url, watch, interval, anew } => {
            let every = watch.then_some(Duration::from_secs(interval));
            sync(context, (space.as_deref(), url.as_deref()), Wishes { every, anew })
        }
        MailboxCommand::List => list(context),
        MailboxCommand::Remove { space, url } => remove(context, &space, url.as_deref()),
    }
}

// A space that is here, or the whole id of one that is not.
fn id(database: &Database, text: &str) -> Result<SpaceId, Failure> {
    match (database.space(text), text.parse()) {
        (Ok(space), _) => Ok(space.id()),
        (Err(_), Ok(id)) => Ok(id),
        (Err(error), Err(_)) => Err(error.into()),
    }
}

// What is chosen beside the URL of a bucket is kept as a part of it.
fn whole(mut url: String, endpoint: Option<&str>, region: Option<&str>) -> Result<String, Failure> {
    for (name, value) in [("endpoint", endpoint), ("region", region)] {
        let Some(value) = value else { continue };
        if !url.starts_with("s3://") {
            let error = format!("only a bucket (`s3://...`) has --{name}");
            return Err(driftless::Error::Invalid(error).into());
        }
        url.push(if url.contains('?') { '&' } else { '?' });
        url.extend([name, "=", value]);
    }
    Ok(url)
}

fn add(context: &mut Context, space: &str, url: &str, token: Option<&Path>) -> Result<(), Failure> {
    let token = token.map(|path| first_line(context, path)).transpose()?;
    let database = context.maintain()?;
    let space = id(&database, space)?;
    // Also makes the folder, so that a wrong path is known now; whoever else is there is asked.
    let mailbox = match &token {
        Some(token) => database.open_mailbox_with(&space, url, token)?,
        None => database.open_mailbox(&space, url)?,
    };
    let (handle, own) = handle(context)?;
    match handle.block_on(mailbox.probe()) {
        // What is needed of a bucket can be found out only there; everybody else may be away for now.
        Err(driftless::Error::Mailbox { error, .. }) if may_be_away(&error) && !url.starts_with("s3://") => {
            context.output.note(format!("{}: {error}; it is asked again with each sync", escape(url)));
        }
        probed => probed?,
    }
    drop(own);
    let new = database.add_mailbox(&space, url)?;
    if token.is_some() {
        database.set_mailbox_token(&space, url, token.as_deref())?;
    }
    if let Ok(MailboxPlace::Hub(hub)) = url.parse()
        && hub.is_exposed()
    {
        context.output.note("what goes over plain http can be read on the way; https:// hides it");
    }
    let output = &mut context.output;
    if output.json {
        let known = database.mailboxes()?.into_iter().find(|known| known.space == space && known.is_at(url));
        return known.map_or(Ok(()), |known| output.record(&contract::Mailbox::from(known)));
    }
    let done = if new { "is a mailbox of this space now" } else { "was a mailbox of this space already" };
    output.text(format!("{} {done}; whoever runs it can read what is in it", escape(url)))
}

fn may_be_away(error: &MailboxError) -> bool {
    matches!(error, MailboxError::Unreachable(_) | MailboxError::NoHost(_))
}

fn first_line(context: &mut Context, path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let file = context.input.open(path)?;
    file.take(MAX_FILE).read_to_string(&mut text).map_err(|error| Failure::file(path, &error))?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

// A bucket also by its URL without what stands behind `?`.
fn is_named(known: &MailboxSummary, url: &str) -> bool {
    known.is_at(url) || known.url.strip_prefix(url).is_some_and(|rest| rest.starts_with('?'))
}

fn remove(context: &mut Context, word: &str, url: Option<&str>) -> Result<(), Failure> {
    let database = context.maintain()?;
    let space = id(&database, word)?;
    let of_it = |known: &MailboxSummary| known.space == space && url.is_none_or(|url| is_named(known, url));
    let known: Vec<_> = database.mailboxes()?.into_iter().filter(of_it).collect();
    if known.is_empty() {
        return Err(match url {
            Some(url) => unknown(url),
            None => no_mailbox(Some(word)),
        });
    }
    for MailboxSummary { space, url, .. } in &known {
        database.remove_mailbox(space, url)?;
    }
    let output = &mut context.output;
    for known in known {
        if output.json {
            output.record(&contract::Mailbox::from(known))?;
        } else {
            output.text(format!("forgot {}", escape(&known.url)))?;
        }
    }
    Ok(())
}

fn unknown(url: &str) -> Failure {
    let error = driftless::Error::NotFound { what: "mailbox", name: url.to_owned() };
    Failure { hint: "`driftless mailbox list` shows those that are known".into(), ..error.into() }
}

fn list(context: &mut Context) -> Result<(), Failure> {
    let known = context.read()?.mailboxes()?;
    let output = &mut context.output;
    if output.json {
        return known.into_iter().try_for_each(|known| output.record(&contract::Mailbox::from(known)));
    }
    if known.is_empty() {
        output.note("there is no mailbox: `driftless mailbox add SPACE URL` adds one");
        return Ok(());
    }
    let mut table = Table::new(&["SPACE", "MAILBOX", "#OBJECTS", "LAST EXCHANGE (UTC)", "UNSENT", "#ALARMS"]);
    for known in &known {
        let last = if known.last_ms == 0 { "never".to_owned() } else { time_text(known.last_ms) };
        table.row([
            known.space.short(),
            escape(&known.url).into_owned(),
            thousands(known.objects),
            last,
            if known.unsent { "yes".to_owned() } else { String::new() },
            thousands(known.alarms.len() as u64),
        ]);
    }
    output.table(&table)?;
    for known in known {
        let known = contract::Mailbox::from(known);
        if known.error.is_some() || !known.alarms.is_empty() {
            output.text("")?;
            output.text(format!("{}:", escape(&known.url)))?;
            print_trouble(output, &known)?;
        }
        output.note(format!("{}: {}", escape(&known.url), known.privacy));
    }
    Ok(())
}

// What is wrong with a mailbox.
fn print_trouble(output: &mut Output, known: &contract::Mailbox) -> Result<(), Failure> {
    if let Some(error) = &known.error {
        output.text(format!("  the last exchange failed: {}", escape(error)))?;
    }
    known.alarms.iter().map(told).try_for_each(|line| output.text(format!("  {line}")))
}

fn told(alarm: &contract::Alarm) -> String {
    format!("{} of {}, since object {}: {}", alarm.kind, alarm.peer.short(), alarm.number, alarm.reason)
}

/// What `status` says of mailboxes.
pub(super) fn print_status(output: &mut Output, known: &[contract::Mailbox]) -> Result<(), Failure> {
    for mailbox in known {
        let last = mailbox.last.map_or_else(
            || "not exchanged yet".to_owned(),
            |last| format!("last exchanged {} UTC", time_text(last)),
        );
        let unsent = if mailbox.unsent { ", something waits to be sent" } else { "" };
        let privacy = mailbox.privacy;
        output.text("")?;
        output.text(format!("mailbox {}: {last}{unsent}; {privacy}", escape(&mailbox.url)))?;
        print_trouble(output, mailbox)?;
    }
    Ok(())
}

// The runtime of `serve`, or one for this command alone.
fn handle(context: &Context) -> Result<(Handle, Option<Runtime>), Failure> {
    if let Some(served) = &context.served {
        return Ok((served.shared.runtime.clone(), None));
    }
    let own = runtime::start()?;
    Ok((own.handle().clone(), Some(own)))
}

/// How mailboxes are to be exchanged.
struct Wishes {
    every: Option<Duration>,
    /// The folder that is named is lost for good, if it is gone.
    anew: bool,
}

fn sync(
    context: &mut Context,
    (space, url): (Option<&str>, Option<&str>),
    mut wishes: Wishes,
) -> Result<(), Failure> {
    let database = context.maintain()?;
    let only = space.map(|space| id(&database, space)).transpose()?;
    let (handle, _own) = handle(context)?;
    let mut news = BTreeMap::<(SpaceId, String), MailboxNews>::new();
    let stop = Stop::of(context)?;
    loop {
        let known = database.mailboxes()?.into_iter();
        let known = known.filter(|known| only.is_none_or(|only| known.space == only));
        let known: Vec<_> = known.filter(|known| url.is_none_or(|url| is_named(known, url))).collect();
        if known.is_empty() {
            return Err(url.map_or_else(|| no_mailbox(space), unknown));
        }
        // Of one that is not named nobody has said that it is lost.
        if wishes.anew && known.len() > 1 {
            return Err(several(&known));
        }
        let mut failed: Option<Failure> = None;
        news.retain(|(space, url), _| known.iter().any(|known| known.space == *space && known.url == *url));
        for known in known {
            if wishes.every.is_some()
                && let Ok(mailbox) = database.open_mailbox(&known.space, &known.url)
            {
                let of_it = news.entry((known.space, known.url.clone())).or_insert_with(|| mailbox.news());
                handle.block_on(async {
                    tokio::select! {
                        () = of_it.begin() => {}
                        () = stop.wished() => {}
                    }
                });
            }
            match one(context, &database, &handle, &known, &wishes, &stop) {
                Ok(()) => {}
                // Each is tried, and told of; with --watch it is tried again.
                Err(failure) if failure.is_silent() => return Err(failure),
                Err(failure) if wishes.every.is_some() => context.output.failure(&failure),
                Err(failure) => {
                    if let Some(before) = failed.replace(failure) {
                        context.output.failure(&before);
                    }
                }
            }
            if stop.is_wished() {
                break;
            }
        }
        context.output.flush()?;
        // Somebody who watches has seen enough; else something may be left to do.
        match (failed, wishes.every) {
            (Some(failure), _) => return Err(failure),
            (None, Some(_)) if stop.is_wished() => return Ok(()),
            (None, None) if stop.is_wished() => return Err(stopped()),
            (None, None) => return Ok(()),
            (None, Some(every)) => {
                wishes.anew = false;
                // Until then, or until something was put there or written here.
                let any = MailboxNews::of_any(news.values_mut());
                handle.block_on(async {
                    tokio::select! {
                        _ = tokio::time::timeout(every, any) => {}
                        () = stop.wished() => {}
                    }
                });
                if stop.is_wished() {
                    return Ok(());
                }
            }
        }
    }
}

fn no_mailbox(space: Option<&str>) -> Failure {
    let (of, word) = match space {
        Some(space) => (format!(" of {space}"), space),
        None => (String::new(), "SPACE"),
    };
    let hint = format!(
        "`driftless mailbox add {word} URL` adds one: a folder (file:///..), a hub (https://..), a bucket (s3://..)"
    );
    Failure::new(Exit::NotFound, "not_found", format!("there is no mailbox{of} yet"), hint)
}

fn several(known: &[MailboxSummary]) -> Failure {
    let urls: Vec<_> = known.iter().map(|known| escape(&known.url).into_owned()).collect();
    let hint = format!("name it, behind the space; there are {}", urls.join(" and "));
    Failure::new(
        Exit::Usage,
        "usage",
        "--anew says of one mailbox that it is lost, and the space has several",
        hint,
    )
}

fn stopped() -> Failure {
    let hint = "`driftless mailbox sync` goes on where this stopped; nothing that came or went is lost";
    Failure::new(Exit::Failed, "stopped", "it was stopped before everything was exchanged", hint)
}

fn one(
    context: &mut Context,
    database: &Database,
    handle: &Handle,
    known: &MailboxSummary,
    wishes: &Wishes,
    stop: &Stop,
) -> Result<(), Failure> {
    let mailbox = match wishes.anew {
        true => database.open_mailbox_anew(&known.space, &known.url)?,
        false => database.open_mailbox(&known.space, &known.url)?,
    };
    let options = MailboxOptions::default();
    let bar = super::network::progress(context);
    bar.enable_steady_tick(TICK);
    let output = &mut context.output;
    let mut far = Far::default();
    let mut lines = |event: MailboxEvent| {
        bar.suspend(|| tell(output, &event));
        bar.set_message(far.after(&event));
    };
    let done = handle.block_on(async {
        let mut exchange = std::pin::pin!(mailbox.sync(&options, &mut lines));
        tokio::select! {
            done = &mut exchange => return done,
            () = stop.wished() => {}
        }
        // It waits for no answer, and notes that it was stopped.
        options.control.cancel();
        exchange.await
    });
    bar.finish_and_clear();
    let done = done.map_err(|error| match error {
        error @ driftless::Error::Mailbox { .. } => Failure::from(error),
        error => Failure::from(error).about(&known.url),
    })?;
    if let Some(why) = &done.undeleted {
        output.note(format!(
            "{}: an own object was changed there and cannot be taken away ({}); another stands for it",
            escape(&known.url),
            escape(why)
        ));
    }
    let line = contract::MailboxSynced::new(known, &done);
    if output.json {
        return output.record(&line);
    }
    output.text(format!("{}: {}", escape(&known.url), came_to(&line)))?;
    line.alarms.iter().map(told).try_for_each(|line| output.text(format!("  {line}")))
}

// What an exchange came to, in a line.
fn came_to(done: &contract::MailboxSynced) -> String {
    let mut text =
        format!("sent {}, received {}", counted(done.sent, "commit"), counted(done.received, "commit"));
    if done.repaired > 0 {
        text += &format!("; put {} again that had been lost there", counted(done.repaired, "object"));
    }
    if done.refused > 0 {
        text += &format!("; {} refused (`driftless status` says why)", counted(done.refused, "commit"));
    }
    if done.foreign > 0 {
        text += &format!("; left {} alone that nobody's device wrote", counted(done.foreign, "thing"));
    }
    if !done.finished {
        text += "; stopped, the next sync goes on from here";
    }
    text
}

fn tell(output: &mut Output, event: &MailboxEvent) {
    match event {
        MailboxEvent::Found { objects, bytes } => {
            output.detail(format!("{} of {bytes} bytes to read", counted(*objects, "object")));
        }
        MailboxEvent::Received { commits, .. } => {
            output.detail(format!("received {}", counted(*commits, "commit")));
        }
        MailboxEvent::Sent { commits, .. } => output.detail(format!("sent {}", counted(*commits, "commit"))),
        MailboxEvent::Repaired { number } => output.detail(format!("put object {number} again")),
        MailboxEvent::Stalled { waited } => {
            output.note(format!("the mailbox has not answered for {} seconds", waited.as_secs()));
        }
        _ => {}
    }
}

/// How far an exchange is.
#[derive(Default)]
struct Far {
    /// Bytes of others' objects, where that is known beforehand.
    all: Option<u64>,
    bytes: u64,
    received: u64,
    sent: u64,
    repaired: u64,
}

impl Far {
    /// In a line, after one more thing has happened.
    fn after(&mut self, event: &MailboxEvent) -> String {
        match event {
            MailboxEvent::Found { bytes, .. } => self.all = Some(*bytes),
            MailboxEvent::Received { commits, bytes } => {
                self.received += commits;
                self.bytes += bytes;
            }
            MailboxEvent::Sent { commits, .. } => self.sent += commits,
            MailboxEvent::Repaired { .. } => self.repaired += 1,
            _ => {}
        }
        let mut parts = Vec::new();
        if self.bytes > 0 {
            let of = self.all.map_or_else(String::new, |all| format!(" of {}", size_text(all)));
            let commits = counted(self.received, "commit");
            parts.push(format!("received {commits}, {}{of}", size_text(self.bytes)));
        }
        if self.repaired > 0 {
            parts.push(format!("put {} again", counted(self.repaired, "object")));
        }
        if self.sent > 0 {
            parts.push(format!("sent {}", counted(self.sent, "commit")));
        }
        parts.join("; ")
    }
}
