//! `user` and `key`: who acts in this database, with which keys, under which password.

use std::path::{Path, PathBuf};

use driftless::{Database, KeyText, Password, UserSummary};

use super::{Context, network};
use crate::args::{KeyCommand, UserCommand};
use crate::contract;
use crate::failure::Failure;
use crate::input;
use crate::output::{Table, escape, time_text};

pub(super) fn user(context: &mut Context, command: UserCommand) -> Result<(), Failure> {
    match command {
        UserCommand::Create { name, password, new_password_file } => {
            let database = context.maintain()?;
            let password =
                if password { Some(context.new_password(&name, new_password_file)?) } else { None };
            let user = database.create_user(&name, password.as_ref())?;
            show(context, user)
        }
        UserCommand::List => list(context),
        UserCommand::Show { name } => {
            let database = context.read()?;
            let name = name.map_or_else(|| database.user(), Ok)?;
            let user = database.find_user(&name)?;
            show(context, user)
        }
        UserCommand::Passwd { new_password_file, remove } => {
            let database = context.write()?;
            let name = database.user()?;
            let password = match remove {
                true => None,
                false => Some(context.new_password(&name, new_password_file)?),
            };
            database.set_password(password.as_ref())?;
            let user = database.find_user(&name)?;
            let output = &mut context.output;
            if output.json {
                return output.record(&contract::User::from(user));
            }
            let now = if remove { "has no password any more" } else { "has a new password" };
            output.text(format!("{} {now}", escape(&name)))
        }
        UserCommand::Identity => {
            let database = context.read()?;
            let found = database.identity()?;
            drop(database);
            if found.is_none() {
                context.write()?.make_identity()?;
            }
            let user = context.read()?;
            let user = user.find_user(&user.user()?)?;
            let line = contract::User::from(user);
            let output = &mut context.output;
            if output.json {
                return output.record(&line);
            }
            output.text(line.identity.map(|space| space.to_string()).unwrap_or_default())
        }
        UserCommand::Ticket { expires, address } => ticket(context, expires.as_deref(), &address),
        UserCommand::Join { ticket } => network::join_identity(context, &ticket),
    }
}

fn list(context: &mut Context) -> Result<(), Failure> {
    let users = context.read()?.users()?;
    let output = &mut context.output;
    let mut table = Table::new(&["USER", "DEFAULT KEY", "#KEYS", "PASSWORD", ""]);
    for user in users {
        let line = contract::User::from(user);
        if output.json {
            output.record(&line)?;
        }
        let key = line.keys.first().map(|key| key.key.to_string()).unwrap_or_default();
        let password = if line.password { "yes" } else { "no" }.to_owned();
        let default = if line.default { "default" } else { "" }.to_owned();
        table.row([escape(&line.user).into_owned(), key, line.keys.len().to_string(), password, default]);
    }
    if output.json { Ok(()) } else { output.table(&table) }
}

fn show(context: &mut Context, user: UserSummary) -> Result<(), Failure> {
    let line = contract::User::from(user);
    let output = &mut context.output;
    if output.json {
        return output.record(&line);
    }
    let text = |id: Option<String>| id.unwrap_or_else(|| "none yet".to_owned());
    output.labels(&[
        ("user", escape(&line.user).into_owned()),
        ("password", if line.password { "yes" } else { "no" }.to_owned()),
        ("id", text(line.id.map(|id| id.to_string()))),
        ("identity", text(line.identity.map(|space| space.to_string()))),
    ])?;
    keys(context, &line.keys)
}

fn keys(context: &mut Context, keys: &[contract::Key]) -> Result<(), Failure> {
    let mut table = Table::new(&["KEY", "STATE", ""]);
    for key in keys {
        let default = if key.default { "default" } else { "" };
        table.row([key.key.to_string(), key.state.to_owned(), default.to_owned()]);
    }
    context.output.table(&table)
}

fn ticket(context: &mut Context, expires: Option<&str>, addresses: &[String]) -> Result<(), Failure> {
    let expires = expires.map(input::duration).transpose()?;
    let addresses = network::reached_at(context, addresses)?;
    let database = context.write()?;
    let ticket = database.invite_device(addresses.clone(), expires)?;
    let expires = expires.map(|expires| (network::now() + expires).as_millis() as u64);
    let line = contract::DeviceTicket { ticket: ticket.to_string(), space: ticket.space, expires, addresses };
    let output = &mut context.output;
    if output.json {
        return output.record(&line);
    }
    output.text(&line.ticket)?;
    let until = line.expires.map(|time| format!(", until {} UTC", time_text(time))).unwrap_or_default();
    output.note(format!("makes the device on which it is used one of yours, once{until}"));
    Ok(())
}

pub(super) fn key(context: &mut Context, command: KeyCommand) -> Result<(), Failure> {
    match command {
        KeyCommand::New { default } => {
            let database = context.write()?;
            let key = database.new_key()?;
            if default {
                database.set_default_key(&key)?;
            }
            one(context, &database, &key.to_string())
        }
        KeyCommand::List => {
            let found: Vec<_> = context.read()?.keys()?.into_iter().map(contract::Key::from).collect();
            if !context.output.json {
                return keys(context, &found);
            }
            found.iter().try_for_each(|key| context.output.record(key))
        }
        KeyCommand::Default { key } => {
            let database = context.write()?;
            let key = database.find_key(&key)?.author;
            database.set_default_key(&key)?;
            one(context, &database, &key.to_string())
        }
        KeyCommand::Export { key, password, key_password_file } => {
            let database = context.write()?;
            let key = database.find_key(&key)?.author;
            let password = match password {
                true => Some(context.key_password(key_password_file, true)?),
                false => None,
            };
            let text = database.export_key(&key, password.as_ref())?;
            let line = contract::KeyText { key, password: text.has_password(), text: text.to_string() };
            let output = &mut context.output;
            if output.json {
                return output.record(&line);
            }
            output.text(&line.text)?;
            if !line.password {
                output.note("whoever has this text can sign as you: keep it as safe as the database itself");
            }
            Ok(())
        }
        KeyCommand::Import { file, key_password_file } => import(context, &file, key_password_file),
        KeyCommand::Revoke { key } => {
            let database = context.write()?;
            let key = database.find_key(&key)?.author;
            database.revoke_key(&key)?;
            one(context, &database, &key.to_string())
        }
    }
}

fn import(context: &mut Context, file: &Path, password_file: Option<PathBuf>) -> Result<(), Failure> {
    let word = if file == Path::new("-") { "-".to_owned() } else { format!("@{}", file.display()) };
    let text: KeyText = context.input.argument(&word)?.parse()?;
    let database = context.write()?;
    let password: Option<Password> = match text.has_password() {
        true => Some(context.key_password(password_file, false)?),
        false => None,
    };
    let key = database.import_key(&text.to_string(), password.as_ref())?;
    one(context, &database, &key.to_string())?;
    context.output.note("no other database may sign with it any more");
    Ok(())
}

fn one(context: &mut Context, database: &Database, key: &str) -> Result<(), Failure> {
    let line = contract::Key::from(database.find_key(key)?);
    let output = &mut context.output;
    if output.json {
        return output.record(&line);
    }
    let default = if line.default { ", the default key" } else { "" };
    output.text(format!("{}  {}{default}", line.key, line.state))
}
