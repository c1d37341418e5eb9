//! What is around an object: its neighbours, theirs, and so on, as many as can be drawn. What does not fit is counted
//! where it would have been.

use crate::{
    links::{self, Named},
    moment::Moment,
    schema::links::{Graph, GraphEdge, GraphNode},
};
use async_graphql::Error;
use quarterdeck_model::Object;
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

/// Farthest that is gone: everything is a few steps from everything.
const HOPS_MAX: i32 = 6;
/// Most nodes: what can be drawn and read.
const NODES_MAX: i32 = 1_000;
/// Links that are looked through for one that counts as an object read.
const COUNTED: usize = 16;

/// Relations that are not followed unless they are asked for: what has been done to an object is not what it is
/// linked with, and there is much of it.
const UNASKED: [&str; 8] =
    ["runs", "permits", "campaigns", "schedules", "remedies", "runbook", "dependents", "owner"];

/// How much is wanted.
pub(crate) struct Asked {
    hops: i32,
    limit: usize,
    relations: Option<Vec<String>>,
}

impl Asked {
    pub(crate) fn new(
        hops: i32,
        limit: i32,
        relations: Option<Vec<String>>,
    ) -> Result<Self, Error> {
        if !(0..=HOPS_MAX).contains(&hops) {
            return Err(Error::new(format!("hops is {hops}, and must be from 0 to {HOPS_MAX}")));
        }
        if !(1..=NODES_MAX).contains(&limit) {
            return Err(Error::new(format!("limit is {limit}, and must be from 1 to {NODES_MAX}")));
        }
        Ok(Self { hops, limit: usize::try_from(limit).unwrap_or(1), relations })
    }

    fn follows(&self, relation: &str) -> bool {
        match &self.relations {
            Some(relations) => relations.iter().any(|wanted| wanted == relation),
            None => !UNASKED.contains(&relation),
        }
    }
}

/// What names a node: its kind and place.
fn id(named: &Named) -> String {
    match named.namespace.as_str() {
        "" => format!("{}/{}", named.kind, named.name),
        namespace => format!("{}/{namespace}/{}", named.kind, named.name),
    }
}

fn node(named: &Named, object: Option<&Object>, distance: i32) -> GraphNode {
    let field = |path: &str| {
        let value = object.and_then(|object| object.field(path)).filter(|value| !value.is_empty());
        value.map(ToOwned::to_owned)
    };
    GraphNode {
        id: id(named),
        kind: named.kind.into(),
        namespace: Some(named.namespace.clone()).filter(|namespace| !namespace.is_empty()),
        name: named.name.clone(),
        phase: field("status.phase"),
        owner: field("spec.owner"),
        distance,
        hidden: 0,
        missing: object.is_none(),
    }
}

/// The graph around `begin`, which may be seen: nearer nodes come before those that are farther.
pub(crate) async fn graph(
    moment: &Moment,
    begin: &Arc<Object>,
    asked: &Asked,
) -> Result<Graph, Error> {
    let first = Named::of(begin);
    let mut graph = Graph { nodes: vec![node(&first, Some(begin), 0)], ..Graph::default() };
    let mut places: HashMap<Named, usize> = HashMap::from([(first, 0)]);
    let mut edges: BTreeSet<GraphEdge> = BTreeSet::new();
    let mut queue: VecDeque<(Arc<Object>, i32)> = VecDeque::from([(begin.clone(), 0)]);
    while let Some((object, distance)) = queue.pop_front() {
        let from = Named::of(&object);
        let mut hidden = 0;
        let follows = |relation: &str| asked.follows(relation);
        for group in links::groups(&moment.world, &object, || moment.users(), follows) {
            moment.charge(1 + group.objects.len() / COUNTED).await?;
            let (relation, outward) = (group.relation, group.outward);
            let (seen, missing) = group.seen(moment);
            let seen = seen.into_iter().map(|object| (Named::of(&object), Some(object)));
            let missing = missing.into_iter().map(|named| (named, None));
            for (named, object) in seen.chain(missing) {
                if !places.contains_key(&named) {
                    if distance >= asked.hops {
                        hidden += 1;
                        continue;
                    }
                    if graph.nodes.len() >= asked.limit {
                        graph.truncated = true;
                        hidden += 1;
                        continue;
                    }
                    places.insert(named.clone(), graph.nodes.len());
                    graph.nodes.push(node(&named, object.as_deref(), distance + 1));
                    if let Some(object) = object {
                        queue.push_back((object, distance + 1));
                    }
                }
                let (one, other) = if outward { (&from, &named) } else { (&named, &from) };
                let relation = match outward {
                    true => relation.to_owned(),
                    false => forward(relation, one.kind, other.kind).to_owned(),
                };
                edges.insert(GraphEdge { from: id(one), to: id(other), relation });
            }
        }
        if let Some(node) = places.get(&from).and_then(|at| graph.nodes.get_mut(*at)) {
            node.hidden = hidden;
        }
    }
    graph.edges = edges.into_iter().collect();
    Ok(graph)
}

/// What the named object is to those that name it, by what these are to it.
fn forward<'r>(back: &'r str, from: &str, to: &str) -> &'r str {
    for (forth, other) in [links::OWNERS, links::USES] {
        if back == other {
            return forth;
        }
    }
    let same =
        |link: &&links::Link| link.back == back && link.from.kind == from && link.to.kind == to;
    links::all().iter().find(same).map_or(back, |link| link.relation)
}
