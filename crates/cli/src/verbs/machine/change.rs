//! `quarterdeck machine create` and `reinstall`: what is wanted of machines. What they name is looked for first, so
//! that what is missing can be said well.

use super::STORY;
use crate::{
    Error, Outcome,
    confirm::Asking,
    follow::follow,
    output::{list, note},
    plane::{Plane, Seen},
    verbs::Common,
};
use quarterdeck_model::{
    Kind as _, KindRef,
    kinds::{Image, Machine, MachineClass, Rack, Server, Site},
};
use serde_json::{Map, Value, json};

/// Machines that are created at once: more are a mistake in a number sooner than a wish.
const COUNT_MAX: i64 = 1_000;

/// What is created.
#[derive(Debug, clap::Args)]
pub struct CreateArguments {
    /// Its name; with --count, what their names begin with
    #[arg(value_name = "NAME")]
    name: String,
    /// Its MachineClass
    #[arg(long, value_name = "NAME")]
    class: String,
    /// The Image that is installed
    #[arg(long, value_name = "NAME")]
    image: String,
    /// The Site where it must be
    #[arg(long, value_name = "NAME", group = "place")]
    site: Option<String>,
    /// The Rack where it must be
    #[arg(long, value_name = "NAME", group = "place")]
    rack: Option<String>,
    /// The Server where it must be
    #[arg(long, value_name = "NAME", group = "place")]
    server: Option<String>,
    /// So many, named NAME-1, NAME-2 and so on
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=COUNT_MAX), conflicts_with = "server")]
    count: Option<u32>,
    /// Show progress until they run or failed
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    common: Common,
}

/// Which machine, and what is installed.
#[derive(Debug, clap::Args)]
pub struct ReinstallArguments {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// The Image that is installed
    #[arg(long, value_name = "NAME")]
    image: String,
    /// Show progress until it runs or failed
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn create(arguments: &CreateArguments) -> Result<Outcome, Error> {
    let common = &arguments.common;
    let plane = Plane::open(&common.connection).await?;
    there_is(&plane, MachineClass::info(), Some(&arguments.class)).await?;
    there_is(&plane, Image::info(), Some(&arguments.image)).await?;
    there_is(&plane, Site::info(), arguments.site.as_ref()).await?;
    there_is(&plane, Rack::info(), arguments.rack.as_ref()).await?;
    there_is(&plane, Server::info(), arguments.server.as_ref()).await?;
    let namespace = &plane.namespace;
    let names = names(&arguments.name, arguments.count);
    // None is created of which one would be refused. A quota that all of them exceed is seen only below.
    if names.len() > 1 {
        for name in &names {
            let object = manifest(arguments, namespace, name);
            plane.create(Machine::info(), namespace, &object, true).await?;
        }
    }
    let mut created = Vec::new();
    for name in &names {
        let object = manifest(arguments, namespace, name);
        let made = plane.create(Machine::info(), namespace, &object, false).await;
        if made.is_err() && !created.is_empty() {
            note(&format!("{} of {} were created before {name}", created.len(), names.len()));
        }
        created.push(made?);
    }
    if arguments.follow {
        return all_followed(&plane, &names, common).await;
    }
    let line = |name: &String| {
        format!(
            "machine {namespace}/{name} created; follow it: quarterdeck machine follow {name} -n {namespace}\n"
        )
    };
    let value = || match created.len() {
        1 => created.pop().unwrap_or_default(),
        _ => list(created),
    };
    common.output.print(|| names.iter().map(line).collect(), value)?;
    Ok(Outcome::Done)
}

/// One after the other: they are installed all at once, and each story is told as a whole.
async fn all_followed(plane: &Plane, names: &[String], common: &Common) -> Result<Outcome, Error> {
    let mut worst = Outcome::Done;
    for name in names {
        match follow(plane, &plane.namespace, name, common.output, &STORY).await? {
            Outcome::Done => {}
            Outcome::Interrupted => return Ok(Outcome::Interrupted),
            other => worst = other,
        }
    }
    Ok(worst)
}

fn names(name: &str, count: Option<u32>) -> Vec<String> {
    match count {
        None => vec![name.to_owned()],
        Some(count) => (1..=count).map(|number| format!("{name}-{number}")).collect(),
    }
}

/// An object that is named must be there, if the caller may look; else the plane says what is wrong.
async fn there_is(plane: &Plane, kind: KindRef, name: Option<&String>) -> Result<(), Error> {
    let Some(name) = name else { return Ok(()) };
    match plane.get(kind, "", name).await {
        Ok(_) | Err(Error::Refused(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn manifest(arguments: &CreateArguments, namespace: &str, name: &str) -> Value {
    let mut placement = Map::new();
    let places =
        [("site", &arguments.site), ("rack", &arguments.rack), ("server", &arguments.server)];
    for (field, place) in places {
        placement.extend(place.as_ref().map(|place| (field.to_owned(), Value::from(&**place))));
    }
    let mut spec = json!({"class": arguments.class, "image": arguments.image});
    if let Some(fields) = spec.as_object_mut().filter(|_| !placement.is_empty()) {
        fields.insert("placement".into(), placement.into());
    }
    json!({
        "apiVersion": Machine::info().api_version(),
        "kind": Machine::KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}

pub(super) async fn reinstall(arguments: &ReinstallArguments) -> Result<Outcome, Error> {
    let ReinstallArguments { name, image, follow: follows, asking, common } = arguments;
    let plane = Plane::open(&common.connection).await?;
    let namespace = &plane.namespace;
    there_is(&plane, Image::info(), Some(image)).await?;
    let machine: Seen<Machine> = plane.read(namespace, name).await?;
    if machine.object.status.image.as_ref() == Some(image) && machine.object.spec.image == *image {
        let text = || format!("machine {namespace}/{name} has image {image} already\n");
        common.output.print(text, || machine.raw.clone())?;
        return Ok(Outcome::Done);
    }
    if machine.object.status.image.is_some() {
        let told = format!("What is on the disks of machine {name} is overwritten by {image}.");
        asking.confirm(&[told], name)?;
    }
    let patch = json!({"spec": {"image": image}});
    let changed = plane.change(Machine::info(), namespace, name, &patch).await?;
    if *follows {
        return follow(&plane, namespace, name, common.output, &STORY).await;
    }
    let text = || {
        format!(
            "machine {namespace}/{name} is to have image {image}, once the ledger permits that; follow it: quarterdeck \
             machine follow {name} -n {namespace}\n"
        )
    };
    common.output.print(text, || changed.clone())?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn several_are_numbered_from_one() {
        assert_eq!(names("web", None), ["web"]);
        assert_eq!(names("web", Some(3)), ["web-1", "web-2", "web-3"]);
    }
}
