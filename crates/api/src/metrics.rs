//! What the API counts, for Prometheus.

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use quarterdeck_store::Store;
use std::{fmt::Write as _, time::Duration};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    resource: String,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    verb: &'static str,
}

fn seconds_histogram() -> Histogram {
    Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0])
}

/// A request whose answer has not begun.
pub(crate) struct InFlight<'a>(&'a Gauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The API's own metrics.
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<VerbLabels, Histogram, fn() -> Histogram>,
    pub(crate) connections: Gauge,
    in_flight: Gauge,
    pub(crate) refused: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("quarterdeck");
        let requests = Family::default();
        let seconds = Family::new_with_constructor(seconds_histogram as fn() -> Histogram);
        let connections = Gauge::default();
        let in_flight = Gauge::default();
        registry.register("api_requests", "Requests answered", requests.clone());
        registry.register(
            "api_request_duration_seconds",
            "Time until an answer begins; watches count until their stream starts",
            seconds.clone(),
        );
        registry.register("api_connections", "Open client connections", connections.clone());
        registry.register(
            "api_requests_in_flight",
            "Requests whose answer has not begun",
            in_flight.clone(),
        );
        let refused = Counter::default();
        registry.register(
            "api_connections_refused",
            "Connections refused because too many were open or being made",
            refused.clone(),
        );
        Self { registry, requests, seconds, connections, in_flight, refused }
    }

    /// Counts a request until the answer begins or its client has gone away.
    pub(crate) fn begin(&self) -> InFlight<'_> {
        self.in_flight.inc();
        InFlight(&self.in_flight)
    }

    pub(crate) fn answered(&self, verb: &'static str, resource: &str, code: u16, took: Duration) {
        self.requests.get_or_create(&RequestLabels { verb, resource: resource.into(), code }).inc();
        self.seconds.get_or_create(&VerbLabels { verb }).observe(took.as_secs_f64());
    }

    /// The text Prometheus scrapes: the API's metrics and the store's.
    pub(crate) fn text(&self, store: &Store) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let stats = store.stats();
        writeln!(text, "# HELP quarterdeck_store_revision Newest revision in the cache.")?;
        writeln!(text, "# TYPE quarterdeck_store_revision gauge")?;
        writeln!(text, "quarterdeck_store_revision {}", stats.revision)?;
        writeln!(text, "# HELP quarterdeck_store_objects Objects in the cache.")?;
        writeln!(text, "# TYPE quarterdeck_store_objects gauge")?;
        for (kind, count) in &stats.objects {
            writeln!(text, "quarterdeck_store_objects{{kind=\"{kind}\"}} {count}")?;
        }
        writeln!(text, "# HELP quarterdeck_store_watchers Open watches.")?;
        writeln!(text, "# TYPE quarterdeck_store_watchers gauge")?;
        writeln!(text, "quarterdeck_store_watchers {}", stats.watchers)?;
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
