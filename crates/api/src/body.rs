//! Request bodies: bounded in size and depth, in the encodings that clients send objects in.

use crate::{audit::Tap, protobuf, status::ApiError, written::Written, yaml};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::Value;

/// Largest request body: an object of the store's limit, with room for patches of it.
pub(crate) const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// How objects are written in bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Yaml,
    Protobuf,
}

impl Encoding {
    fn of(content_type: &str) -> Result<Self, ApiError> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "" | "application/json" => Ok(Self::Json),
            "application/yaml" => Ok(Self::Yaml),
            "application/vnd.kubernetes.protobuf" => Ok(Self::Protobuf),
            _ => Err(ApiError::unsupported_media_type(&[
                "application/json",
                "application/yaml",
                "application/vnd.kubernetes.protobuf",
            ])),
        }
    }

    /// Both text readers refuse nesting deeper than some hundred levels, and YAML that grows out of
    /// proportion by its aliases.
    pub(crate) fn read(self, body: &[u8]) -> Result<Written, ApiError> {
        let refuse = |what: &str, why: &dyn std::fmt::Display| {
            ApiError::bad_request(format!(
                "the object provided is unrecognized, it is not {what}: {why}"
            ))
        };
        match self {
            Self::Json => Written::from_json(body).map_err(|error| refuse("JSON", &error)),
            // Its reader takes no key twice, however the caller wants fields checked.
            Self::Yaml => {
                yaml::read::<Value>(body).map(Written::from).map_err(|error| refuse("YAML", &error))
            }
            Self::Protobuf => protobuf::read(body).map(Written::from),
        }
    }
}

/// The whole body.
pub(crate) async fn bytes(request: Request<Incoming>) -> Result<Bytes, ApiError> {
    let (parts, body) = request.into_parts();
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => {
            let body = body.to_bytes();
            Tap::keep(&parts.extensions, &body);
            Ok(body)
        }
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::too_large(BODY_BYTES_MAX)),
        Err(error) => {
            Err(ApiError::bad_request(format!("the request body could not be read: {error}")))
        }
    }
}

/// The body as an object; none when there is no body.
pub(crate) async fn optional_object(request: Request<Incoming>) -> Result<Option<Value>, ApiError> {
    Ok(optional(request).await?.map(|written| written.value))
}

async fn optional(request: Request<Incoming>) -> Result<Option<Written>, ApiError> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let encoding =
        Encoding::of(content_type.and_then(|value| value.to_str().ok()).unwrap_or_default())?;
    let body = bytes(request).await?;
    if body.is_empty() {
        return Ok(None);
    }
    encoding.read(&body).map(Some)
}

/// The body as an object.
pub(crate) async fn object(request: Request<Incoming>) -> Result<Value, ApiError> {
    Ok(written(request).await?.value)
}

/// The body as an object, and how it was written.
pub(crate) async fn written(request: Request<Incoming>) -> Result<Written, ApiError> {
    optional(request)
        .await?
        .ok_or_else(|| ApiError::bad_request("the request has no body; an object is expected"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bombs_are_refused() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Encoding::Json.read(deep.as_bytes()).unwrap_err().code, 400);
        assert_eq!(Encoding::Yaml.read(deep.as_bytes()).unwrap_err().code, 400);
        let mut laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for step in 1..12 {
            let before = format!("*a{},", step - 1).repeat(10);
            laughs.push_str(&format!("a{step}: &a{step} [{before}]\n"));
        }
        assert_eq!(Encoding::Yaml.read(laughs.as_bytes()).unwrap_err().code, 400);
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(body: Vec<u8>, text in "[a-z:\\[\\]{}&*\"\n -]{0,60}") {
            for encoding in [Encoding::Json, Encoding::Yaml, Encoding::Protobuf] {
                let _ = encoding.read(&body);
                let _ = encoding.read(text.as_bytes());
                let mut enveloped = b"k8s\0".to_vec();
                enveloped.extend_from_slice(&body);
                let _ = encoding.read(&enveloped);
            }
        }
    }
}
