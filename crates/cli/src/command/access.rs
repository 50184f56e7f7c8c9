//! `policy`, `request`, `requests`, `approve`, `reject` and `discover`: how keys get in without a ticket.

use std::sync::atomic::Ordering;
use std::time::Duration;

use driftless::{Bootstrap, CommitId, Permission, Request, RequestId, Requested, Space, SpaceId};

use super::network::{Online, addresses, arrived, exchanged, progress, shown, space_id};
use super::{Context, policy_test};
use crate::args::{AccessCommand, Policy, PolicyCommand};
use crate::contract;
use crate::failure::{Exit, Failure};
use crate::input;
use crate::output::{bootstrap_text, counted, escape, permission_text, time_text};

// The pauses of one who waits for an answer.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
// In `serve`, how often one who waits looks whether somebody still does.
const LOOK: Duration = Duration::from_millis(200);

/// A request, as it was typed.
struct Wish {
    address: String,
    space: String,
    permission: Permission,
    note: String,
    name: Option<String>,
    wait: bool,
}

pub(super) fn run(context: &mut Context, command: AccessCommand) -> Result<(), Failure> {
    match command {
        AccessCommand::Policy { trial: Some(PolicyCommand::Test { space, file }), .. } => {
            policy_test::run(context, &space, &file)
        }
        AccessCommand::Policy { space, policy, value, .. } => match (space, policy.zip(value)) {
            // The words that are read see to it that a space is named.
            (None, _) => Err(Failure::invalid("usage", "no space is named", "`driftless policy SPACE`")),
            (Some(space), Some((Policy::Bootstrap, value))) => set_bootstrap(context, &space, &value),
            (Some(space), None) => {
                let space = context.read()?.space(&space)?;
                let policy = space.bootstrap()?;
                print_policy(context, &space, policy, None)
            }
        },
        AccessCommand::Request { address, space, permission, note, name, wait } => {
            let permission = input::permission(&permission)?;
            request(context, Wish { address, space, permission, note, name, wait })
        }
        AccessCommand::Requests => requests(context),
        AccessCommand::Approve { id, permission } => approve(context, &id, permission.as_deref()),
        AccessCommand::Reject { id } => reject(context, &id),
        AccessCommand::Discover { address } => discover(context, &address),
    }
}

fn set_bootstrap(context: &mut Context, space: &str, value: &str) -> Result<(), Failure> {
    let policy = input::bootstrap(value)?;
    let space = context.write()?.space(space)?;
    let commit = space.set_bootstrap(policy)?;
    print_policy(context, &space, policy, Some(commit))
}

fn print_policy(
    context: &mut Context,
    space: &Space,
    policy: Bootstrap,
    commit: Option<CommitId>,
) -> Result<(), Failure> {
    let line = contract::Policy { space: space.id(), bootstrap: bootstrap_text(policy), commit };
    let output = &mut context.output;
    if output.json { output.record(&line) } else { output.text(format!("bootstrap  {}", line.bootstrap)) }
}

fn request(context: &mut Context, wish: Wish) -> Result<(), Failure> {
    let online = Online::new(context)?;
    let space = space_id(&online.database, &wish.space)?;
    let known: Vec<_> = online.database.peers()?.into_iter().map(|peer| peer.id).collect();
    let (mut pause, mut told) = (FIRST_PAUSE, None);
    loop {
        match ask(context, &online, &wish, space) {
            Ok(Requested::Joined { space, permission, synced }) => {
                let new = !known.contains(&synced.peer);
                let joined = arrived(context, &online, &space, wish.name.as_deref(), *synced, new)?;
                return print_admitted(context, joined, permission);
            }
            Ok(Requested::Queued(id)) if !wish.wait => {
                return print_queued(context, id, space, wish.permission);
            }
            Ok(Requested::Queued(id)) => {
                if told.replace(id) != Some(id) {
                    context.output.note(format!("queued as {id}; waiting for an admin"));
                }
            }
            // Who waits, waits also for a peer that went away, once it was there.
            Err(failure) if wish.wait && told.is_some() && is_passing(&failure) => {}
            Err(failure) => return Err(failure),
        }
        if !wait(context, &online, pause) {
            return Ok(());
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn is_passing(failure: &Failure) -> bool {
    failure.exit == Exit::Unreachable || failure.code == "queue_full"
}

// `false` if nobody waits any more.
fn wait(context: &Context, online: &Online, pause: Duration) -> bool {
    let Some(served) = &context.served else {
        online.handle.block_on(async { tokio::time::sleep(pause).await });
        return true;
    };
    let gone = served.gone.clone();
    online.handle.block_on(async {
        let until = tokio::time::Instant::now() + pause;
        while tokio::time::Instant::now() < until {
            if gone.load(Ordering::Relaxed) {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        true
    })
}

// Asks at the first address that works.
fn ask(context: &mut Context, online: &Online, wish: &Wish, space: SpaceId) -> Result<Requested, Failure> {
    let mut failed = None;
    for address in addresses(&online.database, &wish.address)? {
        let (network, note, permission) = (online.network.clone(), wish.note.clone(), wish.permission);
        let asking = async move { network.request(&address, &space, permission, &note).await };
        let bar = progress(context);
        match shown(context, online, space, &bar, asking) {
            Err(failure) if failure.exit == Exit::Unreachable => failed = Some(failure),
            outcome => return outcome,
        }
    }
    Err(failed.unwrap_or_else(|| Failure::usage("the peer has no address", "give its address")))
}

fn print_admitted(
    context: &mut Context,
    joined: contract::Joined,
    permission: Permission,
) -> Result<(), Failure> {
    let line = contract::Admitted { state: "joined", permission: permission_text(permission), joined };
    let output = &mut context.output;
    if output.json {
        return output.record(&line);
    }
    let joined = &line.joined;
    let (documents, commits) = (counted(joined.documents, "document"), counted(joined.commits, "commit"));
    output.text(format!("joined {} ({}): {documents}, {commits}", escape(&joined.name), line.permission))?;
    output.note(exchanged(&joined.exchange));
    Ok(())
}

fn print_queued(
    context: &mut Context,
    id: RequestId,
    space: SpaceId,
    permission: Permission,
) -> Result<(), Failure> {
    let line = contract::Queued { state: "queued", id, space, permission: permission_text(permission) };
    let output = &mut context.output;
    if output.json {
        return output.record(&line);
    }
    output.text(format!("queued  {id}"))?;
    output.note(
        "an admin decides, with `driftless requests` there; run this again to join when it is approved",
    );
    Ok(())
}

fn requests(context: &mut Context) -> Result<(), Failure> {
    let database = context.read()?;
    let waiting = database.requests()?;
    let output = &mut context.output;
    if waiting.is_empty() {
        output.note("nobody waits: `driftless policy SPACE bootstrap queue` lets requests wait for you");
    }
    for (at, request) in waiting.into_iter().enumerate() {
        let name = database.space(&request.space.to_string()).and_then(|space| space.name());
        let line = described(request, name.unwrap_or_default());
        if output.json {
            output.record(&line)?;
            continue;
        }
        if at > 0 {
            output.text("")?;
        }
        let from = line.source.as_ref().map(|source| format!(" from {source}")).unwrap_or_default();
        output.labels(&[
            ("request", line.id.to_string()),
            ("space", format!("{}  {}", escape(&line.name), line.space)),
            ("author", line.author.to_string()),
            ("permission", line.permission),
            ("note", escape(&line.note).into_owned()),
            ("asked", format!("{} UTC, by peer {}{from}", time_text(line.time), line.peer)),
        ])?;
    }
    Ok(())
}

fn described(request: Request, name: String) -> contract::Request {
    let Request { id, space, author, permission, note, at_ms, peer, source } = request;
    let (permission, source) = (permission_text(permission), source.map(|source| source.to_string()));
    contract::Request { id, space, name, author, permission, note, time: at_ms, peer, source }
}

fn approve(context: &mut Context, id: &str, permission: Option<&str>) -> Result<(), Failure> {
    let id = input::request(id)?;
    let permission = permission.map(input::permission).transpose()?;
    let approved = context.write()?.approve(&id, permission)?;
    let line = contract::Answered {
        id,
        space: approved.request.space,
        author: approved.request.author,
        permission: Some(permission_text(approved.permission)),
        commit: approved.commit,
    };
    let output = &mut context.output;
    if output.json {
        return output.record(&line);
    }
    output.text(format!("{}  {}", line.author, permission_text(approved.permission)))
}

fn reject(context: &mut Context, id: &str) -> Result<(), Failure> {
    let id = input::request(id)?;
    let request = context.write()?.reject(&id)?;
    let (space, author) = (request.space, request.author);
    let line = contract::Answered { id, space, author, permission: None, commit: None };
    let output = &mut context.output;
    if output.json { output.record(&line) } else { output.text(format!("rejected {author}")) }
}

fn discover(context: &mut Context, word: &str) -> Result<(), Failure> {
    let online = Online::new(context)?;
    let (mut found, mut failed) = (None, None);
    for address in addresses(&online.database, word)? {
        let network = online.network.clone();
        match online.handle.block_on(async move { network.discover(&address).await }) {
            Ok(spaces) => {
                found = Some(spaces);
                break;
            }
            Err(error) => failed = Some(Failure::from(error)),
        }
    }
    let Some(found) = found else {
        return Err(failed.unwrap_or_else(|| Failure::usage("the peer has no address", "give its address")));
    };
    let output = &mut context.output;
    if found.is_empty() {
        output.note("the peer lets you read nothing");
    }
    for space in found {
        let here = online.database.space(&space.space.to_string()).is_ok();
        let line = contract::Discovered { space: space.space, name: space.name, here };
        if output.json {
            output.record(&line)?;
        } else {
            let here = if line.here { "  here" } else { "" };
            output.text(format!("{}  {}{here}", line.space, escape(&line.name)))?;
        }
    }
    Ok(())
}
