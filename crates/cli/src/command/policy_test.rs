//! `policy test`: cases from a file, decided by the rules of a space and a draft that nobody has signed.

use std::collections::BTreeMap;
use std::path::Path;

use driftless::{AuthorId, Deed, DraftGrant, DraftRule, Fate, Keep, Permission, PolicyCase, Space, Subject};
use serde::Deserialize;

use super::Context;
use crate::contract;
use crate::failure::{Exit, Failure};
use crate::input;
use crate::output::{Table, escape};

const HINT: &str = "`driftless policy test --help` shows a file";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Names of keys; null makes one up.
    #[serde(default)]
    keys: BTreeMap<String, Option<String>>,
    #[serde(default)]
    draft: Vec<DraftLine>,
    cases: Vec<CaseLine>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DraftLine {
    by: String,
    knowing: Option<usize>,
    grant: Option<String>,
    permission: Option<String>,
    revoke: Option<String>,
    keep: Option<KeepLine>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseLine {
    who: String,
    does: DoesLine,
    what: Option<WhatLine>,
    knowing: Option<usize>,
    expected: ExpectedLine,
    because: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum DoesLine {
    Read,
    Write,
    Admin,
    Grant,
    Revoke,
    Wrote,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WhatLine {
    Word(String),
    Grant(GrantLine),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantLine {
    subject: String,
    permission: Option<String>,
    keep: Option<KeepLine>,
}

/// `seen`, `nothing`, or a list of commits.
#[derive(Deserialize)]
#[serde(untagged)]
enum KeepLine {
    Word(KeepWord),
    Commits(Vec<String>),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeepWord {
    Seen,
    Nothing,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum ExpectedLine {
    Allowed,
    Refused,
    Void,
}

pub(super) fn run(context: &mut Context, space: &str, file: &Path) -> Result<(), Failure> {
    let word = if file == Path::new("-") { "-".to_owned() } else { format!("@{}", file.display()) };
    let text = context.input.argument(&word)?;
    let file: File = serde_json::from_str(&text)
        .map_err(|error| Failure::invalid("invalid_cases", format!("the file of cases: {error}"), HINT))?;
    let space = context.read()?.space(space)?;
    let names = Names::new(&space, &file.keys)?;
    let draft =
        file.draft.iter().enumerate().map(|(at, line)| names.draft(line).map_err(|why| why.at("draft", at)));
    let draft = draft.collect::<Result<Vec<_>, Failure>>()?;
    let cases =
        file.cases.iter().enumerate().map(|(at, line)| names.case(line).map_err(|why| why.at("case", at)));
    let cases = cases.collect::<Result<Vec<_>, Failure>>()?;
    let decided = space.judge_cases(&draft, &cases)?;
    let output = &mut context.output;
    let mut table = Table::new(&["", "#CASE", "WHO", "DOES", "EXPECTED", "FOUND", "BECAUSE"]);
    let mut failed = 0;
    for (at, (line, decided)) in file.cases.iter().zip(decided).enumerate() {
        let expected = match line.expected {
            ExpectedLine::Allowed => Fate::Allowed,
            ExpectedLine::Refused => Fate::Refused,
            ExpectedLine::Void => Fate::Void,
        };
        let because = names.named(decided.because);
        let fits = line.because.as_ref().is_none_or(|text| because.contains(text.as_str()));
        let ok = expected == decided.fate && fits;
        failed += usize::from(!ok);
        let line = contract::Case {
            case: at + 1,
            who: line.who.clone(),
            does: does_text(line),
            expected: fate_text(expected),
            found: fate_text(decided.fate),
            ok,
            because,
        };
        if output.json {
            output.record(&line)?;
        }
        let sign = if ok { "ok" } else { "!!" };
        table.row([
            sign.to_owned(),
            line.case.to_string(),
            escape(&line.who).into_owned(),
            escape(&line.does).into_owned(),
            line.expected.to_owned(),
            line.found.to_owned(),
            escape(&line.because).into_owned(),
        ]);
    }
    if !output.json {
        output.table(&table)?;
    }
    if failed == 0 {
        return Ok(());
    }
    let message = format!("{failed} of {} cases are decided otherwise", file.cases.len());
    let hint = "each line says which rule decided; change the rules, or what is expected";
    Err(Failure::new(Exit::Failed, "policy_failed", message, hint))
}

fn does_text(line: &CaseLine) -> String {
    let does = match line.does {
        DoesLine::Read => "read",
        DoesLine::Write => "write",
        DoesLine::Admin => "admin",
        DoesLine::Grant => "grant",
        DoesLine::Revoke => "revoke",
        DoesLine::Wrote => "wrote",
    };
    match &line.what {
        None => does.to_owned(),
        Some(WhatLine::Word(word)) => format!("{does} {word}"),
        Some(WhatLine::Grant(GrantLine { subject, permission, .. })) => {
            let permission = permission.as_deref().unwrap_or_default();
            format!("{does} {subject} {permission}").trim_end().to_owned()
        }
    }
}

fn fate_text(fate: Fate) -> &'static str {
    match fate {
        Fate::Allowed => "allowed",
        Fate::Refused => "refused",
        Fate::Void => "void",
    }
}

/// What the words of a file stand for.
struct Names<'s> {
    space: &'s Space,
    keys: BTreeMap<String, AuthorId>,
}

impl<'s> Names<'s> {
    fn new(space: &'s Space, named: &BTreeMap<String, Option<String>>) -> Result<Self, Failure> {
        let mut keys = BTreeMap::new();
        for (number, (name, word)) in (1_u64..).zip(named) {
            let key = match word {
                Some(word) => input::key(space, word)?,
                // Nobody has the key to these bytes, and nobody needs it: nothing is signed.
                None => {
                    let mut key = [0xff; 32];
                    key[..8].copy_from_slice(&number.to_be_bytes());
                    AuthorId(key)
                }
            };
            keys.insert(name.clone(), key);
        }
        Ok(Self { space, keys })
    }

    /// A sentence in which the keys are called by their names.
    fn named(&self, mut text: String) -> String {
        for (name, key) in &self.keys {
            text = text.replace(&key.to_string(), name);
        }
        text
    }

    fn key(&self, word: &str) -> Result<AuthorId, Failure> {
        self.keys.get(word).copied().map_or_else(|| input::key(self.space, word), Ok)
    }

    fn subject(&self, word: &str) -> Result<Subject, Failure> {
        match self.keys.get(word) {
            Some(key) => Ok(Subject::Key(*key)),
            None => input::subject(self.space, word),
        }
    }

    fn grant(
        &self,
        subject: &str,
        permission: Option<Permission>,
        keep: Option<&KeepLine>,
    ) -> Result<DraftGrant, Failure> {
        let keep = match keep {
            None | Some(KeepLine::Word(KeepWord::Seen)) => Keep::Seen,
            Some(KeepLine::Word(KeepWord::Nothing)) => Keep::Nothing,
            Some(KeepLine::Commits(words)) => {
                let commits = words.iter().map(|word| self.space.find_commit(word));
                Keep::Commits(commits.collect::<Result<_, _>>()?)
            }
        };
        Ok(DraftGrant { subject: self.subject(subject)?, permission, keep })
    }

    fn draft(&self, line: &DraftLine) -> Result<DraftRule, Failure> {
        let keep = line.keep.as_ref();
        let grant = match (&line.grant, &line.permission, &line.revoke) {
            (Some(subject), Some(word), None) => {
                self.grant(subject, input::permission_or_none(word)?, keep)?
            }
            (None, None, Some(subject)) => self.grant(subject, None, keep)?,
            _ => {
                let message = "either `grant` and `permission`, or `revoke`";
                return Err(Failure::invalid("invalid_cases", message, HINT));
            }
        };
        Ok(DraftRule { by: self.key(&line.by)?, knowing: line.knowing, grant })
    }

    fn case(&self, line: &CaseLine) -> Result<PolicyCase, Failure> {
        let does = match (line.does, &line.what) {
            (DoesLine::Read, None) => Deed::Read,
            (DoesLine::Write, None) => Deed::Write,
            (DoesLine::Admin, None) => Deed::Administer,
            (DoesLine::Grant, Some(WhatLine::Grant(GrantLine { subject, permission: Some(word), keep }))) => {
                Deed::Grant(self.grant(subject, input::permission_or_none(word)?, keep.as_ref())?)
            }
            (DoesLine::Revoke, Some(WhatLine::Grant(GrantLine { subject, permission: None, keep }))) => {
                Deed::Grant(self.grant(subject, None, keep.as_ref())?)
            }
            (DoesLine::Revoke, Some(WhatLine::Word(subject))) => {
                Deed::Grant(self.grant(subject, None, None)?)
            }
            (DoesLine::Wrote, Some(WhatLine::Word(commit))) => Deed::Wrote(self.space.find_commit(commit)?),
            _ => {
                let message = "`what` is a subject and a permission for `grant`, a subject for `revoke`, \
                               a commit for `wrote`, and nothing else";
                return Err(Failure::invalid("invalid_cases", message, HINT));
            }
        };
        Ok(PolicyCase { who: self.key(&line.who)?, knowing: line.knowing, does })
    }
}

impl Failure {
    // Names the line of a file, counted from 1.
    fn at(self, what: &str, at: usize) -> Self {
        let message = format!("{what} {}: {}", at + 1, self.message);
        Self { message, ..self }
    }
}
