//! The messages of W&B's transaction log that are needed (package `wandb_internal`, numbers as of
//! wandb 0.31). History and summary items, of which a log holds millions, are read in place by
//! [`Item`]; the others are decoded by `prost`.

use crate::sources::parse::wire::{Broken, Fields};

/// Numbers of the payload fields in `Record`.
pub(super) mod payload {
    pub(in super::super) const HISTORY: u32 = 2;
    pub(in super::super) const SUMMARY: u32 = 3;
    pub(in super::super) const CONFIG: u32 = 5;
    pub(in super::super) const STATS: u32 = 7;
    pub(in super::super) const ALERT: u32 = 10;
    pub(in super::super) const METRIC: u32 = 12;
    pub(in super::super) const OUTPUT_RAW: u32 = 13;
    pub(in super::super) const RUN: u32 = 17;
    pub(in super::super) const EXIT: u32 = 18;
    pub(in super::super) const PREEMPTING: u32 = 23;
    pub(in super::super) const ENVIRONMENT: u32 = 26;
}

/// A value as an item carries it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Raw<'a> {
    /// Typed number.
    Number(f64),
    /// Typed text.
    Text(&'a str),
    /// JSON, the form all versions write.
    Json(&'a str),
    /// Null, a boolean or nothing: no metric.
    Nothing,
}

/// Reads a history or summary item: its name goes to `key` (path elements joined with `.`), its
/// value is returned. The typed form wins over the JSON beside it: it keeps exact integers.
pub(super) fn item<'a>(bytes: &'a [u8], key: &mut String) -> Result<Raw<'a>, Broken> {
    key.clear();
    let (mut nested, mut typed, mut json) = (false, None, Raw::Nothing);
    let mut fields = Fields(bytes);
    while let Some((field, content)) = fields.next()? {
        match field {
            1 if !nested => {
                key.clear();
                key.push_str(content.text()?);
            }
            2 => {
                if nested {
                    key.push('.');
                } else {
                    key.clear();
                }
                nested = true;
                key.push_str(content.text()?);
            }
            3 | 4 => typed = Some(Raw::Nothing),
            5 => typed = Some(Raw::Number(zigzag(content.int()) as f64)),
            6 => typed = Some(Raw::Number(content.double())),
            7 => typed = Some(Raw::Text(content.text()?)),
            8 => typed = Some(Raw::Json(content.text()?)),
            16 => json = Raw::Json(content.text()?),
            _ => {}
        }
    }
    Ok(typed.unwrap_or(json))
}

fn zigzag(raw: i64) -> i64 {
    ((raw as u64) >> 1) as i64 ^ -(raw & 1)
}

/// A point in time.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Timestamp {
    /// Milliseconds since 1970; `None` for the zero that stands for "unset".
    pub(super) fn millis(&self) -> Option<i64> {
        let millis = self.seconds.checked_mul(1000)?.checked_add(i64::from(self.nanos) / 1_000_000)?;
        (millis != 0).then_some(millis)
    }
}

/// An entry of config, with a JSON value.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ConfigItem {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, repeated, tag = "2")]
    pub nested_key: Vec<String>,
    #[prost(string, tag = "16")]
    pub value_json: String,
}

impl ConfigItem {
    /// The name, path elements joined with `.`.
    pub(super) fn name(&self) -> String {
        if self.nested_key.is_empty() { self.key.clone() } else { self.nested_key.join(".") }
    }

    /// Whether it belongs to the tracker itself.
    pub(super) fn is_internal(&self) -> bool {
        self.nested_key.first().unwrap_or(&self.key) == "_wandb"
    }
}

/// Changes of the config.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Config {
    #[prost(message, repeated, tag = "1")]
    pub update: Vec<ConfigItem>,
    #[prost(message, repeated, tag = "2")]
    pub remove: Vec<ConfigItem>,
}

/// Where the code came from.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Git {
    #[prost(string, tag = "1")]
    pub remote_url: String,
    #[prost(string, tag = "2")]
    pub commit: String,
}

/// Point of another (or the same) run at which this one begins.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct BranchPoint {
    #[prost(string, tag = "1")]
    pub run: String,
    #[prost(double, tag = "2")]
    pub value: f64,
    #[prost(string, tag = "3")]
    pub metric: String,
}

/// What is known of the run; written again whole after each change.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Run {
    #[prost(string, tag = "1")]
    pub run_id: String,
    #[prost(string, tag = "2")]
    pub entity: String,
    #[prost(string, tag = "3")]
    pub project: String,
    #[prost(message, optional, tag = "4")]
    pub config: Option<Config>,
    #[prost(bytes = "vec", optional, tag = "5")]
    pub summary: Option<Vec<u8>>,
    #[prost(string, tag = "6")]
    pub run_group: String,
    #[prost(string, tag = "7")]
    pub job_type: String,
    #[prost(string, tag = "8")]
    pub display_name: String,
    #[prost(string, tag = "9")]
    pub notes: String,
    #[prost(string, repeated, tag = "10")]
    pub tags: Vec<String>,
    #[prost(string, tag = "12")]
    pub sweep_id: String,
    #[prost(string, tag = "13")]
    pub host: String,
    #[prost(message, optional, tag = "17")]
    pub start_time: Option<Timestamp>,
    #[prost(message, optional, tag = "21")]
    pub git: Option<Git>,
    #[prost(message, optional, tag = "23")]
    pub branch_point: Option<BranchPoint>,
}

/// An entry of system statistics, a number as text.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StatsItem {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "16")]
    pub value_json: String,
}

/// System statistics of one moment.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Stats {
    #[prost(message, optional, tag = "2")]
    pub timestamp: Option<Timestamp>,
    #[prost(message, repeated, tag = "3")]
    pub item: Vec<StatsItem>,
}

/// An alert of the user's code.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Alert {
    #[prost(string, tag = "1")]
    pub title: String,
    #[prost(string, tag = "2")]
    pub text: String,
    #[prost(string, tag = "3")]
    pub level: String,
}

/// `define_metric`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Metric {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub glob_name: String,
    #[prost(int32, tag = "8")]
    pub goal: i32,
}

/// A fragment of console output: what one `write()` got, not a line.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OutputRaw {
    #[prost(int32, tag = "1")]
    pub output_type: i32,
    #[prost(message, optional, tag = "2")]
    pub timestamp: Option<Timestamp>,
    #[prost(string, tag = "3")]
    pub line: String,
}

/// The end of the run. Exit code 0 is not on the wire, so its presence is what counts.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Exit {
    #[prost(int32, tag = "1")]
    pub exit_code: i32,
    #[prost(int32, tag = "2")]
    pub runtime: i32,
}

/// Machine and program; comes in several partial records.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Environment {
    #[prost(string, tag = "2")]
    pub python: String,
    #[prost(string, repeated, tag = "5")]
    pub args: Vec<String>,
    #[prost(string, tag = "6")]
    pub program: String,
    #[prost(message, optional, tag = "9")]
    pub git: Option<Git>,
    #[prost(string, tag = "11")]
    pub root: String,
    #[prost(string, tag = "12")]
    pub host: String,
    #[prost(string, tag = "13")]
    pub username: String,
    #[prost(uint32, tag = "19")]
    pub gpu_count: u32,
    #[prost(message, repeated, tag = "24")]
    pub gpu_nvidia: Vec<GpuNvidia>,
}

/// An accelerator.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GpuNvidia {
    #[prost(uint64, tag = "2")]
    pub memory_total: u64,
}
