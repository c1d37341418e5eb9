//! What server-side apply does, by table and by property, on kinds that have every sort of field:
//! Site (a set), Runbook (a list map, a whole list, a map the schema says nothing of), Server
//! (whole references).

mod cases;
mod properties;
mod sets;

use super::*;
use std::collections::BTreeMap;

/// An object on its way through writes, with nothing of admission.
#[derive(Debug, Clone)]
struct Story {
    kind: KindRef,
    part: Option<Subresource>,
    object: Value,
    managed: Managed,
    /// Seconds since the story began.
    now: i64,
}

impl Story {
    /// Begins with an object that `creator` made.
    fn new(kind: KindRef, object: Value) -> Self {
        let managed = Managed::default();
        let mut story = Self { kind, part: None, object, managed, now: 0 };
        let object = story.object.clone();
        let mut managed = Managed::default();
        record(&story.writer("creator"), &mut managed, None, &object);
        story.managed = managed;
        story
    }

    fn writer<'a>(&mut self, name: &'a str) -> Writer<'a> {
        self.now += 1;
        let now = jiff::Timestamp::from_second(self.now).unwrap();
        Writer { kind: self.kind, part: self.part, name, now: Time::seconds(now) }
    }

    /// Applies `fields`; the error is its message.
    fn apply(&mut self, name: &str, mut fields: Value, force: bool) -> Result<(), String> {
        fields["apiVersion"] = self.kind.api_version().into();
        fields["kind"] = self.kind.kind.into();
        let said = |error: ApiError| error.message;
        let config =
            Config::read(self.kind, self.part, fields.to_string().as_bytes()).map_err(said)?;
        let writer = self.writer(name);
        let (object, mut managed) =
            apply(&writer, self.managed.clone(), Some(&self.object), &config, force)
                .map_err(said)?;
        settle(self.kind, &mut managed, &object);
        (self.object, self.managed) = (object, managed);
        Ok(())
    }

    /// Writes the object as `change` makes it.
    fn update(&mut self, name: &str, change: impl FnOnce(&mut Value)) {
        let old = self.object.clone();
        change(&mut self.object);
        let writer = self.writer(name);
        record(&writer, &mut self.managed, Some(&old), &self.object);
    }

    /// The fields of each manager: `name` for what it applied, `name*` for what it wrote otherwise.
    fn owners(&self) -> BTreeMap<String, Vec<String>> {
        let name = |owner: &Owner| match owner.manager.operation {
            Operation::Apply => owner.manager.name.clone(),
            Operation::Update => format!("{}*", owner.manager.name),
        };
        self.managed.0.iter().map(|owner| (name(owner), owner.fields.paths())).collect()
    }
}
