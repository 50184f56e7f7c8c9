//! `grant`, `revoke`, `withdraw` and `members`: who may do what in a space. What a weakening keeps and voids is told before it is signed.

use std::io::{BufRead, BufReader};

use driftless::{Effective, GrantPlan, Keep, Permission, Ruling, Space};

use super::Context;
use crate::args::{MemberCommand, Weaken};
use crate::contract;
use crate::failure::{Exit, Failure};
use crate::input;
use crate::output::{Output, Table, counted, permission_text, subject_text, time_text};

// Branches and authors that are named one by one.
const NAMED: usize = 20;

pub(super) fn run(context: &mut Context, command: MemberCommand) -> Result<(), Failure> {
    match command {
        MemberCommand::Grant { space, subject, permission, weaken, allow_public_admin } => {
            let permission = input::permission_or_none(&permission)?;
            grant(context, &space, &subject, permission, &weaken, allow_public_admin)
        }
        MemberCommand::Revoke { space, subject, weaken } => {
            grant(context, &space, &subject, None, &weaken, false)
        }
        MemberCommand::Withdraw { space, of, key } => withdraw(context, &space, &of, &key),
        MemberCommand::Members { space, effective: true, key } => effective(context, &space, key.as_deref()),
        MemberCommand::Members { space, .. } => members(context, &space),
    }
}

fn grant(
    context: &mut Context,
    space: &str,
    subject: &str,
    permission: Option<Permission>,
    weaken: &Weaken,
    allow_public_admin: bool,
) -> Result<(), Failure> {
    let database = if weaken.dry_run { context.read()? } else { context.write()? };
    let space = database.space(space)?;
    let subject = input::subject(&space, subject)?;
    let mut plan = space.plan_grant(subject, permission, &keep(&space, weaken)?)?;
    plan.allow_public_admin = allow_public_admin;
    if plan.is_public_admin() && !allow_public_admin {
        return Err(Failure::invalid(
            "public_admin",
            "anyone would be an admin: whoever comes could remove all who are weaker",
            "grant it to keys; or say `--allow-public-admin` if you mean it",
        ));
    }
    let facts = facts(&plan);
    let output = &mut context.output;
    if weaken.dry_run {
        if output.json {
            return output.record(&line(&plan, None));
        }
        output.text(headline(&plan))?;
        return facts.iter().try_for_each(|fact| output.text(fact));
    }
    if !facts.is_empty() {
        output.note(headline(&plan));
        facts.iter().for_each(|fact| output.note(fact));
        if !weaken.yes && output.can_ask() && !confirmed(context) {
            let hint = "`--dry-run` only shows what it would do; `--yes` does not ask";
            return Err(Failure::new(Exit::Failed, "not_confirmed", "nothing was signed", hint));
        }
    }
    let commit = space.grant_with(&plan)?;
    let output = &mut context.output;
    let line = line(&plan, Some(commit));
    if output.json {
        return output.record(&line);
    }
    output.text(format!("{}  {}", line.subject, word(permission)))
}

fn withdraw(context: &mut Context, space: &str, of: &str, key: &str) -> Result<(), Failure> {
    let database = context.write()?;
    let (space, of) = (database.space(space)?, database.space(of)?);
    let key = input::key(&space, key)?;
    let commit = space.withdraw(&of.id(), &key)?;
    let left = space.effective(Some(key))?.into_iter().next().and_then(|left| left.permission);
    let permission = left.map(permission_text);
    let text = format!("{key}  {}", word(left));
    let line = contract::Withdrawn { space: space.id(), of: of.id(), key, permission, commit };
    let output = &mut context.output;
    if output.json { output.record(&line) } else { output.text(text) }
}

fn confirmed(context: &mut Context) -> bool {
    context.output.note("Type `yes` to go on:");
    let mut answer = String::new();
    // An answer that cannot be read is not a yes.
    let _ = BufReader::new(context.input.stdin()).read_line(&mut answer);
    answer.trim() == "yes"
}

fn keep(space: &Space, weaken: &Weaken) -> Result<Keep, Failure> {
    if weaken.keep_nothing {
        return Ok(Keep::Nothing);
    }
    let commits = weaken.keep.iter().map(|word| Ok(space.find_commit(word)?));
    let commits = commits.collect::<Result<Vec<_>, Failure>>()?;
    Ok(if commits.is_empty() { Keep::Seen } else { Keep::Commits(commits) })
}

fn word(permission: Option<Permission>) -> String {
    permission.map_or_else(|| "none".to_owned(), permission_text)
}

fn headline(plan: &GrantPlan) -> String {
    let subject = subject_text(&plan.subject);
    format!("{subject} has {} now, and will have {}", word(plan.present), word(plan.permission))
}

// What somebody should know before it is signed; nothing where it only gives.
fn facts(plan: &GrantPlan) -> Vec<String> {
    let mut facts = Vec::new();
    if plan.keep.is_some() {
        match plan.branches.as_slice() {
            [] => facts.push("nothing of it is kept".to_owned()),
            branches => {
                facts.extend(branches.iter().take(NAMED).map(|branch| {
                    let (commits, time) = (counted(branch.commits, "commit"), time_text(branch.time.ms()));
                    format!(
                        "kept: {} of {}, number {}, at {time} UTC: {commits}",
                        branch.commit, branch.author, branch.seq
                    )
                }));
                if branches.len() > NAMED {
                    facts.push(format!(
                        "and {} other chains; {} in all",
                        branches.len() - NAMED,
                        counted(plan.kept(), "commit")
                    ));
                }
            }
        }
        match plan.losses.as_slice() {
            [] => facts.push("nothing that is here becomes void".to_owned()),
            losses => facts.extend(
                losses
                    .iter()
                    .take(NAMED)
                    .map(|loss| format!("void: {} of {}", counted(loss.commits, "commit"), loss.author)),
            ),
        }
        if plan.losses.len() > NAMED {
            facts.push(format!(
                "and of {} others; {} in all",
                plan.losses.len() - NAMED,
                counted(plan.lost(), "commit")
            ));
        }
    }
    if plan.weakens
        && let Some(at) = plan.exchanged_ms
    {
        facts.push(format!(
            "last exchange of this space: {} UTC; what it wrote since, and others have, becomes void there",
            time_text(at)
        ));
    }
    facts.extend(warnings(plan).into_iter().map(|warning| format!("warning: {warning}")));
    facts
}

fn warnings(plan: &GrantPlan) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(late) = &plan.late {
        warnings.push(format!(
            "{} of it came here only after {} UTC, and gives a time from {} on: its author was offline, or dates \
             back; `--keep COMMIT` keeps less",
            counted(late.commits, "commit"),
            time_text(late.since.ms()),
            time_text(late.written.ms())
        ));
    }
    if plan.opens {
        let may = match plan.permission {
            Some(Permission::Read) => "read this space",
            Some(Permission::Write(_)) => "read and write this space",
            _ => "administer this space",
        };
        warnings
            .push(format!("anyone who reaches a member will be able to {may}, and what was read stays read"));
    }
    warnings
}

fn line(plan: &GrantPlan, commit: Option<driftless::CommitId>) -> contract::Granted {
    let kept = plan.branches.iter().map(|branch| contract::Kept {
        author: branch.author,
        commit: branch.commit,
        seq: branch.seq,
        time: branch.time.ms(),
        commits: branch.commits,
    });
    let lost = plan.losses.iter().map(|loss| contract::Loss { author: loss.author, commits: loss.commits });
    contract::Granted {
        space: plan.space,
        subject: subject_text(&plan.subject),
        present: plan.present.map(permission_text),
        permission: plan.permission.map(permission_text),
        commit,
        kept: plan.keep.is_some().then(|| kept.collect()),
        lost: lost.collect(),
        late: plan.late.as_ref().map(|late| contract::Late {
            commits: late.commits,
            written: late.written.ms(),
            since: late.since.ms(),
        }),
        exchanged: plan.exchanged_ms,
        warnings: warnings(plan),
    }
}

fn members(context: &mut Context, space: &str) -> Result<(), Failure> {
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

fn effective(context: &mut Context, space: &str, key: Option<&str>) -> Result<(), Failure> {
    let space = context.read()?.space(space)?;
    let key = key.map(|word| input::key(&space, word)).transpose()?;
    let effective = space.effective(key)?;
    let output = &mut context.output;
    if output.json {
        return effective.into_iter().try_for_each(|one| output.record(&effective_line(one)));
    }
    let mut table = Table::new(&["SUBJECT", "PERMISSION", "", "DECIDED BY"]);
    for one in &effective {
        let you = if one.you { "you" } else { "" };
        let mut cells = [subject_text(&one.subject), word(one.permission), you.to_owned()];
        let mut told: Vec<String> = one.decided_by.iter().map(Ruling::text).collect();
        if told.len() > 1 {
            told.iter_mut().skip(1).for_each(|text| text.insert_str(0, "at once: "));
        }
        if told.is_empty() {
            told.push("no statement names it, and none is about anyone".to_owned());
        }
        told.extend(one.void.iter().map(Ruling::text));
        for text in told {
            let [subject, permission, you] = std::mem::take(&mut cells);
            table.row([subject, permission, you, text]);
        }
    }
    print(output, &table)
}

fn print(output: &mut Output, table: &Table) -> Result<(), Failure> {
    if table.is_empty() {
        output.note("nobody may do anything here, as far as is known");
    }
    output.table(table)
}

fn effective_line(one: Effective) -> contract::Effective {
    let rulings = |rulings: Vec<Ruling>| rulings.into_iter().map(contract::Ruling::from).collect();
    contract::Effective {
        subject: subject_text(&one.subject),
        permission: one.permission.map(permission_text),
        as_anyone: one.as_anyone,
        you: one.you,
        decided_by: rulings(one.decided_by),
        void: rulings(one.void),
    }
}
