//! Links and graphs, as they are told.

use super::{
    object::{Node, Reference},
    scalars::number,
};
use crate::{links, moment::Moment};
use async_graphql::{Enum, Error, SimpleObject};
use quarterdeck_model::{Object, kinds};

/// Links that are looked through for one that counts as an object read.
const COUNTED: usize = 16;

#[derive(SimpleObject)]
pub(crate) struct LinkGroup {
    /// What the linked objects are to this one, such as `rack` or `instances`.
    relation: String,
    /// Kind of the linked objects, when all are of one.
    kind: Option<String>,
    /// Whether this object names them (OUT), or they name it (IN).
    direction: LinkDirection,
    /// How many there are, of those that the caller may see.
    total: i32,
    /// The first of them.
    nodes: Vec<Node>,
    /// Names it gives of objects that are not there, or that the caller may not see.
    missing: Vec<Reference>,
}

#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkDirection {
    Out,
    In,
}

/// Refuses names of relations that there are not.
pub(crate) fn check(relations: Option<&[String]>) -> Result<(), Error> {
    for relation in relations.into_iter().flatten() {
        let known =
            |kind: &quarterdeck_model::KindRef| links::relations(kind).contains(&&**relation);
        if !kinds::all().iter().any(known) {
            return Err(Error::new(format!(
                "there is no relation {relation:?}; kinds {{ relations }} lists those of each kind"
            )));
        }
    }
    Ok(())
}

pub(crate) async fn groups(
    moment: &Moment,
    object: &Object,
    relations: Option<&[String]>,
    first: usize,
) -> Result<Vec<LinkGroup>, Error> {
    check(relations)?;
    let wanted = |relation: &str| {
        relations.is_none_or(|relations| relations.iter().any(|wanted| wanted == relation))
    };
    let mut groups = Vec::new();
    for group in links::groups(&moment.world, object, || moment.users(), wanted) {
        let (relation, outward, all) = (group.relation, group.outward, group.objects.len());
        let (mut seen, missing) = group.seen(moment);
        moment.charge(first.min(seen.len()) + all / COUNTED).await?;
        if seen.is_empty() && missing.is_empty() {
            continue;
        }
        let kind = seen.first().map(|object| object.kind);
        let kind = kind.filter(|kind| seen.iter().all(|object| object.kind == *kind));
        let total = number(seen.len());
        seen.truncate(first);
        groups.push(LinkGroup {
            relation: relation.into(),
            kind: kind.map(|kind| kind.kind.into()),
            direction: if outward { LinkDirection::Out } else { LinkDirection::In },
            total,
            nodes: seen.into_iter().map(Node::new).collect(),
            missing: missing.into_iter().map(Into::into).collect(),
        });
    }
    Ok(groups)
}

#[derive(SimpleObject, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<GraphNode>,
    pub(crate) edges: Vec<GraphEdge>,
    /// Whether there was more than `limit` nodes; `hidden` of the nodes says where.
    pub(crate) truncated: bool,
}

#[derive(SimpleObject)]
pub(crate) struct GraphNode {
    /// Names the node in `edges`.
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) phase: Option<String>,
    /// `spec.owner`, where the kind has one.
    pub(crate) owner: Option<String>,
    /// How far it is from where the graph begins.
    pub(crate) distance: i32,
    /// Neighbours that are not among the nodes.
    pub(crate) hidden: i32,
    /// It is named by another, and not there or not to be seen.
    pub(crate) missing: bool,
}

#[derive(SimpleObject, PartialEq, Eq, Hash, Clone, PartialOrd, Ord)]
pub(crate) struct GraphEdge {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) relation: String,
}
