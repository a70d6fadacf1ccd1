//! Which runs, and in which order: conditions over run columns, configuration and metrics.
//!
//! ```text
//! lr < 0.01 and state = 'finished'
//!   ─▶ select runs.run_id from runs
//!      left join (select run_id, number as value from configs where key = 'optim.lr') as picked0 on ...
//!      where picked0.value < 0.01 AND runs.state = 'finished'
//! ```
//!
//! A name is a column of `runs`, else a configuration key (also by its last part), else a metric, in any
//! spelling. A metric stands for its best value in each run, or its last one where it has no goal;
//! `last(loss)`, `min(loss)` and the other columns of `summary` say which. NaN and infinities meet nothing.

use super::canned::quoted;
use super::ranking::Ranking;
use super::{Words, guard, runs};
use crate::error::UserError;
use datafusion::arrow::array::AsArray;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, Value,
    VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Before the name of a configuration key that a column of `runs` hides.
const CONFIG: &str = "config.";

/// Columns of `summary` that a metric may be asked for by, as a function.
const STATISTICS: [&str; 15] = [
    "best",
    "best_step",
    "count",
    "first",
    "first_step",
    "inf_count",
    "last",
    "last_step",
    "max",
    "max_step",
    "mean",
    "min",
    "min_step",
    "nan_count",
    "std",
];

/// Runs that were selected: a statement, and how it was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The statement.
    pub sql: String,
    /// Names that could mean something else.
    pub notes: Vec<String>,
}

/// The statement of no condition.
pub fn every_run() -> String {
    "select run_id from runs".to_owned()
}

/// The statement of no order.
pub fn no_order() -> String {
    "select run_id, 0 as place from runs".to_owned()
}

/// What a condition may name.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Columns of `runs`.
    columns: Vec<String>,
    /// Configuration keys, and whether some run has a number there.
    configs: BTreeMap<String, bool>,
    metrics: Vec<String>,
    words: Words,
}

impl Names {
    /// The names there are.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub async fn of(ctx: &SessionContext) -> anyhow::Result<Names> {
        let columns = ctx.table_provider("runs").await?.schema();
        let columns = columns.fields().iter().map(|field| field.name().clone()).collect();
        let sql = "select key, count(number) > 0 from configs group by key";
        let rows = ctx.sql(sql).await?.collect().await?;
        let mut configs = BTreeMap::new();
        for batch in &rows {
            let keys = runs::texts(batch, 0).into_iter().flatten();
            let numbers = batch.column(1).as_boolean().iter().map(|is| is.unwrap_or(false));
            configs.extend(keys.zip(numbers));
        }
        Ok(Names { columns, configs, metrics: runs::metrics(ctx).await?, words: Words::default() })
    }

    /// The same, and words of the project for them.
    pub fn with_words(self, words: &Words) -> Names {
        Names { words: words.clone(), ..self }
    }

    fn column(&self, word: &str) -> Option<&str> {
        self.columns.iter().map(String::as_str).find(|column| column.eq_ignore_ascii_case(word))
    }

    /// The configuration key of this name, or else the only one whose last part it is.
    fn config(&self, word: &str) -> Option<&str> {
        let mut ending = self.configs.keys().filter(|key| key.rsplit('.').next() == Some(word));
        match (self.configs.get_key_value(word), ending.next(), ending.next()) {
            (Some((key, _)), ..) | (None, Some(key), None) => Some(key),
            _ => None,
        }
    }

    fn has_metric(&self, word: &str) -> bool {
        !self.ranking(word).is_empty()
    }

    fn ranking(&self, word: &str) -> Ranking {
        Ranking::by(word, self.metrics.iter().map(String::as_str))
    }

    /// What a word stands for; mostly itself.
    fn meant<'w>(&'w self, word: &'w str) -> &'w str {
        let meant = self.words.meant(word);
        let is_known = self.column(meant).is_some() || self.config(meant).is_some() || self.has_metric(meant);
        self.words.called(meant).filter(|_| !is_known).unwrap_or(meant)
    }

    fn unknown(&self, word: &str) -> UserError {
        let names: Vec<&str> = self
            .columns
            .iter()
            .chain(self.configs.keys())
            .chain(self.metrics.iter())
            .map(String::as_str)
            .collect();
        let error = UserError::failed(format!("no column of runs, configuration key or metric \"{word}\""));
        let hinted = error.clone().nearest_of(word, &names, "");
        match hinted.hint.as_deref().is_some_and(|hint| hint.starts_with("did you mean")) {
            true => hinted,
            // All names would be too many.
            false => error.hint("`runq schema runs`, `runq config RUN` and `runq keys` list them"),
        }
    }
}

/// The ids of the runs that meet a condition.
///
/// # Errors
/// When it is none, or names what is not there.
pub fn meeting(condition: &str, names: &Names) -> Result<Selection, UserError> {
    let (expr, picks, notes) = understood(condition, names)?;
    Ok(Selection { sql: format!("select runs.run_id from runs{} where {expr}", joins(&picks, names)), notes })
}

/// `run_id` and `place` of each run by what it is sorted by; a minus sign before it turns the order. Runs
/// without a value come last, runs of one value newest first.
///
/// # Errors
/// As [`meeting`].
pub fn placed(order: &str, names: &Names) -> Result<Selection, UserError> {
    let order = order.trim();
    let (text, direction) = match order.strip_prefix('-') {
        Some(text) => (text, "desc"),
        None => (order, "asc"),
    };
    let (expr, picks, notes) = understood(text, names)?;
    let sql = format!(
        "select runs.run_id, row_number() over (order by {expr} {direction} nulls last,
            coalesce(runs.created_at, runs.updated_at) desc nulls last, runs.run_id) as place
         from runs{}",
        joins(&picks, names)
    );
    Ok(Selection { sql, notes })
}

type Understood = (Expr, Vec<Pick>, Vec<String>);

fn understood(text: &str, names: &Names) -> Result<Understood, UserError> {
    guard::check_text(text)?;
    let wrong = |why: String| UserError::usage(format!("cannot read \"{text}\": {why}"));
    let mut parser = Parser::new(&GenericDialect {})
        .with_recursion_limit(guard::PARSER_DEPTH)
        .try_with_sql(text)
        .map_err(|error| wrong(error.to_string()))?;
    let mut expr = parser.parse_expr().map_err(|error| wrong(error.to_string()))?;
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        return Err(wrong(format!("{} is not expected there", rest.token))
            .hint("a name with other signs than letters, digits, _, . and / stands in double quotes"));
    }
    let mut reader = Reader { names, picks: Vec::new(), notes: Vec::new() };
    match VisitMut::visit(&mut expr, &mut reader) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok((expr, reader.picks, reader.notes)),
    }
}

fn joins(picks: &[Pick], names: &Names) -> String {
    let join = |(index, pick): (usize, &Pick)| {
        let name = pick_name(index);
        format!(" left join ({}) as {name} on {name}.run_id = runs.run_id", pick.sql(names))
    };
    picks.iter().enumerate().map(join).collect()
}

fn pick_name(index: usize) -> String {
    format!("picked{index}")
}

/// One value of each run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pick {
    /// A configuration key, as text or as number.
    Config { key: String, is_text: bool },
    /// A metric, by a column of `summary`; by its best value, else its last, without.
    Metric { word: String, column: Option<&'static str> },
}

impl Pick {
    fn sql(&self, names: &Names) -> String {
        match self {
            Pick::Config { key, is_text } => {
                let column = if *is_text { "value" } else { "number" };
                format!("select run_id, {column} as value from configs where key = {}", quoted(key))
            }
            Pick::Metric { word, column } => {
                let value = match column {
                    Some(column) => format!("finite({column})"),
                    None => "finite(case when goal is null then last else best end)".to_owned(),
                };
                format!("select run_id, {value} as value from ({})", names.ranking(word).sql())
            }
        }
    }
}

/// Puts what names stand for in their place.
struct Reader<'n> {
    names: &'n Names,
    picks: Vec<Pick>,
    notes: Vec<String>,
}

impl VisitorMut for Reader<'_> {
    type Break = UserError;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<UserError> {
        ControlFlow::Break(
            UserError::usage("a condition holds no statement of its own").hint("ask it with `runq sql`"),
        )
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<UserError> {
        match self.read(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Reader<'_> {
    fn read(&mut self, expr: &mut Expr) -> Result<(), UserError> {
        if let Some(value) = self.statistic(expr)? {
            *expr = value;
            return Ok(());
        }
        match expr {
            Expr::BinaryOp { left, op: BinaryOperator::Divide, right } => {
                let name = name_of(left).zip(name_of(right)).map(|(left, right)| format!("{left}/{right}"));
                let is_one =
                    |name: &String| self.names.configs.contains_key(name) || self.names.has_metric(name);
                if let Some(name) = name.filter(is_one) {
                    *expr = self.value(&name, false)?;
                }
            }
            Expr::BinaryOp { left, right, .. } => {
                self.compared_with_text(left, right)?;
                self.compared_with_text(right, left)?;
            }
            Expr::InList { expr, list, .. } if list.iter().any(is_text) => self.read_as_text(expr)?,
            Expr::Between { expr, low, .. } if is_text(low) => self.read_as_text(expr)?,
            Expr::Like { expr, .. } | Expr::ILike { expr, .. } | Expr::RLike { expr, .. } => {
                self.read_as_text(expr)?;
            }
            other => {
                if let Some(name) = name_of(other) {
                    *other = self.value(&name, false)?;
                }
            }
        }
        Ok(())
    }

    /// What is compared with a text or a truth value is read as text; configuration holds `true` as a text.
    fn compared_with_text(&mut self, one: &mut Expr, other: &mut Expr) -> Result<(), UserError> {
        let is_config =
            |name: String| self.names.column(&name).is_none() && self.names.config(&name).is_some();
        if let Some(flag) = flag_of(other)
            && name_of(one).is_some_and(is_config)
        {
            *other = Expr::value(Value::SingleQuotedString(flag.to_string()));
        }
        if is_text(other) { self.read_as_text(one) } else { Ok(()) }
    }

    fn read_as_text(&mut self, expr: &mut Expr) -> Result<(), UserError> {
        if let Some(name) = name_of(expr) {
            *expr = self.value(&name, true)?;
        }
        Ok(())
    }

    /// `last(loss)`: a column of the metric's summary.
    fn statistic(&mut self, expr: &Expr) -> Result<Option<Expr>, UserError> {
        let Expr::Function(call) = expr else { return Ok(None) };
        let function = call.name.to_string().to_lowercase();
        let column = STATISTICS.into_iter().find(|name| *name == function);
        let (Some(column), Some(word)) = (column, only_argument(call)) else { return Ok(None) };
        let word = self.names.meant(&word).to_owned();
        match self.names.has_metric(&word) {
            true => Ok(Some(self.pick(Pick::Metric { word, column: Some(column) }))),
            false => {
                let known: Vec<&str> = self.names.metrics.iter().map(String::as_str).collect();
                let error = UserError::failed(format!("metric \"{word}\" not found"));
                Err(error.nearest_of(&word, &known, "metrics"))
            }
        }
    }

    fn value(&mut self, name: &str, is_text: bool) -> Result<Expr, UserError> {
        let names = self.names;
        let name = names.meant(name);
        let bare = name.strip_prefix(CONFIG).filter(|bare| names.config(bare).is_some());
        if bare.is_none()
            && let Some(column) = names.column(name)
        {
            return Ok(identifier(&["runs", column]));
        }
        let config = names.config(bare.unwrap_or(name));
        let has_number = |key: &str| names.configs.get(key).copied().unwrap_or(false);
        match config {
            // A number is asked for, and only the metric has numbers.
            Some(key) if bare.is_none() && !is_text && !has_number(key) && names.has_metric(name) => {
                Ok(self.pick(Pick::Metric { word: name.to_owned(), column: None }))
            }
            Some(key) => {
                if bare.is_none() && names.has_metric(name) {
                    self.note(format!(
                        "\"{name}\" is the configuration key {key}; last({name}) is the metric"
                    ));
                }
                let is_text = is_text || !has_number(key);
                Ok(self.pick(Pick::Config { key: key.to_owned(), is_text }))
            }
            None if names.has_metric(name) => {
                Ok(self.pick(Pick::Metric { word: name.to_owned(), column: None }))
            }
            None => Err(names.unknown(name)),
        }
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn pick(&mut self, pick: Pick) -> Expr {
        let known = self.picks.iter().position(|other| *other == pick);
        let index = known.unwrap_or_else(|| {
            self.picks.push(pick);
            self.picks.len() - 1
        });
        identifier(&[&pick_name(index), "value"])
    }
}

/// A name that was put in place already has quotes, and is not read again.
fn identifier(parts: &[&str]) -> Expr {
    Expr::CompoundIdentifier(parts.iter().map(|part| Ident::with_quote('`', *part)).collect())
}

/// `val_loss`, `"val/loss"`, `optim.lr`, `val/loss`.
fn name_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(name) => Some(name.value.clone()),
        Expr::CompoundIdentifier(parts) if parts.iter().all(|part| part.quote_style != Some('`')) => {
            Some(parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join("."))
        }
        Expr::BinaryOp { left, op: BinaryOperator::Divide, right } => {
            Some(format!("{}/{}", name_of(left)?, name_of(right)?))
        }
        _ => None,
    }
}

fn only_argument(call: &Function) -> Option<String> {
    let FunctionArguments::List(list) = &call.args else { return None };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] => name_of(argument),
        _ => None,
    }
}

fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)))
}

fn flag_of(expr: &Expr) -> Option<bool> {
    match expr {
        Expr::Value(value) => match value.value {
            Value::Boolean(flag) => Some(flag),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn names() -> Names {
        let texts = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let configs =
            [("optim.lr", true), ("optim.name", false), ("amp", false), ("loss", false), ("state", true)];
        Names {
            columns: texts(&["run_id", "state", "duration_s", "git_dirty"]),
            configs: configs.map(|(key, is)| (key.to_owned(), is)).into(),
            metrics: texts(&["lr", "loss", "val/loss"]),
            words: Words::default(),
        }
    }

    /// What a condition became, and what it joins.
    fn read(condition: &str) -> (String, Vec<Pick>) {
        let (expr, picks, _) = understood(condition, &names()).unwrap();
        (expr.to_string().replace('`', ""), picks)
    }

    fn config(key: &str, is_text: bool) -> Pick {
        Pick::Config { key: key.into(), is_text }
    }

    fn metric(word: &str, column: Option<&'static str>) -> Pick {
        Pick::Metric { word: word.into(), column }
    }

    #[test]
    fn names_are_columns_then_configuration_then_metrics() {
        for (condition, sql, picks) in [
            ("State = 'failed'", "runs.state = 'failed'", vec![]),
            ("config.state > 1", "picked0.value > 1", vec![config("state", false)]),
            ("lr < 0.01", "picked0.value < 0.01", vec![config("optim.lr", false)]),
            ("optim.lr in (1, 2)", "picked0.value IN (1, 2)", vec![config("optim.lr", false)]),
            ("lr in ('1')", "picked0.value IN ('1')", vec![config("optim.lr", true)]),
            ("amp = true", "picked0.value = 'true'", vec![config("amp", true)]),
            ("git_dirty = true", "runs.git_dirty = true", vec![]),
            ("loss = 'mse'", "picked0.value = 'mse'", vec![config("loss", true)]),
            ("loss < 2", "picked0.value < 2", vec![metric("loss", None)]),
            ("val_loss < 2", "picked0.value < 2", vec![metric("val_loss", None)]),
            ("val/loss < 2", "picked0.value < 2", vec![metric("val/loss", None)]),
            ("\"val/loss\" < 2", "picked0.value < 2", vec![metric("val/loss", None)]),
            ("last(val/loss) < 2", "picked0.value < 2", vec![metric("val/loss", Some("last"))]),
            ("duration_s / lr > 2", "runs.duration_s / picked0.value > 2", vec![config("optim.lr", false)]),
            (
                "not (lr < 1 or lr > 2) and name like 'ad%'",
                "NOT (picked0.value < 1 OR picked0.value > 2) AND picked1.value LIKE 'ad%'",
                vec![config("optim.lr", false), config("optim.name", true)],
            ),
        ] {
            assert_eq!(read(condition), (sql.to_owned(), picks), "{condition}");
        }
    }

    #[test]
    fn what_could_mean_something_else_is_told() {
        let selection = meeting("lr < 1 and lr > 0", &names()).unwrap();
        assert_eq!(selection.notes, ["\"lr\" is the configuration key optim.lr; last(lr) is the metric"]);
    }

    #[test]
    fn mistakes_are_told() {
        for (condition, message) in [
            ("lrr < 1", "no column of runs, configuration key or metric \"lrr\""),
            ("last(val_lss) < 1", "metric \"val_lss\" not found"),
            ("lr <", "cannot read \"lr <\": "),
            ("lr < 1 drop", "cannot read \"lr < 1 drop\": drop is not expected there"),
            ("exists (select 1)", "a condition holds no statement of its own"),
            ("", "cannot read \"\": "),
        ] {
            let error = meeting(condition, &names()).unwrap_err();
            assert!(error.message.starts_with(message), "{condition}: {}", error.message);
        }
        assert!(placed("-lrr", &names()).is_err());
        assert!(placed("- lr", &names()).unwrap().sql.contains("`value` desc nulls last"));
    }
}
