//! Everything a user can read of a database, to be compared; and what finds damage that reading does not.

use driftless::{Database, Error, LogQuery};

use crate::workload::filter;

/// All that can be read, as lines.
pub(crate) type Dump = Vec<String>;

/// Reads everything: spaces, documents by scan, by id and through indexes, and each commit.
pub(crate) fn dump(db: &Database) -> Result<Dump, Error> {
    let mut lines = documents(db)?;
    for summary in db.spaces()? {
        for line in db.space(&summary.id.to_string())?.log(LogQuery::default())? {
            lines
                .push(format!("{} {} {} {:?} {}", line.commit, line.author, line.seq, line.time, line.state));
            lines.push(format!("{:?} {:?}", line.parents, line.edits));
        }
    }
    Ok(lines)
}

/// What a user looks at every day: spaces, and documents by scan, by id and through indexes.
pub(crate) fn documents(db: &Database) -> Result<Dump, Error> {
    let mut lines = Vec::new();
    for summary in db.spaces()? {
        let space = db.space(&summary.id.to_string())?;
        let digest = space.digest()?;
        lines.push(format!("space {} {} {digest:?}", summary.id, summary.name));
        for name in space.collections()? {
            let collection = space.collection(&name)?;
            for document in collection.find(filter("{}")).include_deleted().run()? {
                lines.push(format!("{name} {document:?}"));
                // Another way to the same row.
                let found = collection.get(&document.id)?;
                let fields = found.map(|document| document.fields.to_json());
                lines.push(format!("{name} get {}: {}", document.id, fields.unwrap_or_default()));
            }
            for path in collection.indexes()? {
                let by = filter(&format!(r#"{{"{path}": {{"$gte": 0}}}}"#));
                let mut found: Vec<String> =
                    collection.find(by).run()?.iter().map(|document| document.id.to_string()).collect();
                found.sort();
                lines.push(format!("{name} by {path}: {}", found.join(" ")));
                let counted = collection.count(filter("{}"))?;
                lines.push(format!("{name} counted: {counted}"));
            }
        }
    }
    Ok(lines)
}

/// Finds what is wrong below what reading shows: here by folding everything again and comparing.
pub(crate) type Verify = fn(&Database) -> Result<(), String>;

/// Whether the view is what the log says.
pub(crate) fn rebuilt(db: &Database) -> Result<(), String> {
    let text = |error: Error| error.to_string();
    for summary in db.spaces().map_err(text)? {
        let space = db.space(&summary.id.to_string()).map_err(text)?;
        let before = space.digest().map_err(text)?;
        let after = space.rebuild().map_err(text)?;
        if before != after {
            return Err(format!("the view is not what the log says: {before:?}, {after:?}"));
        }
    }
    Ok(())
}
