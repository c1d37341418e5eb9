//! What a `PATCH` asks for, by its content type: a patch of what is there, or a configuration to apply.

use crate::{
    apply::Config,
    patch::{Patch, PatchType},
    path::Subresource,
    status::ApiError,
};
use quarterdeck_model::KindRef;

/// How a change is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeType {
    Patch(PatchType),
    Apply,
}

impl ChangeType {
    /// The content types a kind's changes are sent as. Strategic merge is for kinds of Kubernetes only,
    /// whose clients send nothing else.
    pub(crate) fn accepted(kind: KindRef) -> &'static [&'static str] {
        if !kind.group.ends_with(".quarterdeck.dev") {
            &[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/strategic-merge-patch+json",
                "application/apply-patch+yaml",
            ]
        } else {
            &[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/apply-patch+yaml",
            ]
        }
    }

    /// Reads the content type.
    pub(crate) fn of(content_type: &str, kind: KindRef) -> Result<Self, ApiError> {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        let accepted = Self::accepted(kind);
        match media {
            _ if !accepted.contains(&media) => Err(ApiError::unsupported_media_type(accepted)),
            "application/json-patch+json" => Ok(Self::Patch(PatchType::Json)),
            "application/merge-patch+json" => Ok(Self::Patch(PatchType::Merge)),
            "application/strategic-merge-patch+json" => Ok(Self::Patch(PatchType::Strategic)),
            _ => Ok(Self::Apply),
        }
    }

    /// Reads the body.
    pub(crate) fn read(
        self,
        kind: KindRef,
        part: Option<Subresource>,
        body: &[u8],
    ) -> Result<Change, ApiError> {
        match self {
            Self::Patch(media) => Patch::parse(media, body).map(Change::Patch),
            Self::Apply => Config::read(kind, part, body).map(Change::Apply),
        }
    }
}

/// A change that was read and can be made, again if the object changes meanwhile.
pub(crate) enum Change {
    Patch(Patch),
    Apply(Config),
}
