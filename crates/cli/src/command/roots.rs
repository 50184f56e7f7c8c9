//! `invite`, `invites`, `accept`, `decline`, `roots` and `reset`: what is pulled for a user, and who invites whom.

use std::time::Duration;

use driftless::{Database, DocumentSync, UserId, UserInvite};

use super::Context;
use super::network::{Online, addresses, reached_at, space_id};
use crate::args::{RootsChange, RootsCommand};
use crate::contract;
use crate::failure::{Exit, Failure};
use crate::input;
use crate::output::{Table, counted, escape};

/// How long one who joins, or resets, waits for a peer: the rest comes by itself.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn run(context: &mut Context, command: RootsCommand) -> Result<(), Failure> {
    match command {
        RootsCommand::Invite { space, whom, permission, address } => {
            invite(context, &space, &whom, &permission, &address)
        }
        RootsCommand::Invites { from } => invites(context, from.as_deref()),
        RootsCommand::Accept { id } => accept(context, &id),
        RootsCommand::Decline { id } => {
            let database = context.write()?;
            let invite = database.find_invite(&id)?;
            database.decline(&invite)?;
            print(context, &[database.find_invite(&invite.id.text())?])
        }
        RootsCommand::Roots { change } => roots(context, change.as_ref()),
        RootsCommand::Reset { space, .. } => reset(context, space.as_deref()),
    }
}

fn invite(
    context: &mut Context,
    space: &str,
    user: &str,
    permission: &str,
    address: &[String],
) -> Result<(), Failure> {
    let permission = input::permission(permission)?;
    let database = context.write()?;
    let (space, user) = (database.space(space)?, user_id(&database, user)?);
    let addresses = reached_at(context, address)?;
    let invite = database.invite_user(&space, &user, permission, addresses)?;
    print(context, &[invite])
}

fn user_id(database: &Database, word: &str) -> Result<UserId, Failure> {
    if let Ok(user) = word.parse() {
        return Ok(user);
    }
    let hint = "a user id begins with `u_`; `driftless user show` prints it where that user is";
    let known = database.find_user(word)?;
    known.id().ok_or_else(|| {
        Failure::invalid("invalid_user", format!("user {} has no identity yet", escape(word)), hint)
    })
}

fn invites(context: &mut Context, from: Option<&str>) -> Result<(), Failure> {
    let Some(word) = from else {
        let database = context.read()?;
        return print(context, &database.invites()?);
    };
    let online = Online::new(context)?;
    let mut failed = None;
    for address in addresses(&online.database, word)? {
        let network = online.network.clone();
        let asked = online.handle.block_on(async move {
            let sync = DocumentSync::builder(&network).start()?;
            sync.connect(&address).await?;
            sync.pull_now().await;
            sync.close().await
        });
        match asked {
            Ok(()) => return print(context, &online.database.invites()?),
            Err(error) => failed = Some(Failure::from(error)),
        }
    }
    Err(failed.unwrap_or_else(|| Failure::usage("the peer has no address", "give its address")))
}

fn accept(context: &mut Context, id: &str) -> Result<(), Failure> {
    let online = Online::new(context)?;
    let database = &online.database;
    let invite = database.find_invite(id)?;
    database.accept(&invite)?;
    let (network, ticket) = (online.network.clone(), database.invite_ticket(&invite)?);
    let joining = async move { tokio::time::timeout(PATIENCE, network.join(&ticket)).await };
    let joined = match online.handle.block_on(joining) {
        Ok(Ok(_)) => true,
        Err(_) => false,
        Ok(Err(error)) => {
            let failure = Failure::from(error);
            if failure.exit != Exit::Unreachable && failure.code != "invalid" {
                return Err(failure);
            }
            false
        }
    };
    let line = contract::Accepted { space: invite.space, name: invite.name, joined };
    let output = &mut context.output;
    if output.json {
        return output.record(&line);
    }
    let what =
        if joined { "joined" } else { "nobody who serves it was reached yet: it comes when somebody is" };
    output.text(format!("{}  {}  {what}", line.space, escape(&line.name)))
}

fn roots(context: &mut Context, change: Option<&RootsChange>) -> Result<(), Failure> {
    let database = match change {
        None => context.read()?,
        Some(_) => context.write()?,
    };
    match change {
        None => {}
        Some(RootsChange::Add { space }) => {
            let space = space_id(&database, space)?;
            database.add_root(&space)?;
        }
        Some(RootsChange::Remove { space }) => {
            let space = space_id(&database, space)?;
            if !database.remove_root(&space)? {
                let hint = "`driftless roots` lists them";
                return Err(Failure::new(
                    Exit::NotFound,
                    "not_found",
                    format!("space {space} is no root"),
                    hint,
                ));
            }
        }
    }
    for space in database.roots()? {
        let here = database.space(&space.to_string()).ok();
        let name = here.as_ref().map(driftless::Space::name).transpose()?.unwrap_or_default();
        let line = contract::Discovered { space, name, here: here.is_some() };
        let output = &mut context.output;
        if output.json {
            output.record(&line)?;
        } else {
            output.text(format!("{}  {}", line.space, escape(&line.name)))?;
        }
    }
    Ok(())
}

fn reset(context: &mut Context, space: Option<&str>) -> Result<(), Failure> {
    let online = Online::new(context)?;
    let database = &online.database;
    let space = space.map(|word| Ok::<_, Failure>(database.space(word)?.id())).transpose()?;
    database.reset_pulls(space.as_ref())?;
    let spaces = match space {
        Some(space) => vec![space],
        None => database.spaces()?.into_iter().map(|space| space.id).collect(),
    };
    let (mut peers, mut received) = (0_u64, 0_u64);
    for peer in database.peers()? {
        for address in addresses(database, &peer.id.to_string()).unwrap_or_default() {
            let (network, spaces) = (online.network.clone(), spaces.clone());
            let pulling = async move { network.pull_all(&address, &spaces).await };
            // Whoever is away is asked by the next exchange.
            if let Ok(pulled) = online.handle.block_on(pulling) {
                peers += 1;
                let new = pulled.iter().filter_map(|(_, pulled)| pulled.as_ref().ok());
                received += new.map(|pulled| pulled.moved.received).sum::<u64>();
                break;
            }
        }
    }
    let line = contract::Reset { spaces: spaces.len() as u64, peers, received };
    let output = &mut context.output;
    if output.json {
        return output.record(&line);
    }
    output.text(format!("pulled again from {}, {} came", counted(peers, "peer"), counted(received, "commit")))
}

fn print(context: &mut Context, invites: &[UserInvite]) -> Result<(), Failure> {
    let output = &mut context.output;
    if !output.json && invites.is_empty() {
        output.note("there are no invites");
        return Ok(());
    }
    let mut table = Table::new(&["INVITE", "SPACE", "NAME", "FROM", "TO", "PERMISSION", "ANSWER"]);
    for invite in invites {
        let line = contract::UserInvite {
            id: invite.id.clone(),
            space: invite.space,
            name: invite.name.clone(),
            from: invite.from,
            to: invite.to,
            permission: invite.permission.clone(),
            answer: invite.answer.word(),
        };
        if output.json {
            output.record(&line)?;
        } else {
            table.row([
                line.id.text(),
                line.space.short(),
                escape(&line.name).into_owned(),
                line.from.short(),
                line.to.short(),
                escape(&line.permission).into_owned(),
                line.answer.to_owned(),
            ]);
        }
    }
    if output.json { Ok(()) } else { output.table(&table) }
}
