//! The schema that is served is the one that is published, of which the page's types are made.

use quarterdeck_graphql::Graph;
use std::{env, fs, path::Path};

#[test]
fn the_published_schema_is_the_served_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ui/schema.graphql");
    let served = Graph::sdl();
    if env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, &served).unwrap();
    }
    let published = fs::read_to_string(&path).unwrap();
    assert!(
        published == served,
        "ui/schema.graphql is not what is served; UPDATE_SCHEMA=1 cargo test --package quarterdeck-graphql --test schema \
         writes it, then look at the difference"
    );
}
