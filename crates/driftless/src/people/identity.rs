//! Identities: a space that stands for a user on all devices. Its members are the keys of these devices, each an admin
//! of its own strength, and a document says who it is. Another device joins it by a ticket.

use std::time::Duration;

use driftless_core::document_id::DocumentId;
use driftless_core::id::{AuthorId, SpaceId, UserId};
use driftless_core::operator::{Edit, Operator};
use driftless_core::rules::{Level, Permission, RuleOperator, Strength, Subject};
use driftless_core::value::{Map, Value};

use crate::database::Database;
use crate::door::write::divide;
use crate::error::Error;
use crate::people::login::UserSummary;
use crate::people::ticket::{Invite, Ticket};
use crate::space::Space;
use crate::state::engine::Engine;

/// The collection and the document that say whose identity it is.
const PROFILE: &str = "profile";
const USER: &str = "user";
/// How much weaker a device is than the one that let it in: there is room for keys in between.
const STEP: u32 = 10;

impl UserSummary {
    /// The id of the user, once there is an identity.
    pub fn id(&self) -> Option<UserId> {
        self.identity.map(|space| UserId(space.0))
    }
}

impl Database {
    /// The space that stands for the user of this handle, if there is one yet. It need not be here.
    pub fn identity(&self) -> Result<Option<SpaceId>, Error> {
        Ok(self.find_user(&self.user()?)?.identity)
    }

    /// The identity of the user of this handle; it is made at first need, with all keys of the user as members.
    pub fn make_identity(&self) -> Result<Space, Error> {
        if let Some(id) = self.identity()? {
            return self.space(&id.to_string());
        }
        let id = self.change_users(|engine| {
            engine.change_keys(|engine, user, _| {
                if let Some(id) = user.identity {
                    return Ok(id);
                }
                let founder = engine.author();
                let space = engine.create_space(&user.name)?;
                for key in user.active().filter(|key| *key != founder) {
                    engine.enlist(&space, key)?;
                }
                let mut fields = Map::new();
                fields.insert("name".to_owned(), Value::String(user.name.clone()));
                let operators = vec![Operator::Insert { fields, parent: None }];
                let edit = Edit { collection: PROFILE.into(), document: profile_id()?, operators };
                engine.write(&space, divide(vec![edit])?)?;
                user.identity = Some(space);
                Ok(space)
            })
        })?;
        Ok(Space::new(self.clone(), id))
    }

    /// A ticket that lets one more device of the user in: whoever has it becomes this user.
    pub fn invite_device(&self, addresses: Vec<String>, expires: Option<Duration>) -> Result<Ticket, Error> {
        let space = self.make_identity()?;
        let id = space.id();
        let permission = self.read(|engine| {
            engine.present(&id)?;
            let author = engine.author_in(&id)?;
            engine.device_permission(&id, &author)
        })?;
        space.invite(Invite { permission, uses: Some(1), expires, addresses })
    }

    /// The user of this handle is the one of an identity that was joined: a space with a profile, in which a key of the
    /// user is an admin. An error if the user has another one.
    pub fn adopt_identity(&self, space: &SpaceId) -> Result<(), Error> {
        let profile = self.space(&space.to_string())?.collection(PROFILE)?.get(&profile_id()?)?;
        self.change_users(|engine| {
            engine.present(space)?;
            let author = engine.author_in(space)?;
            let permission = engine.parts(space)?.1.rules.member(&author).map(|standing| standing.permission);
            let admin = permission.is_some_and(|permission| permission.level() == Level::Admin);
            if profile.is_none() || !admin {
                return Err(Error::Invalid(
                    "this space is no identity that a key of this user belongs to".into(),
                ));
            }
            engine.change_keys(|_, user, _| match user.identity {
                Some(other) if other != *space => {
                    Err(Error::Exists(format!("an identity of user {}", user.name)))
                }
                _ => {
                    user.identity = Some(*space);
                    Ok(())
                }
            })
        })
    }
}

impl Engine {
    /// Makes one more key of a user a member of the identity.
    pub(crate) fn enlist(&mut self, space: &SpaceId, key: AuthorId) -> Result<(), Error> {
        self.present(space)?;
        let author = self.author_in(space)?;
        let permission = Some(self.device_permission(space, &author)?);
        let grant = RuleOperator::Grant { subject: Subject::Key(key), permission, keep: None };
        self.write_rules(space, vec![grant]).map(drop)
    }

    /// What a key that is an admin gives the next one.
    fn device_permission(&mut self, space: &SpaceId, author: &AuthorId) -> Result<Permission, Error> {
        let standing = self.parts(space)?.1.rules.member(author);
        match standing.map(|standing| standing.permission) {
            Some(Permission::Admin(Strength(own))) if own < Strength::WEAKEST.0 - STEP => {
                Ok(Permission::Admin(Strength(own + STEP)))
            }
            _ => Err(Error::NotPermitted("this key lets no other into the identity".into())),
        }
    }

    /// A new key of the acting user becomes a member of the identity, where that is here and the user may say so.
    pub(crate) fn follow_new(&mut self, identity: Option<SpaceId>, key: AuthorId) -> Result<(), Error> {
        let Some(space) = identity else { return Ok(()) };
        unless_answered(
            self.load(&space).and_then(|here| if here { self.enlist(&space, key) } else { Ok(()) }),
        )
    }

    /// A key of the acting user that ended is no member of the identity any more, where a stronger key can say so.
    pub(crate) fn follow_end(&mut self, identity: Option<SpaceId>, key: AuthorId) -> Result<(), Error> {
        let Some(space) = identity else { return Ok(()) };
        if !self.load(&space)? || self.parts(&space)?.1.rules.member(&key).is_none() {
            return Ok(());
        }
        unless_answered(self.grant(&space, Subject::Key(key), None).map(drop))
    }
}

// Whoever answers no has written nothing: the rest goes on.
fn unless_answered(done: Result<(), Error>) -> Result<(), Error> {
    match done {
        Err(error) if error.is_answer() => Ok(()),
        done => done,
    }
}

fn profile_id() -> Result<DocumentId, Error> {
    Ok(DocumentId::string(USER)?)
}
