//! gzip of large answers on their way out. A watch must never come here: its events would wait.
//! Source: RFC 9110 §12.5.3; kube-apiserver's `APIResponseCompression`.

use crate::{
    answer::{Answer, Body, Finite},
    fairness,
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body as _, Frame};
use std::{convert::Infallible, io::Write as _};

/// Smaller answers gain less from it than it costs; the limit that kube-apiserver has.
const BYTES_MIN: u64 = 128 * 1024;
/// What is compressed before others have their turn: for a few hundred microseconds.
const STEP_BYTES: usize = 16 * 1024;

/// Compresses an answer for a client that takes gzip, if it is worth it.
pub(crate) fn answer(answer: Answer) -> Answer {
    let large = match answer.body().size_hint().exact() {
        Some(bytes) => bytes >= BYTES_MIN,
        None => answer.extensions().get::<Finite>().is_some(),
    };
    if !large {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    Answer::from_parts(parts, compressed(body))
}

/// Whether the client takes gzip.
pub(crate) fn accepted(asked: &HeaderMap) -> bool {
    asked.get_all(header::ACCEPT_ENCODING).iter().any(|value| {
        value.to_str().unwrap_or_default().split(',').any(|choice| {
            let mut parts = choice.split(';').map(str::trim);
            let refused = |weight: &str| {
                weight.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()) == Some(0.0)
            };
            matches!(parts.next(), Some("gzip")) && !parts.any(refused)
        })
    })
}

/// A body that is being compressed.
struct Compressing {
    body: Body,
    /// What was read and is not compressed yet.
    rest: Bytes,
    /// None when all is written.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

fn compressed(body: Body) -> Body {
    // Level 1, as kube-apiserver: most of the gain for little of the cost.
    let encoder = Some(GzEncoder::new(Vec::new(), Compression::fast()));
    let state = Compressing { body, rest: Bytes::new(), encoder };
    let frames = stream::unfold(state, |mut state| async move {
        let piece = state.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(piece)), state))
    });
    StreamBody::new(frames).boxed_unsync()
}

impl Compressing {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            // What has ended must not be asked again.
            self.encoder.as_ref()?;
            if self.rest.is_empty() {
                match self.body.frame().await {
                    Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                    Some(Err(never)) => match never {},
                    // A vector takes whatever is written into it.
                    None => return self.encoder.take()?.finish().ok().map(Bytes::from),
                }
            }
            fairness::let_others().await;
            let step = self.rest.split_to(self.rest.len().min(STEP_BYTES));
            let encoder = self.encoder.as_mut()?;
            encoder.write_all(&step).ok()?;
            let made = std::mem::take(encoder.get_mut());
            if !made.is_empty() {
                return Some(made.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_asked_for() {
        for (text, wanted) in [
            ("gzip", true),
            ("br, gzip;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.0, br", false),
            ("identity", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(text));
            assert_eq!(accepted(&headers), wanted, "{text}");
        }
    }
}
