//! What a statement may be, told from its text before anything is planned.
//!
//! The parser and the planner walk a statement by calls within calls. A statement that is longer,
//! deeper or has more links in a chain than anyone writes would take minutes or overflow the stack,
//! so tokens are counted first. The tokens are those of the parser itself: what stands in a text or
//! a comment counts for nothing here because it counts for nothing there.

use crate::error::UserError;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as Sql;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// Longest statement.
const MAX_BYTES: usize = 64 << 10;

/// Most tokens: names, numbers, signs. A list of 5,000 ids has 10,000.
const MAX_TOKENS: usize = 10_000;

/// Deepest nesting of brackets, of `case`, and of signs before a value.
const MAX_DEPTH: usize = 50;

/// Most operators in one expression, as in `a + b + c` or `x = 1 or x = 2`; the planner needs a
/// second or two for so many, and a stack in proportion.
const MAX_OPERATORS: usize = 1_000;

/// Most unions and joins of a statement.
const MAX_TABLES: usize = 500;

/// How deep the parser itself may nest. A level of a statement may be several of the parser.
pub const PARSER_DEPTH: usize = 4 * MAX_DEPTH;

/// Refuses a text that is too long, too deep or more than one statement.
///
/// # Errors
/// Says which.
pub fn check_text(sql: &str) -> Result<(), UserError> {
    if sql.len() > MAX_BYTES {
        return Err(too_much(format!("has more than {} KiB", MAX_BYTES >> 10)));
    }
    // What is no token the parser will tell, with its place.
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize() else { return Ok(()) };
    let mut shape = Shape::default();
    tokens
        .iter()
        .filter(|token| !matches!(token, Token::Whitespace(_)))
        .try_for_each(|token| shape.add(token))
}

/// Plans a statement that only reads. Call it after [`check_text`].
///
/// # Errors
/// When it is anything but select, with, values, explain, show or describe, or names what is not there.
pub async fn plan(state: &SessionState, sql: &str) -> Result<LogicalPlan, DataFusionError> {
    let refused = |error: UserError| DataFusionError::External(Box::new(error));
    let statement = state.sql_to_statement(sql, &state.config_options().sql_parser.dialect)?;
    check_statement(&statement).map_err(refused)?;
    let plan = state.statement_to_plan(statement).await?;
    // A second wall, of the engine's own making: it walks subqueries too.
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    options.verify_plan(&plan).map_err(|_| refused(only_reads()))?;
    Ok(plan)
}

fn check_statement(statement: &Statement) -> Result<(), UserError> {
    match statement {
        Statement::Explain(explain) => check_statement(&explain.statement),
        Statement::Statement(sql) => check_sql(sql),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => Err(only_reads()),
    }
}

fn check_sql(sql: &Sql) -> Result<(), UserError> {
    match sql {
        Sql::Explain { statement, .. } => check_sql(statement),
        Sql::Query(_)
        | Sql::ExplainTable { .. }
        | Sql::ShowTables { .. }
        | Sql::ShowColumns { .. }
        | Sql::ShowFunctions { .. }
        | Sql::ShowVariable { .. } => Ok(()),
        _ => Err(only_reads()),
    }
}

/// The refusal of everything that writes or sets.
fn only_reads() -> UserError {
    UserError::usage("only statements that read are allowed")
        .hint("use select, with, values, explain, show or describe")
}

fn too_much(what: String) -> UserError {
    UserError::usage(format!("the statement {what}"))
        .hint("ask for it in several statements, or join a list given by values")
}

/// What was counted so far.
#[derive(Debug, Default)]
struct Shape {
    tokens: usize,
    tables: usize,
    /// Levels that are open, the outermost not among them.
    levels: Vec<Level>,
    /// Operators of the expression at hand, on the outermost level.
    operators: usize,
    /// Signs and words that stand before something, one after the other.
    signs: usize,
    is_ended: bool,
}

/// A bracket or a `case` that is open.
#[derive(Debug)]
struct Level {
    is_case: bool,
    /// Operators of the expression at hand.
    operators: usize,
}

impl Shape {
    fn add(&mut self, token: &Token) -> Result<(), UserError> {
        self.tokens += 1;
        if self.tokens > MAX_TOKENS {
            return Err(too_much(format!("has more than {MAX_TOKENS} words and signs")));
        }
        if std::mem::replace(&mut self.is_ended, *token == Token::SemiColon) && !self.is_ended {
            return Err(UserError::usage("more than one statement").hint("run them one after the other"));
        }
        self.count(token);
        self.nest(token);
        self.check()
    }

    fn nest(&mut self, token: &Token) {
        match (token, keyword(token)) {
            (Token::LParen | Token::LBracket | Token::LBrace, _) => self.open(false),
            (Token::RParen | Token::RBracket | Token::RBrace, _) => drop(self.levels.pop()),
            (_, Keyword::CASE) => self.open(true),
            (_, Keyword::END) if self.levels.last().is_some_and(|level| level.is_case) => {
                self.levels.pop();
            }
            _ => {}
        }
    }

    fn open(&mut self, is_case: bool) {
        self.levels.push(Level { is_case, operators: 0 });
    }

    fn count(&mut self, token: &Token) {
        let is_sign = matches!(token, Token::Plus | Token::Minus | Token::Tilde)
            || matches!(
                keyword(token),
                Keyword::NOT | Keyword::EXPLAIN | Keyword::ANALYZE | Keyword::VERBOSE | Keyword::INTERVAL
            );
        self.signs = if is_sign { self.signs + 1 } else { 0 };
        self.tables += usize::from(adds_table(keyword(token)));
        let operators = self.levels.last_mut().map_or(&mut self.operators, |level| &mut level.operators);
        match token {
            Token::Comma => *operators = 0,
            token => *operators += usize::from(is_operator(token)),
        }
    }

    fn check(&self) -> Result<(), UserError> {
        let operators = self.levels.last().map_or(self.operators, |level| level.operators);
        if self.levels.len() > MAX_DEPTH || self.signs > MAX_DEPTH {
            return Err(too_much(format!("nests more than {MAX_DEPTH} deep")));
        }
        if operators > MAX_OPERATORS {
            return Err(too_much(format!("has more than {MAX_OPERATORS} operators in one expression")));
        }
        match self.tables > MAX_TABLES {
            true => Err(too_much(format!("has more than {MAX_TABLES} unions and joins"))),
            false => Ok(()),
        }
    }
}

fn keyword(token: &Token) -> Keyword {
    match token {
        Token::Word(word) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

fn adds_table(keyword: Keyword) -> bool {
    matches!(keyword, Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS | Keyword::JOIN)
}

/// Whether it may link two halves of an expression. Better one too many: signs are told from
/// operators by their place only.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(_) => matches!(
            keyword(token),
            Keyword::AND
                | Keyword::OR
                | Keyword::XOR
                | Keyword::IS
                | Keyword::IN
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::RLIKE
                | Keyword::REGEXP
                | Keyword::SIMILAR
                | Keyword::BETWEEN
                | Keyword::COLLATE
                | Keyword::AT
                | Keyword::OVERLAPS
                | Keyword::DIV
        ),
        Token::Number(..) | Token::SingleQuotedString(_) | Token::DoubleQuotedString(_) => false,
        Token::EscapedStringLiteral(_) | Token::DollarQuotedString(_) | Token::Placeholder(_) => false,
        Token::LParen | Token::RParen | Token::RBracket | Token::LBrace | Token::RBrace => false,
        Token::Comma | Token::Period | Token::SemiColon => false,
        // `[` too, as in list[1][2] and bigint[][].
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    fn refusal(sql: &str) -> String {
        check_text(sql).err().map(|error| error.message).unwrap_or_default()
    }

    #[test]
    fn what_people_write_passes() {
        let ids: Vec<String> = (0..4_000).map(|id| format!("'{id}'")).collect();
        let ors: Vec<String> = (0..300).map(|id| format!("run_id = '{id}'")).collect();
        for sql in [
            "",
            ";",
            "select 1;; ",
            "select ';' -- two; statements\n; /* end; */",
            "select case when a = 1 then 'x' else (case b when 2 then 'y' end) end from t",
            &format!("select * from runs where run_id in ({})", ids.join(", ")),
            &format!("select * from runs where {}", ors.join(" or ")),
            &format!("select {}1{}", "(".repeat(MAX_DEPTH), ")".repeat(MAX_DEPTH)),
            "not ' closed",
        ] {
            assert_eq!(refusal(sql), "", "{}", sql.get(..60).unwrap_or(sql));
        }
    }

    #[test]
    fn what_overflows_is_refused() {
        let chain = |link: &str, count: usize| vec!["1"; count].join(link);
        for (sql, words) in [
            (" ".repeat(MAX_BYTES + 1), "64 KiB"),
            (format!("select {}", chain(",", 6_000)), "10000 words and signs"),
            (format!("select {}", chain("+", 2_000)), "1000 operators"),
            (format!("select {}", chain("::bigint || ", 600)), "1000 operators"),
            (format!("select 1{}", "[1]".repeat(2_000)), "1000 operators"),
            (format!("select ({})", chain(" and ", 2_000)), "1000 operators"),
            (format!("select {}1", "(".repeat(3_000)), "nests more than 50"),
            (format!("select {}1", "[".repeat(51)), "nests more than 50"),
            (format!("select {}1", "case when true then ".repeat(51)), "nests more than 50"),
            (format!("select {}true", "not ".repeat(51)), "nests more than 50"),
            (format!("select {}1", "- ".repeat(51)), "nests more than 50"),
            (format!("{}select 1", "explain ".repeat(51)), "nests more than 50"),
            (vec!["select 1, 2"; 600].join(" union all "), "500 unions and joins"),
            ("select 1; select 2".to_owned(), "more than one statement"),
            ("select 1; -- x\n drop table runs".to_owned(), "more than one statement"),
        ] {
            let told = refusal(&sql);
            assert!(told.contains(words), "{}: {told}", sql.get(..60).unwrap_or(&sql));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(sql in any::<String>()) {
            let _ = check_text(&sql);
        }

        #[test]
        fn any_signs_are_answered(sql in "[-+*/()\\[\\]{}';,.a\"$ \n]{0,200}") {
            let _ = check_text(&sql);
        }

        #[test]
        fn what_stands_in_texts_and_comments_counts_for_nothing(inner in "[-+()\\[;a ]{0,300}") {
            let doubled = inner.replace("--", "- ");
            let text = format!("select '{inner}', \"x{inner}\", /* {inner} */ $${inner}$$ -- {doubled}\n, 1");
            prop_assert_eq!(refusal(&text), "");
        }

        #[test]
        fn depth_is_that_of_the_brackets(depth in 0_usize..100) {
            let sql = format!("select {}1{}", "(".repeat(depth), ")".repeat(depth));
            prop_assert_eq!(refusal(&sql).is_empty(), depth <= MAX_DEPTH);
        }
    }
}
