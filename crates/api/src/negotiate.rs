//! Which form of an answer a client wants, from its Accept header. Pure.
//! Source: RFC 9110 §12.5.1 and Kubernetes API concepts, "Receiving resources as Tables".

/// Longest Accept header that is looked at.
const ACCEPT_BYTES_MAX: usize = 2048;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The object as it is.
    Json,
    /// Rows and columns, in that version of the Table kind.
    Table(&'static str),
    /// Metadata only, `PartialObjectMetadata(List)`.
    Metadata,
    /// Aggregated discovery in that version.
    Aggregated(&'static str),
}

/// The form of the OpenAPI v2 document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenapiForm {
    Json,
    Protobuf,
}

/// The first acceptable form of the OpenAPI v2 document.
pub(crate) fn openapi_v2(accept: &str) -> Option<OpenapiForm> {
    if accept.trim().is_empty() || accept.len() > ACCEPT_BYTES_MAX {
        return Some(OpenapiForm::Json);
    }
    accept.split(',').find_map(|choice| {
        match choice.split(';').next().unwrap_or_default().trim() {
            "application/json" | "*/*" | "application/*" => Some(OpenapiForm::Json),
            // The first is no media type by its letters, but what all clients ask for.
            "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
            | "application/com.github.proto-openapi.spec.v2.v1.0+protobuf" => {
                Some(OpenapiForm::Protobuf)
            }
            _ => None,
        }
    })
}

/// The first acceptable form that we have; none when the client accepts none of them.
pub(crate) fn form(accept: &str) -> Option<Form> {
    if accept.trim().is_empty() || accept.len() > ACCEPT_BYTES_MAX {
        return Some(Form::Json);
    }
    for choice in accept.split(',') {
        let mut parts = choice.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        if !matches!(media, "application/json" | "*/*" | "application/*") {
            continue;
        }
        let mut wanted = ("", "", "");
        for parameter in parts {
            match parameter.split_once('=') {
                Some(("as", value)) => wanted.0 = value,
                Some(("g", value)) => wanted.1 = value,
                Some(("v", value)) => wanted.2 = value,
                _ => {}
            }
        }
        match wanted {
            ("", _, _) => return Some(Form::Json),
            ("Table", "meta.k8s.io", "v1") => return Some(Form::Table("meta.k8s.io/v1")),
            ("Table", "meta.k8s.io", "v1beta1") => return Some(Form::Table("meta.k8s.io/v1beta1")),
            ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1") => {
                return Some(Form::Metadata);
            }
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => {
                return Some(Form::Aggregated("v2"));
            }
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1") => {
                return Some(Form::Aggregated("v2beta1"));
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubectl_asks_for() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(form(table), Some(Form::Table("meta.k8s.io/v1")));
        let discovery = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        assert_eq!(form(discovery), Some(Form::Aggregated("v2")));
        let old = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        assert_eq!(form(old), Some(Form::Aggregated("v2beta1")));
        assert_eq!(form("application/vnd.kubernetes.protobuf,application/json"), Some(Form::Json));
        assert_eq!(form("application/json;as=Other;g=x;v=y,*/*"), Some(Form::Json));
        assert_eq!(form(""), Some(Form::Json));
        for unknown in ["application/xml", "application/vnd.kubernetes.protobuf", "text/html, x/y"]
        {
            assert_eq!(form(unknown), None, "{unknown}");
        }
    }
}
