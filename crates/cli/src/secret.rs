//! Where passwords come from: a file, the environment, or a person at a terminal, who types unseen. Never an argument, which
//! every program on the machine can read.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use driftless::Password;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::failure::Failure;

// Bytes of a file of which the first line is the password.
const MAX_FILE: u64 = 64 * 1024;

/// Which password is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Which {
    /// The one of the user who acts.
    Present,
    /// The one that a user gets.
    New,
    /// The one of a key as text.
    OfKey,
}

impl Which {
    fn variable(self) -> &'static str {
        match self {
            Self::Present => "DRIFTLESS_PASSWORD",
            Self::New => "DRIFTLESS_NEW_PASSWORD",
            Self::OfKey => "DRIFTLESS_KEY_PASSWORD",
        }
    }
}

/// What is asked of whoever runs a command.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) which: Which,
    pub(crate) prompt: String,
    /// Where the user said that it is.
    pub(crate) file: Option<PathBuf>,
    /// It is set now: a person types it twice.
    pub(crate) twice: bool,
}

/// Somebody who can be asked for passwords.
pub(crate) trait Secrets: Send {
    /// `None` if there is no file, no variable and no person.
    fn ask(&mut self, question: &Question) -> Result<Option<Password>, Failure>;
}

/// This process's own user.
pub(crate) struct Own;

impl Secrets for Own {
    fn ask(&mut self, question: &Question) -> Result<Option<Password>, Failure> {
        Ok(read(question)?.map(|bytes| Password::from_bytes(bytes.to_vec())))
    }
}

/// The bytes of a password, as this process's user gives them.
pub(crate) fn read(question: &Question) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    if let Some(path) = &question.file {
        let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
        let read = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
        read.map_err(|error| Failure::file(path, &error))?;
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        bytes.truncate(end);
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        return Ok(Some(bytes));
    }
    let variable = std::env::var_os(question.which.variable()).filter(|value| !value.is_empty());
    if let Some(value) = variable {
        let value = value.into_string().map_err(|_| {
            let hint = "give it in a file, with `--password-file`";
            Failure::invalid("invalid", format!("${} is not UTF-8", question.which.variable()), hint)
        })?;
        return Ok(Some(Zeroizing::new(value.into_bytes())));
    }
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    let prompt = |text: &str| match rpassword::prompt_password(format!("{text}: ")) {
        Ok(typed) => Ok(Some(Zeroizing::new(typed.into_bytes()))),
        // Whoever ends the input gives none.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(Failure::file("the terminal".as_ref(), &error)),
    };
    let typed = prompt(&question.prompt)?;
    if typed.is_some() && question.twice && prompt("the same again")? != typed {
        let hint = "type it again; nothing was changed";
        return Err(Failure::invalid("invalid", "the two passwords are not the same", hint));
    }
    Ok(typed)
}
