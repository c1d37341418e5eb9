//! The page's own files. They are public: they hold nothing but the program, and everything it shows it must ask for.
//!
//! A browser that asks for an address of the page gets `index.html`, which then shows what the address means; all that
//! asks for JSON, as Kubernetes' clients do, is answered by the API.

use crate::{
    answer::{Answer, Body},
    compress,
    path::{self, Endpoint},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use quarterdeck_page::{Asset, asset};

const INDEX: &str = "/index.html";
/// What is never an address of the page, so that a mistake is told as one.
const API: [&str; 9] =
    ["api", "apis", "openapi", "openid", "graphql", "session", "stream", "metrics", ".well-known"];
/// Folder of files whose names change with what is in them.
const HASHED: &str = "/assets/";

/// Nothing but what comes from here, nothing inline, nobody around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    font-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// What is shown when the binary was built without the page.
const WITHOUT: &str = "<!doctype html><html lang=en><title>Quarterdeck</title>\
    <p>This binary was built without the page. <code>make build</code> (or <code>make run</code>) builds both, with npm;\
    <code>make ui</code> builds the page alone.\
    <p>The API is whole: <code>kubectl</code> works, and so does <code>/graphql</code>.";

/// The file that a request asks for, if it asks for one.
pub(crate) fn answer<B>(request: &Request<B>) -> Option<Answer> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let headers = request.headers();
    let address = request.uri().path();
    if address != INDEX
        && let Some(file) = asset(address)
    {
        let keep = if address.starts_with(HASHED) {
            "public, max-age=31536000, immutable"
        } else {
            "public, no-cache"
        };
        return Some(sent(file, media(address), keep, request.method(), headers));
    }
    let html = |accept: &HeaderValue| accept.to_str().is_ok_and(|it| it.contains("text/html"));
    if !headers.get(header::ACCEPT).is_some_and(html) {
        return None;
    }
    let first = address.trim_start_matches('/').split('/').next().unwrap_or_default();
    let own = !matches!(path::endpoint(address), Ok(endpoint) if endpoint != Endpoint::Paths);
    if !own || API.contains(&first) || address.starts_with(HASHED) {
        return None;
    }
    Some(match asset(INDEX) {
        Some(file) => sent(file, "text/html; charset=utf-8", "no-cache", request.method(), headers),
        None => html_of(StatusCode::OK, WITHOUT),
    })
}

fn body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

fn html_of(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(body(text));
    *answer.status_mut() = status;
    guard(&mut answer);
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, html);
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

fn sent(
    file: &'static Asset,
    media: &'static str,
    keep: &'static str,
    method: &Method,
    asked: &HeaderMap,
) -> Answer {
    let known = asked.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let same = known.is_some_and(|known| {
        known.split(',').any(|tag| {
            let tag = tag.trim();
            tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == file.etag
        })
    });
    let packed = file.gzip.filter(|_| compress::accepted(asked));
    let bytes = packed.unwrap_or(file.plain);
    let mut answer = match (same, method) {
        (true, _) | (_, &Method::HEAD) => Response::new(body(Bytes::new())),
        _ => Response::new(body(bytes)),
    };
    guard(&mut answer);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    headers.insert(header::ETAG, HeaderValue::from_static(file.etag));
    if file.gzip.is_some() {
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding, Accept"));
    }
    if same {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        return answer;
    }
    if packed.is_some() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(header::CONTENT_LENGTH, bytes.len().into());
    answer
}

/// What keeps browsers from doing with it what is not meant.
fn guard(answer: &mut Answer) {
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}

fn media(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
