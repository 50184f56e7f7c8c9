//! The words of `user` and `key`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Make one more user of this database, with a key of its own
    #[command(after_help = "EXAMPLES
  driftless user create ben
  driftless user create ben --password
  driftless user create ben --password --new-password-file ben.txt

A password comes from --new-password-file, else $DRIFTLESS_NEW_PASSWORD, else a prompt. Without --password the keys of the
user lie in the database file as they are.")]
    Create {
        /// The name in this database
        name: String,
        /// Give it a password
        #[arg(long)]
        password: bool,
        /// The new password is the first line of this file
        #[arg(long, value_name = "FILE", requires = "password")]
        new_password_file: Option<PathBuf>,
    },
    /// List the users of this database
    #[command(after_help = "EXAMPLES
  driftless user list --json")]
    List,
    /// Show one user: its keys, and whether it has a password and an identity
    #[command(after_help = "EXAMPLES
  driftless user show
  driftless user show ben --json")]
    Show {
        /// The name; if left out, the user who acts
        name: Option<String>,
    },
    /// Set, change or remove the password of the user who acts
    #[command(after_help = "EXAMPLES
  driftless user passwd
  driftless --user ben user passwd --new-password-file new.txt
  driftless user passwd --remove

The present password comes from --password-file, else $DRIFTLESS_PASSWORD, else a prompt; the new one from
--new-password-file, else $DRIFTLESS_NEW_PASSWORD, else a prompt. Keys that lay in the file without a password may still
be in backups: whoever fears that takes new ones with `driftless key new` and revokes the old.")]
    Passwd {
        /// The new password is the first line of this file
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
        /// Have none any more: the keys lie in the database file as they are
        #[arg(long, conflicts_with = "new_password_file")]
        remove: bool,
    },
    /// Print the space that stands for the user on all devices; it is made at first need
    #[command(after_help = "EXAMPLES
  driftless user identity
  driftless user identity --json")]
    Identity,
    /// Print a ticket for one more device of the user: whoever has it becomes this user
    #[command(after_help = "EXAMPLES
  driftless user ticket
  driftless user ticket --expires 1h --address http://192.0.2.7:7477

It can be used once. It names the addresses of the `driftless serve` that runs on this folder, or those that --address
gives.")]
    Ticket {
        /// How long it may be used: `45s`, `30m`, `12h`, `2d`, `1w`; if left out, until it is used
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        /// Where this database can be reached; may be given several times
        #[arg(long, value_name = "ADDR")]
        address: Vec<String>,
    },
    /// Become the user of another device, by a ticket that `user ticket` printed there
    #[command(after_help = "EXAMPLES
  driftless user join driftless:aiab...
  driftless user join @ticket.txt")]
    Join {
        /// The ticket, or `-`, or `@file`
        ticket: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a new key of the user
    #[command(after_help = "EXAMPLES
  driftless key new
  driftless key new --default")]
    New {
        /// It becomes the default key
        #[arg(long)]
        default: bool,
    },
    /// List the keys of the user, the default one first
    #[command(after_help = "EXAMPLES
  driftless key list --json
  driftless --user ben key list

An active key signs; a former one only lets its user read; a revoked one is used for nothing here. In each space that
active key signs which may do most there, else the default one.")]
    List,
    /// Choose the key that founds spaces, and signs where no other is better
    #[command(after_help = "EXAMPLES
  driftless key default a_abcd2345")]
    Default {
        /// The key, or the first 8 or more characters
        key: String,
    },
    /// Print the secret of a key as text, for another device or a safe
    #[command(after_help = "EXAMPLES
  driftless key export a_abcd2345 --password > key.txt
  driftless key export a_abcd2345 --password --key-password-file safe.txt --json

With --password the text opens only with a password, from --key-password-file, else $DRIFTLESS_KEY_PASSWORD, else a
prompt; without, whoever has it can sign as you. Two databases that both go on signing with one key fork it: use the text
where the key is used nowhere else.")]
    Export {
        /// The key, or the first 8 or more characters
        key: String,
        /// Put a password before it
        #[arg(long)]
        password: bool,
        /// That password is the first line of this file
        #[arg(long, value_name = "FILE", requires = "password")]
        key_password_file: Option<PathBuf>,
    },
    /// Take a key that was exported as one more key of the user
    #[command(after_help = "EXAMPLES
  driftless key import key.txt
  ssh laptop cat key.txt | driftless key import -

If it is under a password, that comes from --key-password-file, else $DRIFTLESS_KEY_PASSWORD, else a prompt. The key must
not be used elsewhere any more.")]
    Import {
        /// The file with the text, or `-` for standard input
        file: PathBuf,
        /// The password of the text is the first line of this file
        #[arg(long, value_name = "FILE")]
        key_password_file: Option<PathBuf>,
    },
    /// End a key: it never signs again here, and its secret is removed
    #[command(after_help = "EXAMPLES
  driftless key revoke a_abcd2345

In spaces it keeps its permissions until an admin there runs `driftless revoke`. The last key that signs cannot go.")]
    Revoke {
        /// The key, or the first 8 or more characters
        key: String,
    },
}
