//! The fleet map at one moment: where each server's cell is, and which value each has. Pure, but for reading objects.

use super::frame::{self, Frame, NAMES_MAX, OTHER, TEXTS_MAX};
use crate::{fleet::Spot, moment::Moment, search::Field};
use bytes::{BufMut as _, Bytes};
use quarterdeck_model::{Kind as _, Object, Revision, kinds::Server};
use serde_json::json;
use std::{collections::HashMap, sync::Arc};

/// Where a server stands, to sort cells by.
type Place = (Spot, u16, Arc<str>);

/// Cells in their order and the values they have.
pub(super) struct Picture {
    by: Field,
    places: Vec<Place>,
    at: HashMap<Arc<str>, u32>,
    texts: Vec<String>,
    numbers: HashMap<String, u8>,
    cells: Vec<u8>,
    pub(super) revision: u64,
    /// The newest change of racks before it was drawn.
    pub(super) racks: Revision,
}

/// What became of a picture.
pub(super) enum Step {
    /// Frames that bring who has the older one up to date.
    Frames(Vec<Bytes>),
    /// Cells are elsewhere: it is to be drawn anew.
    Redrawn,
}

fn unit(server: &Object) -> u16 {
    server.field("spec.location.unit").and_then(|unit| unit.parse().ok()).unwrap_or(u16::MAX)
}

fn value<'o>(by: &Field, server: &'o Object) -> &'o str {
    match by {
        Field::Kind => "",
        Field::Label(key) => server.label(key).unwrap_or_default(),
        Field::Path(path) => server.field(path).unwrap_or_default(),
    }
}

impl Picture {
    /// Of all servers that may be seen.
    pub(super) fn drawn(moment: &Moment, by: &Field, racks: Revision) -> Self {
        let mut spots: HashMap<String, Spot> = HashMap::new();
        let scope = moment.scope(Server::info());
        let servers = moment.world.all(Server::info());
        let mut all: Vec<(Place, &Arc<Object>)> = servers
            .filter(|server| scope.sees("", server.name()))
            .map(|server| {
                let rack = server.field("spec.location.rack").unwrap_or_default();
                let spot = match spots.get(rack) {
                    Some(spot) => spot.clone(),
                    None => {
                        let spot = Spot::of_rack(moment, rack);
                        spots.insert(rack.to_owned(), spot.clone());
                        spot
                    }
                };
                ((spot, unit(server), server.key.name.clone()), server)
            })
            .collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut picture = Self {
            by: by.clone(),
            places: Vec::with_capacity(all.len()),
            at: HashMap::with_capacity(all.len()),
            texts: vec![String::new()],
            numbers: HashMap::from([(String::new(), 0)]),
            cells: Vec::with_capacity(all.len()),
            revision: moment.world.revision().0,
            racks,
        };
        for ((place, server), number) in all.into_iter().zip(0..) {
            let cell = picture.number(value(by, server)).0;
            picture.at.insert(place.2.clone(), number);
            picture.places.push(place);
            picture.cells.push(cell);
        }
        picture
    }

    /// The number of a text, and whether it is new.
    fn number(&mut self, text: &str) -> (u8, bool) {
        if let Some(number) = self.numbers.get(text) {
            return (*number, false);
        }
        let Some(number) =
            u8::try_from(self.texts.len()).ok().filter(|it| usize::from(*it) < TEXTS_MAX)
        else {
            return (OTHER, false);
        };
        self.texts.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        (number, true)
    }

    /// Takes in what became of some servers. Whoever sees them is the same as when it was drawn.
    pub(super) fn follow(&mut self, moment: &Moment, names: &[Arc<str>]) -> Step {
        let scope = moment.scope(Server::info());
        // Moves first: a step that is not told must not be half taken.
        let mut there: Vec<(u32, Arc<Object>)> = Vec::new();
        for name in names.iter().filter(|name| scope.sees("", name)) {
            let server = moment.world.get(Server::info(), "", name);
            let (Some(server), Some(at)) = (&server, self.at.get(name).copied()) else {
                if server.is_some() != self.at.contains_key(name) {
                    return Step::Redrawn;
                }
                continue;
            };
            let place = self.places.get(at as usize);
            let rack = server.field("spec.location.rack").unwrap_or_default();
            if place.is_none_or(|(spot, u, _)| spot.rack != rack || *u != unit(server)) {
                return Step::Redrawn;
            }
            there.push((at, server.clone()));
        }
        let known = self.texts.len();
        let mut changed: Vec<(u32, u8)> = Vec::new();
        let by = self.by.clone();
        for (at, server) in there {
            let (number, _) = self.number(value(&by, &server));
            if let Some(cell) = self.cells.get_mut(at as usize)
                && *cell != number
            {
                *cell = number;
                changed.push((at, number));
            }
        }
        self.revision = moment.world.revision().0;
        let mut frames = Vec::new();
        if self.texts.len() > known {
            let texts = json!({"first": known, "values": self.texts.get(known..)}).to_string();
            frames.push(frame::frame(Frame::Texts, |to| to.put_slice(texts.as_bytes())));
        }
        if !changed.is_empty() {
            changed.sort_unstable();
            changed.dedup_by_key(|(at, _)| *at);
            frames.push(frame::changes(self.revision, &changed));
        }
        Step::Frames(frames)
    }

    /// All of it, for who has none.
    pub(super) fn whole(&self) -> Vec<Bytes> {
        let mut places: Vec<serde_json::Value> = Vec::new();
        let mut last: Option<(&Spot, usize)> = None;
        let mut end = |spot: &Spot, first: usize, until: usize| {
            places.push(json!({
                "site": spot.site, "hall": spot.hall, "row": spot.row, "rack": spot.rack,
                "first": first, "count": until - first,
            }));
        };
        for (at, (spot, ..)) in self.places.iter().enumerate() {
            match last {
                Some((known, _)) if known == spot => {}
                other => {
                    if let Some((known, first)) = other {
                        end(known, first, at);
                    }
                    last = Some((spot, at));
                }
            }
        }
        if let Some((known, first)) = last {
            end(known, first, self.places.len());
        }
        let header = json!({
            "version": frame::VERSION,
            "by": self.by.name(),
            "revision": self.revision.to_string(),
            "cells": self.cells.len(),
            "values": self.texts,
            "other": OTHER,
            "places": places,
        })
        .to_string();
        let mut frames = vec![frame::frame(Frame::Header, |to| to.put_slice(header.as_bytes()))];
        frames.push(frame::frame(Frame::Cells, |to| to.put_slice(&self.cells)));
        for (page, names) in self.places.chunks(NAMES_MAX).enumerate() {
            let names = names.iter().map(|(_, _, name)| &**name);
            frames.push(frame::names(page * NAMES_MAX, names));
        }
        frames
    }

    /// That nothing changed up to now.
    pub(super) fn alive(&self) -> Bytes {
        frame::frame(Frame::Alive, |to| to.put_u64_le(self.revision))
    }
}
