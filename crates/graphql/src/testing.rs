//! A store with objects, and who looks at them, for tests.

use crate::viewer::{Act, Scope, Seen, Viewer};
use quarterdeck_model::{Key, KindRef, object};
use quarterdeck_store::{Mutation, Precondition, Sqlite, Store, Write};
use serde_json::{Value, json};
use std::sync::Arc;

/// An empty store, and its folder.
pub(crate) struct Held {
    pub(crate) store: Arc<Store>,
    _folder: tempfile::TempDir,
}

impl Held {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backend = Arc::new(Sqlite::open(folder.path()).unwrap());
        let store = Arc::new(Store::open(backend).await.unwrap());
        Self { store, _folder: folder }
    }

    /// Writes an object with that spec and status; null removes it.
    pub(crate) async fn put(&self, kind: KindRef, namespace: &str, name: &str, value: Value) {
        let key = Key::new(kind, namespace, name);
        let write = match value {
            Value::Null => Write::Delete,
            mut value => {
                value["metadata"]["name"] = json!(name);
                value["metadata"]["uid"] = json!(format!("uid-{namespace}-{name}"));
                Write::Put(object::encode(kind, &value).into())
            }
        };
        let mutation = Mutation { key, write, precondition: Precondition::None, fence: None };
        self.store.commit(vec![mutation]).await.unwrap();
    }
}

/// Sees all, or only what one name begins with.
pub(crate) struct Sees(pub(crate) Option<&'static str>);

impl Seen for Sees {
    fn sees_all_in(&self, _: &str) -> bool {
        false
    }

    fn sees(&self, _: &str, name: &str) -> bool {
        self.0.is_some_and(|begin| name.starts_with(begin))
    }
}

impl Viewer for Sees {
    fn user(&self) -> &str {
        "ann"
    }

    fn groups(&self) -> &[String] {
        &[]
    }

    fn teams(&self) -> Vec<String> {
        Vec::new()
    }

    fn may(&self, _: &Act<'_>) -> bool {
        false
    }

    fn scope(&self, _: KindRef) -> Scope {
        match self.0 {
            None => Scope::All,
            some => Scope::Some(Box::new(Self(some))),
        }
    }
}
