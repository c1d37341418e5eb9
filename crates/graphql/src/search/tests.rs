use super::*;
use crate::{testing::Held, viewer};
use proptest::prelude::*;
use quarterdeck_model::{
    Kind as _, Object,
    kinds::{Instance, Server},
};
use serde_json::json;

/// Sees all of one namespace, and one name everywhere.
struct Some_;

impl viewer::Seen for Some_ {
    fn sees_all_in(&self, namespace: &str) -> bool {
        namespace == "n1"
    }

    fn sees(&self, namespace: &str, name: &str) -> bool {
        namespace == "n1" || name == "i5"
    }
}

fn asked(kinds: &[KindRef], order: Order) -> Asked {
    Asked {
        kinds: kinds.to_vec(),
        namespaces: None,
        words: Vec::new(),
        tests: Vec::new(),
        labels: LabelSelector::default(),
        order,
        facets: Vec::new(),
        first: 1_000,
        skip: 0,
        after: None,
        stop: Stop::default(),
    }
}

fn run(world: &World, asked: &Asked, all: bool) -> Found {
    let scope = || if all { Scope::All } else { Scope::Some(Box::new(Some_)) };
    let index = |kind: &KindRef| (Arc::new(Index::built(kind, world)), Arc::new(scope()));
    asked.search(world, asked.kinds.iter().map(index).collect())
}

fn name(object: &Object) -> String {
    format!("{}:{}/{}", object.kind.kind, object.namespace(), object.name())
}

/// A fleet of a few servers and instances by numbers.
async fn fleet(numbers: &[(u8, u8, u8)]) -> Held {
    let held = Held::new().await;
    for (at, (one, two, three)) in numbers.iter().enumerate() {
        let value = json!({
            "metadata": {"labels": {"tier": format!("t{}", two % 3)}},
            "spec": {"location": {"rack": format!("r{}", one % 4), "unit": three % 12}, "bmc": {"address": "b"}},
            "status": {"phase": (["Ready", "InUse", ""][usize::from(two % 3)])},
        });
        held.put(Server::info(), "", &format!("s{at}"), value).await;
        let value = json!({
            "metadata": {"labels": {"tier": format!("t{}", one % 3)}},
            "spec": {"service": format!("svc{}", three % 3), "host": {"kind": "Server", "name": format!("s{at}")}},
            "status": {"phase": (["Ready", "Failed"][usize::from(two % 2)])},
        });
        held.put(Instance::info(), &format!("n{}", one % 3), &format!("i{at}"), value).await;
    }
    held
}

fn value(object: &Object, field: &Field) -> String {
    match field {
        Field::Kind => object.kind.kind.into(),
        Field::Label(key) => object.label(key).unwrap_or_default().into(),
        Field::Path(path) => object.field(path).unwrap_or_default().into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// It finds, counts and orders what looking at each object does; page after page is all of it.
    #[test]
    fn a_search_is_a_look_at_each_object(
        numbers in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 1..60),
        sort in 0..6_usize, descending: bool, both: bool, all: bool, first in 1..20_usize, skip in 0..50_usize,
        filter in 0..7_usize, word in 0..4_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let held = fleet(&numbers).await;
            let world = held.store.world();
            let path = |path: &str| Field::Path(path.into());
            let field = [
                path("status.phase"), path("spec.location.unit"), path("metadata.name"), Field::Kind,
                path("metadata.namespace"), Field::Label("tier".into()),
            ][sort].clone();
            let kinds: &[KindRef] =
                if both { &[Server::info(), Instance::info()] } else { &[Server::info()] };
            let test = |field: &str, op, values: &[&str]| {
                Test::new(field, op, values.iter().map(|it| (*it).to_owned()).collect()).unwrap()
            };
            let tests = match filter {
                0 => vec![],
                1 => vec![test("status.phase", FilterOp::In, &["Ready"])],
                2 => vec![test("metadata.labels.tier", FilterOp::In, &["t1"])],
                3 => vec![test("spec.location.unit", FilterOp::Greater, &["5"])],
                4 => vec![test("metadata.name", FilterOp::Prefix, &["s1"])],
                5 => vec![test("kind", FilterOp::In, &["Instance"]), test("status.phase", FilterOp::NotIn, &["Failed"])],
                _ => vec![test("metadata.labels.tier", FilterOp::NotIn, &["t0"])],
            };
            let words: Vec<String> = [vec![], vec!["1"], vec!["r2"], vec!["in", "1"]][word].iter().map(|it| (*it).to_owned()).collect();
            let order = Order::Field(field.clone(), descending);
            let facet = path("status.phase");
            let asked = Asked { tests, words, facets: vec![facet.clone()], first, skip, ..asked(kinds, order) };

            // The same by looking at each.
            let text = |object: &Object| {
                let mut parts = vec![object.name().to_owned(), object.namespace().to_owned()];
                parts.extend(object.fields().map(Into::into));
                parts.extend(object.labels().map(|(_, value)| value.to_owned()));
                parts
            };
            let base = |object: &Object| {
                let seen = all || viewer::Seen::sees(&Some_, object.namespace(), object.name());
                let parts = text(object);
                let has = |word: &String| parts.iter().any(|part| part.to_lowercase().contains(word.as_str()));
                seen && asked.words.iter().all(has)
            };
            let passes = |object: &Object, but: Option<&Field>| {
                let tests = asked.tests.iter().filter(|test| Some(&test.field) != but);
                base(object) && tests.into_iter().all(|test| test.passes(&value(object, &test.field)))
            };
            let everything: Vec<Arc<Object>> = kinds.iter().flat_map(|kind| world.all(kind).cloned()).collect();
            let mut wanted: Vec<&Arc<Object>> = everything.iter().filter(|it| passes(it, None)).collect();
            wanted.sort_by(|one, other| {
                let (one, other) = (value(one, &field), value(other, &field));
                // Names and labels are not sorted as numbers.
                let by_letters = matches!(field, Field::Label(_)) || field == path("metadata.name");
                let order = if by_letters { one.cmp(&other) } else { field::natural(&one, &other) };
                if descending { order.reverse() } else { order }
            });
            let names: Vec<String> = wanted.iter().map(|it| name(it)).collect();
            let found = run(&world, &asked, all);
            assert_eq!(found.total, names.len());
            let page = |found: &Found| found.rows.iter().map(|row| name(&row.object)).collect::<Vec<_>>();
            let rest: Vec<String> = names.iter().skip(skip).cloned().collect();
            assert_eq!(page(&found), rest.iter().take(first).cloned().collect::<Vec<_>>());
            assert_eq!(found.more, rest.len() > first);

            let mut counts: std::collections::BTreeMap<String, usize> = Default::default();
            for object in everything.iter().filter(|it| passes(it, Some(&facet))) {
                *counts.entry(value(object, &facet)).or_default() += 1;
            }
            let told: std::collections::BTreeMap<String, usize> = found.facets[0].values.iter().cloned().collect();
            assert_eq!(told, counts);

            // Page after page.
            let mut pages = Vec::new();
            let mut next = Asked { skip: 0, ..asked.clone() };
            loop {
                let found = run(&world, &next, all);
                pages.extend(page(&found));
                let Some(last) = found.rows.last().filter(|_| found.more) else { break };
                let cursor = Cursor::read(&next.cursor(last), &next.order.name()).unwrap();
                next.after = Some(cursor);
            }
            assert_eq!(pages, names);
        });
    }
}

#[tokio::test]
async fn what_is_named_like_the_word_comes_first() {
    let held = Held::new().await;
    for name in ["xx-web", "web", "web-1", "other", "a-web-b"] {
        let value =
            json!({"metadata": {"labels": {"note": "web"}}, "spec": {"bmc": {"address": "b"}}});
        held.put(Server::info(), "", name, value).await;
    }
    let asked = Asked {
        words: vec!["web".into()],
        ..asked(&[Server::info()], Order::Likeness("web".into()))
    };
    let found = run(&held.store.world(), &asked, true);
    let names: Vec<&str> = found.rows.iter().map(|row| row.object.name()).collect();
    assert_eq!(names, ["web", "web-1", "a-web-b", "xx-web", "other"]);
}

#[tokio::test]
async fn backwards_is_the_other_way_round_page_after_page() {
    let held = fleet(&[(1, 2, 3); 300]).await;
    let world = held.store.world();
    let mut next =
        Asked { first: 70, ..asked(&[Server::info()], Order::Place { backwards: true }) };
    let mut names = Vec::new();
    loop {
        let found = run(&world, &next, true);
        names.extend(found.rows.iter().map(|row| row.object.name().to_owned()));
        let Some(last) = found.rows.last().filter(|_| found.more) else { break };
        next.after = Some(Cursor::read(&next.cursor(last), "-").unwrap());
    }
    let mut wanted: Vec<String> =
        world.all(Server::info()).map(|it| it.name().to_owned()).collect();
    wanted.reverse();
    assert_eq!(names, wanted);
    let skipped = Asked { skip: 299, after: None, ..next };
    assert_eq!(run(&world, &skipped, true).rows[0].object.name(), "s0");
}

#[tokio::test]
async fn a_cursor_stays_good_while_objects_come_and_go() {
    let held = fleet(&(0..20).map(|number| (number, number, number)).collect::<Vec<_>>()).await;
    let field = Field::Path("status.phase".into());
    let asked = Asked { first: 8, ..asked(&[Server::info()], Order::Field(field, false)) };
    let world = held.store.world();
    let first = run(&world, &asked, true);
    let last = first.rows.last().unwrap();
    let after = Some(Cursor::read(&asked.cursor(last), &asked.order.name()).unwrap());
    // The object that the cursor names goes, and so does one before; one comes before it.
    held.put(Server::info(), "", last.object.name(), serde_json::Value::Null).await;
    held.put(Server::info(), "", first.rows[0].object.name(), serde_json::Value::Null).await;
    held.put(Server::info(), "", "a-first", json!({"spec": {"bmc": {"address": "b"}}})).await;
    let next = Asked { first: 100, after, ..asked.clone() };
    let rest: Vec<String> =
        run(&held.store.world(), &next, true).rows.iter().map(|row| name(&row.object)).collect();
    let all = Asked { first: 100, ..asked };
    let whole: Vec<String> =
        run(&world, &all, true).rows.iter().map(|row| name(&row.object)).collect();
    assert_eq!(rest, whole[8..]);
}

#[tokio::test]
async fn a_search_that_nobody_waits_for_ends() {
    let held = fleet(&[(1, 2, 3); 300]).await;
    let field = Field::Path("status.phase".into());
    let asked = asked(&[Server::info()], Order::Field(field, false));
    let world = held.store.world();
    assert_eq!(run(&world, &asked, true).rows.len(), 300);
    asked.stop.stop();
    assert!(run(&world, &asked, true).rows.is_empty());
}

#[test]
fn a_search_weighs_what_it_looks_for() {
    let plain = asked(&[Server::info()], Order::Place { backwards: false });
    let with = |op, count: usize| {
        let values = (0..count).map(|at| at.to_string()).collect();
        let test = Test::new("metadata.name", op, values).unwrap();
        Asked { tests: vec![test], ..plain.clone() }.weight() - plain.weight()
    };
    assert_eq!(with(FilterOp::In, 1_000), 1);
    assert_eq!(with(FilterOp::Contains, 1_000), 1_001);
    assert_eq!(with(FilterOp::Prefix, 1_000), 251);
    let labels = LabelSelector::parse("a in (b,c,d)").unwrap();
    let words = vec!["a".into(), "b".into()];
    assert_eq!(Asked { labels, words, ..plain.clone() }.weight() - plain.weight(), 6);
}
