//! `quarterdeck server quarantine`, `return`, `repair`, `clean`, `detach`, `retire`: the steps of a server's life, each
//! by a run of the runbook that ships for it. What takes something away is confirmed first.

use super::{begun, show::of_machine};
use crate::{
    Error, Outcome,
    confirm::Asking,
    plane::{Plane, Seen},
    verbs::{Common, joined::Raw, run::Following},
    view::{self, harm::harm},
};
use quarterdeck_model::kinds::Server;

/// The one that takes something away without asking the ledger.
const DETACH: &str = "detach-server";

/// Which server, and why.
#[derive(Debug, clap::Args)]
pub struct QuarantineArguments {
    /// The server
    #[arg(value_name = "NAME")]
    name: String,
    /// Why, and what has to be done
    #[arg(short, long, value_name = "TEXT")]
    message: String,
    #[command(flatten)]
    following: Following,
    #[command(flatten)]
    common: Common,
}

/// Which server.
#[derive(Debug, clap::Args)]
pub struct ReturnArguments {
    /// The server
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    following: Following,
    #[command(flatten)]
    common: Common,
}

/// Which server, and what is wrong with it.
#[derive(Debug, clap::Args)]
pub struct RepairArguments {
    /// The server
    #[arg(value_name = "NAME")]
    name: String,
    /// What is wrong with it
    #[arg(short, long, value_name = "TEXT")]
    message: String,
    /// Where a ticket is opened, by a POST of JSON
    #[arg(long, value_name = "URL")]
    ticket_url: Option<String>,
    #[command(flatten)]
    following: Following,
    #[command(flatten)]
    common: Common,
}

/// Which server is cleaned or detached.
#[derive(Debug, clap::Args)]
pub struct TakeArguments {
    /// The server
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    following: Following,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    common: Common,
}

/// Which server is retired, and how.
#[derive(Debug, clap::Args)]
pub struct RetireArguments {
    /// Leave its disks as they are
    #[arg(long)]
    keep_disks: bool,
    /// Why
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    #[command(flatten)]
    take: TakeArguments,
}

pub(super) async fn quarantine(it: &QuarantineArguments) -> Result<Outcome, Error> {
    let params = [format!("message={}", it.message)];
    let plane = Plane::open(&it.common.connection).await?;
    begun(&plane, "quarantine-server", &it.name, &params, &it.following, &it.common).await
}

pub(super) async fn give_back(it: &ReturnArguments) -> Result<Outcome, Error> {
    let plane = Plane::open(&it.common.connection).await?;
    begun(&plane, "return-server", &it.name, &[], &it.following, &it.common).await
}

pub(super) async fn repair(it: &RepairArguments) -> Result<Outcome, Error> {
    let mut params = vec![format!("message={}", it.message)];
    params.extend(it.ticket_url.as_ref().map(|url| format!("ticketURL={url}")));
    let plane = Plane::open(&it.common.connection).await?;
    begun(&plane, "repair-server", &it.name, &params, &it.following, &it.common).await
}

pub(super) async fn clean(it: &TakeArguments) -> Result<Outcome, Error> {
    take(it, "clean-server", &[], "is powered off, its disks are erased, and it is free").await
}

pub(super) async fn detach(it: &TakeArguments) -> Result<Outcome, Error> {
    let what = "is taken from its machine at once, whatever runs on it, and quarantined";
    take(it, DETACH, &[], what).await
}

pub(super) async fn retire(it: &RetireArguments) -> Result<Outcome, Error> {
    let mut params = vec![format!("erase={}", !it.keep_disks)];
    params.extend(it.message.as_ref().map(|message| format!("message={message}")));
    let what = match it.keep_disks {
        true => "is powered off for good; its disks are not erased",
        false => "is powered off for good, and its disks are erased",
    };
    take(&it.take, "retire-server", &params, what).await
}

/// Begins what takes something away, once that is confirmed.
async fn take(
    it: &TakeArguments,
    runbook: &str,
    params: &[String],
    what: &str,
) -> Result<Outcome, Error> {
    let plane = Plane::open(&it.common.connection).await?;
    if it.asking.asks() && !it.following.dry_run() {
        // Nothing is done to what runs on a server that is detached, and nobody is asked.
        let waits = runbook != DETACH;
        it.asking.confirm(&told(&plane, &it.name, what, waits).await?, &it.name)?;
    }
    begun(&plane, runbook, &it.name, params, &it.following, &it.common).await
}

/// What is told before: what is done, and which machine and services lose by it.
async fn told(plane: &Plane, name: &str, what: &str, waits: bool) -> Result<Vec<String>, Error> {
    let server: Seen<Server> = plane.read("", name).await?;
    let mut raw = Raw::new("ServerView");
    let machine = of_machine(&server.object);
    let (instances, services) = raw.instances(plane, Some(name), machine).await?;
    raw.tell();
    let mut lines = vec![format!("Server {name} {what}.")];
    let machine = view::server::machine(&server.object);
    lines.extend(machine.map(|machine| format!("◌ machine {machine} has it")));
    lines.extend(harm(&instances, &services, waits));
    Ok(lines)
}
