//! Where actions read Secrets: the cache. Their data goes nowhere else.

use quarterdeck_model::{Kind as _, kinds::Secret};
use quarterdeck_providers::{SecretData, SecretSource};
use quarterdeck_store::Store;
use std::sync::Arc;

/// The plane's Secrets.
pub(crate) struct StoreSecrets(pub(crate) Arc<Store>);

impl SecretSource for StoreSecrets {
    fn get(&self, namespace: &str, name: &str) -> Option<SecretData> {
        let object = self.0.world().get(Secret::info(), namespace, name)?;
        let secret: Secret = object.decode().ok()?;
        let keys: Vec<String> = secret.data.keys().cloned().collect();
        Some(
            keys.into_iter()
                .filter_map(|key| secret.value(&key).map(|value| (key, value)))
                .collect(),
        )
    }
}
