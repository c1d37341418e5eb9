//! What a BMC says when it does not do as asked: messages of DMTF's Base registry (DSP8011), in the form of DSP0266
//! §8.6.

use super::Answer;
use serde_json::{Value, json};

fn error(status: u16, id: &str, text: &str, arguments: &[&str], resolution: &str) -> Answer {
    let id = format!("Base.1.18.{id}");
    let mut info = json!({
        "@odata.type": "#Message.v1_1_2.Message",
        "MessageId": id,
        "Message": text,
        "MessageSeverity": "Warning",
        "Resolution": resolution,
    });
    if !arguments.is_empty()
        && let Some(fields) = info.as_object_mut()
    {
        fields.insert("MessageArgs".into(), json!(arguments));
    }
    let error = json!({"code": id, "message": text, "@Message.ExtendedInfo": [info]});
    Answer::json(status, json!({"error": error}))
}

pub(super) fn no_session(said: &str) -> Answer {
    let resolution = "Establish a session before attempting any operations.";
    error(401, "NoValidSession", said, &[], resolution)
        .with("WWW-Authenticate", "Basic realm=\"Redfish\"".to_owned())
}

pub(super) fn session_limit() -> Answer {
    let said = "The session establishment failed due to the number of simultaneous sessions exceeding the limit of the \
                implementation.";
    let resolution = "Reduce the number of other sessions before trying to establish the session.";
    error(503, "SessionLimitExceeded", said, &[], resolution)
}

pub(super) fn not_found(path: &str) -> Answer {
    let said = format!("The resource at the URI '{path}' was not found.");
    let resolution = "Provide a valid resource identifier and resubmit the request.";
    error(404, "ResourceMissingAtURI", &said, &[path], resolution)
}

pub(super) fn not_allowed(allowed: &str) -> Answer {
    let said = "The HTTP method is not allowed on this resource.";
    let resolution = "None.";
    error(405, "OperationNotAllowed", said, &[], resolution).with("Allow", allowed.to_owned())
}

pub(super) fn malformed() -> Answer {
    let said = "The request body submitted was malformed JSON and could not be parsed by the receiving service.";
    let resolution = "Ensure that the request body is valid JSON and resubmit the request.";
    error(400, "MalformedJSON", said, &[], resolution)
}

pub(super) fn missing(action: &str, parameter: &str) -> Answer {
    let said = format!(
        "The action {action} requires the parameter {parameter} to be present in the request body."
    );
    let resolution = "Supply the action with the required parameter in the request body.";
    error(400, "ActionParameterMissing", &said, &[action, parameter], resolution)
}

pub(super) fn wrong_value(property: &str, value: &Value) -> Answer {
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let said = format!(
        "The value '{value}' for the property {property} is not in the list of acceptable values."
    );
    let resolution =
        "Choose a value from the enumeration list that the implementation can support.";
    error(400, "PropertyValueNotInList", &said, &[&value, property], resolution)
}

pub(super) fn not_writable(property: &str) -> Answer {
    let said =
        format!("The property {property} is a read-only property and cannot be assigned a value.");
    let resolution = "Remove the property from the request body.";
    error(400, "PropertyNotWritable", &said, &[property], resolution)
}

pub(super) fn precondition_failed() -> Answer {
    let said = "The ETag supplied did not match the ETag required to change this resource.";
    let resolution = "Try the operation again using the appropriate ETag.";
    error(412, "PreconditionFailed", said, &[], resolution)
}

pub(super) fn in_use() -> Answer {
    let said = "The change to the requested resource failed because the resource is in use or in transition.";
    let resolution = "Remove the condition and resubmit the request if the operation failed.";
    error(409, "ResourceInUse", said, &[], resolution)
}

pub(super) fn bad_query(parameter: &str, value: &str) -> Answer {
    let said = format!(
        "The value '{value}' for the query parameter {parameter} is of a different format than the parameter can accept."
    );
    let resolution = "Correct the value for the query parameter in the request.";
    error(400, "QueryParameterValueFormatError", &said, &[value, parameter], resolution)
}
