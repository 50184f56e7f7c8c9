//! `prefs`: what a user wants of the spaces that he tracks.

use driftless::{Preferences, Space};

use super::Context;
use crate::args::Wishes;
use crate::contract;
use crate::failure::Failure;
use crate::output::{Table, escape};

pub(super) fn run(context: &mut Context, space: Option<&str>, wishes: &Wishes) -> Result<(), Failure> {
    let Some(name) = space else {
        let database = context.read()?;
        let tracked = database.tracked()?;
        let lines = tracked.iter().map(|(id, _)| line(&database.space(&id.to_string())?));
        let lines = lines.collect::<Result<Vec<_>, Failure>>()?;
        return print(context, &lines);
    };
    let changes = wishes.enabled.is_some()
        || wishes.on_commit.is_some()
        || wishes.interval.is_some()
        || !wishes.property.is_empty();
    if !changes && !wishes.remove {
        let space = context.read()?.space(name)?;
        return print(context, &[line(&space)?]);
    }
    let space = context.maintain()?.space(name)?;
    if wishes.remove {
        space.forget_preferences()?;
    } else {
        let mut preferences = space.preferences()?.unwrap_or_default();
        change(&mut preferences, wishes)?;
        space.set_preferences(&preferences)?;
    }
    print(context, &[line(&space)?])
}

fn change(preferences: &mut Preferences, wishes: &Wishes) -> Result<(), Failure> {
    preferences.enabled = wishes.enabled.unwrap_or(preferences.enabled);
    preferences.on_commit = wishes.on_commit.unwrap_or(preferences.on_commit);
    match wishes.interval.as_deref() {
        None => {}
        Some("none") => preferences.interval = None,
        Some(seconds) => {
            let seconds: u64 = seconds.parse().map_err(|_| {
                let message = format!("`{}` is no interval", escape(seconds));
                Failure::invalid("invalid_interval", message, "a number of seconds, or `none`")
            })?;
            preferences.interval = Some(seconds);
        }
    }
    for property in &wishes.property {
        let (name, value) = property.split_once('=').unwrap_or((property, ""));
        if value.is_empty() {
            preferences.properties.remove(name);
        } else {
            preferences.properties.insert(name.to_owned(), value.to_owned());
        }
    }
    Ok(())
}

fn line(space: &Space) -> Result<contract::Preferences, Failure> {
    let preferences = space.preferences()?;
    let tracked = preferences.is_some();
    let Preferences { enabled, on_commit, interval, properties } = preferences.unwrap_or_default();
    let wanted = space.wanted()?;
    let wanted =
        wanted.map(|wanted| contract::Wanted { on_commit: wanted.on_commit, interval: wanted.interval });
    let (space, name) = (space.id(), space.name()?);
    Ok(contract::Preferences { space, name, tracked, enabled, on_commit, interval, properties, wanted })
}

fn print(context: &mut Context, lines: &[contract::Preferences]) -> Result<(), Failure> {
    let output = &mut context.output;
    if output.json {
        return lines.iter().try_for_each(|line| output.record(line));
    }
    if lines.is_empty() {
        output.note("you track no space: `driftless prefs SPACE --interval 60` says what you want of one");
    }
    let mut table = Table::new(&["SPACE", "YOU WANT", "USED", "PROPERTIES"]);
    for line in lines {
        let wanted = line.wanted.as_ref();
        let properties: Vec<String> = line
            .properties
            .iter()
            .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
            .collect();
        table.row([
            escape(&line.name).into_owned(),
            words(line.enabled, line.on_commit, line.interval),
            wanted.map_or_else(|| "off".to_owned(), |wanted| words(true, wanted.on_commit, wanted.interval)),
            properties.join(" "),
        ]);
    }
    output.table(&table)
}

fn words(enabled: bool, on_commit: bool, interval: Option<u64>) -> String {
    match (enabled, on_commit, interval) {
        (false, ..) => "off".to_owned(),
        (_, false, None) => "only when asked".to_owned(),
        (_, true, None) => "on commit".to_owned(),
        (_, true, Some(seconds)) => format!("on commit, every {seconds} s"),
        (_, false, Some(seconds)) => format!("every {seconds} s"),
    }
}
