//! Fuzz targets: no bytes that a caller sends may make a parser panic, run long or out of stack. The
//! tests run each for a moment; `make fuzz` goes on for as long as it is let, led by coverage.

use crate::{
    body::Encoding,
    identity::{Key, Token},
    negotiate,
    patch::{Patch, PatchType},
    path::{self, Query},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use bolero::check;
use serde_json::json;

/// The first byte chooses; the rest is the input.
fn chosen<T: Copy, const N: usize>(bytes: &[u8], all: [T; N]) -> Option<(T, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    Some((*all.get(usize::from(*first) % N)?, rest))
}

#[test]
fn fuzz_paths_and_queries() {
    check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let (path, query) = text.split_once('?').unwrap_or((&text, ""));
        let _ = path::endpoint(path);
        let _ = Query::parse(query);
    });
}

#[test]
fn fuzz_accept_headers() {
    check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let _ = (negotiate::form(&text), negotiate::openapi_v2(&text));
    });
}

#[test]
fn fuzz_bodies() {
    check!().for_each(|bytes: &[u8]| {
        let all = [Encoding::Json, Encoding::Yaml, Encoding::Protobuf];
        let Some((encoding, body)) = chosen(bytes, all) else { return };
        let _ = encoding.read(body);
        if encoding == Encoding::Protobuf {
            let _ = encoding.read(&[b"k8s\0", body].concat());
        }
    });
}

#[test]
fn fuzz_tokens() {
    check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let _ = Token::read(&text);
        // Past the outermost form: what is within base64.
        let Some((first, rest)) = bytes.split_first() else { return };
        let (header, claims) = rest.split_at(usize::from(*first).min(rest.len()));
        let text = format!("{}.{}.AAAA", BASE64.encode(header), BASE64.encode(claims));
        if let Ok(token) = Token::read(&text) {
            assert!(token.verified(&[], &[]).is_none());
        }
        if let Ok(set) = serde_json::from_slice(rest) {
            let _ = Key::of_set(&set);
        }
    });
}

#[test]
fn fuzz_patches() {
    let object = json!({
        "metadata": {"name": "a", "labels": {"b": "c"}, "finalizers": ["d"]},
        "spec": {"list": [1, {"e": null}], "text": "f"},
    });
    check!().for_each(|bytes: &[u8]| {
        let all = [PatchType::Json, PatchType::Merge, PatchType::Strategic];
        let Some((kind, body)) = chosen(bytes, all) else { return };
        if let Ok(patch) = Patch::parse(kind, body) {
            let _ = patch.apply(&mut object.clone());
        }
    });
}
