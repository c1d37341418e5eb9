//! Answers one question: reads it, checks what it may cost, and has it answered from one world.

use crate::{
    changes::{Changes, Interest, Told},
    index::Indexes,
    map::{Look, Maps, Unlooked},
    moment::{LONGEST, Moment},
    schema::{Query, impact::AnswerImpact},
    shared::{Answer, Shared},
    size::{self, FIELDS_MAX},
    tally::Tally,
    viewer::Viewer,
};
use async_graphql::{
    EmptyMutation, EmptySubscription, Request, Response, SDLExportOptions, Schema, SchemaBuilder,
    ServerError, Variables,
    parser::{parse_query, types::ExecutableDocument},
};
use bytes::Bytes;
use quarterdeck_store::{Store, StoreError};
use serde::Deserialize;
use serde_json::Value;
use std::{sync::Arc, time::Instant};
use tokio::time::sleep_until;

/// How deep a question may nest: introspection, as tools ask it, takes fifteen.
const DEPTH_MAX: usize = 20;
/// How deep its selections and fragments may nest.
const RECURSION_MAX: usize = 64;
/// Directives of one field.
const DIRECTIVES_MAX: usize = 8;
/// How often a question is asked again because the fleet changed under it.
const TRIES: usize = 3;

/// A question, as clients send it (GraphQL over HTTP, "Request Parameters").
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Question {
    /// The document.
    pub query: String,
    /// Which of its operations.
    pub operation_name: Option<String>,
    /// Values of its variables.
    pub variables: Value,
    /// Nothing is done with them.
    pub extensions: Value,
}

/// Answers questions about what one store holds.
pub struct Graph {
    schema: Schema<Query, EmptyMutation, EmptySubscription>,
    store: Arc<Store>,
    indexes: Arc<Indexes>,
    maps: Arc<Maps>,
    changes: Arc<Changes>,
    shared: Shared,
    impacts: Option<AnswerImpact>,
}

fn builder() -> SchemaBuilder<Query, EmptyMutation, EmptySubscription> {
    Schema::build(Query, EmptyMutation, EmptySubscription)
}

impl Graph {
    /// Over what a store holds.
    pub fn new(store: Arc<Store>) -> Self {
        let schema = builder()
            .limit_depth(DEPTH_MAX)
            .limit_complexity(FIELDS_MAX)
            .limit_recursive_depth(RECURSION_MAX)
            .limit_directives(DIRECTIVES_MAX)
            .disable_suggestions()
            .extension(Tally)
            .finish();
        let indexes = Arc::new(Indexes::default());
        let maps = Arc::new(Maps::new(store.clone(), indexes.clone()));
        let changes = Arc::new(Changes::new(store.clone()));
        let shared = Shared::default();
        Self { schema, store, indexes, maps, changes, shared, impacts: None }
    }

    /// The same that answers what breaks if something goes.
    #[must_use]
    pub fn with_impacts(mut self, impacts: AnswerImpact) -> Self {
        self.impacts = Some(impacts);
        self
    }

    /// The schema, as it is published.
    pub fn sdl() -> String {
        builder().finish().sdl_with_options(SDLExportOptions::new())
    }

    /// Begins to look at the fleet map by a field of servers.
    ///
    /// # Errors
    /// When servers have no such field, or too many maps are looked at.
    pub async fn look(&self, by: &str, viewer: Arc<dyn Viewer>) -> Result<Look, Unlooked> {
        self.maps.look(by, viewer).await
    }

    /// Begins to tell of changes.
    pub fn tell(&self, interest: Interest, viewer: &dyn Viewer) -> Told {
        self.changes.tell(interest, viewer)
    }

    /// Answers a question, as JSON; and whether it could be asked at all. Those who ask the same at the same time, and may see
    /// the same, share an answer.
    ///
    /// # Errors
    /// When the store cannot say what is the newest.
    pub async fn answer(
        &self,
        question: Question,
        viewer: Arc<dyn Viewer>,
    ) -> Result<(Bytes, bool), StoreError> {
        let Question { query, operation_name, variables, .. } = &question;
        let same = format!("{query}\0{operation_name:?}\0{variables}");
        self.shared.answer(&same, viewer, |viewer| self.make(question, viewer)).await
    }

    async fn make(
        &self,
        question: Question,
        viewer: Arc<dyn Viewer>,
    ) -> Result<Answer, StoreError> {
        let checked = match parsed(&question.query) {
            Ok(document) => document,
            Err(error) => return Ok(refused(error)),
        };
        // One for all tries.
        let began = Instant::now();
        for attempt in 1.. {
            let world = self.store.fresh().await?;
            let indexes = self.indexes.clone();
            let alone = attempt > TRIES;
            let (store, viewer) = (self.store.clone(), viewer.clone());
            let moment = Arc::new(Moment::new(store, world, viewer, indexes, (began, alone)));
            let mut request = request(question.clone(), checked.clone()).data(moment.clone());
            if let Some(impacts) = &self.impacts {
                request = request.data(impacts.clone());
            }
            let response = tokio::select! {
                response = self.schema.execute(request) => response,
                why = moment.too_large() => Response::from_errors(vec![ServerError::new(why, None)]),
                () = sleep_until((began + LONGEST).into()) => {
                    Response::from_errors(vec![ServerError::new(
                        format!(
                            "the query took longer than {} seconds; ask for less at once",
                            LONGEST.as_secs()
                        ),
                        None,
                    )])
                }
            };
            if moment.moved() && !alone {
                continue;
            }
            let asked = response.errors.is_empty() || response.data != async_graphql::Value::Null;
            return Ok((written(&response), asked));
        }
        Ok((Bytes::new(), false))
    }
}

/// The document, when it is not too large to be looked at.
fn parsed(query: &str) -> Result<ExecutableDocument, ServerError> {
    size::check_text(query).map_err(|why| ServerError::new(why, None))?;
    let document = parse_query(query)?;
    size::check(&document).map_err(|why| ServerError::new(why, None))?;
    Ok(document)
}

fn refused(error: ServerError) -> Answer {
    (written(&Response::from_errors(vec![error])), false)
}

fn written(response: &Response) -> Bytes {
    // Trees of JSON can always be written.
    serde_json::to_vec(response).unwrap_or_default().into()
}

fn request(question: Question, document: ExecutableDocument) -> Request {
    let variables = Variables::from_json(question.variables);
    let mut request = Request::new(question.query).variables(variables);
    request.set_parsed_query(document);
    match question.operation_name {
        Some(name) => request.operation_name(name),
        None => request,
    }
}

#[cfg(test)]
mod tests;
