//! A room is a space: messages and names are its documents, and whoever may write in it is a member.
//!
//! Nothing here waits for a network. What is written is durable at once, and travels when somebody is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use driftless::{
    AuthorId, Bootstrap, Database, DocumentId, Error, Filter, Insert, LogQuery, Map, PeerId, Permission,
    Space, SpaceId, Strength, Subject, Value,
};

const MESSAGES: &str = "messages";
const PEOPLE: &str = "people";
/// What whoever knows the id of a room may do in it: write, and not administer.
pub(crate) const WRITER: Permission = Permission::Write(Strength(100));

/// A room on this machine.
#[derive(Clone)]
pub(crate) struct Room {
    space: Space,
}

/// What somebody wrote, ready to be shown.
pub(crate) struct Message {
    /// The document, so that nothing is shown twice.
    pub(crate) id: DocumentId,
    /// The name of who wrote it.
    pub(crate) from: String,
    /// When, by the clock of who wrote it: Unix milliseconds.
    pub(crate) at: u64,
    /// The text, on one line.
    pub(crate) text: String,
    /// Written here.
    pub(crate) own: bool,
}

/// Somebody who may write here.
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) you: bool,
    /// A database that has proven this key is connected.
    pub(crate) connected: bool,
}

impl Room {
    /// Founds a room. Whoever shows its id to this device is let in.
    pub(crate) fn create(database: &Database, name: &str) -> Result<Self, Error> {
        let space = database.create_space(name)?;
        space.set_bootstrap(Bootstrap::Approve(WRITER))?;
        Ok(Self { space })
    }

    /// All rooms of a database.
    pub(crate) fn all(database: &Database) -> Result<Vec<Self>, Error> {
        let spaces = database.spaces()?.into_iter();
        spaces.map(|summary| Ok(Self { space: database.space(&summary.id.to_string())? })).collect()
    }

    pub(crate) fn id(&self) -> SpaceId {
        self.space.id()
    }

    pub(crate) fn name(&self) -> Result<String, Error> {
        Ok(shown(&self.space.name()?))
    }

    /// Says how the user is called, in a document of the key that signs here. The room has to know that key.
    pub(crate) fn introduce(&self, name: &str) -> Result<(), Error> {
        let (people, id) = (self.space.collection(PEOPLE)?, profile_of(&self.space.author()?)?);
        let fields = Map::from_iter([("name", Value::String(name.to_owned()))]);
        match people.get(&id)? {
            Some(profile) if profile.fields == fields => {}
            Some(_) => drop(people.save(&id, fields)?),
            None => drop(people.insert_with(fields, Insert { id: Some(id), ..Insert::default() })?),
        }
        Ok(())
    }

    /// Writes a message. It is durable when this returns, whoever is connected.
    pub(crate) fn send(&self, from: &str, text: &str) -> Result<(), Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let message = Map::from_iter([
            ("text", Value::String(text.to_owned())),
            ("at", Value::I64(now.as_millis() as i64)),
            ("from", Value::String(from.to_owned())),
        ]);
        self.space.collection(MESSAGES)?.insert(message)?;
        Ok(())
    }

    /// All messages, an answer after what it answers: the time of a commit is later than that of all its author had seen.
    pub(crate) fn messages(&self) -> Result<Vec<Message>, Error> {
        let (own, names) = (self.space.author()?, self.names()?);
        let mut found = self.space.collection(MESSAGES)?.find(Filter::all()).run()?;
        found.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        let message = |document: driftless::Document| {
            // Anybody's program may write here: what is no message is left out.
            let text = |key| document.fields.get(key).and_then(Value::as_str);
            let at = document.fields.get("at").and_then(Value::as_i64).unwrap_or_default();
            Some(Message {
                from: names.get(&document.author).cloned().or_else(|| text("from").map(shown))?,
                at: at.try_into().unwrap_or_default(),
                text: shown(text("text")?),
                own: document.author == own,
                id: document.id,
            })
        };
        Ok(found.into_iter().filter_map(message).collect())
    }

    /// Everybody who may write here, and of whom a database is connected.
    pub(crate) fn people(&self, connected: &BTreeSet<PeerId>) -> Result<Vec<Person>, Error> {
        let names = self.names()?;
        let peers = self.space.database().peers_now()?;
        let here = peers.iter().filter(|peer| connected.contains(&peer.id));
        let here: BTreeSet<AuthorId> = here.flat_map(|peer| peer.authors.iter().copied()).collect();
        let people = self.space.members()?.into_iter().filter_map(|member| match member.subject {
            Subject::Key(key) => Some(Person {
                name: names.get(&key).cloned().unwrap_or_else(|| key.short()),
                you: member.you,
                connected: member.you || here.contains(&key),
            }),
            // Nobody lets in teams or everybody here.
            Subject::Space(_) | Subject::Anyone => None,
        });
        Ok(people.collect())
    }

    // How people call themselves, where they said so themselves.
    fn names(&self) -> Result<BTreeMap<AuthorId, String>, Error> {
        let mut names = BTreeMap::new();
        for profile in self.space.collection(PEOPLE)?.find(Filter::all()).run()? {
            if let Some(name) = profile.fields.get("name").and_then(Value::as_str)
                && profile.id == profile_of(&profile.author)?
            {
                names.insert(profile.author, shown(name));
            }
        }
        Ok(names)
    }

    /// The own messages that no peer has yet: those in the part of the log that nobody has acknowledged.
    pub(crate) fn unsent(&self) -> Result<BTreeSet<String>, Error> {
        let peers = self.space.database().peers_now()?;
        let agreed = peers.iter().flat_map(|peer| &peer.agreed).filter(|agreed| agreed.space == self.id());
        let acknowledged = agreed.map(|agreed| agreed.position).max().unwrap_or(0);
        let beyond = self.space.summary()?.commits.saturating_sub(acknowledged);
        let (own, mut unsent) = (self.space.author()?, BTreeSet::new());
        for line in self.space.log(LogQuery { limit: Some(beyond as usize), ..LogQuery::default() })? {
            let ids = line.edits.iter().filter_map(|edit| edit.get("id")?.as_str().map(str::to_owned));
            unsent.extend(ids.filter(|_| line.author == own));
        }
        Ok(unsent)
    }
}

// The id of the document in which the owner of a key says who they are.
fn profile_of(key: &AuthorId) -> Result<DocumentId, Error> {
    DocumentId::string(key.to_string()).map_err(|error| Error::Invalid(error.to_string()))
}

/// Text of others as it may stand on a terminal, on one line: what would act on the terminal, or turn the direction of
/// text, is shown as an escape.
pub(crate) fn shown(text: &str) -> String {
    let acts = |character: char| {
        character.is_control()
            || matches!(character,
                '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if acts(character) { out.extend(character.escape_default()) } else { out.push(character) }
    }
    out
}
