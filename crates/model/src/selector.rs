//! Label and field selectors as Kubernetes writes and evaluates them.
//! Source: Kubernetes API concepts, "Labels and Selectors" and "Field Selectors".

use crate::Object;
use std::fmt;

/// Most requirements in one selector: more than any person writes, few enough to evaluate per object.
pub const REQUIREMENTS_MAX: usize = 64;

/// A selector that cannot be read.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct SelectorError(String);

/// One requirement on a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelRequirement {
    /// `key in (a,b)`, `key=a`, `key==a`.
    In(String, Vec<String>),
    /// `key notin (a,b)`, `key!=a`: also true when the label is absent.
    NotIn(String, Vec<String>),
    /// `key`.
    Exists(String),
    /// `!key`.
    Absent(String),
    /// `key>5`: true when the label is a greater whole number.
    Greater(String, i64),
    /// `key<5`.
    Less(String, i64),
}

/// All requirements must hold; none select everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector(pub Vec<LabelRequirement>);

impl LabelRequirement {
    fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        let number = |key: &str| label(key).and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::In(key, values) => {
                label(key).is_some_and(|value| values.iter().any(|wanted| wanted == value))
            }
            Self::NotIn(key, values) => {
                !label(key).is_some_and(|value| values.iter().any(|wanted| wanted == value))
            }
            Self::Exists(key) => label(key).is_some(),
            Self::Absent(key) => label(key).is_none(),
            Self::Greater(key, bound) => number(key).is_some_and(|value| value > *bound),
            Self::Less(key, bound) => number(key).is_some_and(|value| value < *bound),
        }
    }
}

impl LabelSelector {
    /// Reads `a=b,c in (d,e),!f`.
    ///
    /// # Errors
    /// When the text is not a selector; the message says where.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for part in split_requirements(text)? {
            requirements.push(parse_requirement(part)?);
            if requirements.len() > REQUIREMENTS_MAX {
                return Err(too_many());
            }
        }
        Ok(Self(requirements))
    }

    /// Whether the object's labels meet every requirement.
    pub fn matches(&self, object: &Object) -> bool {
        self.matches_labels(|name| object.label(name))
    }

    /// Whether those labels meet every requirement.
    pub fn matches_labels<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| requirement.matches(&label))
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn too_many() -> SelectorError {
    SelectorError(format!("a selector may have at most {REQUIREMENTS_MAX} requirements"))
}

/// Splits at commas outside parentheses.
fn split_requirements(text: &str) -> Result<Vec<&str>, SelectorError> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_usize, 0_usize);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => {
                depth = depth.checked_sub(1).ok_or_else(|| {
                    SelectorError(format!("found ')' without '(' at offset {at} of {text:?}"))
                })?;
            }
            ',' if depth == 0 => {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    if depth > 0 {
        return Err(SelectorError(format!("found '(' without ')' in {text:?}")));
    }
    parts.push(text.get(start..).unwrap_or_default());
    if parts.iter().all(|part| part.trim().is_empty()) {
        return Ok(Vec::new());
    }
    Ok(parts)
}

fn parse_requirement(text: &str) -> Result<LabelRequirement, SelectorError> {
    let text = text.trim();
    if let Some(key) = text.strip_prefix('!')
        && !key.contains('=')
    {
        return Ok(LabelRequirement::Absent(label_key(key, text)?));
    }
    if let Some(open) = text.find('(') {
        let set =
            text.get(open + 1..).and_then(|rest| rest.strip_suffix(')')).ok_or_else(|| {
                SelectorError(format!(
                    "unable to parse requirement {text:?}: expected ')' at its end"
                ))
            })?;
        let head = text.get(..open).unwrap_or_default().trim();
        let (key, operator) = head.rsplit_once(char::is_whitespace).ok_or_else(|| {
            SelectorError(format!("unable to parse requirement {text:?}: expected in or notin"))
        })?;
        let key = label_key(key, text)?;
        let values =
            set.split(',').map(|value| label_value(value, text)).collect::<Result<Vec<_>, _>>()?;
        return match operator {
            "in" => Ok(LabelRequirement::In(key, values)),
            "notin" => Ok(LabelRequirement::NotIn(key, values)),
            other => Err(SelectorError(format!(
                "unable to parse requirement {text:?}: found {other:?}, expected in or notin"
            ))),
        };
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Ok(LabelRequirement::NotIn(label_key(key, text)?, vec![label_value(value, text)?]));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Ok(LabelRequirement::In(label_key(key, text)?, vec![label_value(value, text)?]));
    }
    for (sign, greater) in [('>', true), ('<', false)] {
        if let Some((key, value)) = text.split_once(sign) {
            let bound = value.trim().parse().map_err(|_| {
                SelectorError(format!(
                    "unable to parse requirement {text:?}: {sign} needs a whole number"
                ))
            })?;
            let key = label_key(key, text)?;
            return Ok(if greater {
                LabelRequirement::Greater(key, bound)
            } else {
                LabelRequirement::Less(key, bound)
            });
        }
    }
    Ok(LabelRequirement::Exists(label_key(text, text)?))
}

fn label_key(key: &str, requirement: &str) -> Result<String, SelectorError> {
    let key = key.trim();
    crate::validate::qualified_name(key).map_err(|why| {
        SelectorError(format!("unable to parse requirement {requirement:?}: key {key:?}: {why}"))
    })?;
    Ok(key.into())
}

fn label_value(value: &str, requirement: &str) -> Result<String, SelectorError> {
    let value = value.trim();
    crate::validate::label_value(value).map_err(|why| {
        SelectorError(format!(
            "unable to parse requirement {requirement:?}: value {value:?}: {why}"
        ))
    })?;
    Ok(value.into())
}

/// One requirement on a declared field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRequirement {
    /// Dotted path.
    pub path: String,
    /// Wanted value.
    pub value: String,
    /// True for `=`, false for `!=`.
    pub equal: bool,
}

/// All requirements must hold; none select everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector(pub Vec<FieldRequirement>);

impl FieldSelector {
    /// Reads `status.phase=Ready,metadata.name!=a`. A backslash keeps the next `,`, `=` or backslash.
    ///
    /// # Errors
    /// When the text is not a field selector.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for part in split_escaped(text) {
            if part.is_empty() {
                continue;
            }
            let refuse = || {
                SelectorError(format!(
                    "invalid field selector {text:?}: cannot understand {part:?}"
                ))
            };
            let at = part.find('=').ok_or_else(refuse)?;
            let (path, value) = part.split_at(at);
            let (path, equal) = match path.strip_suffix('!') {
                Some(path) => (path, false),
                None => (path, true),
            };
            let value =
                value.strip_prefix("==").or_else(|| value.strip_prefix('=')).unwrap_or(value);
            if path.trim().is_empty() {
                return Err(refuse());
            }
            requirements.push(FieldRequirement {
                path: path.trim().into(),
                value: unescape(value).ok_or_else(refuse)?,
                equal,
            });
            if requirements.len() > REQUIREMENTS_MAX {
                return Err(too_many());
            }
        }
        Ok(Self(requirements))
    }

    /// Whether the object meets every requirement. A field its kind does not declare matches nothing;
    /// the API refuses such selectors before they come here.
    pub fn matches(&self, object: &Object) -> bool {
        self.0.iter().all(|requirement| {
            object
                .field(&requirement.path)
                .is_some_and(|value| (value == requirement.value) == requirement.equal)
        })
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn split_escaped(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, letter) in text.char_indices() {
        if letter == ',' && !escaped {
            parts.push(text.get(start..at).unwrap_or_default());
            start = at + 1;
        }
        escaped = letter == '\\' && !escaped;
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

/// A value as a field selector must spell it.
#[must_use]
pub fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for letter in value.chars() {
        if matches!(letter, '\\' | ',' | '=') {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next()? {
                kept @ ('\\' | ',' | '=') => out.push(kept),
                _ => return None,
            },
            '=' => return None,
            other => out.push(other),
        }
    }
    Some(out)
}

impl fmt::Display for FieldRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.path, if self.equal { "=" } else { "!=" }, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn selects(selector: &str, labels: &[(&str, &str)]) -> bool {
        LabelSelector::parse(selector).unwrap().0.iter().all(|requirement| {
            requirement.matches(|key| {
                labels.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
            })
        })
    }

    #[test]
    fn label_requirements() {
        let labels = [("site", "ams"), ("rack", "r1"), ("units", "4")];
        for (selector, expected) in [
            ("", true),
            ("site=ams", true),
            ("site==ams,rack!=r2", true),
            ("site in (fra, ams)", true),
            ("site notin (fra,ams)", false),
            ("other notin (a)", true),
            ("other!=a", true),
            ("rack,!other", true),
            ("!rack", false),
            ("units>3,units<5", true),
            ("units>4", false),
            ("rack>3", false),
            ("example.com/tier=web", false),
            ("site=", false),
        ] {
            assert_eq!(selects(selector, &labels), expected, "{selector}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_selector() {
        for text in
            ["a in b", "a in (b", "a)", "a=b=c", "-a", "a of (b)", "a>x", "a=b c", ",a", "a,,b"]
        {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
        for text in ["a", "=b", "a=b\\", "a=b\\c"] {
            assert!(FieldSelector::parse(text).is_err(), "{text}");
        }
        let many = vec!["a"; REQUIREMENTS_MAX + 1].join(",");
        assert!(LabelSelector::parse(&many).is_err());
    }

    #[test]
    fn field_requirements() {
        let parsed = FieldSelector::parse("a.b==c,d!=e,f=x\\,y\\=z").unwrap();
        let shown: Vec<String> = parsed.0.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["a.b=c", "d!=e", "f=x,y=z"]);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC{0,64}") {
            let _ = LabelSelector::parse(&text);
            let _ = FieldSelector::parse(&text);
        }
    }
}
