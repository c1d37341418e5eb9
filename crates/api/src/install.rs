//! Objects that the plane itself brings at its start, written through the same admission as anyone's.
//! It must never overwrite what a person wrote, but for a shipped binding that was turned to another role.

use crate::{
    authorize::{is_of_another_role, reconciled, shipped},
    delete::{self, DeleteOptions},
    identity::Caller,
    negotiate::Form,
    path::{Query, Subresource},
    server::Api,
    status::ApiError,
    write::{self, Target},
};
use quarterdeck_model::{KindRef, kinds};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tracing::info;

/// Annotation of shipped objects: a hash of the spec as it was shipped. An object whose spec no
/// longer has this hash was changed by someone and is theirs.
const SHIPPED: &str = "quarterdeck.dev/shipped-hash";

/// What became of an object that was brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// It was not there.
    Created,
    /// A new release ships a newer one, and nobody had changed the old one.
    Updated,
    /// It was there.
    Kept,
}

impl Api {
    /// Creates an object unless one of its name exists.
    ///
    /// # Errors
    /// When it is not a valid object, or cannot be written.
    pub async fn ensure(&self, value: Value) -> Result<Installed, ApiError> {
        let place = Place::of(&value)?;
        if self.store.world().get(place.kind, &place.namespace, &place.name).is_some() {
            return Ok(Installed::Kept);
        }
        let query = itself();
        let plane = &Caller::plane();
        let Place { kind, namespace, .. } = &place;
        match write::create(self, kind, namespace, &query, value.into(), Form::Json, plane).await {
            Ok(answer) => {
                self.brought("create", answer).await;
                Ok(Installed::Created)
            }
            Err(error) if error.reason == "AlreadyExists" => Ok(Installed::Kept),
            Err(error) => Err(error),
        }
    }

    /// Writes what is seen of an object, as who watches over it does; an object that is gone is none.
    ///
    /// # Errors
    /// When it is not a valid object, or cannot be written.
    pub async fn report(&self, value: Value) -> Result<(), ApiError> {
        let place = Place::of(&value)?;
        let Place { kind, namespace, name } = &place;
        let target = Target { kind, namespace, name, part: Some(Subresource::Status) };
        let (query, plane) = (itself(), &Caller::plane());
        match write::replace(self, &target, &query, value.into(), Form::Json, plane).await {
            Ok(answer) => self.brought("update", answer).await,
            Err(error) if error.reason == "NotFound" => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Deletes an object, if it is there.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub async fn remove(&self, kind: KindRef, namespace: &str, name: &str) -> Result<(), ApiError> {
        let target = Target { kind, namespace, name, part: None };
        let (query, plane) = (itself(), &Caller::plane());
        let options = DeleteOptions::default();
        match delete::object(self, &target, &query, &options, Form::Json, plane).await {
            Ok(answer) => self.brought("delete", answer).await,
            Err(error) if error.reason == "NotFound" => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Creates a shipped object, or brings it up to date if nobody has changed it.
    ///
    /// # Errors
    /// When it is not a valid object, or cannot be written.
    pub async fn ship(&self, value: Value) -> Result<Installed, ApiError> {
        let place = Place::of(&value)?;
        let Place { kind, namespace, name } = &place;
        // As it will be stored, so that the two hashes are of the same text.
        let mut value =
            (kind.admit)(&value, None).map_err(|errors| ApiError::invalid(kind, name, &errors))?;
        let hash = spec_hash(&value);
        annotate(&mut value, &hash)?;
        let Some(found) = self.store.world().get(kind, namespace, name) else {
            return self.ensure(value).await;
        };
        let found = found.value();
        let shipped = found
            .pointer("/metadata/annotations")
            .and_then(|annotations| annotations.get(SHIPPED))
            .and_then(Value::as_str);
        if shipped != Some(&spec_hash(&found)) || shipped == Some(&hash) {
            return Ok(Installed::Kept);
        }
        let target = Target { kind, namespace, name, part: None };
        let query = itself();
        let plane = &Caller::plane();
        let answer = write::replace(self, &target, &query, value.into(), Form::Json, plane).await?;
        self.brought("update", answer).await;
        Ok(Installed::Updated)
    }
}

impl Api {
    /// Brings the roles and bindings that every plane begins with, and adds what this release adds
    /// to them.
    ///
    /// # Errors
    /// When they cannot be written.
    pub async fn bootstrap(&self) -> Result<(), ApiError> {
        let (plane, query) = (Caller::plane(), itself());
        for (kind, object) in shipped() {
            let name = object.pointer("/metadata/name").and_then(Value::as_str);
            let name = name.unwrap_or_default().to_owned();
            let target = Target { kind, namespace: "", name: &name, part: None };
            let new = match self.store.world().get(kind, "", &name) {
                None => object,
                Some(found) => {
                    let value = found.value();
                    let Some(next) = reconciled(&value, &object) else { continue };
                    if !is_of_another_role(&value, &next) {
                        let next = next.into();
                        let answer =
                            write::replace(self, &target, &query, next, Form::Json, &plane).await?;
                        self.brought("update", answer).await;
                        continue;
                    }
                    let options = DeleteOptions::only(found.uid());
                    let done =
                        delete::object(self, &target, &query, &options, Form::Json, &plane).await;
                    match done {
                        Ok(answer) => self.brought("delete", answer).await,
                        // Another replica was faster.
                        Err(error) if ["NotFound", "Conflict"].contains(&error.reason) => continue,
                        Err(error) => return Err(error),
                    }
                    next
                }
            };
            match write::create(self, kind, "", &query, new.into(), Form::Json, &plane).await {
                Ok(answer) => self.brought("create", answer).await,
                Err(error) if error.reason != "AlreadyExists" => return Err(error),
                // By another replica; or what is to be made anew is kept by a finalizer until a later start.
                Err(error) => info!(name, message = error.message, "is there already"),
            }
        }
        Ok(())
    }
}

/// The query of a write that the plane itself makes.
fn itself() -> Query {
    Query { manager: "quarterdeck".into(), ..Query::default() }
}

/// Where an object belongs.
struct Place {
    kind: KindRef,
    namespace: String,
    name: String,
}

impl Place {
    fn of(value: &Value) -> Result<Self, ApiError> {
        let text = |path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let (version, kind) = (text("/apiVersion"), text("/kind"));
        let kind = kinds::by_kind(version, kind).ok_or_else(|| {
            ApiError::bad_request(format!("no kind {kind:?} in version {version:?} is known"))
        })?;
        let namespace = match (kind.namespaced(), text("/metadata/namespace")) {
            (true, "") => "default",
            (_, namespace) => namespace,
        };
        Ok(Self { kind, namespace: namespace.into(), name: text("/metadata/name").into() })
    }
}

fn spec_hash(value: &Value) -> String {
    let spec = value.get("spec").unwrap_or(&Value::Null).to_string();
    Sha256::digest(spec).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn annotate(value: &mut Value, hash: &str) -> Result<(), ApiError> {
    crate::admission::metadata_mut(value)?
        .entry("annotations")
        .or_insert_with(|| Map::new().into())
        .as_object_mut()
        .ok_or_else(|| ApiError::bad_request("metadata.annotations must be an object"))?
        .insert(SHIPPED.into(), hash.into());
    Ok(())
}
