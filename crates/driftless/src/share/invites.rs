//! Invites between users: an invite is a document in the space of exactly its two users, and holds what a ticket holds.
//!
//! Whoever accepts joins by the ticket, and all devices of that user find the space among their roots. It must not know
//! how anything travels.

use driftless_core::document::Document;
use driftless_core::document_id::DocumentId;
use driftless_core::filter::Filter;
use driftless_core::id::{SpaceId, UserId};
use driftless_core::operator::operators_from_json;
use driftless_core::rules::{Level, Permission, Subject};
use driftless_core::value::{Map, Value};

use crate::database::Database;
use crate::error::Error;
use crate::people::ticket::{Invite, Ticket};
use crate::share::audience::is_audience;
use crate::space::Space;

/// The collection of the space of two users that holds what one invites the other to.
const INVITES: &str = "invites";

/// An invitation of a user to a space.
#[derive(Debug, Clone, PartialEq)]
pub struct UserInvite {
    /// The id of its document.
    pub id: DocumentId,
    /// The space of the two users, which holds it.
    pub audience: SpaceId,
    /// The space that the user is invited to.
    pub space: SpaceId,
    /// Its name where the invite was made.
    pub name: String,
    /// Who invites.
    pub from: UserId,
    /// Who is invited.
    pub to: UserId,
    /// What accepting it gives, as a word: read, write or admin.
    pub permission: String,
    /// What became of it.
    pub answer: Answered,
}

/// What became of an invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// Nothing yet.
    Open,
    /// It was accepted.
    Accepted,
    /// It was declined.
    Declined,
}

impl Answered {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Accepted => "accepted",
            Self::Declined => "declined",
        }
    }
}

impl Database {
    /// Invites a user to a space: writes an invite into its rules, and what a ticket would hold into the space that only
    /// that user and the one of this handle share. All devices of the user can come in by it. Needs the permission to
    /// administer the space.
    pub fn invite_user(
        &self,
        space: &Space,
        user: &UserId,
        permission: Permission,
        addresses: Vec<String>,
    ) -> Result<UserInvite, Error> {
        let me = UserId(self.make_identity()?.id().0);
        if *user == me {
            return Err(Error::Invalid("whoever invites is a member already".into()));
        }
        let audience = self.audience(&[*user])?;
        let invites = audience.collection(INVITES)?;
        let ticket = space.invite(Invite { permission, uses: None, expires: None, addresses })?;
        let word = match permission.level() {
            Level::Read => "read",
            Level::Write => "write",
            Level::Admin => "admin",
        };
        let mut fields = Map::new();
        for (key, text) in [
            ("space", space.id().to_string()),
            ("name", ticket.name.clone()),
            ("to", user.to_string()),
            ("permission", word.to_owned()),
            ("ticket", ticket.to_string()),
        ] {
            fields.insert(key.to_owned(), Value::String(text));
        }
        let written = invites.insert(fields)?;
        self.invite_of(&audience.id(), &written.id)
    }

    /// The invites that concern the user of this handle, made by it or for it, as far as they have arrived.
    pub fn invites(&self) -> Result<Vec<UserInvite>, Error> {
        let Some(me) = self.identity()? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for audience in self.audiences_of(&me)? {
            for document in self.invites_in(&audience)?.find(Filter::all()).run()? {
                found.extend(self.read_invite(&audience, &document)?);
            }
        }
        Ok(found)
    }

    /// The invite with an id, or with a text that only one id begins with.
    pub fn find_invite(&self, text: &str) -> Result<UserInvite, Error> {
        let all = self.invites()?.into_iter();
        let mut found: Vec<UserInvite> = all.filter(|invite| invite.id.text().starts_with(text)).collect();
        if let Some(exact) = found.iter().position(|invite| invite.id.text() == text) {
            return Ok(found.swap_remove(exact));
        }
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(Error::not_found("invite", text)),
            _ => Err(Error::Invalid(format!("more than one invite begins with {text}: write more of it"))),
        }
    }

    /// Accepts an invite: all devices of the user have the space among their roots from now on, and come in by the
    /// ticket as soon as they meet somebody who serves it.
    pub fn accept(&self, invite: &UserInvite) -> Result<(), Error> {
        self.answer(invite, Answered::Accepted)?;
        self.add_root(&invite.space)
    }

    /// Declines an invite; the space is no root any more, if it was one by this.
    pub fn decline(&self, invite: &UserInvite) -> Result<(), Error> {
        self.answer(invite, Answered::Declined)?;
        self.remove_root(&invite.space).map(drop)
    }

    /// The ticket of an invite.
    pub fn invite_ticket(&self, invite: &UserInvite) -> Result<Ticket, Error> {
        let document = self.invites_in(&invite.audience)?.get(&invite.id)?;
        let ticket = document.as_ref().and_then(|document| document.fields.get("ticket")?.as_str());
        ticket.ok_or_else(|| Error::not_found("invite", invite.id.text()))?.parse()
    }

    fn answer(&self, invite: &UserInvite, answer: Answered) -> Result<(), Error> {
        if self.identity()?.is_none_or(|me| UserId(me.0) != invite.to) {
            return Err(Error::NotPermitted("only who is invited answers an invite".into()));
        }
        // Whoever came in by its identity enters before it writes.
        if self.read(|engine| engine.could_enrol(&invite.audience))? {
            self.write(|engine| engine.enrol_where_let_in(&invite.audience))?;
        }
        let set = operators_from_json(&format!(r#"{{"$set": {{"answer": "{}"}}}}"#, answer.word()));
        let set = set.map_err(|error| Error::Invalid(error.to_string()))?;
        self.invites_in(&invite.audience)?.edit(&invite.id, set).map(drop)
    }

    /// The ticket of an invite to a space that the user of this handle has accepted.
    pub(crate) fn accepted_ticket(&self, space: &SpaceId) -> Result<Option<Ticket>, Error> {
        let me = self.identity()?;
        let invite = self.invites()?.into_iter().find(|invite| {
            let mine = me.is_some_and(|me| UserId(me.0) == invite.to);
            mine && invite.space == *space && invite.answer == Answered::Accepted
        });
        let ticket = invite.map(|invite| self.invite_ticket(&invite)).transpose()?;
        // Whoever invites to one space is not to bring anybody into another.
        Ok(ticket.filter(|ticket| ticket.space == *space))
    }

    fn invite_of(&self, audience: &SpaceId, id: &DocumentId) -> Result<UserInvite, Error> {
        let document = self.invites_in(audience)?.get(id)?;
        let invite = document.map(|document| self.read_invite(audience, &document)).transpose()?.flatten();
        invite.ok_or_else(|| Error::not_found("invite", id.text()))
    }

    fn invites_in(&self, audience: &SpaceId) -> Result<crate::collection::Collection, Error> {
        self.space(&audience.to_string())?.collection(INVITES)
    }

    // None for what is no invite, or not one between the two whom the space is for: what it says of itself counts less
    // than what the rules say.
    fn read_invite(&self, audience: &SpaceId, document: &Document) -> Result<Option<UserInvite>, Error> {
        let text = |key: &str| document.fields.get(key).and_then(Value::as_str);
        let to: Option<UserId> = text("to").and_then(|text| text.parse().ok());
        let space: Option<SpaceId> = text("space").and_then(|text| text.parse().ok());
        let (Some(to), Some(space)) = (to, space) else { return Ok(None) };
        let users = self.users_of(audience)?;
        let [one, other] = users.as_slice() else { return Ok(None) };
        let from = match (to == *one, to == *other) {
            (true, _) => *other,
            (_, true) => *one,
            _ => return Ok(None),
        };
        // Somebody who writes an invite to oneself has invited nobody.
        let to_writes = self.read(|engine| {
            engine.load(audience)?;
            let rules = &engine.parts(audience)?.1.rules;
            let came = rules.came_through(&SpaceId(to.0), &document.author);
            let own = engine.own_identity() == Some(SpaceId(to.0));
            Ok(came || own && engine.own_keys().contains(&document.author))
        })?;
        if to_writes {
            return Ok(None);
        }
        let answer = match text("answer") {
            Some("accepted") => Answered::Accepted,
            Some("declined") => Answered::Declined,
            _ => Answered::Open,
        };
        Ok(Some(UserInvite {
            id: document.id.clone(),
            audience: *audience,
            space,
            name: text("name").unwrap_or_default().to_owned(),
            from,
            to,
            permission: text("permission").unwrap_or_default().to_owned(),
            answer,
        }))
    }

    fn users_of(&self, audience: &SpaceId) -> Result<Vec<UserId>, Error> {
        self.read(|engine| {
            engine.load(audience)?;
            let members = engine.parts(audience)?.1.rules.members().into_keys();
            let user = |subject| match subject {
                Subject::Space(space) => Some(UserId(space.0)),
                Subject::Anyone | Subject::Key(_) => None,
            };
            Ok(members.filter_map(user).collect())
        })
    }

    // The spaces here that were made for exactly some users, of whom this is one.
    fn audiences_of(&self, user: &SpaceId) -> Result<Vec<SpaceId>, Error> {
        let here: Vec<SpaceId> = self.spaces()?.into_iter().map(|space| space.id).collect();
        let mut found = Vec::new();
        for space in here {
            let is = self.read(|engine| {
                if !engine.load(&space)? {
                    return Ok(false);
                }
                let rules = &engine.parts(&space)?.1.rules;
                Ok(is_audience(rules) && rules.members().contains_key(&Subject::Space(*user)))
            })?;
            found.extend(is.then_some(space));
        }
        Ok(found)
    }
}
