//! Search, as it is asked and told.

use super::{
    object::{Node, ValueCount, first},
    scalars::number,
};
use crate::{
    moment::{self, Moment},
    search::{Asked, Cursor, Field, Order, Stop, Test},
    viewer::Scope,
};
use async_graphql::{Enum, Error, InputObject, SimpleObject};
use quarterdeck_model::{KindRef, LabelSelector, kinds};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Most objects of one page.
const PAGE_MAX: i32 = 500;
/// Most tests, facets, words, and namespaces of one search.
const PARTS_MAX: usize = 50;
/// Longest text that is searched for.
const TEXT_BYTES_MAX: usize = 256;
/// What a search over a kind costs, in objects: so many rows of columns are as dear as one object.
const ROWS: usize = 500;

/// Objects that are skipped for one that counts as an object read.
const SKIPPED: usize = 100;
/// Searches at once: each has a core for itself while it lasts, and writes need some too.
const SEARCHES: usize = 4;

static SEARCHING: Semaphore = Semaphore::const_new(SEARCHES);

/// Stops a search when nobody waits for it any more.
struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// One test of a field. Fields are those of `KindInfo.fields`, `kind`, and `metadata.labels.KEY`.
#[derive(InputObject, Clone)]
pub(crate) struct Filter {
    field: String,
    #[graphql(default_with = "FilterOp::In")]
    op: FilterOp,
    #[graphql(default)]
    values: Vec<String>,
}

#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FilterOp {
    /// The value is one of those given.
    In,
    /// The value is none of those given.
    NotIn,
    /// There is a value.
    Exists,
    /// There is no value.
    Absent,
    /// The value begins with one of those given.
    Prefix,
    /// The value has one of those given in it, in small or capital letters.
    Contains,
    /// The value is more than the one given: as numbers where both are, else as texts.
    Greater,
    /// The value is less than the one given.
    Less,
}

#[derive(InputObject, Clone)]
pub(crate) struct Sort {
    field: String,
    #[graphql(default)]
    descending: bool,
}

#[derive(SimpleObject)]
pub(crate) struct SearchConnection {
    /// How many objects were found, of those that the caller may see.
    total: i32,
    edges: Vec<SearchEdge>,
    facets: Vec<Facet>,
    page_info: PageInfo,
    /// The revision that the answer is as of.
    revision: String,
}

#[derive(SimpleObject)]
pub(crate) struct SearchEdge {
    /// Where to go on after this object; stays good while the fleet changes.
    cursor: String,
    node: Node,
}

#[derive(SimpleObject)]
pub(crate) struct PageInfo {
    has_next_page: bool,
    end_cursor: Option<String>,
}

#[derive(SimpleObject)]
pub(crate) struct Facet {
    field: String,
    /// The most frequent values, at most 100; an empty text is that there is none.
    values: Vec<ValueCount>,
    /// How many of the objects found have other values.
    other: i32,
}

/// What somebody asks, as it came.
#[derive(Default)]
pub(crate) struct Request {
    pub(crate) kinds: Option<Vec<String>>,
    pub(crate) namespaces: Option<Vec<String>>,
    pub(crate) text: Option<String>,
    pub(crate) filters: Option<Vec<Filter>>,
    pub(crate) labels: Option<String>,
    pub(crate) sort: Option<Sort>,
    pub(crate) facets: Option<Vec<String>>,
    pub(crate) first: i32,
    pub(crate) after: Option<String>,
    pub(crate) skip: Option<i32>,
}

fn few(what: &str, count: usize) -> Result<(), Error> {
    if count > PARTS_MAX {
        return Err(Error::new(format!(
            "a search has at most {PARTS_MAX} {what}, and this one {count}"
        )));
    }
    Ok(())
}

impl Request {
    /// Reads it; what is wrong is named.
    fn read(self) -> Result<Asked, Error> {
        let mut kinds: Vec<KindRef> = Vec::new();
        match &self.kinds {
            None => kinds.extend(kinds::all()),
            Some(names) => {
                for name in names {
                    let kind = moment::kind(name)?;
                    if !kinds.contains(&kind) {
                        kinds.push(kind);
                    }
                }
            }
        }
        if kinds.is_empty() {
            return Err(Error::new("kinds is empty; name some, or leave it out to search all"));
        }
        let filters = self.filters.unwrap_or_default();
        let facets = self.facets.unwrap_or_default();
        few("filters", filters.len())?;
        few("facets", facets.len())?;
        few("namespaces", self.namespaces.as_ref().map_or(0, Vec::len))?;
        let tests: Result<Vec<Test>, String> =
            filters.into_iter().map(|it| Test::new(&it.field, it.op, it.values)).collect();
        let tests = tests.map_err(Error::new)?;
        let facets: Vec<Field> = facets.iter().map(|name| Field::parse(name)).collect();
        let text = self.text.unwrap_or_default();
        if text.len() > TEXT_BYTES_MAX {
            return Err(Error::new(format!("text is longer than {TEXT_BYTES_MAX} bytes")));
        }
        let words: Vec<String> = text
            .split(|letter: char| letter.is_whitespace() || letter.is_control())
            .filter(|word| !word.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        few("words", words.len())?;
        let sort = self.sort.map(|sort| (Field::parse(&sort.field), sort.descending));
        let fields = tests.iter().map(|test| &test.field).chain(&facets);
        for field in fields.chain(sort.as_ref().map(|(field, _)| field)) {
            check(field, &kinds)?;
        }
        if facets.contains(&Field::Path("metadata.name".into())) {
            return Err(Error::new("names are not counted: each is of one object"));
        }
        let name = Field::Path("metadata.name".into());
        let order = match (sort, words.first()) {
            // Objects in no namespace are in the order of their names.
            (Some((field, backwards)), _)
                if field == name
                    && kinds.iter().all(|kind| !kind.namespaced())
                    && kinds.len() == 1 =>
            {
                Order::Place { backwards }
            }
            (Some((field, descending)), _) => Order::Field(field, descending),
            (None, Some(word)) => Order::Likeness(word.clone()),
            (None, None) => Order::Place { backwards: false },
        };
        let labels = LabelSelector::parse(self.labels.as_deref().unwrap_or_default());
        let labels = labels.map_err(|error| Error::new(format!("labels: {error}")))?;
        let after = self.after.as_deref().map(|after| Cursor::read(after, &order.name()));
        let after = after.transpose().map_err(Error::new)?;
        let skip = usize::try_from(self.skip.unwrap_or(0));
        let skip = skip.map_err(|_| Error::new("skip is less than 0"))?;
        if skip > 0 && after.is_some() {
            return Err(Error::new("give after, or skip, and not both"));
        }
        let first = first(self.first, PAGE_MAX)?;
        let namespaces = self.namespaces;
        let stop = Stop::default();
        Ok(Asked {
            kinds,
            namespaces,
            words,
            tests,
            labels,
            order,
            facets,
            first,
            skip,
            after,
            stop,
        })
    }
}

/// Refuses a field that no object of these kinds can be searched by.
fn check(field: &Field, kinds: &[KindRef]) -> Result<(), Error> {
    if kinds.iter().any(|kind| field.is_of(kind)) {
        return Ok(());
    }
    let fields = match kinds {
        [only] => only.indexed_fields.join(", "),
        _ => "kinds { fields } lists those of each kind".into(),
    };
    Err(Error::new(format!(
        "{:?} is not a field that can be searched by; besides kind, metadata.name, metadata.namespace and \
         metadata.labels.KEY there are: {fields}",
        field.name(),
    )))
}

/// Searches.
pub(crate) async fn search(
    moment: &Arc<Moment>,
    request: Request,
) -> Result<SearchConnection, Error> {
    let mut asked = request.read()?;
    // What may not be seen is not searched.
    asked.kinds.retain(|kind| !matches!(*moment.scope(kind), Scope::Nothing));
    let mut indexes = Vec::new();
    for kind in &asked.kinds {
        let index = moment.index(kind).await?;
        let looks = index.len().saturating_mul(asked.weight());
        moment.charge((looks / ROWS).max(1)).await?;
        indexes.push((index, moment.scope(kind)));
    }
    moment.charge(asked.first + asked.skip / SKIPPED).await?;
    let world = moment.world.clone();
    // It is never closed.
    let turn = SEARCHING.acquire().await;
    let _stop = StopOnDrop(asked.stop.clone());
    // Where it keeps nobody from the network.
    let found = tokio::task::spawn_blocking(move || {
        // Until it has really ended, whoever waits for it.
        let _turn = turn;
        let found = asked.search(&world, indexes);
        let edges: Vec<SearchEdge> = found
            .rows
            .iter()
            .map(|row| SearchEdge {
                cursor: asked.cursor(row),
                node: Node::new(row.object.clone()),
            })
            .collect();
        (found, edges)
    });
    let (found, edges) = found.await.map_err(|_| Error::new("the plane is stopping"))?;
    let facets = found.facets.into_iter().map(|counted| Facet {
        field: counted.field.name(),
        values: counted.values.into_iter().map(ValueCount::of).collect(),
        other: number(counted.other),
    });
    Ok(SearchConnection {
        total: number(found.total),
        page_info: PageInfo {
            has_next_page: found.more,
            end_cursor: edges.last().map(|edge| edge.cursor.clone()),
        },
        edges,
        facets: facets.collect(),
        revision: moment.world.revision().to_string(),
    })
}
