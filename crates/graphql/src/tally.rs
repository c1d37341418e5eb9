//! Counts what goes into an answer while it is made, field by field, and lets others have their turn: whatever is asked
//! for once more by another name is counted once more.

use crate::moment::Moment;
use async_graphql::{
    ServerResult, Value, async_trait,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextResolve, ResolveInfo},
};
use std::sync::Arc;

/// What an error takes besides its message: where it was, and punctuation.
const ERROR_BYTES: usize = 128;

/// Counts for the [`Moment`] of the request.
pub(crate) struct Tally;

impl ExtensionFactory for Tally {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait::async_trait]
impl Extension for Tally {
    async fn resolve(
        &self,
        ctx: &ExtensionContext<'_>,
        info: ResolveInfo<'_>,
        next: NextResolve<'_>,
    ) -> ServerResult<Option<Value>> {
        let moment = ctx.data_opt::<Arc<Moment>>();
        let name = info.alias.unwrap_or(info.name).len();
        let json = info.return_type.contains("JSON");
        let told = next.run(ctx, info).await;
        if let Some(moment) = moment {
            let bytes = match &told {
                Ok(Some(value)) => own(value, json),
                Ok(None) => 0,
                Err(error) => error.message.len() + ERROR_BYTES,
            };
            moment.told(name + bytes).await;
        }
        told
    }
}

/// About how many bytes a field itself takes as JSON. What has fields of its own was counted with those, unless it is
/// one value of JSON.
fn own(value: &Value, json: bool) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::List(list) => list
            .iter()
            .map(|item| match item {
                Value::Object(_) | Value::List(_) if !json => 1,
                item => 1 + own(item, json),
            })
            .sum(),
        Value::Object(fields) if json => {
            fields.iter().map(|(name, value)| 4 + name.len() + own(value, json)).sum()
        }
        _ => 4,
    }
}
