//! Metering: bounds what one evaluation may cost, whatever the expression.
//!
//! The evaluator has no budget of its own, so a parsed expression is rewritten before it is run:
//! whatever is copied, put together, compared or looped over goes through `@charge(@budget, n, value)`,
//! which takes the size of the value and `n` more from the budget, and ends the evaluation when
//! nothing is left. Without it a line such as `[s].map(x, x + x).map(x, x + x)…` fills the memory.
//! No `@` can be written in an expression, so nothing of this can be named or hidden by one.

use super::{session::PART, texts};
use cel::{
    Env, ExecutionError, IdedExpr,
    common::{
        ast::{CallExpr, EntryExpr, Expr, LiteralValue, operators},
        types::{self, CelInt, CelList, CelMap, CelOptional, CelString, Type},
        value::{CowVal, StaticVal, Val},
    },
};
use std::{
    any::Any,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicI64, Ordering},
    },
};

/// What one evaluation may cost, about one for each value touched. A target has a few thousand
/// values; a million is about a tenth of a second.
const BUDGET: i64 = 1_000_000;
/// Cost of `matches`: its pattern is compiled at each call.
const MATCHES_COST: i64 = 5_000;

const CHARGE: &str = "@charge";
pub(super) const BUDGET_NAME: &str = "@budget";

/// The functions of expressions, and the one that charges.
pub(super) static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    texts::add(&mut env);
    let arguments = vec![types::DYN_TYPE, types::INT_TYPE, types::DYN_TYPE];
    // It can be refused only if the name were taken; then every evaluation would fail loudly.
    let added = env.add_overload(CHARGE, "charge", arguments, charge);
    debug_assert!(added.is_ok(), "no function of the language begins with @");
    Arc::new(env)
});

/// What evaluations may still cost: of one, or of several that share it.
///
/// It is a value that expressions carry to what charges them.
#[derive(Debug, Clone)]
pub struct Budget(Arc<AtomicI64>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(BUDGET)))
    }
}

impl StaticVal for Budget {}

static BUDGET_TYPE: Type = Type::new_unspecified_type("budget");

impl Val for Budget {
    fn get_type(&self) -> &Type {
        &BUDGET_TYPE
    }

    fn cel_type() -> &'static Type {
        &BUDGET_TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl Budget {
    /// More was spent than there was.
    pub(super) fn is_exhausted(&self) -> bool {
        self.0.load(Ordering::Relaxed) <= 0
    }

    pub(super) fn spend(&self, cost: i64) -> bool {
        let left = self.0.load(Ordering::Relaxed).saturating_sub(cost);
        self.0.store(left, Ordering::Relaxed);
        left > 0
    }
}

fn charge<'b, 'v>(mut values: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let value = values.pop();
    let (Some(value), [budget, cost]) = (value, values.as_slice()) else {
        return Err(ExecutionError::MissingArgumentOrTarget);
    };
    let cost = cost.downcast_ref::<CelInt>().map_or(0, |cost| *cost.inner());
    let within = budget
        .downcast_ref::<Budget>()
        .is_some_and(|budget| budget.spend(cost.saturating_add(weight(value.as_ref()))));
    if within {
        return Ok(value);
    }
    Err(ExecutionError::function_error(CHARGE, "the budget is spent"))
}

/// How large a value is.
pub(super) fn weight(value: &dyn Val) -> i64 {
    let inside = if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        i64::try_from(text.inner().len() / 16).unwrap_or(i64::MAX)
    } else if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        list.inner().iter().fold(0, |sum, item| sum + weight(item.as_ref()))
    } else if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        map.inner().values().fold(0, |sum, item| sum + weight(item.as_ref()))
    } else if let Some(optional) = value.downcast_ref::<CelOptional<'_>>() {
        optional.inner().map_or(0, weight)
    } else {
        0
    };
    inside.saturating_add(1)
}

/// The same expression, charging for what it does.
pub(super) fn meter(tree: &IdedExpr) -> IdedExpr {
    let mut tree = tree.clone();
    rewrite(&mut tree);
    tree
}

/// Functions that take time by the size of what they are called on.
const READS: [&str; 15] = [
    "bytes",
    "charAt",
    "contains",
    "indexOf",
    "join",
    "lastIndexOf",
    "lowerAscii",
    "matches",
    "replace",
    "size",
    "split",
    "string",
    "substring",
    "trim",
    "upperAscii",
];
/// Those whose result may be larger than that.
const MAKES: [&str; 4] = [operators::ADD, "join", "replace", "split"];

fn rewrite(node: &mut IdedExpr) {
    match &mut node.expr {
        Expr::Call(call) => {
            if let Some(target) = &mut call.target {
                rewrite(target);
            }
            call.args.iter_mut().for_each(rewrite);
            let at = match (call.func_name.as_str(), call.args.len()) {
                (operators::EQUALS | operators::NOT_EQUALS, _) => Some((0, 0)),
                (operators::IN, _) => Some((1, 0)),
                ("matches", arguments) => Some((arguments.saturating_sub(1), MATCHES_COST)),
                _ => None,
            };
            if let Some((at, cost)) = at
                && let Some(argument) = call.args.get_mut(at)
            {
                wrap(argument, cost);
            }
            // A text is gone through from its beginning, however often a loop asks.
            if READS.contains(&call.func_name.as_str()) {
                let target = call.target.as_deref_mut();
                if let Some(read) = target.or_else(|| call.args.first_mut()) {
                    wrap(read, 0);
                }
            }
            if MAKES.contains(&call.func_name.as_str()) {
                wrap(node, 0);
            }
        }
        Expr::Select(select) => rewrite(&mut select.operand),
        Expr::List(list) => {
            for element in &mut list.elements {
                rewrite(element);
                wrap_computed(element);
            }
        }
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    rewrite(&mut entry.key);
                    rewrite(&mut entry.value);
                    wrap_computed(&mut entry.key);
                    wrap_computed(&mut entry.value);
                }
            }
        }
        Expr::Comprehension(inner) => {
            rewrite(&mut inner.iter_range);
            wrap(&mut inner.iter_range, 0);
            rewrite(&mut inner.accu_init);
            rewrite(&mut inner.result);
            rewrite_step(&mut inner.loop_step);
        }
        _ => {}
    }
}

/// Rewrites the step of a loop: what was written into the loop is charged with its length at each
/// turn; what the macro put around it stays, as the evaluator knows loops by its shape.
fn rewrite_step(step: &mut IdedExpr) {
    match &mut step.expr {
        Expr::Call(call) if call.args.iter().any(is_accumulated) => {
            for part in &mut call.args {
                if let Expr::List(list) = &mut part.expr {
                    list.elements.iter_mut().for_each(rewrite_body);
                } else if !is_accumulated(part) {
                    rewrite_body(part);
                }
            }
        }
        Expr::Call(call) if call.func_name == operators::CONDITIONAL => {
            if let [condition, step, _] = call.args.as_mut_slice() {
                rewrite_body(condition);
                rewrite_step(step);
            }
        }
        _ => rewrite_body(step),
    }
}

fn rewrite_body(body: &mut IdedExpr) {
    let nodes = count(body);
    rewrite(body);
    wrap(body, nodes);
}

/// `@result`, which a macro put there.
fn is_accumulated(node: &IdedExpr) -> bool {
    matches!(&node.expr, Expr::Ident(name) if name.starts_with('@'))
}

fn wrap_computed(node: &mut IdedExpr) {
    if !matches!(node.expr, Expr::Literal(_)) {
        wrap(node, 0);
    }
}

fn wrap(node: &mut IdedExpr, cost: i64) {
    let id = node.id;
    let inner = std::mem::take(node);
    let made = |expr| IdedExpr { id, expr };
    let cost = made(Expr::Literal(LiteralValue::Int(cost.into())));
    let args = vec![made(Expr::Ident(BUDGET_NAME.into())), cost, inner];
    *node = made(Expr::Call(CallExpr { func_name: CHARGE.into(), target: None, args }));
}

fn count(node: &IdedExpr) -> i64 {
    let mut nodes = 0;
    super::reader::each(node, &mut |_| nodes += 1);
    nodes
}

/// Reads `whole.NAME` as the name of a part, so that it is asked for only when it is needed. False when
/// `whole` is used in another way.
pub(super) fn name_parts(node: &mut IdedExpr, whole: &str) -> bool {
    let is_whole = |node: &IdedExpr| matches!(&node.expr, Expr::Ident(name) if name == whole);
    let named = match &node.expr {
        Expr::Select(select) if is_whole(&select.operand) => {
            Some((select.field.clone(), select.test))
        }
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [operand, IdedExpr { expr: Expr::Literal(LiteralValue::String(key)), .. }]
                if is_whole(operand) =>
            {
                Some((key.inner().to_owned(), false))
            }
            _ => None,
        },
        _ => None,
    };
    match named {
        // What is not there is no part, which is told when the expression is written.
        Some((_, true)) => node.expr = Expr::Literal(LiteralValue::Boolean(true.into())),
        Some((name, false)) => node.expr = Expr::Ident(format!("{PART}{name}")),
        None if is_whole(node) => return false,
        None => return children_mut(node, whole).into_iter().all(|child| name_parts(child, whole)),
    }
    true
}

/// What is in a node, without that which is inside a loop whose item has the name `hidden`.
fn children_mut<'n>(node: &'n mut IdedExpr, hidden: &str) -> Vec<&'n mut IdedExpr> {
    match &mut node.expr {
        Expr::Call(call) => {
            let target = call.target.iter_mut().map(AsMut::as_mut);
            target.chain(&mut call.args).collect()
        }
        Expr::Select(select) => vec![&mut *select.operand],
        Expr::List(list) => list.elements.iter_mut().collect(),
        Expr::Map(map) => map
            .entries
            .iter_mut()
            .flat_map(|entry| match &mut entry.expr {
                EntryExpr::MapEntry(entry) => vec![&mut entry.key, &mut entry.value],
                EntryExpr::StructField(field) => vec![&mut field.value],
            })
            .collect(),
        Expr::Comprehension(inner) => {
            let shadowed = inner.iter_var == hidden || inner.iter_var2.as_deref() == Some(hidden);
            let mut all: Vec<&mut IdedExpr> = vec![&mut inner.iter_range, &mut inner.accu_init];
            if !shadowed {
                all.extend([&mut inner.loop_cond, &mut inner.loop_step, &mut inner.result]);
            }
            all
        }
        _ => Vec::new(),
    }
}
