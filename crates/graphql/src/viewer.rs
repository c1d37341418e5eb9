//! Who asks, and what of everything they may see. Who knows about roles implements it; nothing here decides.

use quarterdeck_model::KindRef;

/// Who asks.
pub trait Viewer: Send + Sync + 'static {
    /// Name of the user.
    fn user(&self) -> &str;

    /// Groups of the user.
    fn groups(&self) -> &[String];

    /// Namespaces that a binding inside of them names the user in.
    fn teams(&self) -> Vec<String>;

    /// Whether the user may do that; empty texts are that it is not said.
    fn may(&self, ask: &Act<'_>) -> bool;

    /// What of a kind's objects a list shows to the user.
    fn scope(&self, kind: KindRef) -> Scope;
}

/// Something that is done to an object, or to all of a kind.
#[derive(Debug, Clone, Copy)]
pub struct Act<'a> {
    /// Such as `patch`.
    pub verb: &'a str,
    /// Kind of the object.
    pub kind: KindRef,
    /// Part of the object; empty for the object itself.
    pub subresource: &'a str,
    /// Where it is; empty where the kind is in no namespace, or for all.
    pub namespace: &'a str,
    /// Its name; empty for all.
    pub name: &'a str,
}

/// Which of a kind's objects may be seen.
pub enum Scope {
    /// All.
    All,
    /// None.
    Nothing,
    /// Those that this says.
    Some(Box<dyn Seen>),
}

/// Which objects may be seen, where it is not all or none.
pub trait Seen: Send + Sync {
    /// Whether all objects of a namespace may.
    fn sees_all_in(&self, namespace: &str) -> bool;

    /// Whether one object may.
    fn sees(&self, namespace: &str, name: &str) -> bool;
}

impl Scope {
    /// Whether an object at that place may be seen.
    pub fn sees(&self, namespace: &str, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::Some(seen) => seen.sees(namespace, name),
        }
    }
}
