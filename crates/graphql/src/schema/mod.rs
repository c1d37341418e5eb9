//! What can be asked. The types here are the published schema, `ui/schema.graphql`; a test keeps them the same.

pub(crate) mod calendar;
pub(crate) mod campaign;
pub(crate) mod events;
pub(crate) mod fleet;
pub(crate) mod home;
pub(crate) mod impact;
pub(crate) mod kinds;
pub(crate) mod links;
pub(crate) mod object;
pub(crate) mod permit;
pub(crate) mod rack;
pub(crate) mod run;
pub(crate) mod scalars;
pub(crate) mod search;
pub(crate) mod service;
pub(crate) mod timeline;

pub(crate) use search::FilterOp;

use crate::{
    moment::{self, Moment},
    viewer::Scope,
};
use async_graphql::{Context, Error, Object};
use calendar::CalendarEntry;
use campaign::Campaign;
use fleet::{Fleet, PlaceInput, PlaceLevel};
use home::Home;
use impact::{AnswerImpact, Impact, ImpactTarget};
use kinds::{KindInfo, Me};
use object::Node;
use quarterdeck_model::{Kind as _, KindRef, kinds as model};
use rack::Rack;
use run::Run;
use scalars::{Time, number};
use search::{Filter, Request, SearchConnection, Sort};
use service::Service;

/// How many objects of a kind may be seen.
pub(crate) async fn count(moment: &Moment, kind: KindRef) -> Result<i32, Error> {
    Ok(number(match &*moment.scope(kind) {
        Scope::All => moment.world.count(kind),
        Scope::Nothing => 0,
        Scope::Some(seen) => {
            moment.charge(moment.world.count(kind) / 100).await?;
            let all = moment.world.all(kind);
            all.filter(|object| seen.sees(object.namespace(), object.name())).count()
        }
    }))
}

/// What a page asks of one moment: every answer is as of one revision, and shows only what its caller may see.
pub(crate) struct Query;

#[Object]
impl Query {
    /// Objects of one kind, several or all, found by fields, labels and free text.
    // What is asked is named as in the schema.
    #[allow(clippy::too_many_arguments)]
    async fn search(
        &self,
        ctx: &Context<'_>,
        kinds: Option<Vec<String>>,
        namespaces: Option<Vec<String>>,
        text: Option<String>,
        filters: Option<Vec<Filter>>,
        labels: Option<String>,
        sort: Option<Sort>,
        facets: Option<Vec<String>>,
        #[graphql(default = 50)] first: i32,
        after: Option<String>,
        skip: Option<i32>,
    ) -> Result<SearchConnection, Error> {
        let request =
            Request { kinds, namespaces, text, filters, labels, sort, facets, first, after, skip };
        search::search(moment::of(ctx)?, request).await
    }

    /// One object; null when there is none, or none that the caller may see.
    async fn object(
        &self,
        ctx: &Context<'_>,
        kind: String,
        namespace: Option<String>,
        name: String,
    ) -> Result<Option<Node>, Error> {
        let moment = moment::of(ctx)?;
        moment.charge(1).await?;
        let kind = moment::kind(&kind)?;
        let namespace = namespace.filter(|_| kind.namespaced()).unwrap_or_default();
        Ok(moment.get(kind, &namespace, &name).map(Node::new))
    }

    /// The kinds there are, and what each can be searched by.
    async fn kinds(&self) -> Vec<KindInfo> {
        kinds::all()
    }

    /// Who asks.
    async fn me(&self) -> Me {
        Me
    }

    /// Servers counted by place and by field, for the fleet map and its strip.
    async fn fleet(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "PlaceLevel::Site")] level: PlaceLevel,
        within: Option<PlaceInput>,
        by: Option<Vec<String>>,
    ) -> Result<Fleet, Error> {
        fleet::fleet(moment::of(ctx)?, level, within.unwrap_or_default(), by.unwrap_or_default())
            .await
    }

    /// What concerns the caller now.
    async fn home(&self, ctx: &Context<'_>) -> Result<Home, Error> {
        home::home(moment::of(ctx)?).await
    }

    /// A run with its steps and what it waits for.
    async fn run(
        &self,
        ctx: &Context<'_>,
        namespace: String,
        name: String,
    ) -> Result<Option<Run>, Error> {
        let moment = moment::of(ctx)?;
        moment.charge(10).await?;
        moment.get(model::Run::info(), &namespace, &name).map(Run::read).transpose()
    }

    /// A campaign with its lanes and what stands in its way.
    async fn campaign(
        &self,
        ctx: &Context<'_>,
        namespace: String,
        name: String,
    ) -> Result<Option<Campaign>, Error> {
        let moment = moment::of(ctx)?;
        moment.charge(10).await?;
        moment.get(model::Campaign::info(), &namespace, &name).map(Campaign::read).transpose()
    }

    /// A service with its budget, its instances and what is around it.
    async fn service(
        &self,
        ctx: &Context<'_>,
        namespace: String,
        name: String,
    ) -> Result<Option<Service>, Error> {
        let moment = moment::of(ctx)?;
        moment.charge(10).await?;
        moment.get(model::Service::info(), &namespace, &name).map(Service::read).transpose()
    }

    /// A rack, unit by unit.
    async fn rack(&self, ctx: &Context<'_>, name: String) -> Result<Option<Rack>, Error> {
        let moment = moment::of(ctx)?;
        moment.charge(10).await?;
        match moment.get(model::Rack::info(), "", &name) {
            Some(rack) => rack::rack(moment, rack).await.map(Some),
            None => Ok(None),
        }
    }

    /// What breaks if these go, all at once: an ImpactReport, which whoever is known to the plane may ask for.
    async fn impact(&self, ctx: &Context<'_>, targets: Vec<ImpactTarget>) -> Result<Impact, Error> {
        let answer = ctx.data_opt::<AnswerImpact>();
        impact::impact(moment::of(ctx)?, answer, targets).await
    }

    /// What happens, or may not happen, between two moments: at most 1,000 entries, by their start.
    async fn calendar(
        &self,
        ctx: &Context<'_>,
        from: Time,
        to: Time,
    ) -> Result<Vec<CalendarEntry>, Error> {
        calendar::calendar(moment::of(ctx)?, from, to).await
    }
}
