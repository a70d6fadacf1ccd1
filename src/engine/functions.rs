//! The functions a statement may call. What is not named here is not there: an engine upgrade
//! adds none by itself.

use super::bounded;
use datafusion::prelude::SessionContext;
use std::collections::HashSet;

/// Scalar functions, aliases included.
const SCALAR: &str = "
    abs acos acosh array_add array_any_value array_append array_avg array_cat array_compact array_concat
    array_contains array_dims array_distance array_distinct array_element array_empty array_except array_extract
    array_has array_has_all array_has_any array_indexof array_intersect array_join array_length array_max array_min
    array_ndims array_normalize array_pop_back array_pop_front array_position array_positions array_prepend
    array_product array_push_back array_push_front array_remove array_remove_all array_remove_n array_replace
    array_replace_all array_replace_n array_reverse array_scale array_slice array_sort array_subtract array_sum
    array_to_string array_union arrays_overlap arrays_zip arrow_cast arrow_field arrow_metadata arrow_try_cast
    arrow_typeof ascii asin asinh atan atan2 atanh
    bit_length btrim
    cardinality cast_to_type cbrt ceil char_length character_length chr coalesce concat concat_ws config_role contains cos cosh
    cosine_distance cot current_date current_time current_timestamp
    date_bin date_format date_part date_trunc datepart datetrunc decode degrees dot_product
    element_at empty encode ends_with exp
    factorial find_in_set finite flatten floor from_unixtime
    gcd get_field greatest
    ifnull initcap inner_product instr isnan iszero
    lcm least left length levenshtein list_add list_any_value list_append list_avg list_cat list_compact list_concat
    list_contains list_dims list_distance list_distinct list_element list_empty list_except list_extract list_has
    list_has_all list_has_any list_indexof list_intersect list_join list_length list_max list_ndims list_normalize
    list_pop_back list_pop_front list_position list_positions list_prepend list_product list_push_back
    list_push_front list_remove list_remove_all list_remove_n list_replace list_replace_all list_replace_n
    list_reverse list_scale list_slice list_sort list_subtract list_sum list_to_string list_union list_zip ln log
    log10 log2 lower lpad ltrim
    make_array make_date make_list make_time map map_entries map_extract map_keys map_values
    named_struct nanvl normal_key now nullif nvl nvl2
    octet_length overlay
    pi position pow power
    radians rand random regexp_count regexp_instr regexp_like regexp_match regexp_replace repeat replace reverse
    right role_key round row rpad rtrim
    short signum sin sinh split_part sqrt starts_with string_to_array string_to_list strpos struct substr substr_index
    substring substring_index
    t_test_p tan tanh to_char to_date to_hex to_local_time to_time to_timestamp to_timestamp_micros to_timestamp_millis
    to_timestamp_nanos to_timestamp_seconds to_unixtime today translate trim trunc try_cast_to_type
    union_extract union_tag upper
    with_metadata";

/// Aggregate functions, aliases included.
const AGGREGATE: &str = "
    any_value approx_distinct approx_median approx_percentile_cont approx_percentile_cont_with_weight arg_max arg_min
    array_agg avg
    bit_and bit_or bit_xor bool_and bool_or
    corr count covar covar_pop covar_samp
    diagnose divergence
    entropy_collapse eta
    first_nan first_value forecast
    grad_explosion grad_vanishing grouping
    kl_blowup
    last_value length_collapse loss_spike lttb
    m4 mann_kendall max max_by mean median memory_leak min min_by minmax_lttb
    nan nth_value
    oom_risk overfitting
    percentile_cont plateau
    quantile_cont
    regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy
    reward_collapse
    sparkline stddev stddev_pop stddev_samp string_agg sum
    throughput_drop trend
    var var_pop var_population var_samp var_sample";

/// Window functions.
const WINDOW: &str = "
    cume_dist dense_rank ema first_value grad_ratio is_spike lag last_value lead nth_value ntile percent_rank phase
    rank robust_ema roll_mad roll_median row_number spike_score";

/// Functions that take a function: `array_filter(tags, tag -> tag <> 'x')`.
const HIGHER_ORDER: &str = "
    any_match array_any_match array_filter array_first array_transform list_any_match list_filter list_first
    list_transform";

/// Table functions.
const TABLE: &str = "generate_series history range wide";

/// All of them, by kind.
const ALLOWED: [&str; 5] = [SCALAR, AGGREGATE, WINDOW, HIGHER_ORDER, TABLE];

/// Functions of the engine that are no part of runq, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("array_repeat", LONG_LISTS),
    ("array_resize", LONG_LISTS),
    ("file_row_index", FILES),
    ("generate_series", AS_A_TABLE),
    ("input_file_name", FILES),
    ("list_repeat", LONG_LISTS),
    ("list_resize", LONG_LISTS),
    ("range", AS_A_TABLE),
    ("uuid", "its answer is never the same; random() serves to sample"),
    ("version", "it tells of the engine; `runq --version` tells of runq"),
];

const LONG_LISTS: &str = "it makes a list of any length from a number";
const FILES: &str = "it tells of the files of the cache; `runq files` does so";
const AS_A_TABLE: &str =
    "it makes a list of any length; use it as a table, as in from generate_series(1, 10)";

/// Why a function of the engine may not be called, if it is one that may not.
pub fn why_left_out(name: &str) -> Option<&'static str> {
    LEFT_OUT.iter().find(|(left_out, _)| *left_out == name).map(|(_, reason)| *reason)
}

/// Leaves the context no function but those named here, and bounds those whose answer may be far
/// larger than their arguments.
pub fn restrict(ctx: &SessionContext) {
    bounded::register_all(ctx);
    let remove: [fn(&SessionContext, &str); 5] = [
        SessionContext::deregister_udf,
        SessionContext::deregister_udaf,
        SessionContext::deregister_udwf,
        SessionContext::deregister_higher_order_function,
        SessionContext::deregister_udtf,
    ];
    for ((names, allowed), remove) in registered(ctx).iter().zip(ALLOWED).zip(remove) {
        let allowed: HashSet<&str> = allowed.split_whitespace().collect();
        names.iter().filter(|name| !allowed.contains(name.as_str())).for_each(|name| remove(ctx, name));
    }
}

/// Names by kind, in the order of [`ALLOWED`].
fn registered(ctx: &SessionContext) -> [Vec<String>; 5] {
    let state = ctx.state_ref();
    let state = state.read();
    [
        state.scalar_functions().keys().cloned().collect(),
        state.aggregate_functions().keys().cloned().collect(),
        state.window_functions().keys().cloned().collect(),
        state.higher_order_functions().keys().cloned().collect(),
        state.table_functions().keys().cloned().collect(),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use datafusion::arrow::datatypes::Schema;
    use datafusion::datasource::empty::EmptyTable;
    use std::sync::Arc;

    fn everything() -> SessionContext {
        let ctx = SessionContext::new();
        crate::engine::texts::functions(&Default::default())
            .into_iter()
            .for_each(|function| ctx.register_udf(function));
        runq_udfs::register_all(&ctx);
        let points = Arc::new(EmptyTable::new(Arc::new(Schema::empty())));
        runq_udfs::register_table_functions(&ctx, points, Arc::new(|word: &str| Ok(word.to_owned())));
        ctx
    }

    #[test]
    fn every_function_of_the_engine_is_decided_on() {
        let (names, allowed) = (registered(&everything()), ALLOWED.map(|names| names.split_whitespace()));
        for (names, allowed) in names.iter().zip(allowed) {
            let allowed: Vec<&str> = allowed.collect();
            let undecided: Vec<&String> = names
                .iter()
                .filter(|name| !allowed.contains(&name.as_str()) && why_left_out(name).is_none())
                .collect();
            assert!(undecided.is_empty(), "neither allowed nor left out: {undecided:?}");
            let gone: Vec<&&str> =
                allowed.iter().filter(|name| !names.iter().any(|known| known == **name)).collect();
            assert!(gone.is_empty(), "allowed, but the engine has none: {gone:?}");
        }
        for (name, _) in LEFT_OUT {
            assert!(
                names.iter().flatten().any(|known| known == name),
                "left out, but the engine has none: {name}"
            );
        }
    }

    #[test]
    fn lists_are_sorted() {
        let sorted = |names: &[&str]| names.is_sorted() && names.windows(2).all(|pair| pair[0] != pair[1]);
        for names in ALLOWED {
            let names: Vec<&str> = names.split_whitespace().collect();
            assert!(sorted(&names), "{names:?}");
        }
        assert!(sorted(&LEFT_OUT.iter().map(|(name, _)| *name).collect::<Vec<_>>()));
    }

    #[tokio::test]
    async fn what_is_left_out_cannot_be_called() {
        let ctx = everything();
        restrict(&ctx);
        assert_eq!(
            registered(&ctx).map(|names| names.len()),
            ALLOWED.map(|names| names.split_whitespace().count())
        );
        for sql in ["select uuid()", "select version()", "select range(1, 9)", "select list_repeat(1, 9)"] {
            ctx.sql(sql).await.expect_err(sql);
        }
        ctx.sql("select * from range(1, 9)").await.unwrap();
    }
}
