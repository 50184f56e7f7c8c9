//! `mailbox add`, `sync`, `list` and `remove`.

use std::time::Duration;

use driftless::{Database, MailboxEvent, MailboxOptions, MailboxSummary, SpaceId};
use tokio::runtime::{Handle, Runtime};

use super::Context;
use crate::args::MailboxCommand;
use crate::contract;
use crate::failure::Failure;
use crate::output::{Output, Table, counted, escape, time_text};
use crate::runtime;

pub(super) fn run(context: &mut Context, command: MailboxCommand) -> Result<(), Failure> {
    match command {
        MailboxCommand::Add { space, url } => add(context, &space, &url),
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

fn add(context: &mut Context, space: &str, url: &str) -> Result<(), Failure> {
    let database = context.maintain()?;
    let space = id(&database, space)?;
    // Also makes the folder, so that a wrong path is known now.
    database.open_mailbox(&space, url)?;
    let new = database.add_mailbox(&space, url)?;
    let output = &mut context.output;
    if output.json {
        let known = database.mailboxes()?.into_iter().find(|known| known.space == space && known.url == url);
        return known.map_or(Ok(()), |known| output.record(&contract::Mailbox::from(known)));
    }
    let done = if new { "is a mailbox of this space now" } else { "was a mailbox of this space already" };
    output.text(format!("{} {done}; whoever runs it can read what is in it", escape(url)))
}

fn remove(context: &mut Context, space: &str, url: Option<&str>) -> Result<(), Failure> {
    let database = context.maintain()?;
    let space = id(&database, space)?;
    let of_it = |known: &MailboxSummary| known.space == space && url.is_none_or(|url| known.url == url);
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
    loop {
        let known = database.mailboxes()?.into_iter();
        let known: Vec<_> = known.filter(|known| space.is_none_or(|space| known.space == space)).collect();
        if known.is_empty() {
            return Err(none(""));
        }
        let mut failed = None;
        for known in known {
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
        handle.block_on(tokio::time::sleep(every));
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
            foreign: done.foreign,
            alarms: done.alarms.iter().map(contract::Alarm::from).collect(),
        });
    }
    let (sent, received) = (counted(done.sent, "commit"), counted(done.received, "commit"));
    output.text(format!("{}: sent {sent}, received {received}", escape(&known.url)))?;
    done.alarms.iter().map(|alarm| told(&alarm.into())).try_for_each(|line| output.text(line))
}
