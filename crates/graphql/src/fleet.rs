//! Servers by where they are: which of them are within a place, and which part of it each is in. Pure, but for what
//! it asks of the moment.

use crate::{
    index::{Chunk, Index},
    moment::Moment,
    search::{Field, Masks, Source, places},
};
use quarterdeck_model::{
    Kind as _, Object,
    kinds::{Rack, Server},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// How fine places are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Site,
    Hall,
    Row,
    Rack,
}

/// A place: site, hall, row and rack, each empty where there is none, or where it is not told apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Spot {
    pub(crate) site: String,
    pub(crate) hall: String,
    pub(crate) row: String,
    pub(crate) rack: String,
}

impl Spot {
    /// Where a rack stands; only its name, when it may not be seen or is not there.
    pub(crate) fn of_rack(moment: &Moment, name: &str) -> Self {
        let rack = moment.get(Rack::info(), "", name);
        let field =
            |path| rack.as_ref().and_then(|rack| rack.field(path)).unwrap_or_default().into();
        Self {
            site: field("spec.site"),
            hall: field("spec.hall"),
            row: field("spec.row"),
            rack: name.into(),
        }
    }

    /// The place of that level that it is in.
    pub(crate) fn at(mut self, level: Level) -> Self {
        if level != Level::Rack {
            self.rack.clear();
        }
        if matches!(level, Level::Site | Level::Hall) {
            self.row.clear();
        }
        if level == Level::Site {
            self.hall.clear();
        }
        self
    }
}

/// Which place each server is in.
pub(crate) struct Spread {
    rack: Source,
    /// The place of each rack by its number in the column; or else by its name.
    numbers: Vec<Option<usize>>,
    names: HashMap<String, Option<usize>>,
    /// All places, in order.
    pub(crate) spots: Vec<Spot>,
    /// The servers that may be seen: no other makes a place.
    seen: Masks,
}

impl Spread {
    /// Of the servers in an index that may be seen, by places of `level` that are `within`.
    pub(crate) fn new(
        moment: &Moment,
        servers: &Index,
        level: Level,
        within: impl Fn(&Spot) -> bool,
    ) -> Self {
        let rack = Field::Path("spec.location.rack".into()).within(servers.columns());
        let mut seen = Masks::all(servers);
        seen.keep_seen(servers, &moment.scope(Server::info()));
        let all = || {
            let chunks = servers.chunks().iter().zip(&seen.0);
            chunks.flat_map(|(chunk, mask)| places(*mask).map(move |at| (chunk, at)))
        };
        // Numbers that no server has which may be seen have no name.
        let names: Vec<Option<String>> = match &rack {
            Source::Column(column) => {
                let texts = servers.columns().dictionary(*column).map_or(&[][..], |it| it.texts());
                let mut used = vec![None; texts.len()];
                for (chunk, at) in all() {
                    let number = chunk.column(*column).get(at).map(|number| *number as usize);
                    if let Some((name, number)) =
                        number.and_then(|number| Some((texts.get(number)?, number)))
                        && let Some(slot @ None) = used.get_mut(number)
                    {
                        *slot = Some(name.to_string());
                    }
                }
                used
            }
            _ => {
                let objects = all().filter_map(|(chunk, at)| chunk.object(at));
                let rack =
                    |it: &Arc<Object>| it.field("spec.location.rack").unwrap_or_default().into();
                objects.map(|it| Some(rack(it))).collect()
            }
        };
        let spots: Vec<Option<Spot>> = names
            .iter()
            .map(|name| {
                let spot = Spot::of_rack(moment, name.as_deref()?);
                Some(spot).filter(&within).map(|it| it.at(level))
            })
            .collect();
        let order: BTreeMap<&Spot, usize> = spots.iter().flatten().map(|spot| (spot, 0)).collect();
        let sorted: Vec<Spot> = order.into_keys().cloned().collect();
        let place =
            |spot: &Option<Spot>| spot.as_ref().and_then(|spot| sorted.binary_search(spot).ok());
        let numbers: Vec<Option<usize>> = spots.iter().map(place).collect();
        let (numbers, names) = match rack {
            Source::Column(_) => (numbers, HashMap::new()),
            _ => (Vec::new(), names.into_iter().flatten().zip(numbers).collect()),
        };
        Self { rack, numbers, names, spots: sorted, seen }
    }

    /// The place of one server; none when it is not within.
    pub(crate) fn of(&self, chunk: &Chunk, at: usize) -> Option<usize> {
        match &self.rack {
            Source::Column(column) => {
                let number = chunk.column(*column).get(at)?;
                self.numbers.get(*number as usize).copied().flatten()
            }
            _ => {
                let rack = chunk.object(at)?.field("spec.location.rack")?;
                self.names.get(rack).copied().flatten()
            }
        }
    }
}

/// Each server that may be seen, with its place.
pub(crate) fn each<'i>(
    servers: &'i Index,
    spread: &'i Spread,
) -> impl Iterator<Item = (usize, &'i Chunk, usize)> {
    servers.chunks().iter().zip(&spread.seen.0).flat_map(move |(chunk, mask)| {
        places(*mask).filter_map(move |at| Some((spread.of(chunk, at)?, &**chunk, at)))
    })
}
