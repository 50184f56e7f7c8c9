//! The spaces that share policies name: the private space of a user, the space of exactly these users, the public one.
//!
//! Each is made at first need and remembered where all devices of the user find it: the private space in the identity,
//! the others in the private space. What two devices made at once stays; from then on both use the one made first.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use driftless_core::clock::Timestamp;
use driftless_core::document_id::DocumentId;
use driftless_core::filter::Filter;
use driftless_core::id::{SpaceId, UserId};
use driftless_core::limits::MAX_SPACE_NAME;
use driftless_core::operator::{Edit, Operator};
use driftless_core::rules::{Permission, RuleOperator, Strength, Subject};
use driftless_core::value::{Map, Value};
use driftless_core::verdict::{Rules, Via};

use crate::collection::Collection;
use crate::database::Database;
use crate::door::write::divide;
use crate::error::Error;
use crate::space::Space;
use crate::state::engine::Engine;

/// The setting of a space that was made for exactly some users: what is in it is shared with them by name.
const AUDIENCE: &str = "audience";
/// The collection of an identity that names the private space of its user.
const PRIVATE: &str = "private";
/// The collection of a private space that remembers for whom which space was made.
const AUDIENCES: &str = "audiences";
/// What the other devices of whoever made such a space may do there, and what others may.
const DEVICE: Permission = Permission::Admin(Strength(10));
const GUEST: Permission = Permission::Write(Strength(20));

/// Whether a space was made for exactly some users.
pub(crate) fn is_audience(rules: &Rules) -> bool {
    rules.settings().contains_key(AUDIENCE)
}

/// For whom a space is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Audience {
    Users(BTreeSet<UserId>),
    Anyone,
}

impl Database {
    /// The space of the user of this handle alone: every device of the user comes in by the identity. It is made at
    /// first need. An error where another device has made it and it was not synchronised yet.
    pub fn private_space(&self) -> Result<Space, Error> {
        let identity = self.make_identity()?;
        let pointers = identity.collection(PRIVATE)?;
        let first = |engine: &mut Engine| Ok(named(engine, &pointers)?.first().copied());
        let id = match self.read(first)? {
            Some(id) => id,
            None => self.write(|engine| match first(engine)? {
                Some(id) => Ok(id),
                None => {
                    let name = format!("{}-private", self.user()?);
                    let grants = [(Subject::Space(identity.id()), DEVICE)];
                    engine.make_and_note(&pointers, &name, &grants, Map::new())
                }
            })?,
        };
        self.here(id, "your private space")
    }

    /// The space of exactly these users and the user of this handle. It is made at first use; from then on all devices
    /// of the user find the same one, for as long as its rules let in nobody else and nobody less.
    pub fn audience(&self, users: &[UserId]) -> Result<Space, Error> {
        let me = UserId(self.make_identity()?.id().0);
        let all: BTreeSet<UserId> = users.iter().copied().chain([me]).collect();
        if all.len() == 1 {
            return self.private_space();
        }
        let guests = all.iter().filter(|user| **user != me);
        let mut grants = vec![(Subject::Space(SpaceId(me.0)), DEVICE)];
        grants.extend(guests.map(|user| (Subject::Space(SpaceId(user.0)), GUEST)));
        self.remembered(&Audience::Users(all), &grants)
    }

    /// The space of the user of this handle that anybody may read. It is made at first use.
    pub fn public_space(&self) -> Result<Space, Error> {
        let me = Subject::Space(self.make_identity()?.id());
        self.remembered(&Audience::Anyone, &[(me, DEVICE), (Subject::Anyone, Permission::Read)])
    }

    fn remembered(&self, audience: &Audience, grants: &[(Subject, Permission)]) -> Result<Space, Error> {
        let private = self.private_space()?;
        let identity = self.make_identity()?;
        let mut memories = vec![private.collection(AUDIENCES)?];
        for other in self.read(|engine| named(engine, &identity.collection(PRIVATE)?))? {
            // What another device made at the same time, and remembers there.
            if other != private.id() && self.read(|engine| engine.load(&other))? {
                memories.push(Space::new(self.clone(), other).collection(AUDIENCES)?);
            }
        }
        let [memory, ..] = memories.as_slice() else { return Err(Error::not_found("space", private.id())) };
        let first = |engine: &mut Engine| {
            let mut known = Vec::new();
            for memory in &memories {
                known.extend(audiences(engine, memory)?);
            }
            known.sort_unstable_by_key(|(made, space, _)| (*made, *space));
            for (_, space, of) in known {
                if of == *audience && engine.is_of(&space, grants, &identity.id())? {
                    return Ok(Some(space));
                }
            }
            Ok(None)
        };
        let id = match self.read(first)? {
            Some(id) => id,
            None => self.write(|engine| match first(engine)? {
                Some(id) => Ok(id),
                None => {
                    let name = engine.audience_name(audience);
                    engine.make_and_note(memory, &name, grants, audience.fields())
                }
            })?,
        };
        self.here(id, "the space of this audience")
    }

    fn here(&self, id: SpaceId, what: &'static str) -> Result<Space, Error> {
        if self.read(|engine| engine.load(&id))? {
            return Ok(Space::new(self.clone(), id));
        }
        // Another one would divide what belongs together.
        Err(Error::not_found(what, format!("{id}, which another of your devices made,")))
    }
}

impl Engine {
    /// Makes a space for whom it is granted, and a document that remembers it, at once.
    fn make_and_note(
        &mut self,
        memory: &Collection,
        name: &str,
        grants: &[(Subject, Permission)],
        fields: Map,
    ) -> Result<SpaceId, Error> {
        // Whatever may be refused is refused before anything is written.
        let parents = self.may_write(&memory.space().id(), None)?;
        let space = self.create_space(name)?;
        let grant = |(subject, permission): &(Subject, Permission)| RuleOperator::Grant {
            subject: *subject,
            permission: Some(*permission),
            keep: None,
        };
        let mut rules: Vec<RuleOperator> = grants.iter().map(grant).collect();
        if fields.get("users").is_some() {
            // Null; that it is there is what counts.
            rules.push(RuleOperator::Setting { key: AUDIENCE.to_owned(), value: vec![0xf6] });
        }
        let operators = vec![Operator::Insert { fields, parent: None }];
        let document = DocumentId::string(space.to_string())?;
        let edit = Edit { collection: memory.name().into(), document, operators };
        let noted = self
            .write_rules(&space, rules)
            .and_then(|_| self.write_on(&memory.space().id(), parents, divide(vec![edit])?));
        // A space that nobody else gets into and nobody finds is worse than no database.
        noted.inspect_err(|error| self.poison(error))?;
        Ok(space)
    }

    /// Whether the rules of a space let in exactly those who are granted something in `wanted`. One that is not here is
    /// taken at its word.
    fn is_of(
        &mut self,
        space: &SpaceId,
        wanted: &[(Subject, Permission)],
        identity: &SpaceId,
    ) -> Result<bool, Error> {
        if !self.load(space)? {
            return Ok(true);
        }
        let mut own: BTreeSet<_> = self.own_keys().into_iter().collect();
        if self.load(identity)? {
            let members = self.parts(identity)?.1.rules.members().into_keys();
            own.extend(members.filter_map(|subject| match subject {
                Subject::Key(key) => Some(key),
                _ => None,
            }));
        }
        let rules = &self.present(space)?.rules;
        let members = rules.members();
        let fits = |subject: &Subject| match subject {
            Subject::Key(key) => {
                own.contains(key)
                    || rules.member(key).is_some_and(|standing| matches!(standing.via, Via::Space(_)))
            }
            subject => wanted.iter().any(|(wanted, _)| wanted == subject),
        };
        let lasts = |(subject, permission): &(Subject, Permission)| {
            members.get(subject).is_some_and(|present| present.covers(*permission))
        };
        Ok(members.keys().all(fits) && wanted.iter().all(lasts))
    }

    /// A name to tell it from others by: whose names are known here are named.
    fn audience_name(&self, audience: &Audience) -> String {
        let me = self.acting.name.clone();
        let Audience::Users(users) = audience else { return format!("{me}-public") };
        let name = |user: &UserId| {
            let known = self.users.all().find(|known| known.identity == Some(SpaceId(user.0)));
            known.map_or_else(|| user.to_string().chars().take(10).collect(), |known| known.name.clone())
        };
        let others = users.iter().filter(|user| Some(SpaceId(user.0)) != self.own_identity()).map(name);
        let mut whole = std::iter::once(me.clone()).chain(others).collect::<Vec<_>>().join("+");
        if whole.len() > MAX_SPACE_NAME {
            whole = format!("{me}+{}", users.len() - 1);
        }
        whole
    }
}

impl Audience {
    fn fields(&self) -> Map {
        let (key, value) = match self {
            Self::Anyone => ("anyone", Value::Bool(true)),
            Self::Users(users) => {
                ("users", Value::List(users.iter().map(|user| Value::String(user.to_string())).collect()))
            }
        };
        let mut fields = Map::new();
        fields.insert(key.to_owned(), value);
        fields
    }

    // None for what another version means by it.
    fn read(fields: &Map) -> Option<Self> {
        if fields.get("anyone") == Some(&Value::Bool(true)) {
            return Some(Self::Anyone);
        }
        let Some(Value::List(users)) = fields.get("users") else { return None };
        let user = |value: &Value| match value {
            Value::String(text) => text.parse::<UserId>().ok(),
            _ => None,
        };
        users.iter().map(user).collect::<Option<_>>().map(Self::Users)
    }
}

// The spaces that documents of a collection are named after, with what they say; the first made first.
fn noted(engine: &mut Engine, memory: &Collection) -> Result<Vec<(Timestamp, SpaceId, Map)>, Error> {
    if !engine.load(&memory.space().id())? {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    memory.find(Filter::all()).each_in(engine, &mut |id, state| {
        let space = match id.to_value() {
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        found.extend(space.map(|space| (state.created(), space, state.fields().clone())));
        ControlFlow::Continue(())
    })?;
    found.sort_unstable_by_key(|(made, space, _)| (*made, *space));
    Ok(found)
}

fn named(engine: &mut Engine, pointers: &Collection) -> Result<Vec<SpaceId>, Error> {
    Ok(noted(engine, pointers)?.into_iter().map(|(_, space, _)| space).collect())
}

fn audiences(engine: &mut Engine, memory: &Collection) -> Result<Vec<(Timestamp, SpaceId, Audience)>, Error> {
    let noted = noted(engine, memory)?.into_iter();
    Ok(noted.filter_map(|(made, space, fields)| Some((made, space, Audience::read(&fields)?))).collect())
}
