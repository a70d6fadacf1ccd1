//! One answer in every format.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, ListBuilder, StringArray, StringBuilder,
    StructArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field};
use std::sync::Arc;

fn answer() -> RecordBatch {
    let mut tags = ListBuilder::new(StringBuilder::new());
    tags.append_value([Some("a"), Some("b,c")]);
    tags.append_value(Vec::<Option<&str>>::new());
    tags.append_null();
    let times = TimestampMillisecondArray::from(vec![Some(1_795_197_066_830), None, Some(0)]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("run_id", Arc::new(StringArray::from(vec![Some("x|1"), Some("y\n\x1b[2J"), None]))),
        ("step", Arc::new(Int64Array::from(vec![Some(1), None, Some(-30)]))),
        ("value", Arc::new(Float64Array::from(vec![0.123_456_789, f64::NAN, f64::NEG_INFINITY]))),
        ("ok", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("at", Arc::new(times.with_timezone("UTC"))),
        ("tags", Arc::new(tags.finish())),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn bytes(format: Format, style: Style, batch: &RecordBatch) -> Vec<u8> {
    let mut out = Vec::new();
    write_all(format, style, batch, &mut out).unwrap();
    out
}

fn text(format: Format, batch: &RecordBatch) -> String {
    String::from_utf8(bytes(format, Style::default(), batch)).unwrap()
}

#[test]
fn csv_is_exact_and_null_is_empty() {
    let want = "run_id,step,value,ok,at,tags\n\
        x|1,1,0.123456789,true,2026-11-20T17:51:06.830Z,\"[\"\"a\"\",\"\"b,c\"\"]\"\n\
        \"y\n\x1b[2J\",,NaN,,,[]\n\
        ,-30,-Infinity,false,1970-01-01T00:00:00.000Z,\n";
    assert_eq!(text(Format::Csv, &answer()), want);
}

#[test]
fn csv_on_a_terminal_is_harmless() {
    let style = Style { terminal: true, ..Style::default() };
    let text = String::from_utf8(bytes(Format::Csv, style, &answer())).unwrap();
    assert!(text.contains("y\n\u{fffd}[2J"), "{text}");
    assert!(!text.contains('\x1b'));
}

#[test]
fn tsv_separates_with_tabs() {
    assert!(text(Format::Tsv, &answer()).starts_with("run_id\tstep\tvalue\tok\tat\ttags\nx|1\t1\t0.1234"));
}

#[test]
fn json_is_valid_and_keeps_nan_as_text() {
    let text = text(Format::Json, &answer());
    let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(rows[0]["value"], serde_json::json!(0.123456789));
    assert_eq!(rows[0]["tags"], serde_json::json!(["a", "b,c"]));
    assert_eq!(rows[1]["value"], "NaN");
    assert_eq!(rows[1]["run_id"], "y\n\x1b[2J");
    assert_eq!(rows[1]["ok"], serde_json::Value::Null);
    assert_eq!(rows[2]["value"], "-Infinity");
    assert_eq!(rows.as_array().unwrap().len(), 3);
}

#[test]
fn jsonl_is_one_object_a_line() {
    let text = text(Format::Jsonl, &answer());
    assert_eq!(text.lines().count(), 3);
    let want = r#"{"run_id":null,"step":-30,"value":"-Infinity","ok":false,"at":"1970-01-01T00:00:00.000Z","tags":null}"#;
    assert_eq!(text.lines().nth(2).unwrap(), want);
}

#[test]
fn an_empty_answer_is_still_a_document() {
    let empty = answer().slice(0, 0);
    assert_eq!(text(Format::Json, &empty), "[]\n");
    assert_eq!(text(Format::Jsonl, &empty), "");
    assert_eq!(text(Format::Csv, &empty), "run_id,step,value,ok,at,tags\n");
    assert!(text(Format::Table, &empty).contains("run_id"));
    assert_eq!(text(Format::Md, &empty).lines().count(), 2);
}

#[test]
fn two_columns_of_one_name_stay_apart_in_json() {
    let one: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let batch = RecordBatch::try_from_iter([("a", one.clone()), ("a", one)]).unwrap();
    assert_eq!(text(Format::Jsonl, &batch), "{\"a\":1,\"a_2\":1}\n");
    assert!(!bytes(Format::Parquet, Style::default(), &batch).is_empty());
}

#[test]
fn structs_in_lists_are_nested_json() {
    let step: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let value: ArrayRef = Arc::new(Float64Array::from(vec![0.5, f64::NAN]));
    let points = StructArray::from(vec![
        (Arc::new(Field::new("step", DataType::Int64, true)), step),
        (Arc::new(Field::new("value", DataType::Float64, true)), value),
    ]);
    let item = Arc::new(Field::new("item", points.data_type().clone(), true));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([2]);
    let list: ArrayRef = Arc::new(arrow::array::ListArray::new(item, offsets, Arc::new(points), None));
    let batch = RecordBatch::try_from_iter([("curve", list)]).unwrap();
    let want = "{\"curve\":[{\"step\":1,\"value\":0.5},{\"step\":2,\"value\":\"NaN\"}]}\n";
    assert_eq!(text(Format::Jsonl, &batch), want);
}

#[test]
fn markdown_escapes_bars() {
    let want = "\
| run_id | step | value | ok | at | tags |
| --- | ---: | ---: | --- | --- | --- |
| x\\|1 | 1 | 0.123457 | true | 2026-11-20 17:51:06 | a, b,c |
| y \u{fffd}\\[2J |  | NaN |  |  |  |
|  | -30 | -Infinity | false | 1970-01-01 00:00:00 |  |
";
    assert_eq!(text(Format::Md, &answer()), want);
}

#[test]
fn tables_align_numbers_to_the_right() {
    let want = "\
┌────────┬──────┬───────────┬───────┬─────────────────────┬────────┐
│ run_id ┆ step ┆     value ┆ ok    ┆ at                  ┆ tags   │
╞════════╪══════╪═══════════╪═══════╪═════════════════════╪════════╡
│ x|1    ┆    1 ┆  0.123457 ┆ true  ┆ 2026-11-20 17:51:06 ┆ a, b,c │
│ y \u{fffd}[2J ┆      ┆       NaN ┆       ┆                     ┆        │
│        ┆  -30 ┆ -Infinity ┆ false ┆ 1970-01-01 00:00:00 ┆        │
└────────┴──────┴───────────┴───────┴─────────────────────┴────────┘
";
    let text = text(Format::Table, &answer());
    assert_eq!(text, want, "\n{text}");
}

#[test]
fn narrow_terminals_leave_out_last_columns_not_digits() {
    let style = Style { width: Some(40), ..Style::default() };
    let text = String::from_utf8(bytes(Format::Table, style, &answer())).unwrap();
    assert!(text.contains("0.123457") && text.contains("-Infinity"), "\n{text}");
    assert!(text.contains("more columns (--format csv shows all): "), "\n{text}");
    let widest = text.lines().filter(|line| !line.contains("more")).map(|line| line.chars().count()).max();
    assert!(widest.unwrap() <= 40, "\n{text}");
}

#[test]
fn one_row_too_wide_lies_on_its_side() {
    let style = Style { width: Some(30), ..Style::default() };
    let text = String::from_utf8(bytes(Format::Table, style, &answer().slice(0, 1))).unwrap();
    let want = "run_id  x|1\nstep    1\nvalue   0.123457\nok      true\nat      2026-11-20 17:51:06\ntags    a, b,c\n";
    assert_eq!(text, want);
}

#[test]
fn binary_formats_read_back() {
    let batch = answer();
    let arrow = bytes(Format::Arrow, Style::default(), &batch);
    let mut reader = arrow::ipc::reader::StreamReader::try_new(arrow.as_slice(), None).unwrap();
    // NaN is not equal to itself, so texts are compared.
    assert_eq!(text(Format::Csv, &reader.next().unwrap().unwrap()), text(Format::Csv, &batch));
    let parquet = bytes(Format::Parquet, Style::default(), &batch);
    assert_eq!(&parquet[..4], b"PAR1");
    assert_eq!(&parquet[parquet.len() - 4..], b"PAR1");
}

#[test]
fn formats_have_names_and_extensions() {
    for format in Format::ALL {
        assert_eq!(Format::from_name(format.name()), Some(format));
    }
    assert_eq!(Format::from_extension("CSV"), Some(Format::Csv));
    assert_eq!(Format::from_extension("xlsx"), None);
    assert_eq!(Format::from_extension("table"), None);
}
