//! Names, documentation and examples of every function.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::Documentation;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::*;

/// Name, aliases and documentation of every function.
fn functions() -> Vec<(String, Vec<String>, Option<Documentation>)> {
    let udafs = all_udafs();
    let udwfs = all_udwfs();
    let udfs = all_udfs();
    let aggregates = udafs.iter().map(|f| {
        let documentation = f.documentation().cloned();
        (f.name().to_owned(), f.aliases().to_vec(), documentation)
    });
    let windows = udwfs.iter().map(|f| {
        let documentation = f.documentation().cloned();
        (f.name().to_owned(), f.aliases().to_vec(), documentation)
    });
    let scalars = udfs.iter().map(|f| {
        let documentation = f.documentation().cloned();
        (f.name().to_owned(), f.aliases().to_vec(), documentation)
    });
    let tables = [(History::NAME, History::documentation()), (Wide::NAME, Wide::documentation())]
        .map(|(name, documentation)| (name.to_owned(), vec![], Some(documentation.clone())));
    aggregates.chain(windows).chain(scalars).chain(tables).collect()
}

/// Two runs of 60 steps with a spike and a NaN in the second, validation every tenth step.
fn metrics() -> Arc<dyn TableProvider> {
    let (mut runs, mut keys, mut steps, mut values) = (vec![], vec![], vec![], vec![]);
    for run in ["run-a", "run-b"] {
        for step in 0..60_i64 {
            let mut loss = 2.0 + 0.01 * ((7 * step % 5) as f64 - 2.0);
            if run == "run-b" && step == 40 {
                loss = 5.0;
            }
            if run == "run-b" && step == 59 {
                loss = f64::NAN;
            }
            let mut log = |key, value| {
                runs.push(run);
                keys.push(key);
                steps.push(step);
                values.push(value);
            };
            let keys = ["loss", "grad_norm", "throughput", "gpu_mem", "reward", "kl", "entropy", "length"];
            keys.iter().for_each(|&key| log(key, loss));
            if step % 10 == 0 {
                log("val_loss", loss + 0.1);
            }
        }
    }
    let batch = RecordBatch::try_from_iter([
        ("run_id", Arc::new(StringArray::from(runs)) as ArrayRef),
        ("key", Arc::new(StringArray::from(keys))),
        ("step", Arc::new(Int64Array::from(steps))),
        ("value", Arc::new(Float64Array::from(values))),
    ])
    .unwrap();
    Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap())
}

#[test]
fn names_and_aliases_are_unique_and_new() {
    let builtin = SessionContext::new_with_config(SessionConfig::new());
    let state = builtin.state();
    let mut seen = HashSet::new();
    for (name, aliases, _) in functions() {
        for name in std::iter::once(name).chain(aliases) {
            assert!(!state.aggregate_functions().contains_key(&name), "{name}");
            assert!(!state.window_functions().contains_key(&name), "{name}");
            assert!(!state.scalar_functions().contains_key(&name), "{name}");
            assert!(seen.insert(name.clone()), "{name} twice");
        }
    }
    assert_eq!(seen.len(), 40);
}

#[test]
fn every_function_is_documented() {
    for (name, _, documentation) in functions() {
        let documentation = documentation.expect(&name);
        assert!(documentation.description.len() > 40, "{name}");
        assert!(documentation.syntax_example.starts_with(&name), "{name}");
        let example = documentation.sql_example.expect(&name);
        assert!(example.contains(&format!("{name}(")), "{name}");
        let arguments = documentation.arguments.expect(&name);
        assert!(!arguments.is_empty(), "{name}");
        for (argument, text) in arguments {
            assert!(
                documentation.syntax_example.contains(&argument),
                "{name}: {argument} is not in the syntax"
            );
            assert!(!text.is_empty(), "{name}: {argument}");
        }
    }
}

#[tokio::test]
async fn every_example_runs() {
    let ctx = SessionContext::new();
    register_all(&ctx);
    ctx.register_table("metrics", metrics()).unwrap();
    register_table_functions(&ctx, metrics(), Arc::new(|run| Ok(run.to_owned())));
    for (name, _, documentation) in functions() {
        let example = documentation.unwrap().sql_example.unwrap();
        let result = ctx.sql(&example).await.expect(&name).collect().await;
        let rows: usize = result.expect(&name).iter().map(RecordBatch::num_rows).sum();
        assert!(rows > 0, "{name}: no rows from {example}");
    }
}
