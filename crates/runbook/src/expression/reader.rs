//! Reading: what an expression uses, and refusing texts that are too large to be run.

use super::{ExpressionError, Uses};
use cel::{
    IdedExpr,
    common::ast::{EntryExpr, Expr, LiteralValue, operators},
};

/// Longest expression. What people write is a line or two.
pub const EXPRESSION_BYTES_MAX: usize = 2048;
/// Most opening brackets: the parser recurses into each before its own limit can stop it.
const BRACKETS_MAX: usize = 64;
/// Most operator characters: a chain of them is a tree as deep as it is long.
const OPERATORS_MAX: usize = 256;
/// Deepest tree: the evaluator and the checker recurse into it.
const DEPTH_MAX: usize = 32;

/// Stack of the parser: a level of brackets takes it up to 250 KB in an unoptimised build, and the
/// threads of a server have 2 MB. Memory is taken only as it is used.
const PARSER_STACK_BYTES: usize = 32 * 1024 * 1024;
/// Stack of the evaluator, which takes some 10 KB for a level of the tree.
const EVALUATOR_STACK_BYTES: usize = 1024 * 1024;

/// Runs the parser on a stack that is deep enough for any text that is not refused before.
pub(super) fn with_parser_stack<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(PARSER_STACK_BYTES, PARSER_STACK_BYTES, work)
}

/// Runs the evaluator on a stack that is deep enough for any tree that was not refused before.
pub(super) fn with_evaluator_stack<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(EVALUATOR_STACK_BYTES, 4 * EVALUATOR_STACK_BYTES, work)
}

/// Names of types, and the namespace of optional values: no variables.
pub(crate) const TYPES: [&str; 13] = [
    "bool",
    "bytes",
    "double",
    "duration",
    "dyn",
    "int",
    "list",
    "map",
    "null_type",
    "optional",
    "string",
    "type",
    "uint",
];

/// Refuses texts that would make the parser recurse deeply. Counts without regard to quotes: a
/// quote that is read wrongly must not let anything through.
pub(super) fn bound(text: &str) -> Result<(), ExpressionError> {
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(ExpressionError::syntax(format!(
            "the expression is longer than {EXPRESSION_BYTES_MAX} bytes; make it several steps"
        )));
    }
    if text.trim().is_empty() {
        return Err(ExpressionError::syntax("the expression is empty"));
    }
    let brackets = text.bytes().filter(|byte| b"([{".contains(byte)).count();
    let operators = text.bytes().filter(|byte| b".+-*/%?<>=!&|".contains(byte)).count();
    let words = text.split_ascii_whitespace().filter(|word| *word == "in").count();
    if brackets > BRACKETS_MAX || operators + words > OPERATORS_MAX {
        return Err(ExpressionError::syntax(format!(
            "the expression has more than {BRACKETS_MAX} brackets or {OPERATORS_MAX} operators; \
             make it several steps"
        )));
    }
    Ok(())
}

/// What a syntax tree uses.
///
/// # Errors
/// When it holds what is not run here.
pub(super) fn uses(tree: &IdedExpr) -> Result<Uses, ExpressionError> {
    let mut reader = Reader::default();
    reader.read(tree, 0)?;
    Ok(reader.uses)
}

/// Calls `found` with a node and every node in it.
pub(super) fn each<'n>(node: &'n IdedExpr, found: &mut dyn FnMut(&'n IdedExpr)) {
    found(node);
    for child in children(node) {
        each(child, found);
    }
}

fn children(node: &IdedExpr) -> Vec<&IdedExpr> {
    match &node.expr {
        Expr::Call(call) => call.target.iter().map(AsRef::as_ref).chain(&call.args).collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map
            .entries
            .iter()
            .flat_map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
                EntryExpr::StructField(field) => vec![&field.value],
            })
            .collect(),
        Expr::Comprehension(inner) => vec![
            &inner.iter_range,
            &inner.accu_init,
            &inner.loop_cond,
            &inner.loop_step,
            &inner.result,
        ],
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => Vec::new(),
    }
}

/// Walks a tree with the variables that its loops bind.
#[derive(Default)]
struct Reader {
    uses: Uses,
    bound: Vec<String>,
}

impl Reader {
    fn read(&mut self, node: &IdedExpr, depth: usize) -> Result<(), ExpressionError> {
        if depth > DEPTH_MAX {
            return Err(ExpressionError::syntax(format!(
                "the expression is nested deeper than {DEPTH_MAX} levels; make it several steps"
            )));
        }
        if let Some((name, field)) = variable(node) {
            self.variable(name, field);
            return Ok(());
        }
        match &node.expr {
            Expr::Unspecified => Err(ExpressionError::syntax("the expression is empty")),
            Expr::Struct(made) => Err(ExpressionError::syntax(format!(
                "{} {{ … }}: message types are not known here; write a map: {{\"field\": value}}",
                made.type_name
            ))),
            Expr::Comprehension(inner) => {
                self.read(&inner.iter_range, depth + 1)?;
                self.read(&inner.accu_init, depth + 1)?;
                let known = self.bound.len();
                self.bound.push(inner.iter_var.clone());
                self.bound.extend(inner.iter_var2.clone());
                self.bound.push(inner.accu_var.clone());
                for part in [&inner.loop_cond, &inner.loop_step, &inner.result] {
                    self.read(part, depth + 1)?;
                }
                self.bound.truncate(known);
                Ok(())
            }
            _ => children(node).into_iter().try_for_each(|child| self.read(child, depth + 1)),
        }
    }

    fn variable(&mut self, name: &str, field: Option<&str>) {
        let name = name.trim_start_matches('.');
        if name.starts_with('@')
            || self.bound.iter().any(|bound| bound == name)
            || TYPES.contains(&name)
        {
            return;
        }
        self.uses.variables.insert(name.to_owned());
        if name == "steps" {
            match field {
                Some(field) => {
                    self.uses.steps.insert(field.to_owned());
                }
                None => self.uses.all_steps = true,
            }
        }
    }
}

/// The variable that a node reads, and the field of it: `name`, `name.field` and `name["field"]`.
fn variable(node: &IdedExpr) -> Option<(&str, Option<&str>)> {
    match &node.expr {
        Expr::Ident(name) => Some((name, None)),
        Expr::Select(select) => match &select.operand.expr {
            Expr::Ident(name) => Some((name, Some(&select.field))),
            _ => None,
        },
        Expr::Call(call)
            if [operators::INDEX, operators::OPT_INDEX, operators::OPT_SELECT]
                .contains(&call.func_name.as_str()) =>
        {
            match call.args.as_slice() {
                [operand, key] => match (&operand.expr, &key.expr) {
                    (Expr::Ident(name), Expr::Literal(LiteralValue::String(key))) => {
                        Some((name, Some(key.inner())))
                    }
                    _ => None,
                },
                _ => None,
            }
        }
        _ => None,
    }
}
