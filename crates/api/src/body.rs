//! Request bodies: bounded in size and depth.

use crate::status::ApiError;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::Value;

/// Largest request body: an object of the store's limit, with room for patches of it.
pub(crate) const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// The whole body.
pub(crate) async fn bytes(request: Request<Incoming>) -> Result<Bytes, ApiError> {
    match Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::too_large(BODY_BYTES_MAX)),
        Err(error) => {
            Err(ApiError::bad_request(format!("the request body could not be read: {error}")))
        }
    }
}

/// The body as an object. The JSON reader refuses nesting deeper than 128.
pub(crate) async fn object(request: Request<Incoming>) -> Result<Value, ApiError> {
    let media = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or("application/json")
        .trim()
        .to_owned();
    if !matches!(media.as_str(), "application/json" | "" | "*/*") {
        return Err(ApiError::unsupported_media_type(&["application/json"]));
    }
    let body = bytes(request).await?;
    serde_json::from_slice(&body).map_err(|error| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized, it is not JSON: {error}"
        ))
    })
}
