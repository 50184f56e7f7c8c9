//! From where a request may come: the name under which it reached us, and the page that sent it. Decided by the head alone.
//!
//! The name keeps out pages whose own name was made to lead here; the origin keeps out all other pages.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, header};

use crate::refusal::Refusal;

/// The names and origins that are let in besides our own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Callers {
    hosts: Vec<String>,
    origins: Vec<String>,
}

/// The page that asks, where a browser says which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Page {
    /// None, or one of ours.
    Own,
    /// One of an origin that was let in.
    Foreign(String),
}

impl Callers {
    /// A name under which we are reached, such as `db.example.org` or `db.example.org:8443`; false if it is none.
    pub(crate) fn add_host(&mut self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let plain = !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte));
        if plain {
            self.hosts.push(host);
        }
        plain
    }

    /// The origin of a page, `scheme://host` or `scheme://host:port`; false if it is none.
    pub(crate) fn add_origin(&mut self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        let place = origin.split_once("://").filter(|(scheme, _)| !scheme.is_empty());
        let plain = place.is_some_and(|(scheme, host)| {
            scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
                && !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte))
        });
        if plain {
            self.origins.push(origin);
        }
        plain
    }

    /// Who asks, of a request that came to the socket at `local`.
    pub(crate) fn check(&self, headers: &HeaderMap, local: SocketAddr) -> Result<Page, Refusal> {
        let host = only(headers, header::HOST.as_str()).filter(|host| self.is_ours(host, local));
        let host = host.ok_or_else(|| {
            let hint =
                "use the address that `driftless serve --ui` prints; `--ui-host NAME` lets in another name";
            Refusal::new(421, "wrong_host", "this is not reached under that name", hint)
        })?;
        if headers.get_all(header::ORIGIN).iter().next().is_none() {
            return Ok(Page::Own);
        }
        let origin = only(headers, header::ORIGIN.as_str()).unwrap_or_default();
        if self.origins.contains(&origin) {
            return Ok(Page::Foreign(origin));
        }
        // Behind a proxy that speaks TLS the page is at `https://`; only a name that was given can be there.
        let own = origin.strip_prefix("http://") == Some(host.as_str())
            || (self.hosts.contains(&host) && origin.strip_prefix("https://") == Some(host.as_str()));
        if own {
            return Ok(Page::Own);
        }
        let hint = "`driftless serve --ui-origin ORIGIN` lets in the pages of an origin";
        Err(Refusal::new(403, "wrong_origin", "pages of that origin are not let in", hint))
    }

    fn is_ours(&self, host: &str, local: SocketAddr) -> bool {
        if self.hosts.iter().any(|ours| ours == host) {
            return true;
        }
        // Without a port it is that of HTTP, and a browser leaves it out.
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
            _ => (host, Some(80)),
        };
        if port != Some(local.port()) {
            return false;
        }
        let ip = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match ip.map(|ip| ip.to_canonical()) {
            Ok(ip) => {
                ip == local.ip().to_canonical()
                    || (ip.is_loopback() && local.ip().to_canonical().is_loopback())
            }
            Err(_) if name == "localhost" => local.ip().to_canonical().is_loopback(),
            Err(_) => self.hosts.iter().any(|ours| ours == name),
        }
    }
}

// The value of a header that is there once, in small letters.
fn only(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().map(str::to_ascii_lowercase),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(callers: &Callers, local: &str, host: &str, origin: Option<&str>) -> Result<Page, u16> {
        let mut headers = HeaderMap::new();
        if !host.is_empty() {
            headers.insert(header::HOST, host.parse().unwrap());
        }
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        callers.check(&headers, local.parse().unwrap()).map_err(|refusal| refusal.status)
    }

    #[test]
    fn only_our_own_names_reach_us() {
        let mut callers = Callers::default();
        assert!(callers.add_host("db.example.org") && !callers.add_host("a b") && !callers.add_host(""));
        let local = "127.0.0.1:4000";
        for host in [
            "127.0.0.1:4000",
            "localhost:4000",
            "LOCALHOST:4000",
            "[::1]:4000",
            "db.example.org",
            "db.example.org:4000",
        ] {
            assert_eq!(asks(&callers, local, host, None), Ok(Page::Own), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:4000",
            "127.0.0.1:4001",
            "127.0.0.1",
            "192.0.2.1:4000",
            "localhost.evil.example:4000",
            "localhost:4000:4000",
            "db.example.org:1",
        ] {
            assert_eq!(asks(&callers, local, host, None), Err(421), "{host}");
        }
        let callers = Callers::default();
        assert_eq!(asks(&callers, "192.0.2.7:80", "192.0.2.7", None), Ok(Page::Own));
        assert_eq!(asks(&callers, "192.0.2.7:80", "localhost", None), Err(421));
    }

    #[test]
    fn only_our_own_pages_and_those_let_in_may_ask() {
        let mut callers = Callers::default();
        assert!(callers.add_origin("https://app.example.org"));
        for wrong in ["null", "app.example.org", "https://", "https://a/b", "*"] {
            assert!(!callers.add_origin(wrong), "{wrong}");
        }
        assert!(callers.add_host("db.example.org"));
        let (local, host) = ("127.0.0.1:4000", "localhost:4000");
        let foreign = Page::Foreign("https://app.example.org".into());
        assert_eq!(asks(&callers, local, host, Some("http://localhost:4000")), Ok(Page::Own));
        assert_eq!(asks(&callers, local, host, Some("https://app.example.org")), Ok(foreign));
        assert_eq!(asks(&callers, local, "db.example.org", Some("https://db.example.org")), Ok(Page::Own));
        for origin in [
            "null",
            "",
            "http://127.0.0.1:4000",
            "https://localhost:4000",
            "http://localhost:4001",
            "http://localhost",
            "http://evil.example",
            "https://app.example.org.evil.example",
            "file://",
        ] {
            assert_eq!(asks(&callers, local, host, Some(origin)), Err(403), "{origin}");
        }
    }
}
