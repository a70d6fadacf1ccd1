//! What MMEngine and mmcv print, kept in a file of another name.

use super::dialect::{Dialect, Row};
use crate::sources::mmengine::text::{self, Mode};
use crate::sources::parse::json::Json;

pub static DIALECT: Dialect = Dialect {
    name: "mmengine",
    read,
    samples: &[
        (
            "Epoch(train)  [2][ 50/1000]  lr: 1.0000e-02  eta: 0:10:20  loss: 2.5",
            r#"{"step": 1050, "epoch": 2, "lr": 0.01, "loss": 2.5}"#,
        ),
        ("Epoch(val) [2][20/20]    coco/bbox_mAP: 0.3450", r#"{"coco/bbox_mAP": 0.345}"#),
        ("Epoch [1][50/1000]\tlr: 2.000e-02, eta: 1:02:03, loss: 1.5", {
            r#"{"step": 50, "epoch": 1, "lr": 0.02, "loss": 1.5}"#
        }),
    ],
};

fn read(line: &str) -> Option<Row<'_>> {
    let progress = text::progress(line)?;
    let mut row = Row::telling();
    if progress.is_underway() {
        return None;
    }
    if let Some(step) = progress.step() {
        row.count("step", step);
    }
    if progress.mode == Mode::Train {
        row.planned_steps = progress.total.filter(|_| progress.epoch.is_none());
        progress.epoch.into_iter().for_each(|epoch| row.count("epoch", epoch));
    }
    for (key, value, _) in progress.metrics() {
        row.fields.push((key.into(), Json::Number(value, b"")));
    }
    (!row.fields.is_empty()).then_some(row)
}
