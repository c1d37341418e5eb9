//! Servers counted by place and by field, as they are told.

use super::{object::ValueCount, scalars::number};
use crate::{
    fleet::{Level, Spot, Spread, each},
    moment::Moment,
    search::{Field, Source},
};
use async_graphql::{Enum, Error, InputObject, SimpleObject};
use quarterdeck_model::{Kind as _, kinds::Server};
use std::sync::Arc;

/// Places that are told.
const PLACES_MAX: usize = 5_000;
/// Fields that are counted by at once.
const FIELDS_MAX: usize = 10;
/// Numbers that are kept while they are counted: places times values.
const NUMBERS_MAX: usize = 4_000_000;
/// What it costs to look at that many servers, in objects.
const ROWS: usize = 200;

#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlaceLevel {
    Site,
    Hall,
    Row,
    Rack,
}

#[derive(InputObject, Default)]
pub(crate) struct PlaceInput {
    site: Option<String>,
    hall: Option<String>,
    row: Option<String>,
    rack: Option<String>,
}

impl PlaceInput {
    fn has(&self, spot: &Spot) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|it| it == is);
        same(&self.site, &spot.site)
            && same(&self.hall, &spot.hall)
            && same(&self.row, &spot.row)
            && same(&self.rack, &spot.rack)
    }
}

#[derive(SimpleObject)]
pub(crate) struct Place {
    pub(crate) site: String,
    pub(crate) hall: Option<String>,
    pub(crate) row: Option<String>,
    pub(crate) rack: Option<String>,
}

impl From<Spot> for Place {
    fn from(spot: Spot) -> Self {
        let there = |name: String| Some(name).filter(|name| !name.is_empty());
        Self {
            site: spot.site,
            hall: there(spot.hall),
            row: there(spot.row),
            rack: there(spot.rack),
        }
    }
}

#[derive(SimpleObject)]
pub(crate) struct Fleet {
    /// Servers there are within, of those that the caller may see.
    total: i32,
    /// All of them by field.
    counts: Vec<FieldCounts>,
    /// At most 5,000 places, in order.
    places: Vec<PlaceCounts>,
    revision: String,
}

#[derive(SimpleObject)]
pub(crate) struct PlaceCounts {
    place: Place,
    servers: i32,
    counts: Vec<FieldCounts>,
}

#[derive(SimpleObject)]
pub(crate) struct FieldCounts {
    field: String,
    values: Vec<ValueCount>,
}

/// A field that is counted by: how many servers of each place have each value.
struct Counter {
    name: String,
    column: usize,
    texts: Vec<Arc<str>>,
    counts: Vec<usize>,
}

impl Counter {
    fn add(&mut self, place: usize, value: u32) {
        let at = place * self.texts.len() + value as usize;
        if let Some(count) = self.counts.get_mut(at) {
            *count += 1;
        }
    }

    /// The counts of some places together.
    fn told(&self, places: std::ops::Range<usize>) -> FieldCounts {
        let width = self.texts.len();
        let count = |value: usize| {
            let counts = places.clone().filter_map(|place| self.counts.get(place * width + value));
            counts.sum::<usize>()
        };
        let values = self.texts.iter().enumerate().map(|(at, text)| (text.to_string(), count(at)));
        let mut values: Vec<(String, usize)> = values.filter(|(_, count)| *count > 0).collect();
        values.sort_by(|(one, a), (other, b)| b.cmp(a).then_with(|| one.cmp(other)));
        FieldCounts {
            field: self.name.clone(),
            values: values.into_iter().map(ValueCount::of).collect(),
        }
    }
}

pub(crate) async fn fleet(
    moment: &Moment,
    level: PlaceLevel,
    within: PlaceInput,
    by: Vec<String>,
) -> Result<Fleet, Error> {
    if by.len() > FIELDS_MAX {
        return Err(Error::new(format!(
            "servers are counted by at most {FIELDS_MAX} fields at once"
        )));
    }
    let kind = Server::info();
    let servers = moment.index(kind).await?;
    moment.charge(1 + servers.len().saturating_mul(2 + by.len()) / ROWS).await?;
    let level = match level {
        PlaceLevel::Site => Level::Site,
        PlaceLevel::Hall => Level::Hall,
        PlaceLevel::Row => Level::Row,
        PlaceLevel::Rack => Level::Rack,
    };
    let spread = Spread::new(moment, &servers, level, |spot| within.has(spot));
    let columns = servers.columns();
    let mut counters = Vec::new();
    for name in by {
        let field = Field::parse(&name);
        let Source::Column(column) = field.within(columns) else {
            let fields = kind.indexed_fields.join(", ");
            return Err(Error::new(format!(
                "servers cannot be counted by {name:?}, whose values are each of one server, or which is not a \
                 field; there are {fields}"
            )));
        };
        let texts = columns.dictionary(column).map_or_else(Vec::new, |it| it.texts().to_vec());
        let numbers = texts.len() * spread.spots.len();
        if numbers > NUMBERS_MAX {
            return Err(Error::new(format!(
                "{name:?} has too many values to count in so many places; ask for larger places, or within one"
            )));
        }
        counters.push(Counter { name, column, counts: vec![0; numbers], texts });
    }
    let mut totals = vec![0_usize; spread.spots.len()];
    for (place, chunk, at) in each(&servers, &spread) {
        if let Some(total) = totals.get_mut(place) {
            *total += 1;
        }
        for counter in &mut counters {
            if let Some(value) = chunk.column(counter.column).get(at) {
                counter.add(place, *value);
            }
        }
    }
    let all = 0..spread.spots.len();
    let places = spread.spots.into_iter().enumerate().zip(&totals).filter(|(_, total)| **total > 0);
    let places = places.take(PLACES_MAX).map(|((at, spot), total)| PlaceCounts {
        place: spot.into(),
        servers: number(*total),
        counts: counters.iter().map(|counter| counter.told(at..at + 1)).collect(),
    });
    Ok(Fleet {
        places: places.collect(),
        total: number(totals.iter().sum()),
        counts: counters.iter().map(|counter| counter.told(all.clone())).collect(),
        revision: moment.world.revision().to_string(),
    })
}
