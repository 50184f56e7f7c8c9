//! A space: its collections, members, log, digest. A handle; the state is in the database.

use driftless_core::id::{AuthorId, CommitId, SpaceId};
use driftless_core::limits::MAX_SPACE_NAME;
use driftless_core::rules::{Permission, Subject};

use crate::database::Database;
use crate::error::Error;
use crate::state::engine::Engine;
use crate::state::replica::Summary;
use crate::tables::collections::Collections;

/// A tree of documents under one genesis: the unit of permission and of exchange.
#[derive(Debug, Clone)]
pub struct Space {
    database: Database,
    id: SpaceId,
}

/// What `space list` shows.
#[derive(Debug, Clone, PartialEq)]
pub struct SpaceSummary {
    /// The id.
    pub id: SpaceId,
    /// Its name in this database.
    pub name: String,
    /// Commits in the log.
    pub commits: u64,
    /// Visible documents.
    pub documents: u64,
    /// Admitted commits without a child, sorted.
    pub heads: Vec<CommitId>,
}

/// What two replicas compare.
#[derive(Debug, Clone, PartialEq)]
pub struct Digest {
    /// The space.
    pub space: SpaceId,
    /// Admitted commits without a child, sorted: equal heads mean equal sets of commits.
    pub heads: Vec<CommitId>,
    /// Commits in the log.
    pub commits: u64,
    /// Visible documents.
    pub documents: u64,
    /// Equal on two replicas exactly when their visible documents are equal.
    pub view: String,
}

/// Somebody whom the rules name.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// A key, or anyone.
    pub subject: Subject,
    /// What holds for it.
    pub permission: Permission,
    /// Whether the user of the handle signs with that key.
    pub you: bool,
}

impl SpaceSummary {
    pub(crate) fn read(engine: &mut Engine, id: SpaceId) -> Result<Self, Error> {
        engine.present(&id)?;
        engine.write_view()?;
        let replica = engine.parts(&id)?.1;
        let summary = replica.summary();
        let mut heads: Vec<CommitId> = replica.sync_heads().map(|head| head.id).collect();
        heads.sort();
        Ok(Self {
            id,
            name: summary.local_name().to_owned(),
            commits: summary.counts.commits,
            documents: summary.documents,
            heads,
        })
    }
}

impl Database {
    /// Founds a space with the default key of the user, its strongest admin. Names are labels; two spaces may have the same one.
    pub fn create_space(&self, name: &str) -> Result<Space, Error> {
        check_name(name)?;
        let id = self.write(|engine| engine.create_space(name))?;
        Ok(Space::new(self.clone(), id))
    }

    /// A space by its id, a unique prefix of at least 8 characters of it, or its name here.
    pub fn space(&self, text: &str) -> Result<Space, Error> {
        let summaries = self.read(|engine| engine.summaries())?;
        let all = |fits: &dyn Fn(&Summary) -> bool| -> Vec<&Summary> {
            summaries.iter().filter(|summary| fits(summary)).collect()
        };
        // An id is nobody else's; a name can be made to look like one.
        let mut found = all(&|summary| summary.id.to_string() == text);
        if found.is_empty() {
            found = all(&|summary| summary.local_name() == text);
        }
        if found.is_empty() {
            found = all(&|summary| summary.id.has_prefix(text));
        }
        match found.as_slice() {
            [] => Err(Error::not_found("space", text)),
            [one] => Ok(Space::new(self.clone(), one.id)),
            _ => Err(Error::Ambiguous { what: "space", name: text.to_owned() }),
        }
    }

    /// All spaces on this machine, in the order in which they came.
    pub fn spaces(&self) -> Result<Vec<SpaceSummary>, Error> {
        self.read(|engine| {
            let summaries = engine.summaries()?;
            summaries.iter().map(|summary| SpaceSummary::read(engine, summary.id)).collect()
        })
    }
}

impl Space {
    pub(crate) fn new(database: Database, id: SpaceId) -> Self {
        Self { database, id }
    }

    /// The id: that of the genesis commit.
    pub fn id(&self) -> SpaceId {
        self.id
    }

    /// The database that this handle belongs to.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The key that signs here: of the active keys of the user the one that may do most in this space, the strongest
    /// of these; the default key where no other is better.
    pub fn author(&self) -> Result<AuthorId, Error> {
        self.database.read(|engine| {
            engine.present(&self.id)?;
            engine.author_in(&self.id)
        })
    }

    /// The name in this database.
    pub fn name(&self) -> Result<String, Error> {
        Ok(self.summary()?.name)
    }

    /// Name, sizes and heads.
    pub fn summary(&self) -> Result<SpaceSummary, Error> {
        self.database.read(|engine| SpaceSummary::read(engine, self.id))
    }

    /// Gives the space another name in this database only.
    pub fn rename(&self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        self.database.write(|engine| {
            let replica = engine.present(&self.id)?;
            replica.alias = Some(name.to_owned());
            replica.changed = true;
            engine.staged();
            Ok(())
        })
    }

    /// The names of the collections that have or had documents, sorted.
    pub fn collections(&self) -> Result<Vec<String>, Error> {
        self.database.read(|engine| {
            let number = engine.present(&self.id)?.number;
            Collections::names(engine.storage.as_ref(), number)
        })
    }

    /// What to compare with another replica.
    pub fn digest(&self) -> Result<Digest, Error> {
        self.database.read(|engine| {
            let summary = SpaceSummary::read(engine, self.id)?;
            let view = engine.parts(&self.id)?.1.view.to_string();
            let SpaceSummary { id, commits, documents, heads, .. } = summary;
            Ok(Digest { space: id, heads, commits, documents, view })
        })
    }

    /// Everybody who has a permission, the strongest first.
    pub fn members(&self) -> Result<Vec<Member>, Error> {
        self.database.read(|engine| {
            let user = engine.users.get(&engine.acting.name);
            let own: Vec<AuthorId> = user.map_or_else(Vec::new, |user| user.active().collect());
            let members = engine.present(&self.id)?.rules.members();
            let you = |subject: &Subject| matches!(subject, Subject::Key(key) if own.contains(key));
            let member = |(subject, permission)| Member { subject, permission, you: you(&subject) };
            let mut members: Vec<Member> = members.into_iter().map(member).collect();
            members.sort_by_key(|member| (member.permission.strength(), member.subject));
            Ok(members)
        })
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > MAX_SPACE_NAME || name.chars().any(char::is_control) {
        return Err(Error::Invalid(format!(
            "a name has 1 to {MAX_SPACE_NAME} bytes, none of them a control character"
        )));
    }
    Ok(())
}
