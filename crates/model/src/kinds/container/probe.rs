//! Checks of a container (`v1.Probe`): what is asked, how often, and how many answers decide.

use crate::quantity::INT_OR_STRING;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// One check. Exactly one of `httpGet`, `tcpSocket` and `exec` says what is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// An HTTP request: an answer from 200 to 399 is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGetAction>,
    /// A TCP connection: one that opens is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_socket: Option<TcpSocketAction>,
    /// A command in the container: one that ends with 0 is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecAction>,
    /// Seconds from the container's start to the first of them.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(max = 86400))]
    pub initial_delay_seconds: u32,
    /// Seconds from one to the next.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 86400))]
    pub period_seconds: u32,
    /// Seconds after which no answer is a bad one.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_seconds: u32,
    /// Good answers in a row that decide.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub success_threshold: u32,
    /// Bad answers in a row that decide.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 1000))]
    pub failure_threshold: u32,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            http_get: None,
            tcp_socket: None,
            exec: None,
            initial_delay_seconds: 0,
            period_seconds: ten(),
            timeout_seconds: one(),
            success_threshold: one(),
            failure_threshold: three(),
        }
    }
}

/// An HTTP request (`v1.HTTPGetAction`). It is sent to the container; no redirection is followed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpGetAction {
    /// Path, and query.
    #[serde(default = "slash")]
    #[schemars(length(max = 2048))]
    pub path: String,
    /// Port of the container, by number or name.
    pub port: PortReference,
    /// `HTTP` or `HTTPS`. No certificate is checked.
    #[serde(default)]
    pub scheme: HttpScheme,
    /// Headers of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub http_headers: Vec<HttpHeader>,
}

/// Protocol of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HttpScheme {
    /// Plain.
    #[default]
    HTTP,
    /// With TLS.
    HTTPS,
}

/// One header (`v1.HTTPHeader`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HttpHeader {
    /// Its name.
    #[schemars(length(max = 256))]
    pub name: String,
    /// Its value.
    #[schemars(length(max = 4096))]
    pub value: String,
}

/// A TCP connection (`v1.TCPSocketAction`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TcpSocketAction {
    /// Port of the container, by number or name.
    pub port: PortReference,
}

/// A command (`v1.ExecAction`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecAction {
    /// The program and its arguments. There is no shell.
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "atomic"))]
    pub command: Vec<String>,
}

/// A port of a container, by its number or by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PortReference {
    /// Its number.
    Number(u16),
    /// Its name among the container's ports.
    Name(String),
}

impl Default for PortReference {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl JsonSchema for PortReference {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "PortReference".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({INT_OR_STRING: true, "minimum": 1, "maximum": 65535})
    }
}

const fn one() -> u32 {
    1
}

const fn three() -> u32 {
    3
}

const fn ten() -> u32 {
    10
}

fn slash() -> String {
    "/".into()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}
