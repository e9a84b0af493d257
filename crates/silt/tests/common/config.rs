//! Configs as no program writes them, and valid all the same.

use proptest::prelude::*;
use tarball::Digest;

#[derive(Debug, Clone, Copy)]
pub struct ConfigStyle {
    rotation: usize,
    spacing: usize,
    platform: usize,
    run_config: usize,
    extra: usize,
}

pub fn config_style() -> impl Strategy<Value = ConfigStyle> {
    (0..6_usize, 0..3_usize, 0..4_usize, 0..4_usize, 0..4_usize).prop_map(
        |(rotation, spacing, platform, run_config, extra)| ConfigStyle {
            rotation,
            spacing,
            platform,
            run_config,
            extra,
        },
    )
}

/// A config for these layers.
pub fn config_text(layers: &[Vec<u8>], style: ConfigStyle) -> String {
    let diff_ids: Vec<String> =
        layers.iter().map(|layer| format!("\"{}\"", Digest::of(layer))).collect();
    let (line, colon) = [("", ":"), ("\n\t ", " : "), ("\r\n", ":\n")][style.spacing];
    let mut fields = vec![format!(
        r#""rootfs"{colon}{{"diff_ids"{colon}[{}],"type"{colon}"layers"}}"#,
        diff_ids.join(&format!(",{line}"))
    )];
    fields.extend(platform_fields(style.platform).iter().map(|field| (*field).to_owned()));
    fields.extend(RUN_CONFIGS[style.run_config].iter().map(|field| (*field).to_owned()));
    fields.extend(EXTRAS[style.extra].iter().map(|field| (*field).to_owned()));
    let count = fields.len();
    fields.rotate_left(style.rotation % count);
    format!("{line}{{{line}{}{line}}}{line}", fields.join(&format!("{line},{line}")))
}

fn platform_fields(platform: usize) -> &'static [&'static str] {
    match platform {
        0 => &[r#""architecture":"amd64""#, r#""os":"linux""#],
        1 => &[r#""os":"linux","variant":"v7","architecture":"arm""#],
        2 => &[r#""architecture":"","os":null"#],
        _ => &[],
    }
}

const RUN_CONFIGS: [&[&str]; 4] = [
    &[r#""config":{"Labels":{"größe":"\u00fc\"\\\/\n","empty":"","null":null},"Cmd":["sh"]}"#],
    &[r#""config":null"#, r#""container_config":{"Labels":null}"#],
    &[r#""config":{"Labels":null,"Env":["A=\ud83d\ude00 😀"]}"#],
    &[],
];

const EXTRAS: [&[&str]; 4] = [
    &[
        r#""created":"2024-02-02T00:00:00Z""#,
        r#""history":[{"created_by":"x","empty_layer":true}]"#,
    ],
    &[r#""created":null"#, r#""history":null"#, r#""":{"":[[],{}]}"#],
    &[r#""history":[{"created":null,"comment":null,"empty_layer":null}]"#, r#""n":-1.50E+400"#],
    &[r#""lone":"\ud800""#, r#""big":123456789012345678901234567890"#],
];
