//! Why something was not done, as clients are told: a status of HTTP, a stable word, a sentence, and what to do next.

use std::fmt::Display;

use serde_json::{Value, json};

/// An operation that did not do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    message: String,
    hint: String,
}

impl Refusal {
    pub(crate) fn new(
        status: u16,
        code: &'static str,
        message: impl Display,
        hint: impl Into<String>,
    ) -> Self {
        Self { status, code, message: message.to_string(), hint: hint.into() }
    }

    pub(crate) fn arguments(message: impl Display, hint: impl Into<String>) -> Self {
        Self::new(400, "invalid_arguments", message, hint)
    }

    pub(crate) fn too_large(message: impl Display, hint: impl Into<String>) -> Self {
        Self::new(413, "too_large", message, hint)
    }

    /// What stands under `error`.
    pub(crate) fn to_json(&self) -> Value {
        json!({"code": self.code, "message": self.message, "hint": self.hint})
    }
}

impl From<driftless::Error> for Refusal {
    fn from(error: driftless::Error) -> Self {
        Self::new(status_of(error.code()), error.code(), &error, error.hint())
    }
}

fn status_of(code: &str) -> u16 {
    match code {
        "invalid" | "invalid_filter" | "invalid_operators" | "ambiguous" => 400,
        "not_permitted" | "not_open" | "author_forked" | "login_failed" | "login_needed" | "read_only" => 403,
        "not_found" => 404,
        "exists" | "stale_cursor" => 409,
        "busy" | "queue_full" | "too_many_attempts" => 429,
        "peer_unreachable" | "peer_protocol" => 502,
        "locked" | "newer_version" | "older_version" | "damaged" | "poisoned" | "restored" | "chain_lost" => {
            503
        }
        _ => 500,
    }
}
