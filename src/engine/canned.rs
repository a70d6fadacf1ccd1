//! Headers of `queries/*.sql`: parsed, checked, and bound.

/// Type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamType {
    /// Any text.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A switch: `true` when given.
    Flag,
    /// Anything a user may call a run; bound as its `run_id`.
    Run,
    /// The name of a metric; checked against the cache, with nearest-name hints.
    Metric,
}

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

/// A canned query.
#[derive(Debug, Clone, PartialEq)]
pub struct Canned {
    /// Name of the file without `.sql`; the subcommand.
    pub name: String,
    /// One line, imperative, no full stop.
    pub summary: String,
    /// Longer help, may be empty.
    pub description: String,
    /// Other names of the subcommand.
    pub aliases: Vec<String>,
    /// Parameters in the order of the header.
    pub params: Vec<Param>,
    /// Column name and what it holds.
    pub columns: Vec<(String, String)>,
    /// Command lines.
    pub examples: Vec<String>,
    /// The statement, comments included.
    pub sql: String,
    /// Whether it came with runq or from the user's folder.
    pub built_in: bool,
}
