//! `find`, `count` and `watch`: documents, one per line.

use std::sync::atomic::Ordering;
use std::time::Duration;

use driftless::{Plan, Query, Sort, WatchEvent, WatchKind};

use super::{Context, share};
use crate::args::{InCollection, QueryCommand};
use crate::contract;
use crate::failure::{Exit, Failure};
use crate::input;
use crate::output::{Output, counted, escape, escape_json, id_text};

// How soon a watch that `serve` runs finds that nobody reads it any more.
const LOOK_UP: Duration = Duration::from_millis(300);

/// Which part of a result, in which order.
pub(super) struct Page {
    pub(super) sort: Option<String>,
    pub(super) limit: Option<usize>,
    pub(super) skip: Option<usize>,
    pub(super) deleted: bool,
    /// Only how it would be searched.
    pub(super) plan: bool,
}

pub(super) fn run(context: &mut Context, command: QueryCommand) -> Result<(), Failure> {
    match command {
        QueryCommand::Find { at, filter, sort, limit, skip, deleted, plan, across } => {
            let page = Page { sort, limit, skip, deleted, plan };
            let find = if across { share::find } else { find };
            find(context, &at, filter.as_deref(), &page)
        }
        QueryCommand::Count { at, filter, deleted } => count(context, &at, filter.as_deref(), deleted),
        QueryCommand::Watch { at, filter } => watch(context, &at, filter.as_deref()),
    }
}

fn find(context: &mut Context, at: &InCollection, filter: Option<&str>, page: &Page) -> Result<(), Failure> {
    let filter = input::filter(&mut context.input, filter)?;
    let sort = page.sort.as_deref().map(sort).transpose()?;
    let mut query = context.read_collection(at)?.find(filter);
    if let Some(sort) = sort {
        query = query.sort(sort);
    }
    if let Some(limit) = page.limit {
        query = query.limit(limit);
    }
    if let Some(skip) = page.skip {
        query = query.skip(skip);
    }
    if page.deleted {
        query = query.include_deleted();
    }
    if page.plan {
        let plan = query.plan()?;
        let output = &mut context.output;
        return match output.json {
            true => output.record(&contract::Plan { index: plan.index, candidates: plan.candidates }),
            false => output.text(plan_text(&plan)),
        };
    }
    tell_plan(&mut context.output, &query)?;
    for document in query.run()? {
        context.output.document(&document)?;
    }
    Ok(())
}

pub(super) fn sort(text: &str) -> Result<Sort, Failure> {
    Sort::parse(text).map_err(|error| {
        Failure::invalid(
            "invalid_sort",
            error,
            "fields with commas between them, `-` for descending: `country,-name`",
        )
    })
}

fn tell_plan(output: &mut Output, query: &Query) -> Result<(), Failure> {
    if output.verbose {
        output.detail(plan_text(&query.plan()?));
    }
    Ok(())
}

fn plan_text(plan: &Plan) -> String {
    let candidates = counted(plan.candidates, "document");
    match &plan.index {
        Some(index) => format!("by the index on {}: {candidates} to look at", escape(index)),
        None => format!("by looking at every document of the collection: {candidates}"),
    }
}

fn count(
    context: &mut Context,
    at: &InCollection,
    filter: Option<&str>,
    deleted: bool,
) -> Result<(), Failure> {
    let filter = input::filter(&mut context.input, filter)?;
    let mut query = context.read_collection(at)?.find(filter);
    if deleted {
        query = query.include_deleted();
    }
    tell_plan(&mut context.output, &query)?;
    let count = query.count()?;
    let output = &mut context.output;
    // A bare number: people read it well, and so does a script.
    if output.json { output.record(&contract::Count { count }) } else { output.text(count.to_string()) }
}

fn watch(context: &mut Context, at: &InCollection, filter: Option<&str>) -> Result<(), Failure> {
    let filter = input::filter(&mut context.input, filter)?;
    let gone = context.served.as_ref().map(|served| served.gone.clone());
    if gone.is_none() {
        // Nothing is half done while watching, so the end of the process is the end of the command. Lines are handed
        // over whole, before the next wait.
        ctrlc::set_handler(|| std::process::exit(0)).map_err(|error| {
            Failure::new(Exit::Failed, "io", error, "start the command from a terminal or a service manager")
        })?;
    }
    // Kept: a watch ends with the last other handle.
    let collection = context.read_collection(at)?;
    let mut watch = collection.watch(filter)?;
    let mut first = 0;
    loop {
        let event = match &gone {
            None => watch.wait()?,
            Some(gone) if gone.load(Ordering::Relaxed) => None,
            Some(_) => match watch.wait_for(LOOK_UP)? {
                None => continue,
                event => event,
            },
        };
        let Some(event) = event else { return Ok(()) };
        match event.kind {
            WatchKind::Ready => {
                let sentence = format!("-- {}; waiting for changes", counted(first, "document"));
                context.output.note(sentence);
            }
            _ => first += 1,
        }
        print_event(&mut context.output, &event)?;
        context.output.flush()?;
    }
}

fn print_event(output: &mut Output, event: &WatchEvent) -> Result<(), Failure> {
    let (kind, sign) = match event.kind {
        WatchKind::Insert => ("insert", "+"),
        WatchKind::Update => ("update", "~"),
        WatchKind::Delete => ("delete", "-"),
        WatchKind::Ready => ("ready", ""),
    };
    if output.json {
        return output.record(&contract::Change {
            kind,
            id: event.id.as_ref(),
            document: event.document.as_ref(),
            origin: event.source.map(driftless::Source::word),
        });
    }
    let Some(id) = event.id.as_ref().map(id_text) else { return Ok(()) };
    match &event.document {
        Some(document) => output.text(format!("{sign} {id} {}", escape_json(&document.to_json()))),
        None => output.text(format!("{sign} {id}")),
    }
}
