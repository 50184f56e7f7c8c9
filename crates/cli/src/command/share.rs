//! `share`, and `find` over several spaces.

use driftless::{Database, DocumentId, SharePolicy, Sharing, SpaceId, UserId};

use super::Context;
use super::query::{Page, sort};
use crate::args::{InCollection, Share, ShareCommand};
use crate::contract;
use crate::failure::{Exit, Failure};
use crate::input;
use crate::output::{counted, escape, escape_json, id_text};

// Where an identity says whose it is.
const PROFILE: (&str, &str) = ("profile", "user");

pub(super) fn run(context: &mut Context, command: ShareCommand) -> Result<(), Failure> {
    let ShareCommand::Share(Share { document, policy, alone }) = command;
    let id = input::document_id(&document.id)?;
    let collection = context.write_collection(&document.at)?;
    let policy = read(collection.space().database(), &policy)?;
    let shared = collection.share_with(&id, &policy, Sharing { alone })?;
    let line = contract::Shared {
        id: shared.id,
        from: shared.from,
        to: policy.to_string(),
        space: shared.to,
        documents: shared.documents,
        commits: shared.commits.into_iter().map(|(_, commit)| commit).collect(),
    };
    let output = &mut context.output;
    if output.json {
        return output.record(&line);
    }
    let id = id_text(&line.id);
    match line.documents {
        0 => output.text(format!("{id} is in space {} already; nothing was moved", line.space)),
        1 => output.text(format!("moved {id} to space {}", line.space)),
        several => {
            let below = counted(several - 1, "document");
            output.text(format!("moved {id}, and {below} under it, to space {}", line.space))
        }
    }
}

fn read(database: &Database, text: &str) -> Result<SharePolicy, Failure> {
    if let Some(users) = text.strip_prefix("users:").filter(|users| !users.is_empty()) {
        let users = users.split(',').map(|word| user(database, word.trim()));
        return users.collect::<Result<_, _>>().map(SharePolicy::Users);
    }
    let parts: Vec<&str> = text.strip_prefix("ref:").unwrap_or_default().splitn(3, '/').collect();
    if let [space, collection, document] = parts.as_slice() {
        let space = match space.parse::<SpaceId>() {
            Ok(space) => space,
            Err(_) => database.space(space)?.id(),
        };
        let document = input::document_id(document)?;
        return Ok(SharePolicy::Ref { space, collection: (*collection).to_owned(), document });
    }
    text.parse().map_err(|error| {
        let hint = "`driftless share --help` shows each of them";
        Failure::invalid("invalid_policy", error, hint)
    })
}

// A user by the id of the identity, by name here, or by an identity of somebody else that is here.
fn user(database: &Database, word: &str) -> Result<UserId, Failure> {
    if let Ok(user) = word.parse::<UserId>() {
        return Ok(user);
    }
    if let Ok(space) = word.parse::<SpaceId>() {
        return Ok(UserId(space.0));
    }
    if let Ok(known) = database.find_user(word) {
        return known.id().ok_or_else(|| {
            let message = format!("user {} has no identity yet", escape(word));
            let hint = "`driftless --user NAME user identity` makes it";
            Failure::new(Exit::NotFound, "not_found", message, hint)
        });
    }
    let (collection, profile) = PROFILE;
    if let Ok(space) = database.space(word)
        && space
            .collection(collection)?
            .get(&DocumentId::string(profile).map_err(driftless::Error::from)?)?
            .is_some()
    {
        return Ok(UserId(space.id().0));
    }
    let message = format!("no user {} is known here", escape(word));
    let hint = "there, `driftless user identity` prints the id that users are named by";
    Err(Failure::new(Exit::NotFound, "not_found", message, hint))
}

/// `find` over several spaces: those that are named, with commas between them, or all that the user may read.
pub(super) fn find(
    context: &mut Context,
    at: &InCollection,
    filter: Option<&str>,
    page: &Page,
) -> Result<(), Failure> {
    let filter = input::filter(&mut context.input, filter)?;
    let order = page.sort.as_deref().map(sort).transpose()?;
    let database = context.read()?;
    let across = match at.space.as_str() {
        "*" => database.across_all(),
        words => {
            let spaces = words.split(',').map(|word| Ok(database.space(word.trim())?.id()));
            database.across(&spaces.collect::<Result<Vec<_>, Failure>>()?)
        }
    };
    let mut query = across.collection(&at.collection)?.find(filter);
    if let Some(order) = order {
        query = query.sort(order);
    }
    if page.deleted {
        query = query.include_deleted();
    }
    query = query.limit(page.limit.unwrap_or(usize::MAX)).skip(page.skip.unwrap_or_default());
    for placed in query.run()? {
        context.output.text(escape_json(&placed.to_json()))?;
    }
    Ok(())
}
