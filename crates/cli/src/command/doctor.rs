//! `doctor`: what may be wrong with this database on this machine, and putting it right.

use std::io::{BufRead, BufReader};

use driftless::{Check, Database, Renewal, Renewed};

use super::Context;
use crate::contract;
use crate::failure::Failure;
use crate::output::{Output, Table, counted, escape, permission_text};

pub(super) fn run(context: &mut Context, fix: bool, keep_key: bool) -> Result<(), Failure> {
    let database = context.read()?;
    let mut checks = files(&database)?;
    checks.extend(database.doctor()?);
    checks.extend(database.check_mailboxes()?);
    drop(database);
    let repairable = |check: &Check| !check.ok && REPAIRED.contains(&check.check);
    let mut fixed = Vec::new();
    if checks.iter().any(repairable) && (fix || agreed(context, &checks)?) {
        let database = context.write()?;
        for check in checks.iter().filter(|check| repairable(check)) {
            repair(&mut context.output, &database, check.check, keep_key)?;
            fixed.push(check.check);
        }
        // What it came to, with what had been wrong in its place.
        let mut now = files(&database)?;
        now.extend(database.doctor()?);
        now.extend(database.check_mailboxes()?);
        checks = now;
    }
    let lines: Vec<contract::Check> = checks.into_iter().map(|check| line(check, &fixed)).collect();
    let output = &mut context.output;
    if output.json {
        return output.record(&lines);
    }
    let mut table = Table::new(&["", "CHECK", "WHAT"]);
    for line in &lines {
        let sign = if line.ok { "ok" } else { "!!" };
        table.row([sign.to_owned(), line.check.to_owned(), escape(&line.detail).into_owned()]);
    }
    output.table(&table)?;
    for line in &lines {
        if let Some(fix) = &line.fix {
            output.text(format!("{}: {}", line.check, escape(fix)))?;
        }
    }
    Ok(())
}

// What `--fix` puts right.
const REPAIRED: [&str; 3] = ["files", "clock", "author"];

fn line(check: Check, fixed: &[&str]) -> contract::Check {
    let Check { check, ok, detail, fix } = check;
    contract::Check { check, ok, detail, fix, fixed: ok && fixed.contains(&check) }
}

fn agreed(context: &mut Context, checks: &[Check]) -> Result<bool, Failure> {
    if context.output.json || !context.output.can_ask() {
        return Ok(false);
    }
    for check in checks.iter().filter(|check| !check.ok && REPAIRED.contains(&check.check)) {
        context.output.note(format!("{}: {}", check.check, escape(&check.detail)));
    }
    context.output.note("Type `yes` to put this right:");
    let mut answer = String::new();
    // An answer that cannot be read is not a yes.
    let _ = BufReader::new(context.input.stdin()).read_line(&mut answer);
    Ok(answer.trim() == "yes")
}

fn repair(output: &mut Output, database: &Database, what: &str, keep_key: bool) -> Result<(), Failure> {
    match what {
        "files" => close(database),
        "clock" => {
            let count = database.rewrite_early()?;
            output.note(format!("{} taken back and written again", counted(count, "commit")));
            Ok(())
        }
        _ if keep_key => {
            database.keep_author()?;
            output.note("this database goes on with its key; if another copy does too, it will be met again");
            Ok(())
        }
        _ => {
            let renewed = database.renew_author()?;
            tell(output, database, &renewed);
            Ok(())
        }
    }
}

fn tell(output: &mut Output, database: &Database, renewed: &Renewed) {
    output.note(format!("this database signs as {} from now on", renewed.author));
    for (space, renewal) in &renewed.spaces {
        let name = database.space(&space.to_string()).and_then(|space| space.name());
        let name = name.unwrap_or_else(|_| space.short());
        let name = escape(&name);
        output.note(match renewal {
            Renewal::Granted(permission) => format!("{name}: {}", permission_text(*permission)),
            Renewal::Anyone(permission) => format!("{name}: {}, as anyone", permission_text(*permission)),
            Renewal::Ask(permission) => {
                format!(
                    "{name}: an admin must grant it {}, or give you a ticket",
                    permission_text(*permission)
                )
            }
        });
    }
    output.note("a `driftless serve` that is running on it shows the old peer id until it is started again");
}

// Nobody else may read the keys that lie in the folder.
#[cfg(unix)]
fn files(database: &Database) -> Result<Vec<Check>, Failure> {
    use std::os::unix::fs::PermissionsExt;
    let mut open = Vec::new();
    for path in paths(database)? {
        let mode = std::fs::symlink_metadata(&path).map_err(|error| Failure::file(&path, &error))?;
        if mode.permissions().mode() & 0o077 != 0 && !mode.file_type().is_symlink() {
            open.push(path.display().to_string());
        }
    }
    let detail = match open.len() {
        0 => "only their owner may read and write them".to_owned(),
        _ => format!("others may read or write {}", open.join(", ")),
    };
    Ok(vec![Check::new("files", open.is_empty(), detail, "`driftless doctor --fix` closes them to others")])
}

#[cfg(unix)]
fn close(database: &Database) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    for path in paths(database)? {
        let file = std::fs::symlink_metadata(&path).map_err(|error| Failure::file(&path, &error))?;
        if !file.file_type().is_symlink() {
            let mut mode = file.permissions();
            mode.set_mode(mode.mode() & 0o700);
            std::fs::set_permissions(&path, mode).map_err(|error| Failure::file(&path, &error))?;
        }
    }
    Ok(())
}

// The folder, and the files of the database in it.
#[cfg(unix)]
fn paths(database: &Database) -> Result<Vec<std::path::PathBuf>, Failure> {
    let Some(folder) = database.folder() else { return Ok(Vec::new()) };
    let named = ["driftless.sqlite", "driftless.sqlite-wal", "driftless.sqlite-shm", "lock"];
    let files = named.into_iter().map(|name| folder.join(name)).filter(|path| path.exists());
    Ok(std::iter::once(folder.to_owned()).chain(files).collect())
}

#[cfg(not(unix))]
fn files(_: &Database) -> Result<Vec<Check>, Failure> {
    Ok(Vec::new())
}

#[cfg(not(unix))]
fn close(_: &Database) -> Result<(), Failure> {
    Ok(())
}
