//! The pages that are part of the program: a table of files, each with its kind and a tag that changes with its content.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};

/// A file of `crates/front/assets`, by the path under which it is served.
struct Asset {
    path: &'static str,
    kind: &'static str,
    content: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// Everything that is served without a token. Scripts and styles stand under `/assets`.
const ASSETS: &[Asset] = &[
    Asset { path: "/", kind: HTML, content: include_bytes!("../assets/index.html") },
    Asset { path: "/assets/choose.js", kind: SCRIPT, content: include_bytes!("../assets/choose.js") },
    Asset { path: "/assets/connection.js", kind: SCRIPT, content: include_bytes!("../assets/connection.js") },
    Asset { path: "/assets/document.js", kind: SCRIPT, content: include_bytes!("../assets/document.js") },
    Asset { path: "/assets/documents.js", kind: SCRIPT, content: include_bytes!("../assets/documents.js") },
    Asset { path: "/assets/element.js", kind: SCRIPT, content: include_bytes!("../assets/element.js") },
    Asset { path: "/assets/explain.js", kind: SCRIPT, content: include_bytes!("../assets/explain.js") },
    Asset { path: "/assets/inspector.css", kind: STYLE, content: include_bytes!("../assets/inspector.css") },
    Asset { path: "/assets/inspector.js", kind: SCRIPT, content: include_bytes!("../assets/inspector.js") },
    Asset { path: "/assets/key.js", kind: SCRIPT, content: include_bytes!("../assets/key.js") },
    Asset { path: "/assets/log.js", kind: SCRIPT, content: include_bytes!("../assets/log.js") },
    Asset { path: "/assets/mark.svg", kind: IMAGE, content: include_bytes!("../assets/mark.svg") },
    Asset { path: "/assets/members.js", kind: SCRIPT, content: include_bytes!("../assets/members.js") },
    Asset { path: "/assets/overview.js", kind: SCRIPT, content: include_bytes!("../assets/overview.js") },
    Asset { path: "/assets/show.js", kind: SCRIPT, content: include_bytes!("../assets/show.js") },
    // The client for pages: `import { connect } from "/assets/driftless.js"`.
    Asset {
        path: "/assets/driftless.js",
        kind: SCRIPT,
        content: include_bytes!("../../../clients/js/dist/driftless.js"),
    },
];

/// What pages may do: run our scripts, and talk to us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri \
                      'none'; form-action 'none'; frame-ancestors 'none'";

/// Ours besides: none of their scripts can make markup of a text, whatever a document says.
const NO_MARKUP: &str = "require-trusted-types-for 'script'; trusted-types 'none'";

/// The file at a path, or that the client has it already.
pub(crate) fn get(path: &str, headers: &HeaderMap) -> Option<Response<Body>> {
    let asset = ASSETS.iter().find(|asset| asset.path == path)?;
    Some(file(asset.kind, Body::from(asset.content), asset.content, headers))
}

/// Any content that holds no data, with its tag.
pub(crate) fn file(kind: &'static str, body: Body, content: &[u8], headers: &HeaderMap) -> Response<Body> {
    let tag = format!("\"{}\"", &blake3::hash(content).to_hex()[..32]);
    let has_it = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let has_it =
        has_it.flat_map(|value| value.split(',')).any(|value| value.trim().trim_start_matches("W/") == tag);
    let mut response = Response::new(if has_it { Body::empty() } else { body });
    if has_it {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// What goes with every answer, so that no other page can frame it, read it or make a browser take it for something else.
pub(crate) fn harden(headers: &mut HeaderMap, foreign: bool, ours: bool) {
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        // A page of an origin that was let in reads answers by CORS.
        ("cross-origin-resource-policy", if foreign { "cross-origin" } else { "same-origin" }),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Where there are two policies both hold.
    if ours {
        headers.append(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(NO_MARKUP));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_of_the_folder_is_served_and_pages_hold_no_script() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets");
        let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        // The client comes from a folder of its own.
        assert_eq!(files.len() + 1, ASSETS.len(), "a file of assets is not in the table");
        for file in files {
            let content = std::fs::read(&file).unwrap();
            assert!(ASSETS.iter().any(|asset| asset.content == content), "{file:?} is not in the table");
        }
        for asset in ASSETS.iter().filter(|asset| asset.kind == HTML) {
            let text = std::str::from_utf8(asset.content).unwrap().to_lowercase();
            assert!(
                !text.contains("<script>") && !text.contains("<style") && !text.contains(" onclick"),
                "{}",
                asset.path
            );
            assert!(!text.contains(" style="), "{}", asset.path);
        }
    }

    #[test]
    fn who_has_a_file_is_not_sent_it_again() {
        let first = get("/", &HeaderMap::new()).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(get("/", &headers).unwrap().status(), StatusCode::NOT_MODIFIED);
        assert!(get("/assets/../Cargo.toml", &headers).is_none());
    }
}
