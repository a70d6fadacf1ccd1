//! Parameters of canned queries: their types, and values of those types.

use crate::records::Goal;
use std::collections::BTreeMap;

/// Type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamType {
    /// Any text.
    Text,
    /// A whole number.
    Integer,
    /// A whole number of at least 1, as of rows.
    Count,
    /// A number.
    Number,
    /// A switch: `true` when given.
    Flag,
    /// Anything a user may call a run; bound as its `run_id`.
    Run,
    /// The name of a metric; checked against the cache, with nearest-name hints.
    Metric,
    /// A metric in any spelling: of several, each run has its own.
    MetricForm,
    /// Metrics of the run that the parameter `run` names, in any spelling; bound as a list.
    Metrics,
    /// The project of some run.
    Project,
    /// A tag of some run.
    Tag,
    /// A state a run may be in.
    State,
    /// How bad a finding is.
    Level,
    /// What a finding is about, or `logged`.
    Kind,
    /// A span of time back from now, or a date; bound as milliseconds since 1970.
    Since,
    /// A condition on runs over their columns, configuration and metrics; stands for the subquery of the
    /// ids of those that meet it.
    Condition,
    /// What runs are sorted by, in the same words; stands for a subquery of `run_id` and `place`.
    Order,
    /// A metric in any spelling; stands for the subquery of the rows of `summary` that rank the runs by it, one
    /// a run at most, with the columns `project`, `run_name`, `state` and `aim` (min, max or null) besides. The
    /// parameters [`OF_RANKING`] of the query, as far as it has them, select the runs and tell the aim. Not given,
    /// it has no row.
    Ranking,
    /// Anything users may call runs, several; bound as a list of their ids.
    Runs,
    /// Texts; bound as a list.
    Texts,
    /// A span of time; bound as milliseconds.
    Span,
}

/// Parameters that tell a [`ParamType::Ranking`] which runs it is of, and which way is better.
pub const OF_RANKING: [&str; 5] = ["project", "where", "newest", "min", "max"];

/// A value for a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamValue {
    /// Not given and no default.
    Null,
    /// Text, run or metric.
    Text(String),
    /// Whole number.
    Integer(i64),
    /// Number.
    Number(f64),
    /// Switch.
    Flag(bool),
    /// Texts.
    List(Vec<String>),
    /// A statement made of a condition or an order.
    Query(String),
}

/// The direction that the caller tells: by a switch, or by the metric's name in a list.
pub fn told_goal(values: &BTreeMap<String, ParamValue>, metric: &str) -> Option<Goal> {
    let is_told = |name: &str| match values.get(name) {
        Some(ParamValue::Flag(is_set)) => *is_set,
        Some(ParamValue::List(metrics)) => metrics.iter().any(|told| told == metric),
        _ => false,
    };
    [Goal::Min, Goal::Max].into_iter().find(|goal| is_told(goal.as_str()))
}

/// A declared parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Name; `$name` in the SQL, `--name` (or a position) on the command line.
    pub name: String,
    /// Its type.
    pub kind: ParamType,
    /// Whether it is given by position rather than as `--name`.
    pub positional: bool,
    /// One letter for `-n`, if any.
    pub short: Option<char>,
    /// `None`: required. `Some(Null)`: optional.
    pub default: Option<ParamValue>,
    /// Help, one line.
    pub help: String,
}

impl ParamType {
    /// Each with its word in a header.
    pub(super) const ALL: [(&'static str, ParamType); 21] = [
        ("text", ParamType::Text),
        ("integer", ParamType::Integer),
        ("count", ParamType::Count),
        ("number", ParamType::Number),
        ("flag", ParamType::Flag),
        ("run", ParamType::Run),
        ("metric", ParamType::Metric),
        ("metric_form", ParamType::MetricForm),
        ("metrics", ParamType::Metrics),
        ("project", ParamType::Project),
        ("tag", ParamType::Tag),
        ("state", ParamType::State),
        ("level", ParamType::Level),
        ("kind", ParamType::Kind),
        ("since", ParamType::Since),
        ("condition", ParamType::Condition),
        ("order", ParamType::Order),
        ("ranking", ParamType::Ranking),
        ("runs", ParamType::Runs),
        ("texts", ParamType::Texts),
        ("span", ParamType::Span),
    ];

    /// The word in a header.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Whether it is given as text, whatever becomes of it.
    pub fn is_text(self) -> bool {
        !matches!(self, ParamType::Integer | ParamType::Count | ParamType::Number | ParamType::Flag)
    }

    /// Whether its value is part of the statement, which can be planned only with it.
    pub(super) fn is_literal(self) -> bool {
        self.is_list() || matches!(self, ParamType::Condition | ParamType::Order | ParamType::Ranking)
    }

    /// Whether it takes several words.
    pub fn is_list(self) -> bool {
        matches!(self, ParamType::Metrics | ParamType::Runs | ParamType::Texts)
    }

    /// Reads a value as a user types it. The error says what was expected.
    pub fn parse(self, text: &str) -> Result<ParamValue, String> {
        let expected = |what: &str| format!("expected {what}, got \"{text}\"");
        match self {
            ParamType::Integer => {
                text.parse().map(ParamValue::Integer).map_err(|_| expected("a whole number"))
            }
            ParamType::Count => {
                let count = text.parse().ok().filter(|count: &i64| *count > 0);
                count.map(ParamValue::Integer).ok_or_else(|| expected("a whole number of at least 1"))
            }
            ParamType::Number => text.parse().map(ParamValue::Number).map_err(|_| expected("a number")),
            ParamType::Flag => text.parse().map(ParamValue::Flag).map_err(|_| expected("true or false")),
            kind if kind.is_list() => Ok(ParamValue::List(vec![text.to_owned()])),
            _ => Ok(ParamValue::Text(text.to_owned())),
        }
    }

    /// Whether a user may give such a value.
    pub(super) fn accepts(self, value: &ParamValue) -> bool {
        match value {
            ParamValue::Null => true,
            ParamValue::Text(_) => self.is_text(),
            ParamValue::Integer(count) => match self {
                ParamType::Integer | ParamType::Number => true,
                ParamType::Count => *count > 0,
                _ => false,
            },
            ParamValue::Number(_) => self == ParamType::Number,
            ParamValue::Flag(_) => self == ParamType::Flag,
            ParamValue::List(_) => self.is_list(),
            ParamValue::Query(_) => self.is_literal() && !self.is_list(),
        }
    }

    /// What a value of it is called.
    pub(super) fn a_value(self) -> &'static str {
        match self {
            ParamType::Text => "a text",
            ParamType::Integer => "a whole number",
            ParamType::Count => "a whole number of at least 1",
            ParamType::Number => "a number",
            ParamType::Flag => "true or false",
            ParamType::Run => "a run",
            ParamType::Metric | ParamType::MetricForm | ParamType::Ranking => "a metric",
            ParamType::Metrics => "metrics",
            ParamType::Project => "a project",
            ParamType::Tag => "a tag",
            ParamType::State => "a state",
            ParamType::Level => "a level",
            ParamType::Kind => "a kind",
            ParamType::Since => "a span of time or a date",
            ParamType::Condition => "a condition",
            ParamType::Order => "what to sort by",
            ParamType::Runs => "runs",
            ParamType::Texts => "texts",
            ParamType::Span => "a span of time",
        }
    }
}

impl Param {
    /// Name of the option on the command line: `min_steps` becomes `min-steps`.
    pub fn option(&self) -> String {
        self.name.replace('_', "-")
    }
}
