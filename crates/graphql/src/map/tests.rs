//! Who shares a map with whom, and what becomes of one that nobody looks at.

use super::*;
use crate::testing::{Held, Sees};
use serde_json::json;

async fn maps(held: &Held) -> Arc<Maps> {
    for name in ["a1", "a2", "b1"] {
        held.put(Server::info(), "", name, json!({"status": {"phase": "Ready"}})).await;
    }
    Arc::new(Maps::new(held.store.clone(), Arc::default()))
}

async fn cells(maps: &Arc<Maps>, sees: Option<&'static str>) -> (usize, Look) {
    let mut look = maps.look("status.phase", Arc::new(Sees(sees))).await.unwrap();
    let frames = look.next().await.unwrap();
    let header: serde_json::Value = serde_json::from_slice(&frames[0][5..]).unwrap();
    (header["cells"].as_u64().unwrap().try_into().unwrap(), look)
}

#[tokio::test]
async fn a_caller_who_sees_less_than_before_is_not_shown_the_map_of_then() {
    let held = Held::new().await;
    let maps = maps(&held).await;
    let (before, _first) = cells(&maps, Some("a")).await;
    // The same user, by the roles of a later moment.
    let (after, _second) = cells(&maps, Some("b")).await;
    assert_eq!((before, after), (2, 1));
}

#[tokio::test]
async fn only_those_who_see_all_share_a_map_and_others_have_few() {
    let held = Held::new().await;
    let maps = maps(&held).await;
    let (_, one) = cells(&maps, None).await;
    let (_, other) = cells(&maps, None).await;
    assert!(Arc::ptr_eq(&one.shared, &other.shared));
    let mut own = Vec::new();
    for _ in 0..OWN_MAX {
        own.push(cells(&maps, Some("a")).await);
    }
    let more = maps.look("status.phase", Arc::new(Sees(Some("a")))).await;
    assert!(matches!(more, Err(Unlooked::TooMany(_))));
    assert_eq!(cells(&maps, None).await.0, 3);
}

#[tokio::test]
async fn a_map_whose_asker_went_away_while_it_was_drawn_is_let_go_of() {
    let held = Held::new().await;
    let maps = maps(&held).await;
    let asked = maps.look("status.phase", Arc::new(Sees(None)));
    // Begun, and dropped where it waits; or a moment later, when it was drawn already.
    drop(now(asked).await);
    let gone = async {
        while !maps.shared.lock().unwrap().is_empty() {
            tokio::time::sleep(EVERY).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("it is kept for ever");
}

/// What is there at once.
async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        it = future => Some(it),
        () = std::future::ready(()) => None,
    }
}

#[tokio::test]
async fn a_lag_is_remembered_by_who_stopped_waiting() {
    let held = Held::new().await;
    let maps = maps(&held).await;
    let (_, mut look) = cells(&maps, None).await;
    let shared = look.shared.clone();
    let turn = shared.picture.lock().await;
    for _ in 0..2 * BEHIND_MAX {
        shared.frames.send(Arc::new(vec![Bytes::from_static(b"old")])).unwrap();
    }
    assert!(now(look.next()).await.is_none());
    drop(turn);
    let next = look.next().await.unwrap();
    assert_eq!(next[0][0], frame::Frame::Header as u8);
}

#[tokio::test]
async fn a_step_that_is_not_told_is_not_half_taken() {
    let held = Held::new().await;
    let maps = maps(&held).await;
    let viewer: Arc<dyn Viewer> = Arc::new(Sees(None));
    let mut picture = maps.draw(&viewer, Field::parse("status.phase")).await.unwrap();
    let before = picture.whole();
    held.put(Server::info(), "", "a1", json!({"status": {"phase": "InUse"}})).await;
    let moved = json!({"spec": {"location": {"rack": "r2"}}, "status": {"phase": "Ready"}});
    held.put(Server::info(), "", "b1", moved).await;
    assert!(matches!(maps.step(&mut picture, &viewer), Step::Redrawn));
    assert_eq!(picture.whole(), before);
    // What changed is told when nothing moved; a rack that changed moves servers.
    let mut picture = maps.draw(&viewer, Field::parse("status.phase")).await.unwrap();
    held.put(Server::info(), "", "a2", json!({"status": {"phase": "InUse"}})).await;
    assert!(matches!(maps.step(&mut picture, &viewer), Step::Frames(frames) if frames.len() == 1));
    assert!(matches!(maps.step(&mut picture, &viewer), Step::Frames(frames) if frames.is_empty()));
    held.put(Rack::info(), "", "r2", json!({"spec": {"site": "s"}})).await;
    assert!(matches!(maps.step(&mut picture, &viewer), Step::Redrawn));
}
