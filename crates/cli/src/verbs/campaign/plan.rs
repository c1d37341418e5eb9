//! `quarterdeck campaign plan`: of a campaign that is there, or of a file that describes one.

use super::ground::ground;
use crate::{
    Error, Outcome,
    plane::{Plane, Seen, seen},
    verbs::{Common, now},
    view,
};
use quarterdeck_model::{Kind as _, kinds::Campaign};
use serde_json::Value;
use std::{
    fs,
    io::{self, Read as _},
};

/// Which campaign.
#[derive(Debug, clap::Args)]
pub struct PlanArguments {
    /// The name of one that is there
    #[arg(value_name = "NAME", required_unless_present = "filename", conflicts_with = "filename")]
    name: Option<String>,
    /// A YAML or JSON file that describes one; - is standard input
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    filename: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn plan(arguments: &PlanArguments) -> Result<Outcome, Error> {
    let common = &arguments.common;
    let plane = Plane::open(&common.connection).await?;
    let campaign = match (&arguments.name, &arguments.filename) {
        (_, Some(file)) => described(&plane, file, common).await?,
        (Some(name), None) => plane.read(&plane.namespace, name).await?,
        (None, None) => return Err(Error::Usage("name a campaign, or give a file with -f".into())),
    };
    let ground = ground(&plane, &campaign.object).await?;
    let now = now();
    let plan = quarterdeck_ledger::plan::plan(&campaign.object, &ground, now);
    let value = || serde_json::to_value(&plan).unwrap_or_default();
    common.output.print(|| view::plan::text(&plan, now), value)?;
    Ok(Outcome::Done)
}

/// The campaign of a file, as the plane would make it.
async fn described(plane: &Plane, file: &str, common: &Common) -> Result<Seen<Campaign>, Error> {
    let mut object = read(file)?;
    let text = |object: &Value, path: &str| {
        object.pointer(path).and_then(Value::as_str).map(str::to_owned)
    };
    let own = text(&object, "/metadata/namespace");
    if let (Some(own), Some(asked)) = (&own, &common.connection.namespace)
        && own != asked
    {
        return Err(Error::Usage(format!("{file} says namespace {own}, and -n says {asked}")));
    }
    let namespace = own.unwrap_or_else(|| plane.namespace.clone());
    let name = text(&object, "/metadata/name").or_else(|| text(&object, "/metadata/generateName"));
    let name = name.unwrap_or_default();
    // One of that name may be there already, which is not what is asked about.
    if let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.remove("name");
        metadata.insert("generateName".into(), format!("{}-", name.trim_end_matches('-')).into());
        metadata.insert("namespace".into(), namespace.clone().into());
    }
    let mut made = plane.create(Campaign::info(), &namespace, &object, true).await?;
    if let Some(metadata) = made.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.insert("name".into(), name.into());
    }
    seen(made)
}

/// The one Campaign that a file describes.
fn read(file: &str) -> Result<Value, Error> {
    let text = match file {
        "-" => {
            let mut text = String::new();
            io::stdin().lock().read_to_string(&mut text).map(|_| text)
        }
        path => fs::read_to_string(path),
    };
    let text = text.map_err(|error| Error::Usage(format!("cannot read {file}: {error}")))?;
    let all: Vec<Value> = serde_saphyr::from_multiple(&text)
        .map_err(|error| Error::Usage(format!("{file} is not YAML: {error}")))?;
    let (version, kind) = (Campaign::info().api_version(), Campaign::KIND);
    let is = |it: &&Value| {
        let says =
            |field: &str, wanted: &str| it.get(field).and_then(Value::as_str) == Some(wanted);
        says("kind", kind) && says("apiVersion", &version)
    };
    let mut found = all.iter().filter(is);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.clone()),
        (None, _) => Err(Error::Usage(format!("{file} describes no {kind} of {version}"))),
        (Some(_), Some(_)) => Err(Error::Usage(format!(
            "{file} describes more than one {kind}; plan them one by one"
        ))),
    }
}
