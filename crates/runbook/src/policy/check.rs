//! Checking the expressions of a policy: what cannot work whatever is written is refused ([`check`]), what
//! cannot work for a kind that the policy names is warned of ([`warnings`]), as Kubernetes divides it.

use super::VARIABLES;
use crate::{
    Expression,
    check::{
        expression::{Names, type_of},
        types::Type,
        values::place,
    },
};
use quarterdeck_model::{
    FieldError, FieldErrors, Kind as _, KindRef, kinds,
    kinds::{
        Namespace,
        admission_policy::{
            ExpressionWarning, MatchResources, ParamKind, ValidatingAdmissionPolicySpec,
        },
    },
};

/// Kinds that expressions are checked against, as in Kubernetes.
const KINDS_MAX: usize = 10;

/// One mistake.
struct Mistake {
    field: String,
    text: String,
    why: String,
}

/// All that cannot work in the expressions of a policy.
pub fn check(spec: &ValidatingAdmissionPolicySpec) -> FieldErrors {
    let params = spec.param_kind.as_ref().map(|_| Type::Dyn);
    let mut errors: FieldErrors = mistakes(spec, &Type::Dyn, params)
        .into_iter()
        .map(|Mistake { field, text, why }| match text.trim() {
            "" => FieldError::required(field, ""),
            _ => FieldError::invalid(
                field,
                format!("{text:?}"),
                format!("compilation failed: {why}"),
            ),
        })
        .collect();
    if let Some(ParamKind { api_version, kind }) = &spec.param_kind
        && kinds::by_kind(api_version, kind).is_none()
    {
        let field = "spec.paramKind";
        errors.push(FieldError::not_found(field, format!("{api_version}, Kind={kind}")));
    }
    errors
}

/// What cannot work for the kinds that a policy names.
pub fn warnings(spec: &ValidatingAdmissionPolicySpec) -> Vec<ExpressionWarning> {
    let params = spec.param_kind.as_ref().map(|ParamKind { api_version, kind }| {
        kinds::by_kind(api_version, kind).map_or(Type::Dyn, of_kind)
    });
    let matched = spec.match_constraints.iter().flat_map(named).take(KINDS_MAX);
    let found = matched.flat_map(|kind| {
        mistakes(spec, &of_kind(kind), params.clone()).into_iter().map(move |mistake| {
            let about = format!("{}, Kind={}", kind.api_version(), kind.kind);
            ExpressionWarning {
                field_ref: mistake.field,
                warning: format!("{about}: {}", mistake.why),
            }
        })
    });
    found.collect()
}

/// The kinds that rules name, without those that a `*` stands for.
fn named(constraints: &MatchResources) -> Vec<KindRef> {
    let is = |given: &[String], wanted: &str| given.iter().any(|one| one == wanted);
    let all = kinds::all().iter().copied();
    all.filter(|kind| {
        constraints.resource_rules.iter().any(|rule| {
            // Of the parts, only the status is written as the kind itself.
            let resource = |one: &String| match one.split_once('/') {
                None => one == kind.plural,
                Some((plural, part)) => plural == kind.plural && matches!(part, "status" | "*"),
            };
            is(&rule.api_groups, kind.group)
                && (is(&rule.api_versions, kind.version) || is(&rule.api_versions, "*"))
                && rule.resources.iter().any(resource)
        })
    })
    .collect()
}

fn of_kind(kind: KindRef) -> Type {
    Type::of_schema((kind.schema)())
}

fn object(fields: &[(&str, Type)]) -> Type {
    Type::object(fields.iter().map(|(name, of)| ((*name).to_owned(), of.clone())))
}

/// `admission.k8s.io/v1 AdmissionRequest`, without the objects.
fn request() -> Type {
    let text = || Type::TEXT;
    let kind = object(&[("group", text()), ("version", text()), ("kind", text())]);
    let resource = object(&[("group", text()), ("version", text()), ("resource", text())]);
    let user = object(&[
        ("username", text()),
        ("uid", text()),
        ("groups", Type::list(text())),
        ("extra", Type::Dyn),
    ]);
    object(&[
        ("uid", text()),
        ("kind", kind.clone()),
        ("resource", resource.clone()),
        ("subResource", text()),
        ("requestKind", kind),
        ("requestResource", resource),
        ("requestSubResource", text()),
        ("name", text()),
        ("namespace", text()),
        ("operation", Type::one_of(&["CREATE", "UPDATE", "DELETE", "CONNECT"])),
        ("userInfo", user),
        ("dryRun", Type::Bool),
        ("options", Type::Dyn),
    ])
}

/// What must come out of an expression.
enum Wanted {
    Anything,
    Truth,
    Text,
}

struct Checking {
    names: Names,
    mistakes: Vec<Mistake>,
}

fn mistakes(
    spec: &ValidatingAdmissionPolicySpec,
    about: &Type,
    params: Option<Type>,
) -> Vec<Mistake> {
    let mut names = Names::default();
    names.variables.extend([
        ("object", about.clone()),
        ("oldObject", about.clone()),
        ("request", request()),
        ("namespaceObject", of_kind(Namespace::info())),
    ]);
    names.variables.extend(params.map(|params| ("params", params)));
    names.unknown.extend([
        ("params", "the policy has no spec.paramKind"),
        (VARIABLES, "match conditions come before them"),
        (
            "authorizer",
            "Quarterdeck has no authorizer in policies; look at request.userInfo, and grant rights by roles",
        ),
    ]);
    let mut checking = Checking { names, mistakes: Vec::new() };
    for (at, condition) in spec.match_conditions.iter().enumerate() {
        let field = format!("spec.matchConditions[{at}].expression");
        checking.check(field, &condition.expression, &Wanted::Truth);
    }
    let mut known = Vec::new();
    for (at, variable) in spec.variables.iter().enumerate() {
        checking.names.variables.insert(VARIABLES, Type::object(known.iter().cloned()));
        let field = format!("spec.variables[{at}].expression");
        let found = checking.check(field, &variable.expression, &Wanted::Anything);
        known.push((variable.name.clone(), found));
    }
    checking.names.variables.insert(VARIABLES, Type::object(known));
    for (at, validation) in spec.validations.iter().enumerate() {
        let path = format!("spec.validations[{at}]");
        checking.check(format!("{path}.expression"), &validation.expression, &Wanted::Truth);
        if let Some(message) = &validation.message_expression {
            checking.check(format!("{path}.messageExpression"), message, &Wanted::Text);
        }
    }
    for (at, annotation) in spec.audit_annotations.iter().enumerate() {
        let field = format!("spec.auditAnnotations[{at}].valueExpression");
        checking.check(field, &annotation.value_expression, &Wanted::Text);
    }
    checking.mistakes
}

impl Checking {
    /// Checks one expression; answers what it gives.
    fn check(&mut self, field: String, text: &str, wanted: &Wanted) -> Type {
        let mut mistake = |why: String| {
            self.mistakes.push(Mistake { field: field.clone(), text: text.to_owned(), why });
        };
        let read = Expression::parse(text).and_then(|it| it.with_parts(VARIABLES));
        let expression = match read {
            Ok(expression) => expression,
            Err(error) => {
                mistake(error.to_string());
                return Type::Dyn;
            }
        };
        let (found, problems) = type_of(&expression, &self.names);
        let sound = problems.is_empty();
        for problem in problems {
            let at = problem.at.map_or_else(String::new, |at| place(text, at));
            mistake(format!("{at}{}", problem.message));
        }
        if !sound || found.is_open() {
            return found;
        }
        let why = match (wanted, &found) {
            (Wanted::Truth, Type::Bool) | (Wanted::Text, Type::Text(_) | Type::Null) => None,
            (Wanted::Truth, other) => Some(format!("must evaluate to bool, not {other}")),
            (Wanted::Text, other) => Some(format!("must evaluate to string, not {other}")),
            (Wanted::Anything, _) => None,
        };
        why.into_iter().for_each(mistake);
        found
    }
}
