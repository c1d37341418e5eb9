//! `kubectl logs`: what a container has written, as text, and on while it writes.

use super::{lasting::Lasting, pod_part};
use crate::{
    agents::{Hears, ended},
    answer::{self, Answer},
    server::Api,
    status::ApiError,
};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use jiff::{SignedDuration, Timestamp};
use quarterdeck_model::{
    Time,
    agent::session::{Channel, LogOptions, SessionAsk, SessionEnd},
};

/// What is asked for in the query. Source: Kubernetes, `v1.PodLogOptions`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    container: Option<String>,
    options: LogOptions,
}

impl Query {
    fn parse(query: &str, now: Timestamp) -> Result<Self, ApiError> {
        let mut parsed = Self::default();
        let options = &mut parsed.options;
        let (mut seconds, mut time) = (None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let wrong = |why: &str| ApiError::bad_request(format!("invalid {name}={value}: {why}"));
            let flag = || match value.as_ref() {
                "" | "1" | "true" | "True" => Ok(true),
                "0" | "false" | "False" => Ok(false),
                _ => Err(wrong("expected true or false")),
            };
            let number = || value.parse::<i64>().map_err(|_| wrong("expected a number"));
            match name.as_ref() {
                "container" => parsed.container = Some(value.into_owned()),
                "follow" => options.follow = flag()?,
                "previous" => options.previous = flag()?,
                "timestamps" => options.timestamps = flag()?,
                "tailLines" => {
                    let lines = u32::try_from(number()?);
                    let why = "expected a number of lines, from 0";
                    options.tail = Some(lines.map_err(|_| wrong(why))?);
                }
                "limitBytes" => {
                    let bytes = u64::try_from(number()?).ok().filter(|bytes| *bytes > 0);
                    options.limit_bytes = Some(bytes.ok_or_else(|| wrong("must be more than 0"))?);
                }
                "sinceSeconds" => {
                    let ago = Some(number()?).filter(|seconds| *seconds > 0);
                    seconds = Some(ago.ok_or_else(|| wrong("must be more than 0"))?);
                }
                "sinceTime" => {
                    let at = value.parse::<Timestamp>();
                    time = Some(at.map_err(|_| wrong("expected a time, as 2026-01-31T12:00:00Z"))?);
                }
                _ => {}
            }
        }
        if seconds.is_some() && time.is_some() {
            let why = "at most one of sinceTime or sinceSeconds may be specified";
            return Err(ApiError::bad_request(why));
        }
        let ago = |seconds| {
            let ago = SignedDuration::from_secs(seconds);
            now.checked_sub(ago).unwrap_or(Timestamp::UNIX_EPOCH)
        };
        options.since = time.or(seconds.map(ago)).map(Time::new);
        Ok(parsed)
    }
}

/// Answers with the log of a container.
pub(super) async fn answer(
    api: &Api,
    pod: (&str, &str),
    query: Option<&str>,
    lasting: Lasting,
) -> Result<Answer, ApiError> {
    let agents = api.agents.as_ref().ok_or_else(ApiError::no_such_path)?;
    let Query { container, options } = Query::parse(query.unwrap_or_default(), Timestamp::now())?;
    let world = api.store.fresh().await?;
    let place = pod_part::place(&world, pod, container.as_deref())?;
    let talk = agents.session(&place, SessionAsk::Logs(options)).await?;
    // It ends when nothing more can be said to it: that stays open with what is read.
    let going = Some((talk, lasting, true));
    let pieces = stream::unfold(going, |going| async move {
        let (mut talk, mut lasting, whole) = going?;
        let piece = tokio::select! {
            piece = next(&mut talk.hears) => piece,
            why = lasting.over() => Err(why.into()),
        };
        Some(match piece {
            Ok(piece) => {
                let piece = piece?;
                let whole = piece.ends_with(b"\n");
                (Ok(Frame::data(piece)), Some((talk, lasting, whole)))
            }
            Err(why) => (Ok(Frame::data(last_line(whole, &why))), None),
        })
    });
    let mut answer = answer::streamed(StreamBody::new(pieces).boxed_unsync());
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(answer)
}

/// What was written next; none when that was all. As an error, why there is no more though that was not all.
async fn next(hears: &mut Hears) -> Result<Option<Bytes>, String> {
    match hears.next().await? {
        (Channel::Stdout | Channel::Stderr, bytes) => Ok(Some(bytes.into())),
        (Channel::End, bytes) => match ended(&bytes) {
            SessionEnd::Done | SessionEnd::Exited(_) => Ok(None),
            SessionEnd::Refused(why) | SessionEnd::Failed(why) => Err(why),
        },
        _ => Err("what its agent says is not understood".into()),
    }
}

/// Tells a log that was cut from one that is whole: its answer has begun, and can say so nowhere else.
fn last_line(whole: bool, why: &str) -> Bytes {
    let end = if whole { "" } else { "\n" };
    format!("{end}quarterdeck: the log was cut here: {why}\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_was_cut_says_so_on_a_line_of_its_own() {
        assert_eq!(last_line(true, "why"), "quarterdeck: the log was cut here: why\n");
        assert_eq!(last_line(false, "why"), "\nquarterdeck: the log was cut here: why\n");
    }

    #[test]
    fn queries_of_kubectl_are_read_and_wrong_ones_refused() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let parse = |query: &str| Query::parse(query, now);
        assert_eq!(parse("").unwrap(), Query::default());
        let query = parse("container=c&follow=true&tailLines=0&sinceSeconds=60&timestamps=true&previous=false&limitBytes=9&new=1").unwrap();
        assert_eq!(query.container.as_deref(), Some("c"));
        let LogOptions { follow, tail, since, limit_bytes, timestamps, previous } = query.options;
        assert!(follow && timestamps && !previous);
        assert_eq!((tail, limit_bytes), (Some(0), Some(9)));
        assert_eq!(since.unwrap().to_string(), "2026-03-01T11:59:00Z");
        let since = parse("sinceTime=2026-01-01T00%3A00%3A00Z").unwrap().options.since;
        assert_eq!(since.unwrap().to_string(), "2026-01-01T00:00:00Z");
        for wrong in [
            "follow=perhaps",
            "tailLines=-1",
            "tailLines=x",
            "limitBytes=0",
            "sinceSeconds=-5",
            "sinceTime=yesterday",
            "sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(wrong).unwrap_err().reason, "BadRequest", "{wrong}");
        }
        assert!(parse(&format!("sinceSeconds={}", i64::MAX)).unwrap().options.since.is_some());
    }
}
