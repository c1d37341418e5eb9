//! Functions on texts that the standard library lacks, named and meant as in Kubernetes (cel-go's strings
//! extension). The `cel` crate has them too, but its `replace` and `join` fill the memory and its `indexOf`
//! takes the square of a text's length; here each takes time linear in what it is given, and what it
//! makes is bounded. Places are counted in letters, not bytes.

use cel::{
    Env, ExecutionError,
    common::{
        types::{self, CelInt, CelList, CelString},
        value::{CowVal, Val},
    },
};

/// Largest text that is made: about the largest object.
const MADE_BYTES_MAX: usize = 1 << 20;
/// Most parts of a text.
const PARTS_MAX: usize = 10_000;

type Given<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Made<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

/// Adds them all. What cannot be added is refused by the evaluator when it is called.
pub(super) fn add(env: &mut Env) {
    use types::{INT_TYPE as INT, LIST_TYPE as LIST, STRING_TYPE as TEXT};
    let added = [
        env.add_member_overload("lowerAscii", "lower", TEXT, vec![], lower_ascii),
        env.add_member_overload("upperAscii", "upper", TEXT, vec![], upper_ascii),
        env.add_member_overload("trim", "trim", TEXT, vec![], trim),
        env.add_member_overload("charAt", "at", TEXT, vec![INT], char_at),
        env.add_member_overload("substring", "from", TEXT, vec![INT], substring),
        env.add_member_overload("substring", "part", TEXT, vec![INT, INT], substring),
        env.add_member_overload("indexOf", "first", TEXT, vec![TEXT], index_of),
        env.add_member_overload("lastIndexOf", "last", TEXT, vec![TEXT], last_index_of),
        env.add_member_overload("replace", "all", TEXT, vec![TEXT, TEXT], replace),
        env.add_member_overload("split", "split", TEXT, vec![TEXT], split),
        env.add_member_overload("join", "plain", LIST, vec![], join),
        env.add_member_overload("join", "with", LIST, vec![TEXT], join),
    ];
    debug_assert!(added.iter().all(Result::is_ok), "the standard library has none of them");
}

fn text<'a>(given: &'a [CowVal<'_, '_>], at: usize) -> Result<&'a str, ExecutionError> {
    let text = given.get(at).and_then(|value| value.downcast_ref::<CelString<'_>>());
    text.map(CelString::inner).ok_or(ExecutionError::MissingArgumentOrTarget)
}

fn place(given: &[CowVal<'_, '_>], at: usize) -> Option<i64> {
    given.get(at)?.downcast_ref::<CelInt>().map(|int| *int.inner())
}

fn made<'b, 'v>(text: String) -> CowVal<'b, 'v> {
    CowVal::owned(CelString::from(text))
}

fn too_large(function: &str) -> ExecutionError {
    ExecutionError::function_error(function, format!("makes more than {MADE_BYTES_MAX} bytes"))
}

fn lower_ascii<'b, 'v>(given: Given<'b, 'v>) -> Made<'b, 'v> {
    Ok(made(text(&given, 0)?.to_ascii_lowercase()))
}

fn upper_ascii<'b, 'v>(given: Given<'b, 'v>) -> Made<'b, 'v> {
    Ok(made(text(&given, 0)?.to_ascii_uppercase()))
}

fn trim<'b, 'v>(given: Given<'b, 'v>) -> Made<'b, 'v> {
    Ok(made(text(&given, 0)?.trim().to_owned()))
}

/// The letters from one place to another, which is not among them.
fn letters(
    function: &str,
    text: &str,
    from: i64,
    to: Option<i64>,
) -> Result<String, ExecutionError> {
    let wrong = || ExecutionError::function_error(function, "there is no such place in the text");
    let count = text.chars().count();
    let from = usize::try_from(from).map_err(|_| wrong())?;
    let to = to.map_or(Ok(count), |to| usize::try_from(to).map_err(|_| wrong()))?;
    if from > to || to > count {
        return Err(wrong());
    }
    Ok(text.chars().skip(from).take(to - from).collect())
}

fn substring<'b, 'v>(given: Given<'b, 'v>) -> Made<'b, 'v> {
    let from = place(&given, 1).ok_or(ExecutionError::MissingArgumentOrTarget)?;
    letters("substring", text(&given, 0)?, from, place(&given, 2)).map(made)
}

fn char_at<'b, 'v>(given: Given<'b, 'v>) -> Made<'b, 'v> {
    let at = place(&given, 1).ok_or(ExecutionError::MissingArgumentOrTarget)?;
    let text = text(&given, 0)?;
    // Behind the last letter there is nothing, which is no mistake.
    let behind = usize::try_from(at).is_ok_and(|at| at == text.chars().count());
    let to = if behind { at } else { at.saturating_add(1) };
    letters("charAt", text, at, Some(to)).map(made)
}

fn found<'b, 'v>(text: &str, at: Option<usize>) -> CowVal<'b, 'v> {
    let before = at.and_then(|at| text.get(..at));
    let place = before.and_then(|before| i64::try_from(before.chars().count()).ok());
    CowVal::owned(CelInt::from(place.unwrap_or(-1)))
}

fn index_of<'b, 'v>(given: Given<'b, 'v>) -> Made<'b, 'v> {
    let whole = text(&given, 0)?;
    Ok(found(whole, whole.find(text(&given, 1)?)))
}

fn last_index_of<'b, 'v>(given: Given<'b, 'v>) -> Made<'b, 'v> {
    let whole = text(&given, 0)?;
    Ok(found(whole, whole.rfind(text(&given, 1)?)))
}

fn replace<'b, 'v>(given: Given<'b, 'v>) -> Made<'b, 'v> {
    let (whole, from, to) = (text(&given, 0)?, text(&given, 1)?, text(&given, 2)?);
    let more = whole.matches(from).count().saturating_mul(to.len());
    if whole.len().saturating_add(more) > MADE_BYTES_MAX.max(whole.len()) {
        return Err(too_large("replace"));
    }
    Ok(made(whole.replace(from, to)))
}

fn split<'b, 'v>(given: Given<'b, 'v>) -> Made<'b, 'v> {
    let (whole, by) = (text(&given, 0)?, text(&given, 1)?);
    let part = |part: &str| -> Box<dyn Val + 'v> { Box::new(CelString::from(part.to_owned())) };
    let parts: Vec<_> = if by.is_empty() {
        whole
            .chars()
            .take(PARTS_MAX + 1)
            .map(|letter| part(letter.encode_utf8(&mut [0; 4])))
            .collect()
    } else {
        whole.split(by).take(PARTS_MAX + 1).map(part).collect()
    };
    if parts.len() > PARTS_MAX {
        let why = format!("makes more than {PARTS_MAX} parts");
        return Err(ExecutionError::function_error("split", why));
    }
    Ok(CowVal::owned(CelList::from(parts)))
}

fn join<'b, 'v>(given: Given<'b, 'v>) -> Made<'b, 'v> {
    let by = if given.len() > 1 { text(&given, 1)? } else { "" };
    let list = given.first().and_then(|value| value.downcast_ref::<CelList<'_>>());
    let mut whole = String::new();
    for (at, item) in
        list.ok_or(ExecutionError::MissingArgumentOrTarget)?.inner().iter().enumerate()
    {
        let item = item
            .downcast_ref::<CelString<'_>>()
            .map(CelString::inner)
            .ok_or_else(|| ExecutionError::function_error("join", "takes a list of strings"))?;
        if at > 0 {
            whole.push_str(by);
        }
        whole.push_str(item);
        if whole.len() > MADE_BYTES_MAX {
            return Err(too_large("join"));
        }
    }
    Ok(made(whole))
}
