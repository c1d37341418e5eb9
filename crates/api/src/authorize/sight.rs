//! What of a kind a caller may see, where it may not see all: lists and watches are filtered to it.
//! Pure.

use super::{Ask, Policy, rule};
use crate::identity::Caller;
use quarterdeck_model::KindRef;
use std::collections::{BTreeMap, BTreeSet};

/// What of a collection may be seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Sight {
    /// All that was asked for.
    #[default]
    All,
    /// Only some of it.
    Some(Seen),
}

/// Places of objects that may be seen. An object of a cluster-scoped kind has an empty namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// All objects of these namespaces.
    namespaces: BTreeSet<String>,
    /// Objects of these names, by namespace.
    names: BTreeMap<String, BTreeSet<String>>,
    /// Objects of these names, wherever they are.
    anywhere: BTreeSet<String>,
}

/// A part of a collection, in its order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stretch<'s> {
    /// All objects of a namespace.
    Namespace(&'s str),
    /// Some objects of a namespace.
    Names(&'s str, &'s BTreeSet<String>),
    /// The whole collection has to be looked through.
    Whole,
}

impl Seen {
    /// Whether all objects of a namespace may be seen.
    pub(crate) fn is_whole(&self, namespace: &str) -> bool {
        self.namespaces.contains(namespace)
    }

    /// Whether an object at that place may be seen.
    pub(crate) fn has(&self, namespace: &str, name: &str) -> bool {
        self.is_whole(namespace)
            || self.anywhere.contains(name)
            || self.names.get(namespace).is_some_and(|names| names.contains(name))
    }
}

impl Sight {
    /// Whether an object at that place may be seen.
    pub(crate) fn sees(&self, namespace: &str, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some(seen) => seen.has(namespace, name),
        }
    }
}

impl Seen {
    /// Where to look, in the order of the collection.
    pub(crate) fn stretches(&self) -> Vec<Stretch<'_>> {
        if !self.anywhere.is_empty() {
            return vec![Stretch::Whole];
        }
        let all: BTreeSet<&String> = self.namespaces.iter().chain(self.names.keys()).collect();
        all.into_iter()
            .filter_map(|namespace| {
                if self.namespaces.contains(namespace) {
                    return Some(Stretch::Namespace(namespace));
                }
                Some(Stretch::Names(namespace, self.names.get(namespace)?))
            })
            .collect()
    }
}

impl Policy {
    /// Namespaces that some binding of their own names the caller in, in order.
    pub(crate) fn teams(&self, caller: &Caller) -> Vec<String> {
        let inside = self.all_grants(caller).map(|(namespace, _)| namespace);
        let inside: BTreeSet<&str> = inside.filter(|namespace| !namespace.is_empty()).collect();
        inside.into_iter().map(Into::into).collect()
    }

    /// What the caller may see of a collection, or of those of its objects that have the one `name`:
    /// all when it may `verb` it, else what it may `verb` in some namespaces or by name; none when
    /// that is nothing.
    pub(crate) fn sight(
        &self,
        caller: &Caller,
        verb: &str,
        kind: KindRef,
        namespace: Option<&str>,
        name: &str,
    ) -> Option<Sight> {
        let ask = Ask::Resource {
            verb,
            group: kind.group,
            resource: kind.plural,
            subresource: "",
            namespace: namespace.unwrap_or_default(),
            name,
        };
        if self.may(caller, &ask) {
            return Some(Sight::All);
        }
        let mut seen = Seen::default();
        for (inside, rules) in self.all_grants(caller) {
            for rule in rules.iter().filter(|rule| rule::allows_some(rule, &ask)) {
                seen.add(kind, namespace, inside, &rule.resource_names);
            }
        }
        (seen != Seen::default()).then_some(Sight::Some(seen))
    }
}

impl Seen {
    /// Adds what a rule shows that holds `inside` a namespace, or everywhere.
    fn add(&mut self, kind: KindRef, asked: Option<&str>, inside: &str, names: &[String]) {
        let mut name = |namespace: &str, name: &String| {
            self.names.entry(namespace.into()).or_default().insert(name.clone());
        };
        match (kind.namespaced(), inside, asked) {
            // A Namespace is in itself: who may see it from inside sees it among all.
            (false, inside, _) if kind.group.is_empty() && kind.kind == "Namespace" => {
                let own = inside.to_owned();
                if inside.is_empty() {
                    names.iter().for_each(|it| name("", it));
                } else if names.is_empty() || names.contains(&own) {
                    name("", &own);
                }
            }
            (false, "", _) => names.iter().for_each(|it| name("", it)),
            // What is granted inside a namespace says nothing of kinds that are in none.
            (false, _, _) => {}
            (true, "", Some(asked)) => names.iter().for_each(|it| name(asked, it)),
            (true, "", None) => self.anywhere.extend(names.iter().cloned()),
            (true, inside, Some(asked)) if inside != asked => {}
            (true, inside, _) if names.is_empty() => drop(self.namespaces.insert(inside.into())),
            (true, inside, _) => names.iter().for_each(|it| name(inside, it)),
        }
    }
}
