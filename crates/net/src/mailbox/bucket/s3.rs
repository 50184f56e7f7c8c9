//! Which bucket of S3, and what is shown to be let in: the address is kept with the mailbox, the keys stand in the environment
//! and nowhere else.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AwsAuthorizer, AwsCredential, S3ConditionalPut};
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::{ObjectStore, RetryConfig};
use reqwest::StatusCode;

use super::super::MailboxError;
use super::page::{self, OnePage};
use super::wire::Wire;
use super::{BucketAddress, address, told, unreached};

/// Where AWS is if nobody says otherwise; others do not mind.
const REGION: &str = "us-east-1";

/// A bucket of S3, and what lets somebody in.
#[derive(Clone)]
pub struct S3 {
    bucket: String,
    prefix: String,
    endpoint: String,
    region: String,
    key_id: String,
    secret_key: String,
    token: Option<String>,
    allow_http: bool,
    patience: S3Patience,
}

impl fmt::Debug for S3 {
    // Never the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bucket, prefix, endpoint, .. } = self;
        write!(f, "S3({endpoint}/{bucket}/{prefix})")
    }
}

/// How long a bucket is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S3Patience {
    /// How often the same is asked, at most. If left unset, 5 times.
    pub attempts: u32,
    /// The wait before it is asked again, which doubles each time. If left unset, 200 milliseconds.
    pub wait: Duration,
    /// For a connection. If left unset, 10 seconds.
    pub connect: Duration,
    /// Without a byte. If left unset, 30 seconds.
    pub idle: Duration,
    /// For one answer, and for asking again. If left unset, 100 seconds.
    pub whole: Duration,
}

impl Default for S3Patience {
    fn default() -> Self {
        Self {
            attempts: 5,
            wait: Duration::from_millis(200),
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            whole: Duration::from_secs(100),
        }
    }
}

// What is set to nothing is not set.
fn set(environment: &dyn Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    environment(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

impl S3 {
    /// The bucket of an address. What is not in it is asked of `environment` by the names that the tools of AWS have for it,
    /// and so are the keys.
    pub fn of(
        address: &BucketAddress,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, MailboxError> {
        let set = |name: &str| set(environment, name);
        let region =
            address.region.clone().or_else(|| set("AWS_REGION")).or_else(|| set("AWS_DEFAULT_REGION"));
        let region = address::region(region.as_deref().unwrap_or(REGION))?.to_owned();
        let endpoint = match address.endpoint.clone().or_else(|| Self::endpoint_of(environment)) {
            Some(endpoint) => address::endpoint(&endpoint)?.to_owned(),
            None => format!("https://s3.{region}.amazonaws.com"),
        };
        let allow_http = set("AWS_ALLOW_HTTP").is_some_and(|allow| matches!(allow.as_str(), "true" | "1"));
        if endpoint.starts_with("http:") && !allow_http {
            return Err(MailboxError::Unusable(
                "this endpoint has no TLS, so anybody on the way could read and change what is sent: set \
                 AWS_ALLOW_HTTP=true to use it all the same"
                    .into(),
            ));
        }
        let key = |name: &str| {
            set(name).ok_or_else(|| {
                MailboxError::Denied(format!(
                    "{name} is not set; a bucket needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
                ))
            })
        };
        Ok(Self {
            bucket: address.bucket.clone(),
            prefix: address.prefix.clone(),
            endpoint,
            region,
            key_id: header(key("AWS_ACCESS_KEY_ID")?, "AWS_ACCESS_KEY_ID")?,
            secret_key: key("AWS_SECRET_ACCESS_KEY")?,
            token: set("AWS_SESSION_TOKEN").map(|token| header(token, "AWS_SESSION_TOKEN")).transpose()?,
            allow_http,
            patience: S3Patience::default(),
        })
    }

    /// The server that the environment names, if it does.
    pub(in super::super) fn endpoint_of(environment: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        set(environment, "AWS_ENDPOINT_URL_S3").or_else(|| set(environment, "AWS_ENDPOINT_URL"))
    }

    /// The same, with what this process finds in its environment.
    pub fn of_environment(address: &BucketAddress) -> Result<Self, MailboxError> {
        Self::of(address, &|name| std::env::var(name).ok())
    }

    /// The same, waited for so long.
    pub fn with_patience(self, patience: S3Patience) -> Self {
        Self { patience, ..self }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn open(&self) -> Result<(Arc<dyn ObjectStore>, Pages), MailboxError> {
        let (plain, host) = match self.endpoint.split_once("://") {
            Some((scheme, rest)) => (scheme == "http", rest),
            None => (false, self.endpoint.as_str()),
        };
        let loopback = ["localhost", "127.", "[::1]"].iter().any(|own| host.starts_with(own));
        let wire = Wire::new(plain, loopback, self.patience)?;
        let mut store = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_endpoint(&self.endpoint)
            .with_region(&self.region)
            .with_allow_http(self.allow_http)
            .with_access_key_id(&self.key_id)
            .with_secret_access_key(&self.secret_key)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // Not every server has it, and there is only one to delete at a time.
            .with_disable_bulk_delete(true)
            // The wire asks again by itself.
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .with_http_connector(wire.clone());
        if let Some(token) = &self.token {
            store = store.with_token(token);
        }
        let store = store.build().map_err(|error| MailboxError::Unusable(told(&error)))?;
        let credential = AwsCredential {
            key_id: self.key_id.clone(),
            secret_key: self.secret_key.clone(),
            token: self.token.clone(),
        };
        let url = format!("{}/{}", self.endpoint, self.bucket);
        Ok((Arc::new(store), Pages { wire, credential, region: self.region.clone(), url }))
    }
}

/// Asks for pages of a listing.
pub(super) struct Pages {
    wire: Wire,
    credential: AwsCredential,
    region: String,
    url: String,
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pages({})", self.url)
    }
}

impl Pages {
    /// Keys that begin with `prefix`, after `after` or from where the page before has ended.
    pub(super) async fn get(
        &self,
        prefix: &str,
        after: &str,
        most: usize,
        token: Option<&str>,
    ) -> Result<OnePage, MailboxError> {
        let mut url = format!("{}?list-type=2&max-keys={most}", self.url);
        for (name, value) in
            [("continuation-token", token.unwrap_or_default()), ("prefix", prefix), ("start-after", after)]
        {
            if !value.is_empty() {
                let _ = write!(url, "&{name}={}", escaped(value));
            }
        }
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() =
            url.parse().map_err(|_| MailboxError::Unusable("the endpoint is no address".into()))?;
        AwsAuthorizer::new(&self.credential, "s3", &self.region)
            .try_authorize(&mut request, None)
            .map_err(|error| MailboxError::Unusable(told(&error)))?;
        let answer = self.wire.ask(request).await.map_err(|error| unreached(&error))?;
        let code = String::from_utf8_lossy(&answer.body);
        match answer.status {
            status if status.is_success() => page::read(&answer.body),
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                Err(MailboxError::Denied(format!("the bucket cannot be listed ({code})")))
            }
            StatusCode::NOT_FOUND => Err(MailboxError::Unusable("there is no such bucket".into())),
            status => Err(MailboxError::Unreachable(format!("the bucket answers {status} {code}"))),
        }
    }
}

// Everything but what needs no escape anywhere.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

// What goes into a header has to be one.
fn header(value: String, name: &str) -> Result<String, MailboxError> {
    if value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(value);
    }
    Err(MailboxError::Denied(format!("{name} has characters that no key has")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str, environment: &[(&str, &str)]) -> Result<S3, MailboxError> {
        let keys = [("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "hush")];
        let address = BucketAddress::read(url.strip_prefix("s3://").unwrap())?;
        S3::of(&address, &|name| {
            let found = environment.iter().chain(&keys).find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_url_names_a_bucket_and_the_environment_the_rest() {
        let place = of("s3://notes", &[]).unwrap();
        assert_eq!((place.bucket.as_str(), place.prefix.as_str()), ("notes", ""));
        assert_eq!(place.endpoint, "https://s3.us-east-1.amazonaws.com");
        let place = of("s3://notes/ann/a/", &[("AWS_REGION", "eu-north-1")]).unwrap();
        assert_eq!((place.prefix.as_str(), place.region.as_str()), ("ann/a", "eu-north-1"));
        assert_eq!(place.endpoint, "https://s3.eu-north-1.amazonaws.com");
        let place =
            of("s3://notes?endpoint=https://s3.example.com:9000/&region=x", &[("AWS_REGION", "y")]).unwrap();
        assert_eq!((place.endpoint.as_str(), place.region.as_str()), ("https://s3.example.com:9000", "x"));
        let http = [("AWS_ENDPOINT_URL", "http://127.0.0.1:9000"), ("AWS_ALLOW_HTTP", "true")];
        assert_eq!(of("s3://notes", &http).unwrap().endpoint, "http://127.0.0.1:9000");
    }

    #[test]
    fn an_endpoint_without_tls_has_to_be_allowed_and_one_of_the_environment_is_checked() {
        for environment in [
            [("AWS_ENDPOINT_URL", "http://host"), ("AWS_REGION", "x")],
            [("AWS_ENDPOINT_URL", "https://ann:secret@host"), ("AWS_REGION", "x")],
            [("AWS_ENDPOINT_URL", "https://host"), ("AWS_REGION", "a/b")],
        ] {
            assert!(matches!(of("s3://notes", &environment), Err(MailboxError::Unusable(_))));
        }
        assert!(matches!(of("s3://notes?endpoint=http://host", &[]), Err(MailboxError::Unusable(_))));
    }

    #[test]
    fn what_is_missing_is_said_and_no_key_is_ever_shown() {
        for missing in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            let refused = of("s3://notes", &[(missing, " ")]).unwrap_err().to_string();
            assert!(refused.contains(&format!("{missing} is not set")), "{refused}");
        }
        let place = of("s3://notes", &[("AWS_SESSION_TOKEN", "hushhush")]).unwrap();
        assert!(!format!("{place:?}").contains("hush"));
        let (store, pages) = place.open().unwrap();
        assert!(!format!("{store:?} {pages:?} {store}").contains("hush"));
        let odd = of("s3://notes", &[("AWS_SESSION_TOKEN", "a\nb")]).unwrap_err();
        assert!(matches!(odd, MailboxError::Denied(_)));
    }
}
