//! Streams that a page keeps open: the fleet map, and which objects change. Like watches they are counted, and end when
//! their caller may no longer see what they show.

use crate::{
    answer::{self, Answer},
    authorize::{Authorizer, Policy, Sight},
    fairness::Open,
    graphql::Asker,
    identity::{Caller, Shown},
    server::Api,
    status::ApiError,
};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use jiff::Timestamp;
use quarterdeck_graphql::{Interest, Look, Told, Unlooked};
use quarterdeck_model::{
    Kind as _, KindRef, Revision,
    kinds::{self, Rack, Server},
};
use quarterdeck_store::Store;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    sync::watch as signal,
    time::{Instant, sleep_until, timeout},
};

const MAP: HeaderValue = HeaderValue::from_static("application/vnd.quarterdeck.fleetmap");
const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");
/// How often it is looked whether the caller may still look, while nothing happens.
const LOOK: Duration = Duration::from_secs(5);
/// How long a stream goes on at most: the page begins another one, and shows anew who it is.
const LONGEST: Duration = Duration::from_secs(3_600);
/// Namespaces that one page wants to be told of.
const NAMESPACES_MAX: usize = 100;
/// What a stream by field of the fleet map is coloured by when nothing is said.
const BY: &str = "status.phase";

/// What goes on a stream.
enum Source {
    Map(Look),
    Changes(Told),
}

impl Source {
    async fn next(&mut self) -> Option<Vec<Bytes>> {
        match self {
            Self::Map(look) => look.next().await,
            Self::Changes(told) => told.next().await.map(|line| vec![line]),
        }
    }
}

/// Who looks, and what of these kinds they may see.
pub(crate) struct Looker {
    pub(crate) store: Arc<Store>,
    pub(crate) authorizer: Arc<Authorizer>,
    pub(crate) caller: Arc<Caller>,
    pub(crate) shown: Shown,
    pub(crate) policy: Arc<Policy>,
    /// Counts the stream for as long as it is open.
    pub(crate) _open: Open,
}

struct Guard {
    looker: Looker,
    sights: Vec<(KindRef, Option<Sight>)>,
}

impl Looker {
    fn asker(&self) -> Asker {
        Asker { policy: self.policy.clone(), caller: self.caller.clone() }
    }

    fn sight(&self, kind: KindRef) -> Option<Sight> {
        self.policy.sight(&self.caller, "list", kind, None, "")
    }

    fn guard(self, kinds: &[KindRef]) -> Guard {
        let sights = kinds.iter().map(|kind| (*kind, self.sight(kind))).collect();
        Guard { looker: self, sights }
    }
}

impl Guard {
    /// Whether the caller may still see the same. Costs next to nothing while no role or binding changes.
    fn holds(&mut self) -> bool {
        let looker = &mut self.looker;
        if !looker.shown.holds(Timestamp::now(), &looker.store.world()) {
            return false;
        }
        let policy = looker.authorizer.policy(&looker.store);
        if Arc::ptr_eq(&policy, &looker.policy) {
            return true;
        }
        looker.policy = policy;
        self.sights.iter().all(|(kind, sight)| looker.sight(kind) == *sight)
    }
}

struct Going {
    source: Source,
    guard: Guard,
    ends: Instant,
    stop: signal::Receiver<bool>,
}

impl Going {
    async fn next(&mut self) -> Option<Vec<Bytes>> {
        loop {
            if *self.stop.borrow() {
                return None;
            }
            let Self { source, ends, stop, .. } = self;
            let next = tokio::select! {
                next = timeout(LOOK, source.next()) => next,
                () = sleep_until(*ends) => return None,
                _ = stop.wait_for(|stop| *stop) => return None,
            };
            if !self.guard.holds() {
                return None;
            }
            if let Ok(next) = next {
                return next;
            }
        }
    }
}

fn sent(source: Source, guard: Guard, stop: signal::Receiver<bool>, media: HeaderValue) -> Answer {
    // Nobody looks for longer than they are known.
    let left = guard.looker.shown.left(Timestamp::now());
    let ends = Instant::now() + left.map_or(LONGEST, |left| left.min(LONGEST));
    let going = Going { source, guard, ends, stop };
    let pieces =
        stream::unfold((going, Vec::new().into_iter()), |(mut going, mut left)| async move {
            loop {
                if let Some(piece) = left.next() {
                    return Some((Ok::<_, Infallible>(Frame::data(piece)), (going, left)));
                }
                left = going.next().await?.into_iter();
            }
        });
    let mut answer = answer::streamed(StreamBody::new(pieces).boxed_unsync());
    answer.headers_mut().insert(header::CONTENT_TYPE, media);
    answer
}

/// `/stream/fleetmap?by=FIELD`; docs/fleetmap.md says what is sent.
pub(crate) async fn map(api: &Api, query: &str, looker: Looker) -> Result<Answer, ApiError> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    let by = pairs.into_iter().find(|(name, _)| name == "by").map(|(_, by)| by);
    let look = api.graph.look(by.as_deref().unwrap_or(BY), Arc::new(looker.asker())).await;
    let look = look.map_err(|why| match why {
        Unlooked::Wrong(why) => ApiError::bad_request(why),
        Unlooked::TooMany(message) => ApiError { message, ..ApiError::too_many_requests() },
        Unlooked::Failed(why) => ApiError::internal(why),
    })?;
    let guard = looker.guard(&[Server::info(), Rack::info()]);
    Ok(sent(Source::Map(look), guard, api.stopping(), MAP))
}

/// `/stream/changes?kind=KIND&namespace=NAMESPACE&since=REVISION`: a line of JSON for what changed.
pub(crate) fn changes(api: &Api, query: &str, looker: Looker) -> Result<Answer, ApiError> {
    let mut interest = Interest { kinds: Vec::new(), namespaces: Vec::new(), since: None };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "kind" => interest.kinds.push(kind(&value)?),
            "namespace" => interest.namespaces.push(value.into_owned()),
            "since" => {
                let since = value.parse().map(Revision);
                interest.since = Some(since.map_err(|_| {
                    ApiError::bad_request(format!("invalid since={value}: expected a revision"))
                })?);
            }
            _ => {}
        }
    }
    if interest.namespaces.len() > NAMESPACES_MAX {
        let why = format!("at most {NAMESPACES_MAX} namespaces are told of at once");
        return Err(ApiError::bad_request(why));
    }
    let kinds = match interest.kinds.is_empty() {
        true => kinds::all().to_vec(),
        false => interest.kinds.clone(),
    };
    let told = api.graph.tell(interest, &looker.asker());
    let guard = looker.guard(&kinds);
    Ok(sent(Source::Changes(told), guard, api.stopping(), LINES))
}

fn kind(name: &str) -> Result<KindRef, ApiError> {
    let found = kinds::all().iter().copied().find(|kind| kind.kind == name);
    found
        .ok_or_else(|| ApiError::bad_request(format!("invalid kind={name}: there is no such kind")))
}
