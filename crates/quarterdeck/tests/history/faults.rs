//! What fails under the clients, one thing at a time: each fault lasts for a while and is mended.

use super::connect::Door;
use quarterdeck_testing::{
    balancer::Balancer,
    plane::Plane,
    postgres::Postgres,
    process::Signal,
    proxy::Proxy,
    random::Random,
    wait::{wait_for, wait_until},
};
use serde_json::Value;
use std::time::Duration;
use tokio::time::sleep;

const DEADLINE: Duration = Duration::from_secs(60);

/// What can fail.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// A replica is killed outright, and started again.
    Killed,
    /// A replica stands still for a moment, and goes on in the middle of whatever it did.
    Paused,
    /// The replica that acts stands still until another one acts, and then believes for a moment that it does.
    ActingPaused,
    /// PostgreSQL is killed outright, and started again.
    StoreKilled,
    /// One replica loses its connections to PostgreSQL and gets none, while the other goes on.
    CutOff,
    /// Clients lose their connections to one replica.
    Disconnected,
    /// The balancer sends all clients to one replica, and then to both again.
    Moved,
}

impl Fault {
    pub(crate) const ALL: [Self; 7] = [
        Self::Killed,
        Self::Paused,
        Self::ActingPaused,
        Self::StoreKilled,
        Self::CutOff,
        Self::Disconnected,
        Self::Moved,
    ];
}

/// Everything that can fail.
pub(crate) struct Replicas {
    pub(crate) planes: Vec<Plane>,
    pub(crate) balancer: Balancer,
    pub(crate) server: Postgres,
    /// Between the second replica and PostgreSQL.
    pub(crate) network: Proxy,
}

/// What a replica has said that it acts for, in its log.
fn told(plane: &mut Plane) -> Vec<String> {
    let log = plane.process().expect("a plane that runs").output();
    let told = log.lines().filter(|line| line.contains("what this replica acts for"));
    told.map(str::to_owned).collect()
}

impl Replicas {
    pub(crate) async fn suffer(&mut self, fault: Fault, random: &mut Random) {
        let one = random.below(self.planes.len() as u64) as usize;
        let moment = Duration::from_millis(100 + random.below(1_500));
        println!("{fault:?}: replica {one}, {moment:?}");
        match fault {
            Fault::Killed => {
                self.planes[one].kill9();
                sleep(moment).await;
                self.planes[one].restart().await;
            }
            Fault::Paused => {
                self.signal(one, Signal::STOP);
                sleep(moment).await;
                self.signal(one, Signal::CONT);
            }
            Fault::ActingPaused => {
                let says = |plane: &mut Plane, what: &str| {
                    told(plane).last().is_some_and(|last| last.contains(what))
                };
                let mut acting = None;
                wait_until(DEADLINE, "one replica to lead", async || {
                    acting = self.planes.iter_mut().position(|plane| says(plane, "leads=true"));
                    acting.is_some()
                })
                .await;
                let acting = acting.expect("it was waited for");
                self.signal(acting, Signal::STOP);
                let other = &mut self.planes[1 - acting];
                let all = "shards=16 of=16 leads=true";
                wait_until(DEADLINE, "the other replica to act for all", async || says(other, all))
                    .await;
                let late = &mut self.planes[acting];
                let before = told(late).len();
                self.signal(acting, Signal::CONT);
                let late = &mut self.planes[acting];
                // It leads no more, whatever else it gains meanwhile.
                let notices = async || {
                    told(late).iter().skip(before).any(|line| line.contains("leads=false"))
                };
                wait_until(DEADLINE, "the late one to notice", notices).await;
            }
            Fault::StoreKilled => {
                self.server.kill9();
                sleep(moment).await;
                self.server.restart().await;
            }
            Fault::CutOff => {
                self.network.cut();
                sleep(moment * 2).await;
                self.network.mend();
            }
            Fault::Disconnected => self.balancer.cut(one).await,
            Fault::Moved => {
                self.balancer.drain(one).await;
                sleep(moment).await;
                self.balancer.fill(one).await;
            }
        }
    }

    fn signal(&mut self, replica: usize, signal: Signal) {
        self.planes[replica].process().expect("a plane that runs").signal(signal);
    }

    /// Waits until both replicas say that they are ready, and clients are sent to both.
    pub(crate) async fn well(&self) {
        for plane in &self.planes {
            let door = Door::new(&plane.kubeconfig(), plane.address());
            wait_for(DEADLINE, "a replica to be ready", async || door.ready().await).await;
        }
        // Some time later than they say so.
        wait_for(DEADLINE, "clients to be sent to both replicas", async || {
            match self.balancer.ready().await {
                2 => Ok(()),
                ready => Err(format!("{ready} are")),
            }
        })
        .await;
    }

    /// What the plane itself writes is right in the end, whoever acted when: the racks of a site are counted.
    pub(crate) async fn counts_are_right(&self) {
        let site = "apiVersion: inventory.quarterdeck.dev/v1alpha1\nkind: Site\nmetadata: {name: s1}\nspec: {region: eu}\n";
        self.planes[0].apply(site).await;
        for number in 0..3 {
            let rack = format!(
                "apiVersion: inventory.quarterdeck.dev/v1alpha1\nkind: Rack\nmetadata: {{name: r{number}}}\nspec: {{site: s1, units: 42}}\n"
            );
            self.planes[number % 2].apply(&rack).await;
        }
        for plane in &self.planes {
            wait_for(DEADLINE, "the racks to be counted", async || {
                let site = plane.kubectl(&["get", "site", "s1", "--output", "json"]).await;
                let site: Value = serde_json::from_str(&site).map_err(|error| error.to_string())?;
                if site["status"]["racks"] == 3 { Ok(()) } else { Err(site["status"].to_string()) }
            })
            .await;
        }
    }
}
