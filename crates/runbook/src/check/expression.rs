//! The type of an expression, and all that is wrong with it.
//!
//! The `cel` crate evaluates without looking at types first; this walks its syntax tree before
//! anything runs. A part that is wrong is of unknown type from there on, so that each mistake is
//! told once.

use super::{
    functions,
    types::{Fields, Type, hint},
};
use crate::{Expression, expression::TYPES};
use cel::{
    IdedExpr,
    common::ast::{
        CallExpr, ComprehensionExpr, EntryExpr, Expr, ListExpr, LiteralValue, MapExpr, operators,
    },
};
use std::{collections::BTreeMap, sync::Arc};

/// What expressions can see at one place of a runbook.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    /// The variables.
    pub(crate) variables: BTreeMap<&'static str, Type>,
    /// Why a step that is elsewhere in the runbook cannot be seen here.
    pub(crate) unseen: BTreeMap<String, String>,
    /// Why a variable that is known elsewhere is not known here.
    pub(crate) unknown: BTreeMap<&'static str, &'static str>,
}

/// One mistake in an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Place of its first letter, from 0, when it is known.
    pub(crate) at: Option<usize>,
    /// What is wrong.
    pub(crate) message: String,
}

/// Finds the type of an expression, and what is wrong with it.
pub(crate) fn type_of(expression: &Expression, names: &Names) -> (Type, Vec<Problem>) {
    let mut typing =
        Typing { expression, names, bound: Vec::new(), problems: Vec::new(), dashed: false };
    let found = typing.of(expression.tree());
    (found, typing.problems)
}

struct Typing<'a> {
    expression: &'a Expression,
    names: &'a Names,
    /// Variables of the loops around.
    bound: Vec<(String, Type)>,
    problems: Vec<Problem>,
    /// A step's name with a `-` was read as a subtraction; what follows is the rest of the name.
    dashed: bool,
}

impl Typing<'_> {
    fn of(&mut self, node: &IdedExpr) -> Type {
        match &node.expr {
            Expr::Ident(name) => self.variable(node, name),
            Expr::Literal(literal) => literal_type(literal),
            Expr::Select(select) => {
                let operand = self.of(&select.operand);
                let found = self.field(node, &select.operand, &operand, &select.field);
                if select.test { Type::Bool } else { found }
            }
            Expr::Call(call) => self.call(node, call),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(map),
            Expr::Comprehension(inner) => self.comprehension(inner),
            Expr::Struct(_) | Expr::Unspecified => Type::Dyn,
        }
    }

    fn problem(&mut self, node: &IdedExpr, message: String) -> Type {
        // A field is placed at its dot.
        let dot = usize::from(matches!(node.expr, Expr::Select(_)));
        let at = self.expression.offset(node.id).map(|at| at + dot);
        let problem = Problem { at, message };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
        Type::Dyn
    }

    fn variable(&mut self, node: &IdedExpr, name: &str) -> Type {
        let name = name.trim_start_matches('.');
        if let Some((_, found)) = self.bound.iter().rev().find(|(bound, _)| bound == name) {
            return found.clone();
        }
        if let Some(found) = self.names.variables.get(name) {
            return found.clone();
        }
        if TYPES.contains(&name) {
            return Type::Kind;
        }
        if self.dashed {
            return Type::Dyn;
        }
        let message = match self.names.unknown.get(name).copied() {
            Some(why) => format!("{name} is not known here: {why}"),
            None => {
                let known = self.names.variables.keys().copied();
                format!("there is no variable {name:?}{}", hint(name, known))
            }
        };
        self.problem(node, message)
    }

    /// The type of a field of `operand`.
    fn field(&mut self, node: &IdedExpr, operand: &IdedExpr, of: &Type, name: &str) -> Type {
        match of {
            Type::Dyn | Type::Never => Type::Dyn,
            Type::Optional(inner) => {
                let inner = self.field(node, operand, inner, name);
                Type::Optional(inner.into())
            }
            Type::Object(fields) => match fields.known.get(name).or(fields.rest.as_ref()) {
                Some(found) => found.clone(),
                None => self.no_field(node, operand, fields, name),
            },
            other => {
                let owner = path(operand).unwrap_or_else(|| "it".into());
                let message = format!("{owner} is {}: it has no field {name:?}", other.one());
                self.problem(node, message)
            }
        }
    }

    fn no_field(&mut self, node: &IdedExpr, operand: &IdedExpr, of: &Fields, name: &str) -> Type {
        let known = || of.known.keys().map(String::as_str);
        let message = match &operand.expr {
            Expr::Ident(steps) if steps == "steps" => {
                let dash = format!("{name}-");
                let whole = known().chain(self.names.unseen.keys().map(String::as_str));
                if let Some(whole) = whole.into_iter().find(|step| step.starts_with(&dash)) {
                    self.dashed = true;
                    format!("a step's name with \"-\" is written steps[{whole:?}]")
                } else if let Some(why) = self.names.unseen.get(name) {
                    format!("step {name:?} is not known here: {why}")
                } else {
                    let others = self.names.unseen.keys().map(String::as_str);
                    format!("there is no step {name:?}{}", hint(name, known().chain(others)))
                }
            }
            Expr::Ident(params) if params == "params" => {
                let hint = hint(name, known());
                format!("the runbook has no parameter {name:?}{hint}")
            }
            _ => {
                let owner = path(operand).unwrap_or_else(|| "it".into());
                format!("{owner} has no field {name:?}{}", hint(name, known()))
            }
        };
        self.problem(node, message)
    }

    fn call(&mut self, node: &IdedExpr, call: &CallExpr) -> Type {
        let name = call.func_name.as_str();
        if let Some(target) = &call.target {
            let qualified = path(target).map(|path| format!("{path}.{name}"));
            if let Some(qualified) = qualified.filter(|name| functions::is_function(name)) {
                let given: Vec<Type> = call.args.iter().map(|given| self.of(given)).collect();
                let found = functions::call(&qualified, &given);
                return found.unwrap_or_else(|why| self.problem(node, why));
            }
            let mut given = vec![self.of(target)];
            given.extend(call.args.iter().map(|given| self.of(given)));
            let found = functions::call_on(name, &given);
            return found.unwrap_or_else(|why| self.problem(node, why));
        }
        match (name, call.args.as_slice()) {
            (operators::CONDITIONAL, [condition, one, other]) => {
                self.condition(condition);
                let one = self.of(one);
                one.or(self.of(other))
            }
            (operators::LOGICAL_AND | operators::LOGICAL_OR, [left, right]) => {
                self.condition(left);
                self.condition(right);
                Type::Bool
            }
            (operators::LOGICAL_NOT | operators::NOT_STRICTLY_FALSE, [operand]) => {
                self.condition(operand);
                Type::Bool
            }
            (operators::NEGATE, [operand]) => match self.of(operand) {
                found @ (Type::Dyn | Type::Never | Type::Int | Type::Double | Type::Number) => {
                    found
                }
                other => self.problem(node, format!("-{other} does not work")),
            },
            (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => {
                let (left, right) = (self.of(left), self.of(right));
                self.equal(node, &left, &right);
                Type::Bool
            }
            (operators::IN, [item, list]) => self.contained(node, item, list),
            (operators::INDEX, [operand, key]) => self.index(node, operand, key),
            (operators::OPT_INDEX | operators::OPT_SELECT, [operand, key]) => {
                match self.index(node, operand, key) {
                    found @ Type::Optional(_) => found,
                    found => Type::Optional(found.into()),
                }
            }
            (
                operators::ADD
                | operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO
                | operators::LESS
                | operators::LESS_EQUALS
                | operators::GREATER
                | operators::GREATER_EQUALS,
                [left, right],
            ) => {
                let (left, right) = (self.of(left), self.of(right));
                functions::operator(name, &left, &right)
                    .unwrap_or_else(|why| self.problem(node, why))
            }
            (_, given) => {
                let given: Vec<Type> = given.iter().map(|given| self.of(given)).collect();
                functions::call(name, &given).unwrap_or_else(|why| self.problem(node, why))
            }
        }
    }

    /// A part that must be true or false.
    fn condition(&mut self, node: &IdedExpr) {
        let found = self.of(node);
        if !found.is_open() && found != Type::Bool {
            let what = path(node).unwrap_or_else(|| "this".into());
            self.problem(node, format!("{what} is {}, not true or false", found.one()));
        }
    }

    fn equal(&mut self, node: &IdedExpr, left: &Type, right: &Type) {
        if left.may_equal(right) {
            return;
        }
        let message = match (left, right) {
            (Type::Text(Some(one)), Type::Text(Some(other))) => {
                let (value, known) = if one.len() == 1 { (one, other) } else { (other, one) };
                let value = value.first().map(String::as_str).unwrap_or_default();
                let near = hint(value, known.iter().map(String::as_str));
                format!("it is never {value:?}{near}")
            }
            _ => format!("{} is never equal to {}", left.one(), right.one()),
        };
        self.problem(node, message);
    }

    fn contained(&mut self, node: &IdedExpr, item: &IdedExpr, list: &IdedExpr) -> Type {
        let (item, list) = (self.of(item), self.of(list));
        match &list {
            Type::List(inner) => self.equal(node, &item, inner),
            Type::Object(_) => {
                if !Type::TEXT.may_equal(&item) {
                    self.problem(
                        node,
                        format!("a map's fields are named by strings, not {}", item.one()),
                    );
                }
            }
            Type::Dyn | Type::Never => {}
            other => {
                self.problem(
                    node,
                    format!("\"in\" looks into a list or a map, not {}", other.one()),
                );
            }
        }
        Type::Bool
    }

    fn index(&mut self, node: &IdedExpr, operand: &IdedExpr, key: &IdedExpr) -> Type {
        let of = self.of(operand);
        if let Expr::Literal(LiteralValue::String(name)) = &key.expr {
            return match &of {
                Type::List(_) => self.problem(node, "a list is indexed by an int".into()),
                _ => self.field(node, operand, &of, name.inner()),
            };
        }
        let key = self.of(key);
        match &of {
            Type::Dyn | Type::Never => Type::Dyn,
            Type::Optional(_) => Type::Optional(Type::Dyn.into()),
            Type::List(item) if key.is_open() || key.is_number() => item.as_ref().clone(),
            Type::List(_) => {
                self.problem(node, format!("a list is indexed by an int, not {}", key.one()))
            }
            Type::Object(fields) if key.is_open() || matches!(key, Type::Text(_)) => {
                match (&fields.rest, fields.known.is_empty()) {
                    (Some(rest), true) => rest.clone(),
                    _ => Type::Dyn,
                }
            }
            // A map written in the expression may have other keys.
            Type::Object(fields) if fields.rest.is_some() => Type::Dyn,
            Type::Object(_) => self
                .problem(node, format!("a map's fields are named by strings, not {}", key.one())),
            other => self.problem(node, format!("{} has no items", other.one())),
        }
    }

    fn list(&mut self, list: &ListExpr) -> Type {
        let mut items = Type::Never;
        for (at, element) in list.elements.iter().enumerate() {
            let found = match self.of(element) {
                Type::Optional(inner) if list.optional_indices.contains(&at) => {
                    inner.as_ref().clone()
                }
                found => found,
            };
            items = items.or(found);
        }
        Type::list(items)
    }

    fn map(&mut self, map: &MapExpr) -> Type {
        let mut fields = Fields::default();
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
            let value = self.of(&entry.value);
            match &entry.key.expr {
                Expr::Literal(LiteralValue::String(name)) if !entry.optional => {
                    fields.known.insert(name.inner().to_owned(), value);
                }
                _ => {
                    self.of(&entry.key);
                    fields.rest = Some(Type::Dyn);
                }
            }
        }
        Type::Object(Arc::new(fields))
    }

    /// A loop, as the macros `map`, `filter`, `all`, `exists` and `exists_one` write it.
    fn comprehension(&mut self, inner: &ComprehensionExpr) -> Type {
        let item = match self.of(&inner.iter_range) {
            Type::List(item) => item.as_ref().clone(),
            Type::Object(_) => Type::TEXT,
            Type::Dyn | Type::Never => Type::Dyn,
            other => {
                let message =
                    format!("only lists and maps can be looped over, not {}", other.one());
                self.problem(&inner.iter_range, message)
            }
        };
        let start = self.of(&inner.accu_init);
        let known = self.bound.len();
        self.bound.push((inner.iter_var.clone(), item));
        if let Some(second) = &inner.iter_var2 {
            self.bound.push((second.clone(), Type::Dyn));
        }
        self.bound.push((inner.accu_var.clone(), start));
        let step = self.of(&inner.loop_step);
        if let Some((_, accumulated)) = self.bound.last_mut() {
            *accumulated = step;
        }
        let result = self.of(&inner.result);
        self.bound.truncate(known);
        result
    }
}

fn literal_type(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::Boolean(_) => Type::Bool,
        LiteralValue::Bytes(_) => Type::Bytes,
        LiteralValue::Double(_) => Type::Double,
        LiteralValue::Int(_) => Type::Int,
        LiteralValue::Null => Type::Null,
        LiteralValue::String(text) => Type::one_of(&[text.inner()]),
        LiteralValue::UInt(_) => Type::Uint,
    }
}

/// Why a variable of runbooks is not known at some place of one.
pub(super) const RUNBOOK_VARIABLES: [(&str, &str); 5] = [
    ("target", "the runbook has no spec.target"),
    ("item", FOR_EACH),
    ("index", FOR_EACH),
    ("output", "it is what a step gave back, for the step's own outputs and compensate"),
    ("error", "it is what went wrong, for onFailure and onTimeout"),
];
const FOR_EACH: &str = "it is the item of a forEach, for the steps inside it";

/// `target.status.phase`, of a node that is written so.
fn path(node: &IdedExpr) -> Option<String> {
    match &node.expr {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => {
            Some(format!("{}.{}", path(&select.operand)?, select.field))
        }
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [operand, key] => match &key.expr {
                Expr::Literal(LiteralValue::String(key)) => {
                    Some(format!("{}[{:?}]", path(operand)?, key.inner()))
                }
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}
