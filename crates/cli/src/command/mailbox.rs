//! `mailbox add`, `sync`, `list` and `remove`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use driftless::{Database, MailboxEvent, MailboxNews, MailboxOptions, MailboxPlace, MailboxSummary, SpaceId};
use tokio::runtime::{Handle, Runtime};

use super::Context;
use crate::args::MailboxCommand;
use crate::contract;
use crate::failure::Failure;
use crate::output::{Output, Table, counted, escape, time_text};
use crate::runtime;

// Bytes of a file of which the first line is a token.
const MAX_FILE: u64 = 64 * 1024;

pub(super) fn run(context: &mut Context, command: MailboxCommand) -> Result<(), Failure> {
    match command {
        MailboxCommand::Add { space, url, endpoint, region, token_file } => {
            let url = whole(url, endpoint.as_deref(), region.as_deref())?;
            add(context, &space, &url, token_file.as_deref())
        }
        MailboxCommand::Sync { space, watch, interval } => {
            sync(context, space.as_deref(), watch.then_some(Duration::from_secs(interval)))
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
    // Also makes the folder, so that a wrong path is known now; a bucket is asked.
    let mailbox = database.open_mailbox(&space, url)?;
    let (handle, own) = handle(context)?;
    handle.block_on(mailbox.probe())?;
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

fn first_line(context: &mut Context, path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let file = context.input.open(path)?;
    file.take(MAX_FILE).read_to_string(&mut text).map_err(|error| Failure::file(path, &error))?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

fn remove(context: &mut Context, space: &str, url: Option<&str>) -> Result<(), Failure> {
    let database = context.maintain()?;
    let space = id(&database, space)?;
    // A bucket also by its URL without what stands behind `?`.
    let named = |known: &MailboxSummary, url: &str| {
        known.is_at(url) || known.url.strip_prefix(url).is_some_and(|rest| rest.starts_with('?'))
    };
    let of_it = |known: &MailboxSummary| known.space == space && url.is_none_or(|url| named(known, url));
    let known: Vec<_> = database.mailboxes()?.into_iter().filter(of_it).collect();
    if known.is_empty() {
        return Err(none(url.unwrap_or_default()));
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

fn none(name: &str) -> Failure {
    let error = driftless::Error::NotFound { what: "mailbox", name: name.to_owned() };
    Failure {
        hint: "`driftless mailbox list` shows them; `mailbox add SPACE URL` adds one".into(),
        ..error.into()
    }
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
    let mut table = Table::new(&["SPACE", "MAILBOX", "OBJECTS", "UNSENT", "ALARMS"]);
    for known in &known {
        let unsent = if known.unsent { "yes" } else { "" };
        let cells = [known.space.short(), known.url.clone(), known.objects.to_string(), unsent.to_owned()];
        let alarms = [known.alarms.len().to_string()];
        table.row(cells.iter().chain(&alarms).map(|cell| escape(cell).into_owned()));
    }
    output.table(&table)?;
    let alarms = known.iter().flat_map(|known| &known.alarms);
    alarms.map(|alarm| told(&alarm.into())).try_for_each(|line| output.text(line))?;
    for known in &known {
        output.note(format!("{}: {}", escape(&known.url), known.privacy()));
    }
    Ok(())
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
        if let Some(error) = &mailbox.error {
            output.text(format!("  the last exchange failed: {}", escape(error)))?;
        }
        mailbox.alarms.iter().map(told).try_for_each(|line| output.text(format!("  {line}")))?;
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

fn sync(context: &mut Context, space: Option<&str>, every: Option<Duration>) -> Result<(), Failure> {
    let database = context.maintain()?;
    let space = space.map(|space| id(&database, space)).transpose()?;
    let (handle, _own) = handle(context)?;
    let mut news = BTreeMap::<(SpaceId, String), MailboxNews>::new();
    loop {
        let known = database.mailboxes()?.into_iter();
        let known: Vec<_> = known.filter(|known| space.is_none_or(|space| known.space == space)).collect();
        if known.is_empty() {
            return Err(none(""));
        }
        let mut failed = None;
        news.retain(|(space, url), _| known.iter().any(|known| known.space == *space && known.url == *url));
        for known in known {
            if every.is_some()
                && let Ok(mailbox) = database.open_mailbox(&known.space, &known.url)
            {
                let of_it = news.entry((known.space, known.url.clone())).or_insert_with(|| mailbox.news());
                handle.block_on(of_it.begin());
            }
            match one(context, &database, &handle, &known) {
                Ok(()) => {}
                // Each is tried; with --watch it is tried again.
                Err(failure) if every.is_some() && !failure.is_silent() => context.output.failure(&failure),
                Err(failure) => failed = failed.or(Some(failure)),
            }
        }
        if let Some(failure) = failed {
            return Err(failure);
        }
        context.output.flush()?;
        let Some(every) = every else { return Ok(()) };
        if context.served.as_ref().is_some_and(|served| served.gone.load(std::sync::atomic::Ordering::SeqCst))
        {
            return Ok(());
        }
        // Until then, or until one of them tells that something was put there.
        let any = MailboxNews::of_any(news.values_mut());
        let _ = handle.block_on(async { tokio::time::timeout(every, any).await });
    }
}

fn one(
    context: &mut Context,
    database: &Database,
    handle: &Handle,
    known: &MailboxSummary,
) -> Result<(), Failure> {
    let mailbox = database.open_mailbox(&known.space, &known.url)?;
    let options = MailboxOptions::default();
    let output = &mut context.output;
    let mut lines = |event: MailboxEvent| match event {
        MailboxEvent::Found { objects, bytes } => {
            output.detail(format!("{} of {bytes} bytes to read", counted(objects, "object")));
        }
        MailboxEvent::Received { commits, .. } => {
            output.detail(format!("received {}", counted(commits, "commit")))
        }
        MailboxEvent::Sent { commits, .. } => output.detail(format!("sent {}", counted(commits, "commit"))),
        MailboxEvent::Repaired { number } => output.detail(format!("put object {number} again")),
        MailboxEvent::Stalled { waited } => {
            output.note(format!("the mailbox has not answered for {} seconds", waited.as_secs()));
        }
        MailboxEvent::Alarm(_) | MailboxEvent::Paused | MailboxEvent::Resumed => {}
    };
    let done = handle.block_on(mailbox.sync(&options, &mut lines))?;
    if let Some(why) = &done.undeleted {
        output.note(format!(
            "an own object was changed there and cannot be taken away ({}); another stands for it",
            escape(why)
        ));
    }
    if output.json {
        return output.record(&contract::MailboxSynced {
            space: known.space,
            url: known.url.clone(),
            sent: done.sent,
            received: done.received,
            refused: done.refused,
            objects_out: done.objects_out,
            objects_in: done.objects_in,
            bytes_out: done.bytes_out,
            bytes_in: done.bytes_in,
            repaired: done.repaired,
            undeleted: done.undeleted,
            foreign: done.foreign,
            alarms: done.alarms.iter().map(contract::Alarm::from).collect(),
        });
    }
    let (sent, received) = (counted(done.sent, "commit"), counted(done.received, "commit"));
    output.text(format!("{}: sent {sent}, received {received}", escape(&known.url)))?;
    done.alarms.iter().map(|alarm| told(&alarm.into())).try_for_each(|line| output.text(line))
}
