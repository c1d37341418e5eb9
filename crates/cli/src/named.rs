//! What a verb is asked about: `KIND/NAME`, or `KIND/NAMESPACE/NAME`, with the names of kinds that kubectl takes.

use crate::near::near;
use quarterdeck_model::{Kind, KindRef, kinds};
use std::str::FromStr;

/// An object that somebody named.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) kind: KindRef,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

impl Named {
    pub(crate) fn is<K: Kind>(&self) -> bool {
        self.kind == K::info()
    }

    /// As it is written again: `run/default/cycle-x7`.
    pub(crate) fn full(&self, namespace: &str) -> String {
        match self.kind.namespaced() {
            true => format!("{}/{namespace}/{}", self.kind.singular, self.name),
            false => format!("{}/{}", self.kind.singular, self.name),
        }
    }
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once('/').ok_or("write KIND/NAME, such as server/m-0417")?;
        let kind = kind_named(kind)?;
        let (namespace, name) = match rest.split_once('/') {
            Some((namespace, name)) if kind.namespaced() => (Some(namespace.to_owned()), name),
            Some(_) => return Err(format!("a {} is in no namespace: write KIND/NAME", kind.kind)),
            None => (None, rest),
        };
        if name.is_empty() || namespace.as_deref() == Some("") {
            return Err(format!("name the {}, such as {}/NAME", kind.kind, kind.singular));
        }
        Ok(Self { kind, namespace, name: name.to_owned() })
    }
}

/// The kind of that name: kind, plural, singular or a short name.
fn kind_named(name: &str) -> Result<KindRef, String> {
    let wanted = name.to_ascii_lowercase();
    let names = |kind: KindRef| {
        [kind.plural, kind.singular].into_iter().chain(kind.short_names.iter().copied())
    };
    let full = |kind: KindRef| *kind.resource_name() == *wanted;
    let found = kinds::all().iter().copied();
    let found = found.clone().find(|kind| full(kind) || names(kind).any(|name| name == wanted));
    found.ok_or_else(|| {
        let singular = kinds::all().iter().map(|kind| kind.singular);
        match near(&wanted, singular).as_slice() {
            [] => format!("there is no kind {name:?}; `kubectl api-resources` lists what there is"),
            near => format!("there is no kind {name:?}; did you mean {}?", near.join(" or ")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_names_that_kubectl_takes() {
        let read = |text: &str| text.parse::<Named>().map(|it| it.full("ops"));
        for (text, full) in [
            ("Server/m-1", "server/m-1"),
            ("srv/m-1", "server/m-1"),
            ("servers.inventory.quarterdeck.dev/m-1", "server/m-1"),
            ("runs/x", "run/ops/x"),
            ("svc/web", "service/ops/web"),
        ] {
            assert_eq!(read(text).unwrap(), full);
        }
        assert_eq!("run/team/x".parse::<Named>().unwrap().namespace.as_deref(), Some("team"));
        assert!(read("sever/m-1").unwrap_err().contains("did you mean server?"));
        assert!(read("m-1").unwrap_err().contains("KIND/NAME"));
        assert!(read("server/a/b").unwrap_err().contains("in no namespace"));
        assert!(read("run/").unwrap_err().contains("name the Run"));
    }
}
