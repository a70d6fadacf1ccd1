#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;

fn plot(values: &[f64]) -> Plot {
    let points = values.iter().enumerate().map(|(step, value)| (step as i64 * 10, *value)).collect();
    let curves = vec![Curve { label: "loss <x>".into(), points }];
    Plot { title: "run & loss".into(), axis: "step".into(), curves, is_log: false, format: None }
}

fn falling() -> Plot {
    plot(&(0..50).map(|i| 3.0 * (-f64::from(i) / 10.0).exp()).collect::<Vec<_>>())
}

#[test]
fn a_screen_has_axes_labels_and_the_curve() {
    let text = falling().on_screen(60, 14, false).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines.len()), ("run & loss", 15), "{text}");
    assert!(lines.iter().all(|line| line.chars().count() <= 60), "{text}");
    let has = |line: &str, words: &[&str]| words.iter().all(|word| line.contains(word));
    assert!(text.contains('│') && text.contains('─') && has(lines[14], &["0", "200", "400"]), "{text}");
    assert!(
        lines.iter().any(|line| line.starts_with("  2") || line.trim_start().starts_with("2│")),
        "{text}"
    );
    let dots = |line: &str| line.chars().position(|c| ('\u{2801}'..='\u{28ff}').contains(&c));
    let places: Vec<usize> = lines[1..13].iter().filter_map(|line| dots(line)).collect();
    assert!(places.len() >= 10 && places.is_sorted(), "it falls from left to right: {text}");
}

#[test]
fn several_curves_have_signs_or_colours() {
    let mut both = falling();
    both.curves.push(Curve { label: "val".into(), points: vec![(0, 1.0), (490, 2.0)] });
    let plain = both.on_screen(50, 12, false).unwrap();
    assert!(plain.starts_with("run & loss\n* loss <x>\no val\n"), "{plain}");
    assert!(plain.contains("oooo") && !plain.contains('\x1b'), "{plain}");
    assert!(both.on_screen(50, 12, true).unwrap().contains("\x1b[31m"));
}

#[test]
fn pictures_are_files_of_their_kind() {
    let plot = falling();
    let png = plot.to_file(Picture::Png, 400, 300).unwrap();
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n") && png.ends_with(b"IEND\xae\x42\x60\x82"));
    assert_eq!(&png[16..24], [400_u32.to_be_bytes(), 300_u32.to_be_bytes()].concat());
    let svg = String::from_utf8(plot.to_file(Picture::Svg, 400, 300).unwrap()).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("<polyline") && svg.contains("run &amp; loss"), "{svg}");
    let html = String::from_utf8(plot.to_file(Picture::Html, 400, 300).unwrap()).unwrap();
    assert!(html.contains("<svg") && html.contains("loss &lt;x&gt;") && !html.contains("<x>"), "{html}");
}

#[test]
fn nan_breaks_the_line_and_what_is_not_positive_has_no_logarithm() {
    let broken = Line::of(&plot(&[1.0, 2.0, f64::NAN, 3.0, f64::INFINITY]).curves[0], false);
    assert_eq!((broken.parts.len(), broken.breaks), (2, vec![20.0, 40.0]));
    let log = Line::of(&plot(&[10.0, 0.0, -1.0, 100.0]).curves[0], true);
    assert_eq!((log.parts, log.breaks), (vec![vec![(0.0, 1.0)], vec![(30.0, 2.0)]], vec![]));
    for values in [&[f64::NAN][..], &[]] {
        assert!(plot(values).on_screen(40, 10, false).is_err());
    }
}

#[test]
fn logarithmic_axes_have_round_labels() {
    let labels = |low: f64, high: f64, most: usize| {
        let ticks = log_ticks(&(low.log10()..high.log10()), most);
        ticks.into_iter().map(|tick| label(tick, true, None)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(labels(0.9, 60.0, 10), "1 2 5 10 20 50");
    assert_eq!(labels(1e-4, 12.0, 8), "0.0001 0.001 0.01 0.1 1 10");
    assert_eq!(labels(1e-9, 2.0, 4), "1e-09 1e-06 0.001 1");
    assert_eq!(labels(2.1, 2.9, 5), "2.2 2.4 2.6 2.8");
    let mut plot = falling();
    plot.is_log = true;
    let text = plot.on_screen(60, 20, false).unwrap();
    for label in ["\n   2│", "\n   1│", "\n 0.5│", "\n0.05│"] {
        assert!(text.contains(label), "{label}: {text}");
    }
}

#[test]
fn odd_values_are_drawn_too() {
    for values in
        [&[2.0][..], &[2.0; 9], &[0.0], &[1e300, 1e-300], &[-1e-320, 0.0], &[f64::MAX, 0.0], &[1.0, f64::NAN]]
    {
        for is_log in [false, true] {
            let mut plot = plot(values);
            plot.is_log = is_log;
            if let Ok(text) = plot.on_screen(40, 10, false) {
                assert_eq!(text.lines().count(), 11, "{text}");
                plot.to_file(Picture::Png, 300, 200).unwrap();
            }
        }
    }
    let mut far = plot(&[f64::MIN, f64::MAX]);
    assert!(far.on_screen(40, 10, false).unwrap_err().to_string().contains("no place on a plain axis"));
    far.curves[0].points = vec![(i64::MIN, 1.0), (i64::MAX, 2.0)];
    far.on_screen(40, 10, false).unwrap();
}
