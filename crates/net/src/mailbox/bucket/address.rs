//! Where a bucket is, as users write it. Nothing in it is a secret: it is stored, shown and passed on.

use super::super::MailboxError;

/// Characters of the name of a bucket, or of a region.
const MAX_WORD: usize = 255;
/// Bytes of the prefix in a bucket.
const MAX_PREFIX: usize = 500;

/// `s3://bucket/prefix?endpoint=https://host&region=name`, of which all but the bucket may be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketAddress {
    /// The name of the bucket.
    pub bucket: String,
    /// What keys begin with; empty if nothing.
    pub prefix: String,
    /// The server, if it is not AWS and not the one that the environment names.
    pub endpoint: Option<String>,
    /// Where the bucket is, if the environment does not say so.
    pub region: Option<String>,
}

impl BucketAddress {
    /// Reads what stands after `s3://`.
    pub fn read(rest: &str) -> Result<Self, MailboxError> {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, in_it) = place.split_once('/').unwrap_or((place, ""));
        if !is_word(bucket) {
            return Err(unusable(
                "a bucket is named like `s3://bucket/prefix`; keys are in the environment, never in the URL",
            ));
        }
        let (bucket, prefix) = (bucket.to_owned(), prefix(in_it)?.to_owned());
        let mut address = Self { bucket, prefix, endpoint: None, region: None };
        for choice in query.split('&').filter(|choice| !choice.is_empty()) {
            match choice.split_once('=') {
                Some(("endpoint", value)) => address.endpoint = Some(endpoint(value)?.to_owned()),
                Some(("region", value)) => address.region = Some(region(value)?.to_owned()),
                _ => {
                    return Err(unusable(
                        "behind `?` there are only `endpoint=URL` and `region=NAME`, with `&` between",
                    ));
                }
            }
        }
        Ok(address)
    }

    /// The same for the same bucket and prefix of the same server; the region only says how to reach it.
    pub(in super::super) fn identity(&self) -> String {
        let Self { bucket, prefix, endpoint, region: _ } = self;
        let mut text = format!("s3://{bucket}");
        if !prefix.is_empty() {
            text.extend(["/", prefix]);
        }
        let Some(endpoint) = endpoint else { return text };
        let (scheme, rest) = endpoint.split_once("://").unwrap_or(("", endpoint));
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let usual = if scheme == "https" { ":443" } else { ":80" };
        let host = host.strip_suffix(usual).unwrap_or(host).to_ascii_lowercase();
        format!("{text}?endpoint={scheme}://{host}{path}")
    }
}

fn unusable(text: &str) -> MailboxError {
    MailboxError::Unusable(text.to_owned())
}

// What is the same in a path of a URL, escaped or not.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn is_word(text: &str) -> bool {
    (1..=MAX_WORD).contains(&text.len()) && text.bytes().all(is_plain) && !matches!(text, "." | "..")
}

pub(super) fn prefix(text: &str) -> Result<&str, MailboxError> {
    let prefix = text.trim_matches('/');
    if prefix.len() <= MAX_PREFIX && (prefix.is_empty() || prefix.split('/').all(is_word)) {
        return Ok(prefix);
    }
    Err(unusable("a prefix in a bucket has A-Z, a-z, 0-9, `.`, `_` and `-`, and `/` between its parts"))
}

pub(super) fn region(text: &str) -> Result<&str, MailboxError> {
    if is_word(text) { Ok(text) } else { Err(unusable("a region is a word like `eu-central-1`")) }
}

pub(super) fn endpoint(text: &str) -> Result<&str, MailboxError> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let known = |byte: u8| is_plain(byte) || matches!(byte, b':' | b'/' | b'[' | b']');
    let whole = |host: &str| !host.is_empty() && !host.starts_with(['/', ':']) && host.bytes().all(known);
    if host.is_some_and(whole) {
        return Ok(text.trim_end_matches('/'));
    }
    Err(unusable(
        "an endpoint is an address like `https://s3.example.com`, without a name or a password in it",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_bucket_may_be_left_out() {
        let address =
            |bucket: &str, prefix: &str, endpoint: Option<&str>, region: Option<&str>| BucketAddress {
                bucket: bucket.into(),
                prefix: prefix.into(),
                endpoint: endpoint.map(str::to_owned),
                region: region.map(str::to_owned),
            };
        for (text, wanted) in [
            ("notes", address("notes", "", None, None)),
            ("notes/ann/a/", address("notes", "ann/a", None, None)),
            ("notes?region=x", address("notes", "", None, Some("x"))),
            (
                "notes/a?endpoint=http://[::1]:9000/&region=eu-north-1",
                address("notes", "a", Some("http://[::1]:9000"), Some("eu-north-1")),
            ),
        ] {
            assert_eq!(BucketAddress::read(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_odd_or_holds_a_secret_is_no_address() {
        for odd in [
            "",
            "/a",
            "key:secret@notes",
            "no tes",
            "..",
            "notes/a//b",
            "notes/../a",
            "notes?key=secret",
            "notes?endpoint=ftp://host",
            "notes?endpoint=https://ann:secret@host",
            "notes?endpoint=https://",
            "notes?endpoint=https:///x",
            "notes?region=a%20b",
            "notes?region=",
        ] {
            assert!(matches!(BucketAddress::read(odd), Err(MailboxError::Unusable(_))), "{odd}");
        }
    }
}
