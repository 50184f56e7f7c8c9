//! The address of a hub's mailbox: `https://host`, with a port and a path where it has them. No name or password is in it.

use std::fmt;
use std::str::FromStr;

use super::ROOT;
use crate::address::checked_host;
use crate::mailbox::MailboxError;

/// Bytes of a path.
const MAX_PATH: usize = 256;

/// Where a hub serves its mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubAddress {
    /// Through TLS.
    pub secure: bool,
    /// A name or an IP address; an IPv6 address without its brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// `/mailbox`, or where a proxy has it; it does not end with `/`.
    pub path: String,
}

impl HubAddress {
    /// `host:port` as in a request, without a port that goes without saying.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.secure { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    /// The shortest way to write it.
    pub(in super::super) fn identity(&self) -> String {
        let text = self.to_string();
        if self.path == ROOT { text.strip_suffix(ROOT).unwrap_or(&text).to_owned() } else { text }
    }

    /// Whether what is said can be read on the way: plain HTTP to another machine.
    pub fn is_exposed(&self) -> bool {
        let local = self.host == "localhost"
            || self.host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        !self.secure && !local
    }
}

impl fmt::Display for HubAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

impl FromStr for HubAddress {
    type Err = MailboxError;

    fn from_str(url: &str) -> Result<Self, MailboxError> {
        let wrong = || {
            MailboxError::Unusable(
                "a hub is named like `https://hub.example.org`, with a port or a path if it has one, and no secret".into(),
            )
        };
        let (secure, rest) = match url.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(wrong()),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = path.trim_end_matches('/');
        let known =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~');
        let dots = path.split('/').any(|part| part == "." || part == "..");
        if path.len() > MAX_PATH || !path.bytes().all(known) || path.contains("//") || dots {
            return Err(wrong());
        }
        // The colon of a port is not one inside the brackets of an IPv6 address.
        let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => {
                let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
                (host, port.parse::<u16>().ok().filter(|port| digits && *port > 0).ok_or_else(wrong)?)
            }
            None => (authority, if secure { 443 } else { 80 }),
        };
        let host = checked_host(host).map_err(|_| wrong())?;
        let path = if path.is_empty() { ROOT.to_owned() } else { path.to_owned() };
        Ok(Self { secure, host, port, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_people_write_it() {
        for (url, text) in [
            ("https://hub.example.org", "https://hub.example.org/mailbox"),
            ("https://Hub.example.org:443/", "https://hub.example.org/mailbox"),
            ("http://127.0.0.1:7478", "http://127.0.0.1:7478/mailbox"),
            ("http://[::1]:7478/mailbox/", "http://[::1]:7478/mailbox"),
            ("https://example.org/a/b", "https://example.org/a/b"),
        ] {
            let address: HubAddress = url.parse().unwrap();
            assert_eq!((address.to_string().as_str(), text.parse()), (text, Ok(address)));
        }
        for url in [
            "",
            "https://",
            "https://a:b@c",
            "https://a/?x",
            "https://a#b",
            "http://a:0",
            "http://a:99999",
            "ftp://a",
            "http://a//b",
            "http://a/../b",
            "http://a/b%2f",
            "http://a b",
            "http://a:+1",
        ] {
            assert!(matches!(url.parse::<HubAddress>(), Err(MailboxError::Unusable(_))), "{url}");
        }
        let exposed = |url: &str| url.parse::<HubAddress>().unwrap().is_exposed();
        assert!(exposed("http://10.0.0.1") && !exposed("http://127.0.0.1") && !exposed("https://a.org"));
    }
}
