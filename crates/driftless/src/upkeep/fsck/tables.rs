//! The tables that belong to the database as a whole: its own facts, users, peers, authors, and rows that nobody owns.

use std::ops::ControlFlow;

use driftless_core::filter::FieldPath;
use driftless_core::id::{PeerId, SpaceId};
use driftless_store::Key;

use super::{Checker, DERIVED, LOST, all};
use crate::error::Error;
use crate::keyring::user::User;
use crate::peers::Peer;
use crate::peers::exchanges::{Exchanges, Unsent};
use crate::tables::layout::{self, LogKey};
use crate::tables::pack;
use crate::tables::requests;

impl Checker<'_> {
    /// `commits`: how many stand in all logs together.
    pub(super) fn tables(&mut self, commits: u64) {
        self.stage("tables");
        let meta = self.meta();
        self.note(meta, "meta", LOST);
        let mut users = 0;
        self.each(&layout::USER, "user", LOST, |key, row| {
            let decodes = matches!(key, Key::Bytes(name) if User::decode(name, row).is_some());
            users += u64::from(decodes);
            decodes
        });
        if users == 0 {
            self.problem("user", "there is no user", LOST);
        }
        self.each(&layout::PEER, "peer", LOST, |key, row| match key {
            Key::Bytes(id) => id.try_into().is_ok_and(|id| Peer::decode(PeerId(id), row).is_some()),
            Key::U64(_) => false,
        });
        self.each(&layout::REFUSED, "refused", LOST, |key, row| match key {
            Key::Bytes(hash) => {
                hash.try_into().is_ok_and(|hash| crate::tables::refused::decode(&hash, row).is_some())
            }
            Key::U64(_) => false,
        });
        self.each(&layout::UNSENT, "unsent", LOST, |key, row| {
            matches!(key, Key::Bytes(key) if key.len() == 32) && Unsent::decode(row).is_some()
        });
        self.each(&layout::EXCHANGES, "exchanges", LOST, |key, row| match key {
            Key::Bytes(key) => key.len() == 64 && Exchanges::decode(SpaceId([0; 32]), row).is_some(),
            Key::U64(_) => false,
        });
        self.each(
            &layout::REQUEST,
            "request",
            LOST,
            |key, row| matches!(key, Key::Bytes(key) if requests::is_whole(key, row)),
        );
        self.each(&layout::CURSOR, "cursor", DERIVED, |key, row| {
            matches!(key, Key::Bytes(key) if key.len() == 64) && row.len() == 32
        });
        for (table, length) in [
            (&layout::MAILBOX, 48..=48),
            (&layout::MAILBOX_OWN, 48..=49),
            (&layout::MAILBOX_SENT, 56..=56),
            (&layout::MAILBOX_READ, 96..=96),
        ] {
            self.each(
                table,
                "mailbox",
                LOST,
                |key, _| matches!(key, Key::Bytes(key) if length.contains(&key.len())),
            );
        }
        self.pairs();
        let storage = self.storage;
        self.each(&layout::COLLECTION, "collection", DERIVED, |key, row| {
            let named = matches!(key, Key::Bytes(key) if key.get(4..).is_some_and(|name| std::str::from_utf8(name).is_ok()));
            named && crate::tables::collections::number(row).is_ok()
        });
        self.each(&layout::INDEX, "index", LOST, |key, row| {
            let Key::Bytes(key) = key else { return false };
            let path = key.get(8..).and_then(|path| std::str::from_utf8(path).ok());
            path.is_some_and(|path| path.parse::<FieldPath>().is_ok())
                && crate::tables::collections::number(row).is_ok()
        });
        self.each(&layout::COLLECTION_SCHEMA, "schema", LOST, |_, row| {
            crate::tables::collections::read_schema(row).is_ok()
        });
        self.each(&layout::MARK, "mark", DERIVED, |key, _| matches!(key, Key::Bytes(key) if key.len() == 16));
        let mut rows = 0;
        let walked = all(storage, &layout::LOG, &mut |_, _| {
            rows += 1;
            ControlFlow::Continue(())
        });
        self.note(walked.map_err(Error::from), "log_row", super::COMMIT);
        let packed = self.note(pack::commits(storage, None).map_err(Error::from), "pack", super::COMMIT);
        rows += packed.unwrap_or(0);
        self.each(
            &layout::PACK,
            "pack",
            super::COMMIT,
            |key, row| matches!(key, Key::U64(first) if pack::is_whole(LogKey(first), row)),
        );
        self.expect(rows == commits, "log_row", || {
            format!("{rows} log rows, and {commits} belong to a space")
        });
        let mut found = 0;
        self.each(&layout::COMMIT_ID, "commit_id", DERIVED, |_, row| {
            found += row.len() as u64 / 8;
            row.len().is_multiple_of(8) && !row.is_empty()
        });
        self.expect(found == commits, "commit_id", || {
            format!("{found} commits are found by id instead of {commits}")
        });
    }

    fn meta(&mut self) -> Result<(), Error> {
        for (key, length) in [("node_key", 32), ("store_id", 16), ("next_numbers", 32)] {
            let row = self.storage.get(&layout::META, key.as_bytes().into())?;
            // A database that has never written has no numbers yet.
            let missing = row.is_none() && key != "next_numbers";
            if missing || row.is_some_and(|row| row.len() != length) {
                let repair = if key == "node_key" { LOST } else { DERIVED };
                self.problem("meta", format!("{key} does not decode"), repair);
            }
        }
        Ok(())
    }

    // Small numbers and what they stand for, both ways.
    fn pairs(&mut self) {
        let storage = self.storage;
        let ways =
            [(&layout::AUTHOR, &layout::AUTHOR_ID, "author"), (&layout::SPACE, &layout::SPACE_ID, "space")];
        for (by_number, by_id, code) in ways {
            let (mut numbers, mut ids) = (0, 0);
            self.each(by_number, code, DERIVED, |key, row| {
                let Key::U64(number) = key else { return false };
                numbers += 1;
                let back = row.first_chunk::<32>().map(|id| storage.get(by_id, id.as_slice().into()));
                let number = u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
                matches!(back, Some(Ok(Some(found))) if found == number)
            });
            self.each(by_id, code, DERIVED, |_, row| {
                ids += 1;
                row.len() == 4
            });
            self.expect(numbers == ids, code, || {
                format!("{numbers} numbers for {ids} ids in {}", by_id.name)
            });
        }
    }

    // Names each row of a table that is not as it should be.
    fn each(
        &mut self,
        table: &driftless_store::Table,
        code: &'static str,
        repair: &'static str,
        mut is_good: impl FnMut(Key<'_>, &[u8]) -> bool,
    ) {
        let mut bad = 0_u64;
        let walked = all(self.storage, table, &mut |key, row| {
            bad += u64::from(!is_good(key, row));
            ControlFlow::Continue(())
        });
        self.note(walked.map_err(Error::from), code, repair);
        if bad > 0 {
            self.problem(code, format!("{bad} rows of {} do not decode or do not match", table.name), repair);
        }
    }
}
