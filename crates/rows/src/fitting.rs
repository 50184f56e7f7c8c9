//! What a table shows of a document that does not fit it: cells that devices wrote apart can together break what each of them
//! obeyed. The row then is what the document is without the commits that do not fit, a function of the document's commits
//! and the table's declaration alone: the same on every device, whatever its row was before.

use std::ops::ControlFlow;

use driftless::{Document, DocumentId, Value};

use crate::error::Error;
use crate::file::{EFFORT, File, Table};
use crate::mirror::Mirror;

// What looking at one commit costs besides.
const LOOK: usize = 1024;

/// What can be shown of a document.
pub(crate) enum Fitting {
    Shown(Document),
    Nothing,
    /// Enough was looked at for now.
    Later,
}

impl File {
    /// Has the mirror of a table ready.
    pub(crate) fn hold_mirror(&mut self, table: &Table) -> Result<(), Error> {
        if !self.mirrors.contains_key(&table.number) {
            let mirror = Mirror::of(&self.connection, table.name())?;
            self.mirrors.insert(table.number, mirror);
        }
        Ok(())
    }

    /// Why a document cannot be a row of a table whose mirror is held, whatever other rows there are.
    pub(crate) fn misfit(
        &self,
        table: &Table,
        document: &Document,
    ) -> Result<Option<rusqlite::Error>, Error> {
        let Some(Some(mirror)) = self.mirrors.get(&table.number) else { return Ok(None) };
        let Some(key) = table.key_of(&document.id) else { return Ok(None) };
        let names = table.described.key.iter().filter_map(|at| table.column(*at));
        let mut cells: Vec<(&str, Value)> = names.map(|column| column.name.as_str()).zip(key).collect();
        for (column, _) in &table.columns {
            if let Some(field) = document.fields.get(&column.field) {
                let value = self.reconciler.cell(table.name(), &column.name, field);
                cells.push((&column.name, value));
            }
        }
        mirror.refusal(&cells)
    }

    /// A document without the commits that do not fit a table whose mirror is held, nor what else is asked; each of these
    /// costs `each` more.
    pub(crate) fn fitting(
        &self,
        table: &Table,
        id: &DocumentId,
        each: usize,
        fits: &mut dyn FnMut(&Document) -> Result<bool, Error>,
    ) -> Result<Fitting, Error> {
        let (mut effort, mut failed) = (0, None);
        let left = self.effort.get();
        let collection = self.space.collection(&table.collection)?;
        let found = collection.get_keeping(id, &mut |document| {
            effort += LOOK
                + each
                + document.fields.iter().map(|(_, value)| crate::cell::weight(value)).sum::<usize>();
            if effort > left {
                return ControlFlow::Break(());
            }
            let fitting = self.misfit(table, document).and_then(|misfit| match misfit {
                Some(_) => Ok(false),
                None => fits(document),
            });
            match fitting {
                Ok(fitting) => ControlFlow::Continue(fitting),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        self.effort.set(left.saturating_sub(effort));
        match (failed, found) {
            (Some(error), _) => Err(error),
            _ if effort > left && left < EFFORT => Ok(Fitting::Later),
            (_, Some(document)) => Ok(Fitting::Shown(document)),
            (_, None) => Ok(Fitting::Nothing),
        }
    }
}
