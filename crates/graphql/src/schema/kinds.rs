//! Kinds, and who asks.

use crate::{
    links,
    moment::{self, Moment},
    viewer::Act,
};
use async_graphql::{ComplexObject, Context, Error, Object, SimpleObject};
use quarterdeck_model::{ColumnType, KindRef, kinds};

/// Namespaces that are looked at for one that counts as an object read.
const NAMESPACES: usize = 20;
/// What may be done with objects.
const VERBS: [&str; 7] = ["get", "list", "watch", "create", "update", "patch", "delete"];

#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct KindInfo {
    kind: String,
    api_version: String,
    group: String,
    version: String,
    plural: String,
    singular: String,
    short_names: Vec<String>,
    namespaced: bool,
    description: String,
    columns: Vec<ColumnInfo>,
    /// Fields that a search filters, sorts and facets by.
    fields: Vec<String>,
    /// Names of what its objects are linked with.
    relations: Vec<String>,
    #[graphql(skip)]
    of: KindRef,
}

#[derive(SimpleObject)]
pub(crate) struct ColumnInfo {
    name: String,
    path: String,
    r#type: String,
    wide: bool,
    description: String,
}

#[ComplexObject]
impl KindInfo {
    /// How many there are, of those that the caller may see.
    async fn count(&self, ctx: &Context<'_>) -> Result<i32, Error> {
        let moment = moment::of(ctx)?;
        super::count(moment, self.of).await
    }

    /// What the caller may do with all of them everywhere: of get, list, watch, create, update, patch and delete.
    async fn verbs(&self, ctx: &Context<'_>) -> Result<Vec<&'static str>, Error> {
        let viewer = &moment::of(ctx)?.viewer;
        let act = |verb| Act { verb, kind: self.of, subresource: "", namespace: "", name: "" };
        Ok(VERBS.into_iter().filter(|verb| viewer.may(&act(verb))).collect())
    }
}

/// All kinds.
pub(crate) fn all() -> Vec<KindInfo> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let info = |kind: &KindRef| KindInfo {
        kind: kind.kind.into(),
        api_version: kind.api_version(),
        group: kind.group.into(),
        version: kind.version.into(),
        plural: kind.plural.into(),
        singular: kind.singular.into(),
        short_names: texts(kind.short_names),
        namespaced: kind.namespaced(),
        description: kind.description.into(),
        columns: kind.columns.iter().map(column).collect(),
        fields: texts(&[&["metadata.name", "metadata.namespace"], kind.indexed_fields].concat()),
        relations: texts(&links::relations(kind)),
        of: kind,
    };
    kinds::all().iter().map(info).collect()
}

fn column(column: &quarterdeck_model::Column) -> ColumnInfo {
    let kind = match column.kind {
        ColumnType::String | ColumnType::Usage => "string",
        ColumnType::Integer | ColumnType::Count => "integer",
        ColumnType::Boolean => "boolean",
        ColumnType::Date => "date",
    };
    ColumnInfo {
        name: column.name.into(),
        path: column.path.into(),
        r#type: kind.into(),
        wide: column.wide,
        description: column.description.into(),
    }
}

/// Who asks.
pub(crate) struct Me;

#[Object]
impl Me {
    async fn name(&self, ctx: &Context<'_>) -> Result<String, Error> {
        Ok(moment::of(ctx)?.viewer.user().into())
    }

    async fn groups(&self, ctx: &Context<'_>) -> Result<Vec<String>, Error> {
        Ok(moment::of(ctx)?.viewer.groups().into())
    }

    /// Namespaces that some binding of their own names the caller in.
    async fn teams(&self, ctx: &Context<'_>) -> Result<Vec<String>, Error> {
        Ok(moment::of(ctx)?.viewer.teams())
    }

    /// Namespaces that the caller may see.
    async fn namespaces(&self, ctx: &Context<'_>) -> Result<Vec<String>, Error> {
        let moment: &Moment = moment::of(ctx)?;
        let kind = moment::kind("Namespace")?;
        let scope = moment.scope(kind);
        moment.charge(1 + moment.world.count(kind) / NAMESPACES).await?;
        let names = moment.world.all(kind).map(|namespace| namespace.name());
        Ok(names.filter(|name| scope.sees("", name)).map(Into::into).collect())
    }

    async fn may(
        &self,
        ctx: &Context<'_>,
        verb: String,
        kind: String,
        namespace: Option<String>,
        name: Option<String>,
        subresource: Option<String>,
    ) -> Result<bool, Error> {
        let act = Act {
            verb: &verb,
            kind: moment::kind(&kind)?,
            subresource: subresource.as_deref().unwrap_or_default(),
            namespace: namespace.as_deref().unwrap_or_default(),
            name: name.as_deref().unwrap_or_default(),
        };
        Ok(moment::of(ctx)?.viewer.may(&act))
    }
}
