//! What somebody can do about a mailbox that did not do what it was asked, by what went wrong and the kind of place. It opens
//! nothing; the kinds are those of `crates/net/src/mailbox/place.rs`.

use driftless_net::mailbox::MailboxError;

/// One sentence for whoever has a mailbox at this URL.
pub(crate) fn advice(url: &str, error: &MailboxError) -> &'static str {
    let kind = url.split_once("://").map_or("", |(scheme, _)| scheme);
    match (error, kind) {
        (MailboxError::Unreachable(_), "file") => {
            "check that its disk works; the next `driftless mailbox sync` goes on where this one stopped"
        }
        (MailboxError::Unreachable(_), "http" | "https") => {
            "check the address, and that the hub (`driftless serve --mailbox FOLDER`) runs there"
        }
        (MailboxError::Unreachable(_), "s3") => {
            "check the endpoint and the connection; the next `driftless mailbox sync` goes on where this one stopped"
        }
        (MailboxError::Unreachable(_), _) => {
            "check that the server runs there; the next `driftless mailbox sync` goes on where this one stopped"
        }
        (MailboxError::NoHost(_), "s3") => {
            "check the connection to the network, and the endpoint (`--endpoint`, AWS_ENDPOINT_URL)"
        }
        (MailboxError::NoHost(_), _) => "check the connection to the network, and the host in the URL",
        (MailboxError::Untrusted(_), "postgres" | "postgresql") => {
            "name the file with the certificate of who signed the server's: `sslrootcert=FILE` in the URL"
        }
        (MailboxError::Untrusted(_), _) => {
            "give the name for which its certificate was made; this machine has to trust whoever signed that"
        }
        (MailboxError::Gone(_), "file") => {
            "is its disk mounted? If what was there is lost for good, `driftless mailbox sync SPACE URL --anew` puts everything there again"
        }
        (MailboxError::Gone(_), _) => "check the URL",
        (MailboxError::Denied(_), "file") => {
            "whoever syncs has to be able to read and write that folder: check who owns it and who may"
        }
        (MailboxError::Denied(_), "http" | "https") => {
            "give the token of the hub, `driftless mailbox add SPACE URL --token-file FILE`; whoever runs the hub has it"
        }
        (MailboxError::Denied(_), "s3") => {
            "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment of whoever syncs (of `driftless serve`, \
             where it runs), and what these keys may do"
        }
        (MailboxError::Denied(_), _) => {
            "give the password in PGPASSWORD or ~/.pgpass of whoever syncs (of `driftless serve`, where it runs), and let the \
             role SELECT, INSERT and DELETE"
        }
        (MailboxError::Full(_), "file") => {
            "make room on its disk, or add another mailbox; nothing here is lost"
        }
        (MailboxError::Full(_), _) => {
            "ask whoever runs it for more room, or add another mailbox; nothing here is lost"
        }
        (MailboxError::TooLarge { .. }, _) => "use smaller documents: a mailbox takes none of that size",
        (MailboxError::Unusable(_), "s3") => {
            "check the URL and the endpoint; `driftless mailbox add --help` shows what they look like"
        }
        (MailboxError::Unusable(_), _) => {
            "check the URL; `driftless mailbox add --help` shows what it may look like"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_place_is_let_into_in_its_own_way() {
        let denied = MailboxError::Denied(String::new());
        let words = [
            ("file:///box", "folder"),
            ("https://hub", "--token-file"),
            ("s3://box", "AWS_SECRET_ACCESS_KEY"),
            ("postgres://ann@db/notes", "PGPASSWORD"),
        ];
        for (url, word) in words {
            assert!(advice(url, &denied).contains(word), "{url}");
        }
        assert!(advice("file:///box", &MailboxError::Gone(String::new())).contains("mounted"));
    }
}
