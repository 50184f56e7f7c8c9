//! `grant`, `revoke` and `members`: who may do what in a space.

use driftless::{Permission, Subject};

use super::Context;
use crate::contract;
use crate::failure::Failure;
use crate::input;
use crate::output::{Output, Table, permission_text, subject_text};

pub(super) fn grant(
    context: &mut Context,
    space: &str,
    subject: &str,
    permission: &str,
) -> Result<(), Failure> {
    let (subject, permission) = (input::subject(subject)?, input::permission(permission)?);
    let space = context.write()?.space(space)?;
    let commit = space.grant(subject, permission)?;
    print(&mut context.output, &space, &subject, Some(permission), commit)
}

pub(super) fn revoke(context: &mut Context, space: &str, subject: &str) -> Result<(), Failure> {
    let subject = input::subject(subject)?;
    let space = context.write()?.space(space)?;
    let commit = space.revoke(subject)?;
    print(&mut context.output, &space, &subject, None, commit)
}

fn print(
    output: &mut Output,
    space: &driftless::Space,
    subject: &Subject,
    permission: Option<Permission>,
    commit: driftless::CommitId,
) -> Result<(), Failure> {
    let line = contract::Granted {
        space: space.id(),
        subject: subject_text(subject),
        permission: permission.map(permission_text),
        commit,
    };
    if output.json {
        return output.record(&line);
    }
    let permission = line.permission.as_deref().unwrap_or("none");
    output.text(format!("{}  {permission}", line.subject))
}

pub(super) fn members(context: &mut Context, space: &str) -> Result<(), Failure> {
    let members = context.read()?.space(space)?.members()?;
    let output = &mut context.output;
    let mut table = Table::new(&["SUBJECT", "PERMISSION", ""]);
    for member in members {
        let line = contract::Member {
            subject: subject_text(&member.subject),
            permission: permission_text(member.permission),
            you: member.you,
        };
        if output.json {
            output.record(&line)?;
        }
        table.row([line.subject, line.permission, if line.you { "you".to_owned() } else { String::new() }]);
    }
    if output.json { Ok(()) } else { output.table(&table) }
}
