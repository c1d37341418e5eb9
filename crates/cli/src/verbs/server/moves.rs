//! `quarterdeck server move`: another place, by the runbook that ships for it.

use super::begun;
use crate::{
    Error, Outcome,
    plane::Plane,
    verbs::{Common, run::Following},
};
use quarterdeck_model::{Kind as _, kinds::Rack};

/// Which server, and where it will stand.
#[derive(Debug, clap::Args)]
pub struct MoveArguments {
    /// The server
    #[arg(value_name = "NAME")]
    name: String,
    /// The Rack
    #[arg(long, value_name = "NAME")]
    rack: String,
    /// Lowest rack unit that it will fill, from 1 at the bottom
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..))]
    unit: Option<u16>,
    /// It stands there already: only what is written of it is changed, and nothing is done to it
    #[arg(long)]
    record_only: bool,
    #[command(flatten)]
    following: Following,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn move_server(it: &MoveArguments) -> Result<Outcome, Error> {
    let mut params = vec![format!("rack={}", it.rack), format!("recordOnly={}", it.record_only)];
    params.extend(it.unit.map(|unit| format!("unit={unit}")));
    let plane = Plane::open(&it.common.connection).await?;
    // A name that is misspelled is answered with near ones.
    plane.get(Rack::info(), "", &it.rack).await?;
    begun(&plane, "move-server", &it.name, &params, &it.following, &it.common).await
}
