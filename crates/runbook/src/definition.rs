//! Definitions: a runbook and all it calls, with every expression parsed, ready to be interpreted.
//!
//! Compiling refuses only what cannot be interpreted. Whether names, types and inputs are right is
//! [`crate::check`]'s question, asked once, when a runbook is admitted.

use crate::{Expression, ExpressionError, Template};
use quarterdeck_model::{
    ApprovalPolicy, Duration, FieldError, FieldErrors,
    kinds::{Compensation, Handler, Retry, RunbookSpec, Step, Then},
};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// How deep runbooks may call each other.
pub const CALL_DEPTH_MAX: usize = 8;
/// Longest a run may take when neither it nor its runbook says: a day covers a slow re-image with
/// an approval in it, and a forgotten run does not hold its target for ever.
pub const RUN_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// Longest an action may take when its step does not say.
pub const ACTION_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Longest a wait or an approval may take when its step does not say.
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(3600);
/// Pause before the second attempt when a step does not say.
pub const BACKOFF: Duration = Duration::from_secs(1);
/// Longest pause between attempts when a step does not say.
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Name of the part that handles a failure.
pub(crate) const ON_FAILURE: &str = "onFailure";
/// Name of the part that handles a timeout.
pub(crate) const ON_TIMEOUT: &str = "onTimeout";
/// Name of the part that undoes a step.
pub(crate) const COMPENSATE: &str = "compensate";

/// A runbook and all it calls, compiled. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Definition {
    pub(crate) root: Arc<Program>,
}

/// One compiled runbook.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) spec: RunbookSpec,
    pub(crate) steps: Vec<Node>,
    pub(crate) outputs: Vec<(String, Template)>,
    /// Steps that do something themselves, the called runbooks' included.
    pub(crate) leaves: u64,
    /// How deep calls go from it on: 1 when it calls nothing.
    depth: usize,
}

/// One compiled step, handler or compensation.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) verb: Verb,
    pub(crate) when: Option<Expression>,
    pub(crate) disruptive: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: Option<Retry>,
    pub(crate) on_failure: Option<Box<Handling>>,
    pub(crate) on_timeout: Option<Box<Handling>>,
    pub(crate) compensate: Option<Box<Node>>,
    pub(crate) outputs: Vec<(String, Template)>,
    pub(crate) leaves: u64,
}

/// What a step does.
#[derive(Debug)]
pub(crate) enum Verb {
    Action { name: String, input: Template },
    WaitFor(Expression),
    Call { name: String, program: Arc<Program>, input: Template },
    Approve { message: Template, policy: ApprovalPolicy },
    Parallel(Vec<Node>),
    ForEach { list: Expression, concurrency: usize, steps: Vec<Node> },
    Pause(Duration),
}

/// A compiled handler.
#[derive(Debug)]
pub(crate) struct Handling {
    /// What is done; a handler may only say what follows.
    pub(crate) node: Option<Node>,
    pub(crate) then: Then,
}

impl Verb {
    /// What it does, for people.
    pub(crate) fn does(&self) -> String {
        match self {
            Self::Action { name, .. } => name.clone(),
            Self::WaitFor(expression) => format!("wait for {}", expression.text()),
            Self::Call { name, .. } => format!("call {name}"),
            Self::Approve { .. } => "approve".into(),
            Self::Parallel(steps) => format!("{} steps at once", steps.len()),
            Self::ForEach { list, .. } => format!("for each of {}", list.text()),
            Self::Pause(time) => format!("pause {time}"),
        }
    }
}

impl Node {
    /// How long it may take in all.
    pub(crate) fn longest(&self) -> Option<Duration> {
        match self.verb {
            Verb::Pause(time) => Some(time),
            Verb::Action { .. } => Some(self.timeout.unwrap_or(ACTION_TIMEOUT)),
            Verb::WaitFor(_) | Verb::Approve { .. } => Some(self.timeout.unwrap_or(WAIT_TIMEOUT)),
            Verb::Call { .. } | Verb::Parallel(_) | Verb::ForEach { .. } => self.timeout,
        }
    }

    /// The steps inside it.
    pub(crate) fn children(&self) -> &[Self] {
        match &self.verb {
            Verb::Parallel(steps) | Verb::ForEach { steps, .. } => steps,
            Verb::Call { program, .. } => &program.steps,
            _ => &[],
        }
    }

    /// The part of it that `name` is: a step inside it, a handler or its compensation.
    pub(crate) fn part(&self, name: &str) -> Option<&Self> {
        match name {
            ON_FAILURE => self.on_failure.as_ref()?.node.as_ref(),
            ON_TIMEOUT => self.on_timeout.as_ref()?.node.as_ref(),
            COMPENSATE => self.compensate.as_deref(),
            _ => self.children().iter().find(|child| child.name == name),
        }
    }
}

impl Definition {
    /// Compiles `root` out of `runbooks`, which hold all it calls.
    ///
    /// # Errors
    /// When a runbook is missing, calls itself, nests calls too deeply, or has a step or an
    /// expression that cannot be read. Paths begin with `runbooks[NAME]` for what is called.
    pub fn compile(
        root: &str,
        runbooks: &BTreeMap<String, RunbookSpec>,
    ) -> Result<Self, FieldErrors> {
        let mut compiler = Compiler {
            runbooks,
            done: HashMap::new(),
            calls: Vec::new(),
            deepest: 0,
            errors: FieldErrors::new(),
        };
        let program = compiler.program(root, "spec", "spec.runbook");
        match program {
            Some(root) if compiler.errors.is_empty() => Ok(Self { root }),
            _ => Err(compiler.errors),
        }
    }

    /// Longest a run of it may take when the run does not ask for less.
    pub fn timeout(&self) -> Duration {
        self.root.spec.timeout.unwrap_or(RUN_TIMEOUT)
    }

    /// The step at a path as `status.steps` names it.
    pub(crate) fn find(&self, path: &str) -> Option<&Node> {
        let mut parts = path.split('/').map(without_item);
        let first = parts.next()?;
        let mut node = self.root.steps.iter().find(|step| step.name == first)?;
        for part in parts {
            node = node.part(part)?;
        }
        Some(node)
    }
}

/// `racks[2]` without its `[2]`.
pub(crate) fn without_item(part: &str) -> &str {
    part.split_once('[').map_or(part, |(name, _)| name)
}

struct Compiler<'a> {
    runbooks: &'a BTreeMap<String, RunbookSpec>,
    done: HashMap<String, Arc<Program>>,
    calls: Vec<String>,
    /// How deep the calls go that were seen so far in the runbook being compiled.
    deepest: usize,
    errors: FieldErrors,
}

impl Compiler<'_> {
    fn program(&mut self, name: &str, path: &str, called_at: &str) -> Option<Arc<Program>> {
        if self.calls.iter().any(|caller| caller == name) {
            let circle = format!("{} → {name}", self.calls.join(" → "));
            let error = FieldError::invalid(
                called_at,
                name,
                format!("runbooks call in a circle: {circle}"),
            );
            self.errors.push(error);
            return None;
        }
        let done = self.done.get(name).cloned();
        let below = done.as_ref().map_or(1, |done| done.depth);
        if self.calls.len() + below > CALL_DEPTH_MAX + 1 {
            let why = format!("runbooks call each other more than {CALL_DEPTH_MAX} levels deep");
            self.errors.push(FieldError::invalid(called_at, name, why));
            return None;
        }
        if done.is_some() {
            return done;
        }
        let Some(spec) = self.runbooks.get(name) else {
            self.errors.push(FieldError::not_found(called_at, name));
            return None;
        };
        self.calls.push(name.to_owned());
        let around = std::mem::take(&mut self.deepest);
        let steps = self.steps(&spec.steps, &format!("{path}.steps"));
        let outputs = self.outputs(&spec.outputs, &format!("{path}.outputs"));
        self.calls.pop();
        let deepest = std::mem::replace(&mut self.deepest, around);
        let program = Arc::new(Program {
            spec: RunbookSpec { steps: Vec::new(), ..spec.clone() },
            leaves: count(&steps),
            depth: 1 + deepest,
            steps,
            outputs,
        });
        self.done.insert(name.to_owned(), Arc::clone(&program));
        Some(program)
    }

    fn steps(&mut self, steps: &[Step], path: &str) -> Vec<Node> {
        let mut nodes = Vec::with_capacity(steps.len());
        for (at, step) in steps.iter().enumerate() {
            nodes.extend(self.step(step, &format!("{path}[{at}]")));
        }
        nodes
    }

    fn step(&mut self, step: &Step, path: &str) -> Option<Node> {
        let verb = self.verb(step, path)?;
        let leaves = match &verb {
            Verb::Parallel(steps) | Verb::ForEach { steps, .. } => count(steps),
            Verb::Call { program, .. } => program.leaves,
            _ => 1,
        };
        Some(Node {
            name: step.name.clone(),
            when: self.expression(step.when.as_deref(), &format!("{path}.when")),
            disruptive: step.disruptive == Some(true),
            timeout: step.timeout,
            retry: step.retry.clone(),
            on_failure: self.handler(step.on_failure.as_ref(), ON_FAILURE, path),
            on_timeout: self.handler(step.on_timeout.as_ref(), ON_TIMEOUT, path),
            compensate: self.compensation(step.compensate.as_ref(), path),
            outputs: self.outputs(&step.outputs, &format!("{path}.outputs")),
            verb,
            leaves,
        })
    }

    fn verb(&mut self, step: &Step, path: &str) -> Option<Verb> {
        let mut verbs = Vec::new();
        if let Some(name) = &step.action {
            let input = self.template(&step.input, path)?;
            verbs.push(Verb::Action { name: name.clone(), input });
        }
        if let Some(text) = &step.wait_for {
            verbs.push(Verb::WaitFor(self.expression(Some(text), &format!("{path}.waitFor"))?));
        }
        if let Some(name) = &step.call {
            verbs.push(self.call(name, &step.input, path)?);
        }
        if let Some(approve) = &step.approve {
            let message = Value::String(approve.message.clone());
            let path = format!("{path}.approve.message");
            let message = self.read(Template::parse(&message), &path)?;
            let policy = approve.policy.clone().unwrap_or_default();
            verbs.push(Verb::Approve { message, policy });
        }
        if let Some(steps) = &step.parallel {
            verbs.push(Verb::Parallel(self.steps(steps, &format!("{path}.parallel"))));
        }
        if let Some(each) = &step.for_each {
            let list = self.expression(Some(&each.list), &format!("{path}.forEach.in"))?;
            let concurrency = usize::try_from(each.concurrency.unwrap_or(1)).unwrap_or(usize::MAX);
            let steps = self.steps(&each.steps, &format!("{path}.forEach.steps"));
            verbs.push(Verb::ForEach { list, concurrency: concurrency.max(1), steps });
        }
        verbs.extend(step.pause.map(Verb::Pause));
        if verbs.len() != 1 {
            self.errors.push(FieldError::invalid(path, &step.name, ONE_VERB));
            return None;
        }
        verbs.pop()
    }

    fn call(&mut self, name: &str, input: &Map<String, Value>, path: &str) -> Option<Verb> {
        let input = self.template(input, path)?;
        let inner = format!("runbooks[{name}].spec");
        let program = self.program(name, &inner, &format!("{path}.call"))?;
        self.deepest = self.deepest.max(program.depth);
        Some(Verb::Call { name: name.to_owned(), program, input })
    }

    fn handler(
        &mut self,
        handler: Option<&Handler>,
        name: &str,
        path: &str,
    ) -> Option<Box<Handling>> {
        let handler = handler?;
        let path = format!("{path}.{name}");
        let node =
            self.part(name, handler.action.as_ref(), handler.call.as_ref(), &handler.input, &path);
        Some(Box::new(Handling { node, then: handler.then }))
    }

    fn compensation(
        &mut self,
        compensation: Option<&Compensation>,
        path: &str,
    ) -> Option<Box<Node>> {
        let undo = compensation?;
        let path = format!("{path}.{COMPENSATE}");
        let mut node =
            self.part(COMPENSATE, undo.action.as_ref(), undo.call.as_ref(), &undo.input, &path)?;
        // What was done must not stay because of one lost packet, and a compensation has no `retry`
        // of its own.
        node.retry = Some(Retry { attempts: 3, backoff: None, max_backoff: None });
        Some(Box::new(node))
    }

    /// The node of a handler or compensation.
    fn part(
        &mut self,
        name: &str,
        action: Option<&String>,
        call: Option<&String>,
        input: &Map<String, Value>,
        path: &str,
    ) -> Option<Node> {
        let verb = match (action, call) {
            (Some(action), None) => {
                Verb::Action { name: action.clone(), input: self.template(input, path)? }
            }
            (None, Some(call)) => self.call(call, input, path)?,
            (None, None) => return None,
            (Some(_), Some(_)) => {
                self.errors.push(FieldError::invalid(
                    path,
                    name,
                    "give `action` or `call`, not both",
                ));
                return None;
            }
        };
        Some(Node {
            name: name.to_owned(),
            verb,
            when: None,
            disruptive: false,
            timeout: None,
            retry: None,
            on_failure: None,
            on_timeout: None,
            compensate: None,
            outputs: Vec::new(),
            leaves: 0,
        })
    }

    fn expression(&mut self, text: Option<&str>, path: &str) -> Option<Expression> {
        let parsed = Expression::parse(text?);
        self.read(parsed, path)
    }

    fn template(&mut self, fields: &Map<String, Value>, path: &str) -> Option<Template> {
        self.read(Template::parse_fields(fields), &format!("{path}.with"))
    }

    fn outputs(
        &mut self,
        outputs: &BTreeMap<String, Value>,
        path: &str,
    ) -> Vec<(String, Template)> {
        let mut compiled = Vec::with_capacity(outputs.len());
        for (name, value) in outputs {
            let template = self.read(Template::parse(value), &format!("{path}.{name}"));
            compiled.extend(template.map(|template| (name.clone(), template)));
        }
        compiled
    }

    fn read<T>(&mut self, parsed: Result<T, ExpressionError>, path: &str) -> Option<T> {
        parsed
            .map_err(|error| self.errors.push(FieldError::invalid(path, "expression", error)))
            .ok()
    }
}

/// What a step must have.
pub(crate) const ONE_VERB: &str =
    "a step has exactly one of action, waitFor, call, approve, parallel, forEach and pause";

fn count(nodes: &[Node]) -> u64 {
    nodes.iter().fold(0, |sum, node| sum.saturating_add(node.leaves))
}
