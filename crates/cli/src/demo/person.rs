//! Somebody with a database of their own, who writes bundles and reads those of others.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use driftless::{
    Collection, Database, Digest, Document, DocumentId, Durability, Insert, Map, OpenMode, Space,
};
use serde::Serialize;

use super::table::id_of;
use crate::failure::{Exit, Failure};
use crate::import::ROWS_PER_TRANSACTION;

const COLLECTION: &str = "subdivisions";

/// A database, and the one space in it once it has one.
pub(super) struct Person {
    /// As in a sentence; the folder has it in lower case.
    pub(super) name: &'static str,
    pub(super) dir: PathBuf,
    folder: PathBuf,
    database: Database,
    space: Option<Space>,
}

/// A bundle as a file.
pub(super) struct Bundle {
    from: &'static str,
    path: PathBuf,
    space: String,
}

/// A bundle that was read.
#[derive(Serialize)]
pub(super) struct Carried {
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    pub(super) commits: u64,
    pub(super) new: u64,
    pub(super) bytes: u64,
    pub(super) signatures: u64,
}

impl Person {
    /// Makes a database in a folder of that name; every commit is durable before the next.
    pub(super) fn new(name: &'static str, folder: &Path) -> Result<Self, Failure> {
        let dir = folder.join(name.to_lowercase());
        let builder = Database::builder().open_mode(OpenMode::Create).durability(Durability::Each);
        let database = builder.user_name(name).open(&dir)?;
        Ok(Self { name, dir, folder: folder.to_owned(), database, space: None })
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    pub(super) fn space(&self) -> Result<&Space, Failure> {
        let missing = || Failure::new(Exit::NotFound, "not_found", format!("{} has no space", self.name), "");
        self.space.as_ref().ok_or_else(missing)
    }

    pub(super) fn collection(&self) -> Result<Collection, Failure> {
        Ok(self.space()?.collection(COLLECTION)?)
    }

    pub(super) fn digest(&self) -> Result<Digest, Failure> {
        Ok(self.space()?.digest()?)
    }

    pub(super) fn document(&self, id: &DocumentId) -> Result<Option<Document>, Failure> {
        Ok(self.collection()?.get(id)?)
    }

    /// Makes the space, and puts all rows into it.
    pub(super) fn import(&mut self, rows: &[Map]) -> Result<(), Failure> {
        let space = self.database.create_space("world")?;
        let collection = space.collection(COLLECTION)?;
        for rows in rows.chunks(ROWS_PER_TRANSACTION as usize) {
            let mut transaction = self.database.transaction();
            for fields in rows {
                let insert = Insert { id: Some(id_of(fields)?), parent: None };
                transaction.insert_with(&collection, fields.clone(), insert)?;
            }
            transaction.commit()?;
        }
        self.space = Some(space);
        Ok(())
    }

    /// Writes all commits of the space to a file.
    pub(super) fn bundle(&self, name: &str) -> Result<Bundle, Failure> {
        let path = self.folder.join(format!("{name}.bundle"));
        let failure = |error| Failure::file(&path, &error);
        let mut file = BufWriter::new(File::create(&path).map_err(failure)?);
        let space = self.space()?;
        space.export(&mut file, &mut |_| ())?;
        file.flush().map_err(failure)?;
        Ok(Bundle { from: self.name, path, space: space.id().to_string() })
    }

    /// Reads somebody's bundle.
    pub(super) fn read(&mut self, bundle: &Bundle) -> Result<Carried, Failure> {
        let failure = |error| Failure::file(&bundle.path, &error);
        let file = File::open(&bundle.path).map_err(failure)?;
        let bytes = file.metadata().map_err(failure)?.len();
        let imported = self.database.import(&mut BufReader::new(file), &mut |_| ())?;
        self.space = Some(self.database.space(&bundle.space)?);
        Ok(Carried {
            from: bundle.from,
            to: self.name,
            commits: imported.commits,
            new: imported.commits.saturating_sub(imported.known),
            bytes,
            signatures: imported.signatures,
        })
    }
}
